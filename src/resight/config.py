"""Recipes: a method and its settings as dataclasses; `resight.recipes` reads and writes them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resight.backbones import BackboneConfig
from resight.data.transforms import AugmentConfig
from resight.errors import ConfigError

SCHEDULES = ("batch", "epoch")
PRECISIONS = ("auto", "float32", "bfloat16")
ROWS = ("instance", "cluster", "camera")
REFINERS = ("none", "ranks", "adjacency")


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
    is then scored on that gallery is no honest test (docs/published_quirks.md). `use_cameras`: make use of the cameras
    where they are known; false: train as if none were (scores keep to the protocol all the same).
    """

    camstyle: str = ""
    train_on_gallery: bool = False
    use_cameras: bool = True


@dataclass(frozen=True)
class MinerConfig:
    """`schedule`: mine for each batch from the memory as it is now, or for all images once an epoch.

    `by_camera`: mine on features standardised per camera (needs schedule "epoch" and known cameras; without cameras it
    changes nothing). `precision`: what the neighbours of all images are looked for in; "bfloat16" (needs schedule
    "epoch") scores in float32 whatever could be among them, so the labels are the same, and is faster where the device
    multiplies bfloat16 faster. `tracklets`: images of one tracklet are positives of each other, in the warm-up too;
    data without tracklets train as if it were off. `same_time`: images that one camera took at the same timestamp, and
    the tracklets they belong to, are never positives of each other; off by default, as it holds only where a timestamp
    is one moment and a detector gives one box an identity. `stripes`: weight, in the first epoch and in the last, of
    the start weights' middle layers beside the features that labels are mined from (needs schedule "epoch"; [0, 0]:
    none); `colours`: that of colour histograms; `times`: that of nearness in time, within each of `times_within`, in
    the timestamps' unit.
    `refine`: what casts doubt on an image's place in its cluster: the others do not rank it highly in turn ("ranks",
    DPLM), or it stands otherwise to all images ("adjacency", GSMLP); or "none". `refine_how`: "drop" doubtful images,
    "split" them off, or "weigh" them down. `options`: the miner's own parameters; a number may be [first, last], and
    then goes from one to the other over the epochs.
    """

    name: str = "gsmlp"
    schedule: str = "batch"
    by_camera: bool = False
    precision: str = "float32"
    tracklets: bool = True
    same_time: bool = False
    stripes: tuple[float, ...] = (0.0, 0.0)
    colours: tuple[float, ...] = (0.0, 0.0)
    times: tuple[float, ...] = (0.0, 0.0)
    times_within: tuple[float, ...] = ()
    refine: str = "none"
    refine_how: str = "drop"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("miner.schedule", self.schedule, SCHEDULES)
        check_choice("miner.precision", self.precision, PRECISIONS[1:])
        if self.precision == "bfloat16" and self.schedule != "epoch":
            raise ConfigError('miner.precision = "bfloat16" needs miner.schedule = "epoch", got "batch"; set both')
        if self.by_camera and self.schedule != "epoch":
            raise ConfigError('miner.by_camera needs miner.schedule = "epoch", got "batch"; set both')
        check_choice("miner.refine", self.refine, REFINERS)
        check_choice("miner.refine_how", self.refine_how, ("drop", "split", "weigh"))
        for name, ends in (("stripes", self.stripes), ("colours", self.colours), ("times", self.times)):
            weights = [weight for weight in ends if isinstance(weight, int | float) and 0 <= weight <= 100]
            if len(ends) != 2 or len(weights) != 2:
                raise ConfigError(f"miner.{name} must be two weights, each 0 to 100, got {list(ends)}")
            if any(ends) and self.schedule != "epoch":
                raise ConfigError(f'miner.{name} needs miner.schedule = "epoch", got "batch"; set both')
        if any(isinstance(width, bool | str) or not 0 < width < math.inf for width in self.times_within):
            raise ConfigError(
                f"miner.times_within must be widths above 0, in the timestamps' unit, got {list(self.times_within)}"
            )


