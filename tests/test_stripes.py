"""Stripe features of the middle layers."""

import pytest
import torch

from resight.backbones import BackboneConfig, build_model
from resight.errors import ConfigError
from resight.stripes import embed_stripes, middle_layers, stripe_count, stripe_dim, stripe_means


class Noise:
    """Drawn pixels."""

    def __init__(self, images: int) -> None:
        generator = torch.Generator().manual_seed(1)
        self.pixels = torch.randint(0, 256, (images, 3, 64, 32), generator=generator, dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, index: torch.Tensor) -> torch.Tensor:
        return self.pixels[index]


def test_stripes_are_a_quarter_as_high_as_the_image_is_wide():
    assert [stripe_count(size) for size in ((128, 64), (128, 128), (64, 128), (256, 32))] == [8, 4, 2, 8]


def test_means_of_two_stripes():
    maps = torch.tensor([[[[3.0, 3.0], [0.0, 0.0]], [[4.0, 4.0], [2.0, 2.0]]]])  # (1, 2, 2, 2)
    assert stripe_means(maps, 2).tolist() == [[pytest.approx(0.6), pytest.approx(0.8), 0.0, 1.0]]
    assert stripe_means(maps, 9).shape == (1, 4)  # no more stripes than rows


@pytest.mark.parametrize("name", ["resnet10t", "tf_efficientnet_lite0", "convnext_atto"])
def test_middle_layers_are_an_eighth_and_a_sixteenth(name: str):
    model = build_model(BackboneConfig(name=name, weights="random"))
    info = model.trunk.feature_info
    assert [info[at]["reduction"] for at in middle_layers(model.trunk)] == [8, 16]


def test_rows_are_the_same_whatever_the_batch_and_of_unit_length():
    model, pixels = build_model(BackboneConfig(name="resnet10t", weights="random")), Noise(5)
    model.train()
    kinds = [
        list(zip(*embed_stripes(model, pixels, size=(64, 32), precision="float32", batch_size=size), strict=True))
        for size in (2, 5)
    ]
    for some, whole in zip(*kinds, strict=True):
        assert torch.allclose(torch.cat(some), torch.cat(whole), atol=1e-5)
        assert torch.allclose(torch.cat(some).norm(dim=1), torch.ones(5))
    assert model.training


@pytest.mark.parametrize(("name", "size"), [("resnet10t", (64, 32)), ("tf_efficientnet_lite0", (64, 64))])
def test_as_many_numbers_as_said(name: str, size: tuple[int, int]):
    model, pixels = build_model(BackboneConfig(name=name, weights="random")), Noise(2)
    pixels.pixels = pixels.pixels.repeat(1, 1, 1, size[1] // 32)
    blocks = next(embed_stripes(model, pixels, size=size, precision="float32"))
    assert sum(block.shape[1] for block in blocks) == stripe_dim(model.trunk, size)


def test_a_backbone_without_middle_layers_is_refused():
    with pytest.raises(ConfigError, match="miner.stripes needs a backbone that gives its middle layers"):
        middle_layers(torch.nn.Linear(2, 2))
