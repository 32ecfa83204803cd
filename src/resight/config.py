"""Recipes: a method and its settings as dataclasses; TOML in, --set key=value over it, TOML out.

A recipe file has one table a dataclass below, an `about` text, and may have a table `[small]`: settings laid over the
others where the training split has fewer than `small.below` images.
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from resight.backbones import BackboneConfig
from resight.data.transforms import AugmentConfig
from resight.errors import ConfigError, no_such_name
from resight.losses import LOSSES
from resight.miners import MINERS

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
    multiplies bfloat16 faster. `options`: the miner's own parameters.
    """

    name: str = "gsmlp"
    schedule: str = "batch"
    by_camera: bool = False
    precision: str = "float32"
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


NAMED: dict[str, tuple[Any, Mapping[str, Any]]] = {"miner": (MinerConfig, MINERS), "loss": (LossConfig, LOSSES)}
"""Sections that name an entry of a table and hold its parameters beside their own."""


def check_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Raise ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        raise ConfigError(f"{key} must be one of {', '.join(choices)}, got '{value}'")


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless low ≤ value ≤ high."""
    if not low <= value <= high:
        raise ConfigError(f"{key} must lie in [{low:g}, {high:g}], got {value}")


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(
        p.name.removesuffix(".toml") for p in resources.files("resight.recipes").iterdir() if p.name.endswith(".toml")
    )


def load_recipe(name: str, *, images: int | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or file, lay its small-data settings and then `overrides` ("key=value") over it.

    Args:
        name: a packaged recipe, or the path of a TOML file.
        images: size of the training split; None leaves the small-data settings out.
        overrides: e.g. "miner.tau=0.7"; values in TOML's spelling, quotes optional.

    Raises:
        ConfigError: no such recipe, unknown key, value of the wrong type or out of range.
    """
    return parse_recipe(read_tables(name), images=images, overrides=overrides)


def read_tables(name: str) -> dict[str, Any]:
    """Read a recipe's TOML as plain tables; adds its name."""
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise ConfigError(f"recipe file {path} does not exist; packaged recipes: {', '.join(recipe_names())}")
        text = path.read_text(encoding="utf-8")
    else:
        if name not in recipe_names():
            raise no_such_name("recipe", name, recipe_names())
        text = (resources.files("resight.recipes") / f"{name}.toml").read_text(encoding="utf-8")
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {name} is not valid TOML: {error}") from error
    return {"name": Path(name).stem, **tables}


def parse_recipe(tables: Mapping[str, Any], *, images: int | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Turn plain tables into a checked Recipe; see `load_recipe`."""
    tables = {key: value for key, value in tables.items() if key != "about"}
    changes = [parse_override(text) for text in overrides]
    small = dict(tables.pop("small", {}))
    for section, key, value in changes:
        if section == "small":
            small[key] = value
    below = small.pop("below", 0)
    if images is not None and images < below:
        for section, settings in small.items():
            tables[section] = {**tables.get(section, {}), **settings}
    for section, key, value in changes:
        if key == "name" and section in NAMED:
            tables[section] = settings_known_to(section, value, tables.get(section, {}))
        if section != "small":
            tables[section] = {**tables.get(section, {}), key: value}
    return build_recipe(tables)


def settings_known_to(section: str, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keep, of a recipe's settings for one miner or loss, those that another one named in its place has too."""
    kind, table = NAMED[section]
    if name not in table:
        raise no_such_name(section, name, table)
    known = {f.name for f in (*dataclasses.fields(kind), *dataclasses.fields(table[name]()))}  # type: ignore[arg-type]
    return {key: value for key, value in settings.items() if key in known}


def parse_override(text: str) -> tuple[str, str, Any]:
    """Split "section.key=value"; the value is read as TOML, and as plain text where it is not TOML."""
    key, equals, value = text.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and name):
        raise ConfigError(f"--set needs section.key=value, e.g. miner.tau=0.7, got '{text}'")
    try:
        return section, name, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return section, name, value.strip()


def build_recipe(tables: Mapping[str, Any]) -> Recipe:
    """Check every table and key and build the dataclasses."""
    known = {f.name: f for f in dataclasses.fields(Recipe)}
    parts: dict[str, Any] = {}
    for section, settings in tables.items():
        if section not in known:
            raise unknown_key(section, known)
        if section == "name":
            parts["name"] = settings
        elif not isinstance(settings, Mapping):
            raise ConfigError(f"{section} must be a table of settings, got {settings!r}")
        elif section in NAMED:
            parts[section] = build_named(section, settings)
        else:
            parts[section] = build_section(section, known[section].default_factory, settings)
    return Recipe(**parts)


def build_named(section: str, settings: Mapping[str, Any]) -> Any:
    """Build a MinerConfig or LossConfig; keys that are not its own belong to the named miner or loss."""
    kind, table = NAMED[section]
    own = {f.name for f in dataclasses.fields(kind)} - {"options"}
    name = settings.get("name", kind().name)
    if name not in table:
        raise no_such_name(section, name, table)
    options = {key: value for key, value in settings.items() if key not in own}
    part = build_section(section, table[name], options, also=own)
    return build_section(
        section, kind, {k: v for k, v in settings.items() if k in own} | {"options": dataclasses.asdict(part)}
    )


def build_section(section: str, kind: Any, settings: Mapping[str, Any], *, also: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    """Build one dataclass; unknown keys are refused with a suggestion, values must have the field's type."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values = {}
    for key, value in settings.items():
        if key not in fields:
            raise unknown_key(f"{section}.{key}", {f"{section}.{name}" for name in {*fields, *also} - {"options"}})
        values[key] = coerce(f"{section}.{key}", value, getattr(kind(), key))
    return kind(**values)


def coerce(key: str, value: Any, default: Any) -> Any:
    """Check a value against the type of the default; whole numbers pass as floats, lists as tuples."""
    if isinstance(default, bool) or isinstance(value, bool):
        good = isinstance(value, bool) and isinstance(default, bool)
    elif isinstance(default, float):
        good = isinstance(value, int | float)
        value = float(value) if good else value
    elif isinstance(default, tuple) or key == "input.size":
        good = isinstance(value, list | tuple) or (isinstance(value, str) and key == "input.size")
        value = tuple(value) if isinstance(value, list) else value
    elif isinstance(default, Mapping):
        good = isinstance(value, Mapping)
    else:
        good = isinstance(value, type(default))
    if not good:
        raise ConfigError(f"{key} must be of the kind of its default {default!r}, got {value!r}")
    return value


def unknown_key(key: str, known: Any) -> ConfigError:
    """Build the error for a key that no dataclass has."""
    close = difflib.get_close_matches(key, list(known), n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(sorted(known))}"
    return ConfigError(f"no setting named '{key}'; {hint}")


def as_tables(recipe: Recipe) -> dict[str, Any]:
    """Turn a recipe back into plain tables of TOML's types; `parse_recipe` of it gives the recipe again."""
    tables = dataclasses.asdict(recipe)
    for section in ("miner", "loss"):
        tables[section] |= tables[section].pop("options")
    return {
        section: {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
        if isinstance(settings, dict)
        else settings
        for section, settings in tables.items()
    }


def as_toml(recipe: Recipe) -> str:
    """Write a recipe as TOML."""
    return tomli_w.dumps(as_tables(recipe))
