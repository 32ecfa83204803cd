"""Recipes: TOML in, overrides over it, TOML out; every wrong key or value is one sentence."""

import tomllib
from pathlib import Path

import pytest

from resight.errors import ConfigError
from resight.recipes import as_toml, load_recipe, parse_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("images", [None, 100, 1_000_000])
def test_a_recipe_survives_the_way_out_and_in(name: str, images: int | None):
    recipe = load_recipe(name, images=images)
    assert parse_recipe(tomllib.loads(as_toml(recipe))) == recipe


def test_gsmlp_has_the_published_settings():
    recipe = load_recipe("gsmlp")
    assert (recipe.miner.name, recipe.miner.schedule) == ("gsmlp", "batch")
    assert recipe.miner.options == {"tau": 0.6, "min_candidates": 10, "max_candidates": 0}
    assert recipe.loss.options == {"delta": 5.0, "hard_negative_share": 0.01}
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.train.learning_rate) == (40, 128, 0.1)
    assert (recipe.memory.momentum, recipe.memory.refill_every) == (0.5, 5)
    assert recipe.backbone.name == "resnet50"


def test_ssml_has_the_published_settings():
    recipe = load_recipe("ssml")
    assert (recipe.miner.name, recipe.miner.schedule, recipe.loss.name) == ("dplm", "batch", "dtl")
    assert recipe.miner.options == {"tau": 0.6, "min_candidates": 10, "max_candidates": 0, "neighbourhood": 100}
    assert recipe.loss.options == {"delta": 0.4, "hard_negative_share": 0.01}
    assert (recipe.train.epochs, recipe.train.warmup_epochs, recipe.memory.refill_every) == (60, 6, 5)


def test_mmcl_has_the_published_settings():
    recipe = load_recipe("mmcl")
    assert (recipe.miner.name, recipe.miner.schedule, recipe.loss.name) == ("mplp", "batch", "mmcl")
    assert (recipe.miner.options["tau"], recipe.loss.options) == (0.6, {"delta": 5.0, "hard_negative_share": 0.01})
    assert (recipe.train.epochs, recipe.train.warmup_epochs, recipe.memory.refill_every) == (60, 6, 0)
    # alpha = 0.5 · epoch / 60, epochs counted from 0: the first one keeps nothing of the old row
    shares = [recipe.memory.momentum_at(epoch, 60) for epoch in (1, 31, 60)]
    assert shares == pytest.approx([0.0, 0.25, 0.5 * 59 / 60])


def test_bfloat16_lists_need_labels_of_a_whole_epoch():
    with pytest.raises(ConfigError, match=r'miner.precision = "bfloat16" needs miner.schedule = "epoch", got "batch"'):
        load_recipe("gsmlp", overrides=["miner.precision=bfloat16"])


def test_small_settings_apply_below_their_bound_only():
    assert load_recipe("gsmlp", images=4999).backbone.name == "efficientnet_lite0"
    assert load_recipe("gsmlp", images=5000).backbone.name == "resnet50"
    assert load_recipe("gsmlp", images=100, overrides=["small.below=0"]).backbone.name == "resnet50"


def test_an_override_beats_recipe_and_small_settings():
    recipe = load_recipe("gsmlp", images=100, overrides=["backbone.name=resnet18", "miner.tau=0.7", "train.epochs=3"])
    assert recipe.backbone.name == "resnet18"
    assert recipe.miner.options["tau"] == 0.7
    assert recipe.train.epochs == 3


def test_naming_another_miner_drops_settings_it_does_not_have():
    assert load_recipe("gsmlp", overrides=["miner.name=self_only"]).miner.options == {}


def test_a_recipe_file_of_the_user(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('[miner]\nname = "gsmlp"\ntau = 0.5\n')
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.miner.options["tau"], recipe.miner.options["min_candidates"]) == ("mine", 0.5, 10)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["miner.tau=60"], r"miner.tau is a cosine and must lie in \(0, 1\], got 60"),
        (["miner.name=gsmpl"], "no miner named 'gsmpl'; did you mean 'gsmlp'?"),
        (["loss.name=smcl"], "no loss named 'smcl'; did you mean 'smlc'?"),
        (["miner.tua=0.5"], "no setting named 'miner.tua'; did you mean 'miner.tau'?"),
        (["mniner.tau=0.5"], "no setting named 'mniner'; did you mean 'miner'?"),
        (["train.epochs=many"], "train.epochs must be of the kind of its default 40, got 'many'"),
        (["train.epochs=0"], r"train.epochs must lie in \[1, 100000\], got 0"),
        (["train.nesterov=1"], "train.nesterov must be of the kind of its default True, got 1"),
        (["train.batch_size=1"], r"train.batch_size must lie in \[2"),
        (["train.precision=half"], "train.precision must be one of auto, float32, bfloat16, got 'half'"),
        (["miner.by_camera=true"], 'miner.by_camera needs miner.schedule = "epoch"'),
        (["input.size=big"], 'input.size must be "auto" or'),
        (["input.size=[4, 4]"], "each 16 to 2048 pixels"),
        (["augment.crop_area=[0, 2]"], "augment.crop_area must be"),
        (["tau=0.5"], "--set needs section.key=value"),
        (["miner.tau"], "--set needs section.key=value"),
    ],
)
def test_wrong_settings_are_refused(overrides: list[str], words: str):
    with pytest.raises(ConfigError, match=words):
        load_recipe("gsmlp", overrides=overrides)


def test_wrong_recipes_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="no recipe named 'gsmpl'; did you mean 'gsmlp'?"):
        load_recipe("gsmpl")
    with pytest.raises(ConfigError, match="does not exist; packaged recipes: .*gsmlp"):
        load_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "broken.toml").write_text("[miner\n")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_recipe(str(tmp_path / "broken.toml"))
