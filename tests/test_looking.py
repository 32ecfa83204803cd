"""What the default recipe sees in the data, and what it picks."""

from pathlib import Path

import pytest
import torch

from resight.building import seen_once_as_given, shorter_k2
from resight.looking import Choice, Facts, all_choices, first_choices, own_camera_first, share_grey, without
from resight.nearness import Near
from resight.recipes import load_recipe, parse_recipe, read_tables


def features(identities: int, per_camera: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of identities seen `per_camera` times by each of two cameras, which shift and stretch what they see."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(identities, 1, 1, 48, generator=generator)
    passage = 0.5 * torch.randn(identities, 2, 1, 48, generator=generator)  # what images of one camera have in common
    rows = centres + passage + 0.3 * torch.randn(identities, 2, per_camera, 48, generator=generator)
    rows = rows * (0.5 + torch.rand(2, 1, 48, generator=generator)) + 3 * torch.randn(2, 1, 48, generator=generator)
    camids = torch.arange(2).view(1, 2, 1).expand(identities, 2, per_camera)
    return torch.nn.functional.normalize(rows.flatten(0, 2), dim=1), camids.flatten()


def test_seen_once_another_camera_holds_ones_like():
    once, often = (own_camera_first(*features(80, views)) for views in (1, 6))
    assert once is not None and often is not None
    assert once < 0.2  # the only right one is in the other camera
    assert often > 0.7
    assert Facts(120, 2, own_first=once).seen_once
    assert not Facts(720, 2, own_first=often).seen_once


def test_one_camera_or_none_says_nothing():
    rows, camids = features(60, 2)
    assert own_camera_first(rows, torch.zeros_like(camids)) is None
    assert own_camera_first(rows, torch.full_like(camids, -1)) is None
    assert not Facts(40).seen_once


def test_small_cameras_and_few_images_have_no_say():
    rows, camids = features(60, 1)
    assert own_camera_first(rows, camids) is not None
    assert own_camera_first(*features(49, 1)) is None  # 98 images
    many = torch.arange(len(rows)) // 30  # four cameras of 30
    assert own_camera_first(rows, many) is None


def test_features_are_not_changed_by_looking():
    rows, camids = features(10, 2)
    before = rows.clone()
    own_camera_first(rows, camids)
    assert torch.equal(rows, before)


def picked(facts: Facts) -> dict[str, object]:
    found = all_choices(facts)
    assert len({choice.key for choice in found}) == len(found)
    return {choice.key: choice.value for choice in found}


def test_what_is_picked():
    assert picked(Facts(640, 2, own_first=0.8))["miner.k1"] == 5
    assert "miner.once_per_camera" not in picked(Facts(640, 2, own_first=0.8))
    once = picked(Facts(734, 2, own_first=0.58))
    assert (once["miner.once_per_camera"], once["miner.k1"], once["train.per_identity"]) == (True, 2, 2)
    assert once["train.epochs"] == 12
    assert picked(Facts(5_000, 2, own_first=0.58))["train.epochs"] == 14
    assert "miner.once_per_camera" not in picked(Facts(734, 2, tracklets=100, own_first=0.58))
    many = picked(Facts(12_936, 6, own_first=0.8))
    assert (many["miner.across_cameras"], many["miner.k1"], many["miner.eps"]) == (False, 15, [0.7, 0.8])
    assert many["backbone.frozen_stages"] == 3
    assert (many["train.learning_rate"], many["miner.colours"], many["train.decay_at"]) == (3.5e-4, [2.0, 0.6], [11])
    assert picked(Facts(12_936, 6, own_first=0.8, grey=0.6))["miner.colours"] == [0.0, 0.0]
    assert picked(Facts(640, 2, own_first=0.8, grey=0.6))["miner.colours"] == [0.0, 0.0]
    assert not {"miner.colours", "train.decay_at", "train.learning_rate"} & set(picked(Facts(640, 2, own_first=0.8)))
    assert "backbone.frozen_stages" not in picked(Facts(12_936, 6, gpu=True)) | picked(Facts(4_000, 6))
    assert "miner.times" not in many
    timed = picked(Facts(12_936, 6, own_first=0.8, near=Near((1024.0, 8192.0), 70.0)))
    assert (timed["miner.times"], timed["miner.times_within"], timed["miner.k1"]) == ([0.4, 0.15], [1024.0, 8192.0], 25)
    assert "miner.by_camera" not in many  # cameras are made use of all the same
    asked = picked(Facts(12_936, 6, own_first=0.8, across_given=True))
    assert (asked["miner.k1"], "miner.eps" in asked) == (5, False)
    three = picked(Facts(500, 3, own_first=0.8))
    assert (three["miner.across_cameras"], three["miner.k1"]) == (False, 11)
    assert "miner.eps" not in three
    told = picked(Facts(640, 2, own_first=0.8, once=True))
    assert (told["miner.once_per_camera"], told["miner.k1"], told["train.epochs"]) == (True, 2, 12)
    untold = picked(Facts(734, 2, own_first=0.58, once=False))
    assert ("miner.once_per_camera" in untold, untold["miner.k1"], untold["train.epochs"]) == (False, 5, 30)
    alone = picked(Facts(640))
    assert (alone["miner.across_cameras"], alone["miner.by_camera"], alone["miner.k1"]) == (False, False, 11)
    assert picked(Facts(640, gpu=True))["backbone.name"] == "resnet50"
    assert "augment.crop_aspect" not in picked(Facts(640))
    assert picked(Facts(640, tall=False))["augment.crop_aspect"] == [0.75, 1.33]
    assert [picked(Facts(n))["train.epochs"] for n in (100, 12_936, 120_000)] == [30, 14, 12]
    assert [picked(Facts(n, gpu=True))["train.epochs"] for n in (100, 12_936, 120_000)] == [30, 20, 15]


@pytest.mark.parametrize(
    "facts",
    [Facts(1), Facts(10_000_000, 9, own_first=0.9), Facts(500, 12, own_first=0.1), Facts(50, 1), Facts(9, 2, gpu=True)],
)
def test_all_that_is_picked_is_a_setting(facts: Facts):
    overrides = [choice.override for choice in all_choices(facts)]
    recipe = parse_recipe(read_tables("auto"), overrides=overrides)
    assert recipe.name == "auto"


def test_what_the_user_set_is_not_picked():
    found = [Choice("miner.k1", 5, "a"), Choice("train.epochs", 30, "b")]
    assert [choice.key for choice in without(found, ["miner.k1=9", "train.seed=2"])] == ["train.epochs"]
    assert "train.decay_at" not in {choice.key for choice in without(first_choices(Facts(9_000)), ["train.epochs=3"])}
    gpu = first_choices(Facts(640, gpu=True))
    assert not any(choice.section == "backbone" for choice in without(gpu, ["backbone.name=vit_small"]))
    assert str(Choice("miner.once_per_camera", True, "why")) == "miner.once_per_camera=true (why)"


def test_a_number_may_change_over_the_epochs(tmp_path: Path):
    recipe = load_recipe("auto")
    assert recipe.miner.options["eps"] == (0.8, 0.9)
    fixed = load_recipe("auto", overrides=["miner.eps=0.7", "loss.temperature=[0.2, 0.05]"])
    assert fixed.miner.options["eps"] == 0.7
    assert fixed.loss.options["temperature"] == (0.2, 0.05)


@pytest.mark.parametrize(
    ("given", "once"),
    [
        ([], None),
        (["miner.once_per_camera=true"], True),
        (["miner.once_per_camera=false"], False),
        (["miner.algorithm=dbscan"], False),  # which could not keep to it
        (["miner.algorithm=average"], None),
    ],
)
def test_what_the_user_says_of_cameras_decides(given: list[str], once: bool | None):
    assert seen_once_as_given(load_recipe("auto", overrides=given), given) is once


def test_k2_fits_lists_that_the_user_made_shorter():
    recipe = load_recipe("auto", overrides=["miner.k1=4"])
    one_list = [Choice("miner.across_cameras", False, "one camera")]
    assert [choice.override for choice in shorter_k2(recipe, one_list)] == ["miner.k2=4"]
    assert shorter_k2(recipe, []) == []  # 4 of each camera are 8 or more
    assert shorter_k2(load_recipe("auto"), one_list) == []
    assert shorter_k2(load_recipe("gsmlp"), one_list) == []


def test_grey_images_have_no_colours():
    class Pixels:
        def __len__(self) -> int:
            return 4

        def batch(self, index: torch.Tensor) -> torch.Tensor:
            shade = torch.full((4, 3, 8, 4), 90, dtype=torch.uint8)
            shade[3, 0] = 95  # one of four has a tint
            return shade[index]

    assert share_grey(Pixels()) == 0.75
