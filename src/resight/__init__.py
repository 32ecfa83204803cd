"""resight: re-identification models from unlabelled crops of people, vehicles or animals."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "read_dataset": "resight.data.formats",
    "build_model": "resight.backbones",
    "load_model": "resight.artifacts",
    "embed": "resight.embed",
    "evaluate": "resight.evaluate",
    "FeatureMemory": "resight.memory",
    "GSMLP": "resight.miners.gsmlp",
    "SMLC": "resight.losses.smlc",
    "MMCL": "resight.losses.mmcl",
    "DTL": "resight.losses.dtl",
    "DTLTriplet": "resight.losses.dtl",
    "load_recipe": "resight.config",
    "TrainRequest": "resight.run",
    "run_training": "resight.run",
    "ResightError": "resight.errors",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - loaded when first asked for, below


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that `import resight` stays quick."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'resight' has no attribute '{name}'")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
