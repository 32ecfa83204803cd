"""Recipes: a method and its settings as dataclasses; `resight.recipes` reads and writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resight.backbones import BackboneConfig
from resight.data.transforms import AugmentConfig
from resight.errors import ConfigError

SCHEDULES = ("batch", "epoch")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class InputConfig:
    """`size`: "auto" (by the images' shape), or [height, width]; `long_side`: what "auto" gives the longer side."""

    size: str | tuple[int, int] = "auto"
    long_side: int = 256

    def __post_init__(self) -> None:
        if isinstance(self.size, str):
            if self.size != "auto":
                raise ConfigError(f'input.size must be "auto" or [height, width], got "{self.size}"')
        elif len(self.size) != 2 or any(not 16 <= side <= 2048 for side in self.size):
            raise ConfigError(f"input.size must be [height, width], each 16 to 2048 pixels, got {list(self.size)}")

    @property
    def height_width(self) -> tuple[int, int]:
        """The size once it is settled; `prepare.input_size` settles "auto"."""
        if isinstance(self.size, str):
            raise ConfigError('input.size must be settled as [height, width] before use, got "auto"')
        return int(self.size[0]), int(self.size[1])


@dataclass(frozen=True)
class DataConfig:
    """`camstyle`: folder of CamStyle images to draw the shown images from ("": none).

    `train_on_gallery`: add the gallery's images, junk aside, to the training images, as published for VeRi-776; what
    is then scored on that gallery is no honest test (docs/published_quirks.md).
    """

    camstyle: str = ""
    train_on_gallery: bool = False


@dataclass(frozen=True)
class MinerConfig:
    """`schedule`: mine for each batch from the memory as it is now, or for all images once an epoch.

    `by_camera`: mine on features standardised per camera (needs schedule "epoch" and known cameras; without cameras it
    changes nothing). `precision`: what the neighbours of all images are looked for in; "bfloat16" (needs schedule
    "epoch") scores in float32 whatever could be among them, so the labels are the same, and is faster where the device
    multiplies bfloat16 faster. `tracklets`: images of one tracklet are positives of each other, in the warm-up too;
    data without tracklets train as if it were off. `same_time`: images that one camera took at the same timestamp, and
    the tracklets they belong to, are never positives of each other; off by default, as it holds only where a timestamp
    is one moment and a detector gives one box an identity. `options`: the miner's own parameters.
    """

    name: str = "gsmlp"
    schedule: str = "batch"
    by_camera: bool = False
    precision: str = "float32"
    tracklets: bool = True
    same_time: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("miner.schedule", self.schedule, SCHEDULES)
        check_choice("miner.precision", self.precision, PRECISIONS[1:])
        if self.precision == "bfloat16" and self.schedule != "epoch":
            raise ConfigError('miner.precision = "bfloat16" needs miner.schedule = "epoch", got "batch"; set both')
        if self.by_camera and self.schedule != "epoch":
            raise ConfigError('miner.by_camera needs miner.schedule = "epoch", got "batch"; set both')


@dataclass(frozen=True)
class LossConfig:
    """`name` of the loss and, in `options`, its own parameters."""

    name: str = "smlc"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MemoryConfig:
    """`momentum`: share of the old row kept; `fill_first`: start from the untrained features, not from zeros.

    `momentum_rises`: from 0 in the first epoch towards `momentum` at the end (MMCL), instead of `momentum` throughout.
    `refill_every`: rewrite the memory with fresh features each so many epochs (0: never). `refill_as_published`: embed
    for it augmented images in train mode, as the published code does (docs/published_quirks.md).
    """

    momentum: float = 0.5
    momentum_rises: bool = False
    fill_first: bool = False
    refill_every: int = 5
    refill_as_published: bool = False

    def __post_init__(self) -> None:
        check_range("memory.momentum", self.momentum, 0, 0.999)
        check_range("memory.refill_every", self.refill_every, 0, 10_000)

    def momentum_at(self, epoch: int, epochs: int) -> float:
        """Share of the old row kept in `epoch`, 1 to `epochs`; the published 0.5 · epoch / 60 counts epochs from 0."""
        return self.momentum * (epoch - 1) / epochs if self.momentum_rises else self.momentum


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation; epochs before `warmup_epochs` have passed use self-only labels.

    `settle_batchnorm`: measure BatchNorm's statistics on unaugmented training images before they are used for a
    refill, an evaluation or the finished model. `freeze_batchnorm`: keep the trunk's statistics as its start weights
    have them; the neck's are learnt all the same.
    """

    epochs: int = 40
    warmup_epochs: int = 1
    batch_size: int = 128
    learning_rate: float = 0.1
    backbone_scale: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    decay_at: tuple[int, ...] = (40,)
    decay: float = 0.1
    settle_batchnorm: bool = False
    freeze_batchnorm: bool = False
    precision: str = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        check_choice("train.precision", self.precision, PRECISIONS)
        check_range("train.epochs", self.epochs, 1, 100_000)
        check_range("train.warmup_epochs", self.warmup_epochs, 0, 100_000)
        check_range("train.batch_size", self.batch_size, 2, 1_000_000)
        check_range("train.learning_rate", self.learning_rate, 0, 1000)
        check_range("train.backbone_scale", self.backbone_scale, 0, 1000)
        check_range("train.momentum", self.momentum, 0, 0.9999)
        check_range("train.weight_decay", self.weight_decay, 0, 10)
        check_range("train.seed", self.seed, 0, 2**31)


@dataclass(frozen=True)
class EvaluateConfig:
    """`every`: score query against gallery each so many epochs, for the curves only (0: before and after only).

    `keep_best_on_test_rank1`: keep the model of the scored epoch with the highest test Rank-1 and not the last one, as
    the published code does; its figures are no honest test (docs/published_quirks.md).
    """

    every: int = 5
    keep_best_on_test_rank1: bool = False

    def __post_init__(self) -> None:
        if self.keep_best_on_test_rank1 and self.every < 1:
            raise ConfigError(
                "evaluate.keep_best_on_test_rank1 chooses among scored epochs, so evaluate.every must be 1 or more, "
                f"got {self.every}"
            )


@dataclass(frozen=True)
class Recipe:
    """A method (miner × loss × memory), a backbone, and how to train."""

    name: str = "custom"
    input: InputConfig = field(default_factory=InputConfig)
    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    miner: MinerConfig = field(default_factory=MinerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


def check_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Raise ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{key} must be one of {', '.join(choices)}, got '{value}'")


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless low ≤ value ≤ high."""
    if not low <= value <= high:
        raise ConfigError(f"{key} must lie in [{low:g}, {high:g}], got {value}")
