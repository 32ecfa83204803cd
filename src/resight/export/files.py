"""Put a written graph in its place: whole or not at all, and only if it gives what the model gives."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from resight.errors import CheckpointError, ConfigError, ResightError, reason_of
from resight.export.containers import CONTAINERS, Run, need
from resight.export.graph import EmbeddingGraph, lowest_cosine
from resight.whole_files import sync

COSINE = 0.9999
"""Least cosine of an embedding that a written file gives to the model's own in float32."""


def write_checked(
    graph: EmbeddingGraph, container: str, path: Path, facts: Mapping[str, str], images: UInt8[Tensor, "b 3 h w"]
) -> float:
    """Write a graph to `path` if it stands the comparison on `images`; give the lowest cosine met there.

    What stood at `path` before stays until the new file is whole. Of two files (OpenVINO's) the one that names the
    other comes last, and if that cannot be, both old ones come back.

    Raises:
        ConfigError: a package is missing, the model cannot be written so, or gives other embeddings when it is.
        CheckpointError: the folder cannot be written.
    """
    need(*CONTAINERS[container].packages, what=f"a file of kind {container}")
    with placed(path) as part:
        cosine = _written(graph, container, part, facts, images)
        if cosine < COSINE:
            raise ConfigError(
                f"{path} was not written: its embeddings must have a cosine of at least {COSINE} to the model's own, "
                f"and one has {cosine:.6f}; use another --to"
            )
    return cosine


@contextlib.contextmanager
def placed(path: Path) -> Iterator[Path]:
    """Give a path to write to; what is there at the end, with all that was written beside it, moves to `path`.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    folder = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        yield folder / path.name
        _move_in(folder, path)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} could not be written ({error}); give another file") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def _written(
    graph: EmbeddingGraph, container: str, path: Path, facts: Mapping[str, str], images: UInt8[Tensor, "b 3 h w"]
) -> float:
    """Write a graph, run what was written, and compare."""
    kind = CONTAINERS[container]
    try:
        kind.write(graph, path, facts)
        return compare(kind.open(path, "float32"), graph, images)
    except (OSError, ResightError):
        raise
    except Exception as error:  # an exporter or an engine can fail in any way at an operation that it does not know
        raise ConfigError(
            f"{graph.model.config.name} cannot be written as {container} ({reason_of(error)}); use another kind of file"
        ) from error


def compare(run: Run, graph: EmbeddingGraph, images: UInt8[Tensor, "b 3 h w"]) -> float:
    """Give the lowest cosine between a file's embeddings and the model's, over batches of one image and of the rest."""
    if len(images) < 2:
        raise ConfigError(f"a file is compared on at least 2 images, to see batches of two sizes, got {len(images)}")
    fed = graph.fed(images).contiguous().numpy()
    rows = [np.asarray(run(part)) for part in (fed[:1], fed[1:])]
    return min(
        lowest_cosine(row, graph.expected(part)) for row, part in zip(rows, (images[:1], images[1:]), strict=True)
    )


def _move_in(folder: Path, path: Path) -> None:
    """Move the written files beside each other, the one at `path` last; after an error the old ones are back."""
    others = sorted(p.name for p in folder.iterdir() if p.name != path.name)
    names = [*others, path.name]
    for name in names:
        sync(folder / name)
    before = folder / "before"
    before.mkdir()
    try:
        # The old one at `path` goes first, or it would be read with the new one's weights.
        for name in reversed(names if others else []):
            if (path.parent / name).exists():
                (path.parent / name).replace(before / name)
        for name in names:
            (folder / name).replace(path.parent / name)
        sync(path.parent)
    except BaseException:
        for old in before.iterdir():
            old.replace(path.parent / old.name)
        raise