@dataclass(frozen=True)
class LossConfig:
    """`name` of the loss and, in `options`, its own parameters; a number may be [first, last], as with the miner's."""

    name: str = "smlc"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MemoryConfig:
    """`momentum`: share of the old row kept; `fill_first`: start from the untrained features, not from zeros.

    `momentum_rises`: from 0 in the first epoch towards `momentum` at the end (MMCL), instead of `momentum` throughout.
    `refill_every`: rewrite the memory with fresh features each so many epochs (0: never). `refill_as_published`: embed
    for it augmented images in train mode, as the published code does (docs/published_quirks.md). `damping`: share of
    the old row that a refill keeps, so that labels change less from epoch to epoch.

    `rows`: what a batch is compared with: each "instance" (image), each "cluster", or each cluster in each "camera".
    Clusters are made anew every epoch: those of miner "cluster", of other miners the groups that mutual positives form.
    `proxy_momentum`: share of such a row kept when a batch changes it; `proxy_update`: by "each" of its images in turn,
    by their "mean", or by the "hard" one. `outliers`: images in no cluster have rows of their "own" or are "dropped".
    `instance_share`: share of the loss that compares with single images even so.
    """

    momentum: float = 0.5
    momentum_rises: bool = False
    fill_first: bool = False
    refill_every: int = 5
    refill_as_published: bool = False
    damping: float = 0.0
    rows: str = "instance"
    proxy_momentum: float = 0.2
    proxy_update: str = "mean"
    outliers: str = "own"
    instance_share: float = 0.0

    def __post_init__(self) -> None:
        check_choice("memory.rows", self.rows, ROWS)
        check_choice("memory.proxy_update", self.proxy_update, ("each", "mean", "hard"))
        check_choice("memory.outliers", self.outliers, ("own", "dropped"))
        check_range("memory.proxy_momentum", self.proxy_momentum, 0, 0.999)
        check_range("memory.instance_share", self.instance_share, 0, 0.999)
        check_range("memory.damping", self.damping, 0, 0.999)
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

    `optimizer`: "sgd" or "adam". `per_identity`: show so many images of a cluster together, of as many cameras as can
    be (needs memory.rows other than "instance"; 0: images in random order). `average`: share of the old weights that
    the averaged model keeps after each step; it is what labels are mined from and what is left behind (0: none).
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
    optimizer: str = "sgd"
    per_identity: int = 0
    average: float = 0.0
    precision: str = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        check_choice("train.precision", self.precision, PRECISIONS)
        check_choice("train.optimizer", self.optimizer, ("sgd", "adam"))
        check_range("train.per_identity", self.per_identity, 0, self.batch_size)
        check_range("train.average", self.average, 0, 0.99999)
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
class TrustConfig:
    """`every`: estimate the model's quality without labels each so many epochs, and before and after (0: never).

    `keep`: the model left behind is that of the "last" epoch, or the "best" measured one by the estimate. `patience`:
    end training when the estimate has not risen for so many measurements in a row (0: never).
    """

    every: int = 0
    keep: str = "last"
    patience: int = 0

    def __post_init__(self) -> None:
        check_range("trust.every", self.every, 0, 100_000)
        check_range("trust.patience", self.patience, 0, 100_000)
        check_choice("trust.keep", self.keep, ("last", "best"))
        for key, asked in (('trust.keep = "best"', self.keep == "best"), ("trust.patience", self.patience > 0)):
            if asked and not self.every:
                raise ConfigError(f"{key} goes by the estimate, so trust.every must be 1 or more, got 0")


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
    trust: TrustConfig = field(default_factory=TrustConfig)

    def __post_init__(self) -> None:
        if self.memory.rows != "instance" and self.miner.schedule != "epoch":
            raise ConfigError(
                f'memory.rows = "{self.memory.rows}" needs miner.schedule = "epoch", got "batch"; set both'
            )
        if self.miner.refine != "none" and self.miner.name != "cluster":
            raise ConfigError(
                f'miner.refine = "{self.miner.refine}" casts doubt on places in clusters and needs miner.name = '
                f'"cluster", got "{self.miner.name}"; set miner.refine to "none"'
            )
        for key in ("once_per_camera", "across_cameras"):
            if self.miner.options.get(key) and self.miner.schedule != "epoch":
                raise ConfigError(f'miner.{key} needs miner.schedule = "epoch", got "{self.miner.schedule}"; set both')
        if self.train.per_identity and self.memory.rows == "instance":
            raise ConfigError(
                f'train.per_identity = {self.train.per_identity} needs memory.rows = "cluster" or "camera", got '
                '"instance"; set both'
            )
        if self.trust.keep == "best" and self.evaluate.keep_best_on_test_rank1:
            raise ConfigError(
                'trust.keep = "best" and evaluate.keep_best_on_test_rank1 both choose the model; set one of them'
            )


def check_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Raise ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{key} must be one of {', '.join(choices)}, got '{value}'")


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless low ≤ value ≤ high."""
    if not low <= value <= high:
        raise ConfigError(f"{key} must lie in [{low:g}, {high:g}], got {value}")
