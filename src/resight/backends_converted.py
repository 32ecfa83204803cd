"""Models converted for other engines, kept in the cache folder so that they are converted once."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock
from jaxtyping import UInt8
from torch import Tensor

from resight.backbones import ReidModel
from resight.checkpoint import digest
from resight.errors import CheckpointError, ConfigError, ResightError, reason_of
from resight.export.containers import CONTAINERS, Run, need, quiet
from resight.export.files import placed, write_checked
from resight.export.graph import RAW, EmbeddingGraph, lowest_cosine
from resight.export.quantised import quantise

CONVERTED_VERSION = 2
"""Changes whenever the same model would be converted to other files."""

SHARES = (1.0, 0.25, 0.125)
"""Shares of the convolutions that are tried in 8-bit integers: the last ones, as an early one's error grows further."""

SEEN_COSINE = 0.9993
"""Least cosine to float32 on the images that the ranges were measured on, of a share that is kept; on others it is a
little lower.
"""

CONTAINER = {"openvino": "openvino", "onnxruntime": "onnx"}
"""The kind of file that an engine reads in float32."""


@dataclasses.dataclass(frozen=True)
class Converted:
    """The converted files of one model at one input size.

    `folder`: of all models' files. `images`: RGB, of that size, which conversions are compared or measured on.
    """

    model: ReidModel
    size: tuple[int, int]
    folder: Path
    images: UInt8[Tensor, "b 3 h w"]

    @functools.cached_property
    def key(self) -> str:
        """Name the model by all that a conversion depends on."""
        weights = digest({name: tensor.cpu() for name, tensor in self.model.state_dict().items()})
        about = [dataclasses.astuple(self.model.normalisation), dataclasses.astuple(self.model.config), self.size]
        facts = json.dumps([CONVERTED_VERSION, torch.__version__, weights, *about], default=str)
        return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()

    def open(self, backend: str, precision: str) -> Run:
        """Open the model in an engine, converting it only if that has not been done before.

        A converted file that is damaged is made again.

        Raises:
            MissingPackageError: the engine, or what writes its files, is not installed.
            ConfigError: the model cannot be converted, or not rightly.
            CheckpointError: the folder cannot be written.
        """
        kind = CONTAINERS[CONTAINER[backend]]
        need(*kind.packages, what=f"--backend {backend}")
        path = self._int8() if precision == "int8" else self._float32(CONTAINER[backend])
        try:
            return kind.open(path, precision)
        except Exception:  # whatever an engine raises where a file is cut short
            path.unlink(missing_ok=True)
        path = self._int8() if precision == "int8" else self._float32(CONTAINER[backend])
        try:
            return kind.open(path, precision)
        except Exception as error:
            raise self._cannot(f"be opened by {backend}", error) from error

    def _cannot(self, do: str, error: Exception) -> ConfigError:
        return ConfigError(f"{self.model.config.name} cannot {do} ({reason_of(error)}); use --backend torch")

    def _float32(self, container: str) -> Path:
        def write(path: Path) -> None:
            graph = EmbeddingGraph(self.model, self.size, RAW)
            write_checked(graph, container, path, graph.facts(), self.images[:4])

        return self._once(CONTAINERS[container].suffixes[0], write)

    def _int8(self) -> Path:
        def write(path: Path) -> None:
            """Keep the largest share that is right, else the least: whoever opens it compares it on other images."""
            source = self._float32("onnx")
            right = EmbeddingGraph(self.model, self.size, RAW).expected(self.images)
            with placed(path) as part, quiet():
                for share in SHARES:
                    quantise(source, part, self.images, share=share)
                    found = CONTAINERS["openvino"].open(part, "int8")(self.images.contiguous().numpy())
                    if lowest_cosine(found, right) >= SEEN_COSINE:
                        break

        return self._once(".int8.onnx", write)

    def _once(self, ending: str, write: Callable[[Path], None]) -> Path:
        """Make a file unless it is there; other processes that want the same wait."""
        path = self.folder / f"{self.key}{ending}"
        if path.is_file():
            return path
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.is_file():
                    write(path)
        except ResightError:
            raise
        except OSError as error:
            raise CheckpointError(f"{path} cannot be written ({error}); give another cache folder") from error
        except Exception as error:  # a converter can fail in any way at an operation that it does not know
            raise self._cannot("be converted", error) from error
        return path
