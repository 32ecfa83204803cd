"""Flags that several commands share, and how their texts are read."""

from pathlib import Path
from typing import Annotated

import typer

from resight.errors import ConfigError

DataArgument = Annotated[
    Path, typer.Argument(help="Folder of images, plain or laid out as a known data set, or a CSV/Parquet manifest.")
]
RunArgument = Annotated[Path, typer.Argument(help="Run folder that `resight train` left, or its model.safetensors.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        help="Layout of DATA: market1501, dukemtmc, msmt17, cuhk03np, veri776, veriwild, vehicleid, mot, mot-det, "
        "wildlife, folder-per-identity, manifest or folder.",
        show_default="detected",
    ),
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write the figures to this file.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
CacheOption = Annotated[
    Path | None, typer.Option(help="Where decoded images are kept.", show_default="the user's cache folder")
]
SkipOption = Annotated[bool, typer.Option("--skip-broken", help="Leave out images that cannot be decoded.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Images embedded at a time.")]
SplitOption = Annotated[str, typer.Option(help="train, query, gallery, or all.")]
BackendOption = Annotated[
    str,
    typer.Option(
        help="torch, openvino or onnxruntime (on the CPU), or auto: the fastest that gives the same embeddings, by a "
        "short trial."
    ),
]


def parse_size(text: str) -> list[int]:
    """Read "256x128" as [256, 128]."""
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdigit() and width.isdigit()):
        raise ConfigError(f"--size must be HEIGHTxWIDTH in pixels, e.g. 256x128, got '{text}'")
    return [int(height), int(width)]


def default_out(data: Path, recipe: str, changes: list[str]) -> Path:
    """Name the run folder after data, recipe and seed."""
    seeds = [change.partition("=")[2] for change in changes if change.startswith("train.seed=")]
    return Path("runs") / f"{data.resolve().stem}-{Path(recipe).stem}-seed{seeds[-1] if seeds else 1}"
