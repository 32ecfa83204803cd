"""Embedding a pixel source: order, batch sizes, modes, precision."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from resight.backbones import BackboneConfig, ReidModel, build_model
from resight.data.transforms import to_float
from resight.embed import PixelSource, embed, settle_batchnorm
from resight.errors import ConfigError


class Pictures:
    """Random images that lie in memory."""

    def __init__(self, count: int) -> None:
        self.images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Sequence[int] | Tensor) -> Tensor:
        return self.images[index]


@pytest.fixture(scope="module")
def model() -> ReidModel:
    torch.manual_seed(1)
    return build_model(BackboneConfig("mobilenetv3_small_050", "random"))


@pytest.fixture
def pictures() -> Pictures:
    return Pictures(7)


@pytest.mark.parametrize("which", ["test", "train"])
def test_rows_are_the_models_own_in_order_at_unit_length(model: ReidModel, pictures: Pictures, which: str) -> None:
    rows = embed(model, pictures, which=which)
    with torch.no_grad():
        expected = getattr(model.eval()(to_float(pictures.images, model.normalisation)), which)
    torch.testing.assert_close(rows, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(7))
    assert (rows.dtype, rows.device.type, rows.requires_grad) == (torch.float32, "cpu", False)
    assert not torch.is_inference(rows)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_the_batch_size_changes_nothing(model: ReidModel, pictures: Pictures, batch_size: int) -> None:
    rows = embed(model, pictures, batch_size=batch_size)
    torch.testing.assert_close(rows, embed(model, pictures, batch_size=4), rtol=0, atol=1e-5)


def test_bfloat16_is_near_float32(model: ReidModel, pictures: Pictures) -> None:
    coarse, fine = embed(model, pictures, precision="bfloat16"), embed(model, pictures)
    assert coarse.dtype == torch.float32
    assert not torch.equal(coarse, fine)
    assert (coarse * fine).sum(1).min() > 0.98


def test_modes_and_statistics_are_as_before(model: ReidModel, pictures: Pictures) -> None:
    model.train()
    model.neck.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    embed(model, pictures)
    assert model.training
    assert model.trunk.training
    assert not model.neck.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.neck.train()


def test_modes_come_back_after_an_error(model: ReidModel) -> None:
    class Broken(Pictures):
        def batch(self, index: Sequence[int] | Tensor) -> Tensor:
            raise OSError("the disk went away")

    model.train()
    with pytest.raises(OSError, match="went away"):
        embed(model, Broken(3))
    assert all(module.training for module in model.modules())


def test_progress_is_told_of_each_batch(model: ReidModel, pictures: Pictures) -> None:
    told: list[int] = []
    embed(model, pictures, batch_size=3, progress=told.append, device="cpu")
    assert told == [3, 3, 1]


def test_no_images_give_no_rows(model: ReidModel) -> None:
    assert embed(model, Pictures(0)).shape == (0, model.dim)


def test_pictures_are_a_pixel_source(pictures: Pictures) -> None:
    assert isinstance(pictures, PixelSource)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_embeds_as_the_cpu_does(model: ReidModel, pictures: Pictures) -> None:
    here = embed(model, pictures)
    there = embed(model, pictures, device="cuda")
    model.cpu()
    torch.testing.assert_close(there, here, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1 image, got 0"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16, got 'float16'"),
        ({"which": "both"}, "which must be one of test, train, got 'both'"),
    ],
)
def test_bad_settings_are_named(model: ReidModel, pictures: Pictures, settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        embed(model, pictures, **settings)  # type: ignore[arg-type]
    assert words in str(error.value)


def test_settled_statistics_are_those_of_the_images_themselves(pictures: Pictures) -> None:
    model = build_model(BackboneConfig("mobilenetv3_small_050", "random"))
    before = {name: p.clone() for name, p in model.named_parameters()}
    stem: list[Tensor] = []
    hook = model.trunk.bn1.register_forward_pre_hook(lambda _, inputs: stem.append(inputs[0]))  # type: ignore[union-attr]
    model.train()
    settle_batchnorm(model, pictures, batch_size=100)
    hook.remove()
    assert model.training and all(m.training for m in model.modules())
    assert model.trunk.bn1.momentum == 0.1  # type: ignore[union-attr]
    torch.testing.assert_close(model.trunk.bn1.running_mean, stem[0].mean(dim=(0, 2, 3)))  # type: ignore[union-attr]
    torch.testing.assert_close(model.trunk.bn1.running_var, stem[0].var(dim=(0, 2, 3)), rtol=1e-3, atol=1e-5)  # type: ignore[union-attr]
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters())


def test_the_neck_alone_can_be_settled(pictures: Pictures) -> None:
    model = build_model(BackboneConfig("mobilenetv3_small_050", "random")).eval()
    before = {name: b.clone() for name, b in model.trunk.named_buffers()}
    settle_batchnorm(model, pictures, neck_only=True)
    assert all(torch.equal(before[name], b) for name, b in model.trunk.named_buffers())
    with torch.no_grad():
        raw = model.trunk.forward_head(  # type: ignore[union-attr, operator]
            model.trunk.forward_features(to_float(pictures.images, model.normalisation)),  # type: ignore[operator]
            pre_logits=True,
        )
    torch.testing.assert_close(model.neck.running_mean, raw.mean(dim=0), rtol=1e-3, atol=1e-5)
