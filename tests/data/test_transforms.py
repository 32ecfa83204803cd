"""Batched augmentation against a slow per-image one, torchvision's definitions, and its own promises."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from oracles.augment import augmented_image
from resight.data.transforms import (
    IMAGENET,
    AugmentConfig,
    AugmentParams,
    Normalisation,
    augment,
    draw_augmentation,
    to_float,
)
from resight.errors import ConfigError, ShapeError
from resight.torchvision_compat import import_torchvision

PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
NOTHING = {
    "crop_area": (1.0, 1.0),
    "crop_aspect": (1.0, 1.0),
    "flip_probability": 0.0,
    "rotation_degrees": 0.0,
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.0,
    "erase_probability": 0.0,
}


def only(**settings: Any) -> AugmentConfig:
    """Switch everything off but `settings`."""
    return AugmentConfig(**(NOTHING | settings))


def draw(config: AugmentConfig, batch: int, size: tuple[int, int], seed: int = 0) -> AugmentParams:
    return draw_augmentation(config, batch, size, torch.Generator().manual_seed(seed))


def random_images(batch: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def smooth_images(batch: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    coarse = random_images(batch, (4, 4), seed).float()
    large = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 255)
    return large.round().to(torch.uint8).contiguous(memory_format=torch.channels_last)


SIZES = [(16, 8), (13, 7), (9, 12), (5, 5), (1, 3)]
CONFIGS = [
    AugmentConfig(),
    only(crop_area=(0.3, 0.9), crop_aspect=(0.5, 2.0)),
    only(rotation_degrees=180.0, flip_probability=0.5),
    only(brightness=0.9, contrast=0.9, saturation=0.9, grayscale_probability=0.5),
    only(erase_probability=1.0, erase_area=(0.1, 0.9)),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("config", CONFIGS)
def test_batches_equal_the_slow_single_images(config: AugmentConfig, size: tuple[int, int]) -> None:
    for seed in range(6):
        batch = 1 + seed % 3
        images = random_images(batch, size, seed)
        params = draw(config, batch, size, seed)
        fast = augment(images, params, IMAGENET)
        for row in range(batch):
            slow = augmented_image(images[row].permute(1, 2, 0).numpy(), params, row, IMAGENET)
            np.testing.assert_allclose(fast[row].permute(1, 2, 0).numpy(), slow, atol=1e-3)


def test_augmentation_of_nothing_is_exactly_the_test_transform() -> None:
    images = random_images(4, (12, 6))
    assert torch.equal(augment(images, draw(only(), 4, (12, 6)), IMAGENET), to_float(images, IMAGENET))


def test_the_test_transform_by_hand() -> None:
    images = torch.tensor([0, 127, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    # (0 − 127) / 128, (127 − 100) / 2, (255 − 5) / 10
    normalised = to_float(images, Normalisation((127.0, 100.0, 5.0), (128.0, 2.0, 10.0)))
    assert normalised.flatten().tolist() == [-127 / 128, 13.5, 25.0]


def test_a_flip_by_hand() -> None:
    images = random_images(2, (4, 5))
    params = draw(only(flip_probability=1.0), 2, (4, 5))
    torch.testing.assert_close(augment(images, params, PLAIN), images.flip(3).float(), rtol=0, atol=1e-3)


def test_a_flip_of_a_flip_is_the_image() -> None:
    images, params = random_images(3, (8, 6)), draw(only(flip_probability=1.0), 3, (8, 6))
    once = augment(images, params, PLAIN).round().to(torch.uint8)
    assert torch.equal(augment(once, params, PLAIN).round().to(torch.uint8), images)


def test_a_quarter_turn_is_counter_clockwise() -> None:
    images = random_images(1, (6, 6))
    params = dataclasses.replace(draw(only(), 1, (6, 6)), angle=torch.tensor([90.0]))
    turned = torch.rot90(images, 1, (2, 3)).float()
    torch.testing.assert_close(augment(images, params, PLAIN), turned, rtol=0, atol=1e-2)


def test_a_crop_by_hand() -> None:
    images = torch.arange(4, dtype=torch.uint8).expand(1, 3, 4, 4)
    # Columns 1 and 2 of 0 1 2 3, stretched from 2 to 4 pixels: sampled at −0.25 (rim), 0.25, 0.75, 1.25 (rim).
    params = dataclasses.replace(draw(only(), 1, (4, 4)), crop=torch.tensor([[0, 1, 4, 2]]))
    row = augment(images, params, PLAIN)[0, 0, 0]
    torch.testing.assert_close(row, torch.tensor([1.0, 1.25, 1.75, 2.0]))


def test_the_corners_beyond_a_turned_crop_are_black_though_the_image_goes_on() -> None:
    images = torch.full((1, 3, 20, 20), 200, dtype=torch.uint8)
    params = dataclasses.replace(
        draw(only(), 1, (20, 20)), crop=torch.tensor([[5, 5, 10, 10]]), angle=torch.tensor([10.0])
    )
    turned = augment(images, params, PLAIN)[0, 0]
    corners = turned[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [0, 0, 0, 0]
    assert turned[10, 10] == pytest.approx(200, abs=1e-3)
    assert bool(((turned < 1e-3) | (turned > 199.9)).all())


@pytest.mark.parametrize("degrees", [-10.0, 3.0, 45.0])
def test_rotation_equals_torchvisions_away_from_the_rim(degrees: float) -> None:
    import_torchvision()
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    images = smooth_images(2, (32, 16))
    params = dataclasses.replace(draw(only(), 2, (32, 16)), angle=torch.full((2,), degrees))
    theirs = functional.rotate(images.float(), degrees, InterpolationMode.BILINEAR)
    inner = (slice(None), slice(None), slice(12, 20), slice(5, 11))
    torch.testing.assert_close(augment(images, params, PLAIN)[inner], theirs[inner], rtol=0, atol=0.05)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.9])
def test_colour_changes_equal_torchvisions(name: str, factor: float) -> None:
    import_torchvision()
    from torchvision.transforms.v2 import functional

    images = random_images(3, (9, 5))
    params = dataclasses.replace(draw(only(), 3, (9, 5)), **{name: torch.full((3,), factor)})
    theirs = getattr(functional, f"adjust_{name}")(images.float() / 255, factor) * 255
    torch.testing.assert_close(augment(images, params, PLAIN), theirs, rtol=0, atol=0.02)


def test_greyed_images_equal_torchvisions_and_the_others_keep_their_colours() -> None:
    import_torchvision()
    from torchvision.transforms.v2 import functional

    images = random_images(2, (5, 4))
    params = dataclasses.replace(draw(only(), 2, (5, 4)), grayscale=torch.tensor([True, False]))
    result = augment(images, params, PLAIN)
    theirs = functional.rgb_to_grayscale(images[:1].float() / 255, num_output_channels=3) * 255
    torch.testing.assert_close(result[:1], theirs, rtol=0, atol=0.02)
    assert torch.equal(result[1], images[1].float())


def test_what_is_drawn_lies_where_the_configuration_says() -> None:
    config, size, batch = AugmentConfig(grayscale_probability=0.25), (256, 128), 4000
    params = draw(config, batch, size)
    top, left, tall, wide = params.crop.T
    assert bool((top >= 0).all() and (left >= 0).all() and (top + tall <= 256).all() and (left + wide <= 128).all())
    areas, aspects = tall * wide / (256 * 128), tall / wide / 2
    assert areas.min() >= 0.63
    assert aspects.min() >= 0.98
    assert aspects.max() <= 1.52
    top, left, tall, wide = params.erase[params.erase[:, 2] > 0].T
    areas, aspects = tall * wide / (256 * 128), tall / wide
    assert areas.min() >= 0.019
    assert areas.max() <= 0.205
    assert aspects.min() >= 0.28
    assert aspects.max() <= 3.5
    assert bool((top >= 0).all() and (left >= 0).all() and (top + tall <= 256).all() and (left + wide <= 128).all())
    assert params.angle.abs().max() <= 10
    assert params.angle.std() == pytest.approx(20 / 12**0.5, rel=0.05)
    for factor in (params.brightness, params.contrast, params.saturation):
        assert 0.8 <= factor.min() < 0.81
        assert 1.19 < factor.max() <= 1.2
    shares = [params.flip, params.erase[:, 2] > 0, params.grayscale]
    assert [float(share.float().mean()) for share in shares] == pytest.approx([0.5, 0.5, 0.25], abs=0.03)


def test_every_position_of_a_crop_is_drawn_equally_often() -> None:
    # Area 0.5 of 4×4 at aspect 2 (height/width): 4 high, 2 wide, so left is 0, 1 or 2, a third of the time each.
    params = draw(only(crop_area=(0.5, 0.5), crop_aspect=(2.0, 2.0)), 3000, (4, 4))
    assert params.crop[:, [0, 2, 3]].unique(dim=0).tolist() == [[0, 4, 2]]
    counts = torch.bincount(params.crop[:, 1])
    assert counts.tolist() == pytest.approx([1000, 1000, 1000], abs=100)


def test_rectangles_that_never_fit_leave_the_image_whole() -> None:
    config = only(crop_aspect=(9.0, 9.0), erase_probability=1.0, erase_area=(1.0, 1.0), erase_aspect=(9.0, 9.0))
    params = draw(config, 5, (20, 10))
    assert params.crop.tolist() == [[0, 0, 20, 10]] * 5
    assert params.erase.tolist() == [[0, 0, 0, 0]] * 5


def test_the_same_seed_draws_the_same_and_every_configuration_takes_as_many_numbers() -> None:
    after = []
    for config in (AugmentConfig(), only(), AugmentConfig()):
        generator = torch.Generator().manual_seed(3)
        params = draw_augmentation(config, 4, (16, 8), generator)
        after.append((params, torch.rand(1, generator=generator).item()))
    assert after[0][1] == after[1][1] == after[2][1]
    assert torch.equal(after[0][0].crop, after[2][0].crop)


def test_results_are_float32_channels_last_and_the_input_is_left_alone() -> None:
    for images in (random_images(4, (16, 8)), random_images(4, (16, 8)).contiguous()):
        before = images.clone()
        for result in (augment(images, draw(AugmentConfig(), 4, (16, 8)), IMAGENET), to_float(images, IMAGENET)):
            assert result.dtype == torch.float32
            assert result.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_augments_as_the_cpu_does() -> None:
    images, params = random_images(8, (64, 32)), draw(AugmentConfig(grayscale_probability=0.5), 8, (64, 32))
    torch.testing.assert_close(
        augment(images.cuda(), params, IMAGENET).cpu(), augment(images, params, IMAGENET), rtol=0, atol=2e-3
    )


def test_parameters_for_another_batch_are_refused() -> None:
    params = draw(AugmentConfig(), 4, (16, 8))
    for images in (random_images(3, (16, 8)), random_images(4, (8, 16))):
        with pytest.raises(ShapeError, match="drawn for 4 images of 16×8 must meet as many of that size, got"):
            augment(images, params, IMAGENET)


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("crop_area", (0.0, 1.0), "augment.crop_area must be two numbers with 0 < low ≤ high ≤ 1, got (0.0, 1.0)"),
        ("crop_area", [0.9, 0.5], "augment.crop_area must be two numbers with 0 < low ≤ high ≤ 1, got [0.9, 0.5]"),
        ("crop_area", (0.5, 1.5), "0 < low ≤ high ≤ 1, got (0.5, 1.5)"),
        ("crop_area", 0.5, "must be two numbers with 0 < low ≤ high ≤ 1, got 0.5"),
        ("crop_area", "ab", "must be two numbers with 0 < low ≤ high ≤ 1, got 'ab'"),
        ("crop_aspect", (1.0,), "augment.crop_aspect must be two numbers with 0 < low ≤ high, got (1.0,)"),
        ("erase_aspect", (float("nan"), 1.0), "augment.erase_aspect must be two numbers with 0 < low ≤ high, got"),
        ("erase_area", (True, True), "augment.erase_area must be two numbers"),
        ("flip_probability", 1.5, "augment.flip_probability must be a number from 0 to 1, got 1.5"),
        ("grayscale_probability", -0.1, "augment.grayscale_probability must be a number from 0 to 1, got -0.1"),
        ("brightness", 2, "augment.brightness must be a number from 0 to 1, got 2"),
        ("rotation_degrees", "10", "augment.rotation_degrees must be a number from 0 to 180, got '10'"),
    ],
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_settings_are_named(setting: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        AugmentConfig(**{setting: value})
    assert words in str(error.value)


def test_lists_and_whole_numbers_are_taken_for_ranges() -> None:
    config = AugmentConfig(crop_aspect=[1, 2])
    assert config.crop_aspect == (1.0, 2.0)
    assert config == AugmentConfig(crop_aspect=(1.0, 2.0))
