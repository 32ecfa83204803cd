"""`resight export`: a trained model → one file that another program runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.artifacts import load_model
from resight.errors import ConfigError, no_such_name
from resight.export.containers import CONTAINERS
from resight.export.files import write_checked
from resight.export.graph import IMAGENET_NORMALISED, NORMALISED, RAW, EmbeddingGraph
from resight.export.samples import images_of
from resight.progress import Say

BOXMOT = "boxmot"
"""ONNX as BoxMOT's loading code (version 25.0.0) wants it.

BoxMOT picks the loader by the ending. It cuts boxes out of a frame, resizes them to the height and width that the
graph's input declares, turns BGR into RGB, divides by 255, normalises by ImageNet's mean and standard deviation, feeds
float32 (batch, 3, height, width), takes the first output and scales its rows to unit length.
"""

TARGETS = (*CONTAINERS, BOXMOT)
PREPROCESSING = {"inside": RAW, "outside": NORMALISED}


@dataclass(frozen=True)
class ExportRequest:
    """What `resight export` was asked for. `out`: None is beside the model; `preprocessing`: None is "inside"."""

    run: Path
    to: str
    out: Path | None = None
    preprocessing: str | None = None
    overwrite: bool = False


def export_run(request: ExportRequest, say: Say) -> dict[str, Any]:
    """Write a run's model for another program, if what is written gives the model's own embeddings; give its facts.

    Raises:
        ConfigError: no such kind, a flag that does not fit it, a file that may not be replaced, a package that is
            missing, or a model that cannot be written so.
        CheckpointError: the model cannot be read, or the file not be written.
    """
    takes = _takes(request)
    container = "onnx" if request.to == BOXMOT else request.to
    out = _out(request, container)
    model, recipe = load_model(request.run)
    size = recipe.input.height_width
    images, which = images_of(request.run, size)
    graph = EmbeddingGraph(model, size, takes)
    facts = graph.facts()
    say(f"writing {out} and comparing it with the model on {which}")
    cosine = write_checked(graph, container, out, facts, images)
    say(f"wrote {out}: cosine to the model's own embeddings at least {cosine:.6f}")
    say(f"it takes {facts['input']}, {facts['colour_order']}, {facts['scale']}, and gives {facts['output']}")
    if request.to == BOXMOT:
        say(f"in BoxMOT 25: boxmot track --reid {out} …")
    return {"file": str(out), "lowest_cosine": cosine, "compared_on": which, **facts}


def _takes(request: ExportRequest) -> str:
    """Resolve what the graph takes."""
    if request.to not in TARGETS:
        raise no_such_name("kind of file", request.to, TARGETS)
    if request.to == BOXMOT:
        if request.preprocessing is not None:
            raise ConfigError("--preprocessing does not fit --to boxmot, which normalises images itself; leave it out")
        return IMAGENET_NORMALISED
    wanted = request.preprocessing or "inside"
    if wanted not in PREPROCESSING:
        raise ConfigError(f"--preprocessing must be one of {', '.join(PREPROCESSING)}, got '{wanted}'")
    return PREPROCESSING[wanted]


def _out(request: ExportRequest, container: str) -> Path:
    """Resolve the file to write."""
    folder = request.run if request.run.is_dir() else request.run.parent
    endings = CONTAINERS[container].suffixes
    out = request.out or folder / f"{BOXMOT if request.to == BOXMOT else 'model'}{endings[0]}"
    if out.suffix not in endings:
        raise ConfigError(f"--out must end in {' or '.join(endings)} for --to {request.to}, got {out}")
    for file in (out, *(out.with_suffix(ending) for ending in CONTAINERS[container].beside)):
        if file.exists() and not request.overwrite:
            raise ConfigError(f"{file} exists already; replace it with --overwrite or give another --out")
    return out
