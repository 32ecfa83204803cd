"""Measuring a model: the same views for every model, and its modes as they were."""

import torch

from resight.backbones import build_model
from resight.config import BackboneConfig
from resight.data.transforms import AugmentConfig
from resight.embed import embed
from resight.trust_run import embed_views, measure

STILL = AugmentConfig(
    crop_area=(1.0, 1.0),
    crop_aspect=(1.0, 1.0),
    flip_probability=0.0,
    rotation_degrees=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    erase_probability=0.0,
)


class Drawn:
    """Ten images of noise."""

    images = torch.randint(0, 256, (10, 3, 32, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: torch.Tensor, /) -> torch.Tensor:
        return self.images[index]


def small_model() -> torch.nn.Module:
    return build_model(BackboneConfig(name="resnet10t", weights="random"), size=(32, 16))


def test_views_that_change_nothing_are_the_plain_rows_and_modes_stay() -> None:
    model = small_model().train()
    index = torch.tensor([1, 4, 7])
    views = embed_views(model, Drawn(), index, augmentation=STILL, batch_size=2)
    assert all(module.training for module in model.modules())
    torch.testing.assert_close(views, embed(model, Drawn())[index], atol=1e-5, rtol=1e-4)


def test_one_seed_draws_one_view() -> None:
    model, index = small_model(), torch.arange(10)
    one, same, other = (embed_views(model, Drawn(), index, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert embed_views(model, Drawn(), torch.arange(0)).shape == (0, one.shape[1])


def test_a_model_is_measured_alike_twice_and_against_itself() -> None:
    model, camids = small_model(), torch.arange(10) % 2
    found, lists = measure(model, Drawn(), camids)
    again, _ = measure(model, Drawn(), camids, rows=embed(model, Drawn()), earlier=lists)
    assert again.steady == 1
    assert {**again.record(), "steady": None} == {**found.record(), "steady": None}
    assert found.view_rank is not None and 0 < found.view_rank <= 1
