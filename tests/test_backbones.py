"""Backbones: two outputs, last stride, pooling, parameter groups, bad names."""

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from resight.backbones import (
    BACKBONES,
    BackboneConfig,
    Embeddings,
    GeM,
    ReidModel,
    build_model,
    remove_last_stride,
    timm_name,
)
from resight.data.transforms import IMAGENET
from resight.errors import ConfigError
from resight.torchvision_compat import import_timm


def build(name: str, size: tuple[int, int] | None = None, **settings: Any) -> ReidModel:
    return build_model(BackboneConfig(name, "random", **settings), size)


class TinyTrunk(nn.Module):
    """Mean of the image's pixels for each colour, as timm's models would give it."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.scale

    def forward_head(self, features: torch.Tensor, *, pre_logits: bool) -> torch.Tensor:
        assert pre_logits
        return features.mean((2, 3))


@pytest.fixture
def tiny() -> ReidModel:
    return ReidModel(TinyTrunk(), 3, BackboneConfig(), IMAGENET)


def test_the_two_outputs_by_hand(tiny: ReidModel) -> None:
    # Pooled: (3, 4, 0). Its length is 5. The neck in eval mode maps v to (v − mean) / √(var + 1e-5) · weight + bias.
    images = torch.tensor([3.0, 4.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    tiny.eval()
    tiny.neck.running_mean = torch.tensor([0.0, 4.0, 0.0])
    nn.init.constant_(tiny.neck.bias[2:], 3.0)
    output = tiny(images)
    torch.testing.assert_close(output.test, torch.tensor([[0.6, 0.8, 0.0]]))
    # After the neck: (3, 0, 3) up to the 1e-5, at unit length (1/√2, 0, 1/√2).
    torch.testing.assert_close(output.train, torch.tensor([[0.5**0.5, 0.0, 0.5**0.5]]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size", "dim"),
    [
        ("resnet18", (64, 32), 512),
        ("efficientnet_lite0", (64, 32), 1280),
        ("mobilenetv3_small_050", (64, 32), 1024),
        ("convnext_atto", (64, 32), 320),
        ("vit_tiny_patch16_224", (64, 32), 192),
    ],
)
def test_outputs_have_unit_length_and_train(name: str, size: tuple[int, int], dim: int) -> None:
    model = build(name, size)
    assert model.dim == dim
    output = model.train()(torch.randn(4, 3, *size))
    assert isinstance(output, Embeddings)
    for embedding in output:
        assert embedding.shape == (4, dim)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(4))
    output.train.square().sum(0).max().backward()
    assert model.neck.weight.grad is not None
    assert next(model.trunk.parameters()).grad is not None


def test_outputs_are_float32_under_autocast() -> None:
    model = build("mobilenetv3_small_050").eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        output = model(torch.randn(2, 3, 32, 32))
    assert (output.train.dtype, output.test.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize(
    ("name", "doubles"),
    [
        ("resnet18", True),
        ("resnet50", True),
        ("resnet26d", True),  # average pool in the shortcut
        ("tf_efficientnet_lite0", True),
        ("efficientnet_lite0", True),
        ("mobilenetv3_small_050", True),
        ("mobilenetv3", True),
        ("regnety_002", True),
        ("convnext_atto", False),
        ("vit_tiny_patch16_224", False),
    ],
)
def test_last_stride_1_doubles_the_map_and_changes_no_weight(name: str, doubles: bool) -> None:
    name = BACKBONES.get(name, name)
    fixed = "vit" in name
    trunk = import_timm().create_model(name, num_classes=0, **({"img_size": 64} if fixed else {})).eval()
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    images = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        old = trunk.forward_features(images).shape
        assert remove_last_stride(trunk, None if fixed else (128, 128)) is doubles
        new = trunk.forward_features(images).shape
    assert new == ((*old[:2], 2 * old[2], 2 * old[3]) if doubles else old)
    after = trunk.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_last_stride_1_keeps_the_features_of_a_constant_map() -> None:
    # Where the map is the same everywhere, a stride only picks fewer of the same values.
    trunk = import_timm().create_model("resnet18", num_classes=0).eval()
    features = torch.rand(1, 256, 1, 1).expand(1, 256, 12, 12)
    with torch.no_grad():
        old = trunk.layer4(features)[0, :, 2:4, 2:4]
        remove_last_stride(trunk, (64, 64))
        new = trunk.layer4(features)[0, :, 5:7, 5:7]
    torch.testing.assert_close(new, old)


def test_the_configuration_decides_about_the_last_stride() -> None:
    images = torch.zeros(1, 3, 64, 32)
    shapes = [build("resnet18", last_stride=stride).eval().trunk.forward_features(images).shape for stride in (1, 2)]
    assert shapes == [(1, 512, 4, 2), (1, 512, 2, 1)]


@pytest.mark.parametrize("joined", [False, True])
def test_a_network_whose_map_would_not_double_is_left_as_it_was(joined: bool) -> None:
    class Unpadded(nn.Module):
        """Halves without padding: 9 → 4, at stride 1 → 7; the pool, left out, → 9, which no longer fits the conv."""

        num_features = 3

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, stride=2)
            self.pool = nn.MaxPool2d(3, stride=2)

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            return self.conv(images) + self.pool(images) if joined else self.conv(images)

    trunk = Unpadded()
    assert not remove_last_stride(trunk, (9, 9))
    assert trunk.conv.stride == (2, 2)
    assert isinstance(trunk.pool, nn.MaxPool2d)


def test_modules_keep_their_modes_and_no_hook_stays() -> None:
    trunk = import_timm().create_model("mobilenetv3_small_050", num_classes=0).train()
    trunk.bn1.eval()
    remove_last_stride(trunk, (64, 64))
    assert trunk.training
    assert not trunk.bn1.training
    assert not any(module._forward_pre_hooks for module in trunk.modules())


def test_gem_by_hand() -> None:
    features = torch.tensor([1.0, 2.0, 3.0, -5.0]).reshape(1, 1, 2, 2)
    gem = GeM()
    # p = 3: ((1 + 8 + 27 + 0) / 4)^(1/3) = 9^(1/3)
    assert gem(features).item() == pytest.approx(9 ** (1 / 3), rel=1e-5)
    nn.init.constant_(gem.p, 1.0)
    # p = 1: the mean, a value below zero counting as (nearly) zero
    assert gem(features).item() == pytest.approx(1.5, rel=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_gem_at_power_1_is_the_average_of_what_is_positive(name: str) -> None:
    gem, gap = build(name, pooling="gem").eval(), build(name).eval()
    gap.load_state_dict({k: v for k, v in gem.state_dict().items() if not k.endswith("pool.p")})
    images = torch.randn(2, 3, 64, 32)
    [pool] = [module for module in gem.modules() if isinstance(module, GeM)]
    with torch.no_grad():
        assert (gem(images).test - gap(images).test).abs().max() > 1e-4
        nn.init.constant_(pool.p, 1.0)
        if name == "resnet18":  # its map ends in a ReLU
            torch.testing.assert_close(gem(images).test, gap(images).test, rtol=1e-3, atol=1e-4)


def test_parameter_groups_hold_every_parameter_once() -> None:
    model = build("resnet18", pooling="gem")
    trunk, untrained = model.parameter_groups(backbone_scale=0.1)
    assert (trunk["lr_scale"], untrained["lr_scale"]) == (0.1, 1.0)
    [pool] = [module for module in model.modules() if isinstance(module, GeM)]
    assert {id(p) for p in untrained["params"]} == {id(model.neck.weight), id(model.neck.bias), id(pool.p)}
    everything = [id(p) for p in trunk["params"] + untrained["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters())
    torch.optim.SGD(model.parameter_groups(backbone_scale=0.1), lr=0.1)


def test_the_model_lies_in_channels_last_memory_and_can_be_copied() -> None:
    model = build("mobilenetv3_small_050")
    assert model.trunk.conv_head.weight.is_contiguous(memory_format=torch.channels_last)
    twin = copy.deepcopy(model).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(twin(images).test, model.eval()(images).test)


def test_every_short_name_is_a_backbone_of_timms() -> None:
    assert all(import_timm().is_model(name) for name in BACKBONES.values())
    assert timm_name("efficientnet_lite0") == "tf_efficientnet_lite0"
    assert timm_name("resnet26") == "resnet26"
    assert timm_name("resnet50.a1_in1k") == "resnet50.a1_in1k"
    assert timm_name("hf-hub:someone/something") == "hf-hub:someone/something"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"pooling": "max"}, "backbone.pooling must be one of gap, gem, got 'max'"),
        ({"last_stride": 4}, "backbone.last_stride must be 1 or 2, got 4"),
        ({"name": ""}, "backbone.name must name a backbone, got ''"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(BackboneConfig(), **settings)
    assert words in str(error.value)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no backbone named 'resnet51'; did you mean 'resnet"):
        build("resnet51")
    with pytest.raises(ConfigError, match="no backbone named 'qqqqqqqq'; known: convnext_tiny, .*resnet50") as error:
        build("qqqqqqqq")
    assert len(str(error.value)) < 300


def test_gem_is_refused_where_there_is_no_map() -> None:
    with pytest.raises(ConfigError, match="'gem' needs a feature map to pool, and 'vit_tiny_patch16_224' has none"):
        build("vit_tiny_patch16_224", (32, 32), pooling="gem")
