"""Recipes as TOML: a packaged one or a file in, its settings for small data and --set key=value over it, TOML out.

A recipe file has one table for each dataclass of `config`, an `about` text that says what to expect, and may have a
table `[small]`: settings laid over the others where the training split has fewer than `small.below` images.
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w

from resight.config import LossConfig, MinerConfig, Recipe
from resight.errors import ConfigError, no_such_name
from resight.losses import LOSSES
from resight.miners import MINERS
from resight.schedules import is_scheduled

NAMED: dict[str, tuple[Any, Mapping[str, Any]]] = {"miner": (MinerConfig, MINERS), "loss": (LossConfig, LOSSES)}
"""Sections that name an entry of a table and hold its parameters beside their own."""


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
        if section == "small" and not small:
            name = tables.get("name", "this one")
            raise ConfigError(f"recipe {name} has no [small] settings, so small.{key} changes nothing; leave it out")
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
    ends = scheduled_options(section, options)
    first, _ = (build_section(section, table[name], options | end, also=own) for end in ends)
    changing = {key: (ends[0][key], ends[1][key]) for key in ends[0]}
    return build_section(
        section,
        kind,
        {k: v for k, v in settings.items() if k in own} | {"options": dataclasses.asdict(first) | changing},
    )


def scheduled_options(section: str, options: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Give the first and the last value of the options that change over the epochs.

    Raises:
        ConfigError: one is a list of anything but two numbers.
    """
    changing = {key: value for key, value in options.items() if is_scheduled(value)}
    for key, value in changing.items():
        if len(value) != 2 or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in value):
            raise ConfigError(f"{section}.{key} must be one value or [first, last], two numbers, got {list(value)}")
    first, last = ({key: float(value[end]) for key, value in changing.items()} for end in (0, 1))
    return first, last


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
        if good and isinstance(default, tuple) and default:
            value = tuple(coerce(key, entry, default[0]) for entry in value)
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
