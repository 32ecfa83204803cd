"""Kinds of files that hold a graph: how each is written, and how it is run."""

import contextlib
import importlib
import json
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped

from resight.errors import ConfigError
from resight.export.graph import INPUT, OUTPUT, EmbeddingGraph

Run = Callable[[Shaped[np.ndarray, "b 3 h w"]], Float[np.ndarray, "b d"]]

OPSET = 17
LARGEST_ONNX = 2**31
"""Bytes that one ONNX file can hold: it is a single protocol buffer."""

RECORD = "resight.json"
"""Name of the facts inside a TorchScript file; the other kinds have fields for them."""


class MissingPackageError(ConfigError):
    """A package is needed that is not installed."""


@dataclass(frozen=True)
class Container:
    """One kind of file.

    `suffixes`: the endings it may have, the usual one first. `packages`: what writing and running it needs. `write`:
    graph, path, facts → the file (and others of its stem). `open`: path, precision → what runs it on the CPU, with
    torch's number of threads. `facts`: what `write` was told. `beside`: endings of those others.
    """

    suffixes: tuple[str, ...]
    packages: tuple[str, ...]
    write: Callable[[EmbeddingGraph, Path, Mapping[str, str]], None]
    open: Callable[[Path, str], Run]
    facts: Callable[[Path], dict[str, str]]
    beside: tuple[str, ...] = ()


def need(*packages: str, what: str) -> Any:
    """Import optional packages and give the last.

    Raises:
        MissingPackageError: one is not installed.
    """
    module = None
    for package in packages:
        try:
            module = importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"{what} needs the package {package}, which is not installed; pip install 'resight[export]'"
            ) from error
    return module


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's tracer from announcing its retirement, and from guessing at what the comparison finds out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def write_onnx(graph: EmbeddingGraph, path: Path, facts: Mapping[str, str]) -> None:
    """Write an ONNX file with `facts` as its properties.

    Raises:
        ConfigError: the model is too large for one.
    """
    onnx = need("onnx", what="an ONNX file")
    size = sum(t.numel() * t.element_size() for t in graph.state_dict().values())
    if size >= LARGEST_ONNX:
        raise ConfigError(f"an ONNX file holds less than 2 GiB, and this model has {size / 2**30:.1f}; use torchscript")
    with quiet():
        torch.onnx.export(
            graph,
            (graph.example(),),
            str(path),
            # The newer exporter needs one package more, and gives the same graph.
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(facts))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def open_onnx(path: Path, precision: str = "float32") -> Run:
    """Load an ONNX file into ONNX Runtime, which computes in float32."""
    del precision
    onnxruntime = need("onnxruntime", what="ONNX Runtime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]


def facts_of_onnx(path: Path) -> dict[str, str]:
    """Read what `write_onnx` was told."""
    properties = need("onnx", what="an ONNX file").load(path).metadata_props
    return {entry.key: entry.value for entry in properties}


def write_openvino(graph: EmbeddingGraph, path: Path, facts: Mapping[str, str]) -> None:
    """Write an OpenVINO .xml and, beside it, its .bin; weights stay float32."""
    openvino = need("onnx", "openvino", what="an OpenVINO file")
    with tempfile.TemporaryDirectory() as folder:
        between = Path(folder) / "graph.onnx"
        write_onnx(graph, between, facts)
        model = openvino.Core().read_model(between)
    for name, value in facts.items():
        model.set_rt_info(value, ["resight", name])
    openvino.save_model(model, path, compress_to_fp16=False)


def open_openvino(path: Path, precision: str = "float32") -> Run:
    """Load an OpenVINO or ONNX file into OpenVINO, to compute in bfloat16 or else in what the file says."""
    openvino = need("openvino", what="OpenVINO")
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        # Threads tied to a core stand still while another program has it.
        "ENABLE_CPU_PINNING": False,
    }
    compiled = openvino.Core().compile_model(path, "CPU", options)
    return lambda images: np.array(compiled(images)[0])  # a copy: the next call writes over the result


def facts_of_openvino(path: Path) -> dict[str, str]:
    """Read what `write_openvino` was told."""
    model = need("openvino", what="an OpenVINO file").Core().read_model(path)
    return {name: str(value.value) for name, value in model.get_rt_info(["resight"]).astype(dict).items()}


def write_torchscript(graph: EmbeddingGraph, path: Path, facts: Mapping[str, str]) -> None:
    """Write a TorchScript file with `facts` in it as a JSON record."""
    with quiet(), torch.no_grad():
        script = torch.jit.trace(graph, graph.example())
        torch.jit.save(script, path, _extra_files={RECORD: json.dumps(dict(facts), indent=2)})


def open_torchscript(path: Path, precision: str = "float32") -> Run:
    """Load a TorchScript file, which computes in float32."""
    del precision
    with quiet():
        script = torch.jit.load(path)

    def run(images: Shaped[np.ndarray, "b 3 h w"]) -> Float[np.ndarray, "b d"]:
        with torch.no_grad():
            return script(torch.from_numpy(images)).numpy()

    return run


def facts_of_torchscript(path: Path) -> dict[str, str]:
    """Read what `write_torchscript` was told."""
    record = {RECORD: ""}
    with quiet():
        torch.jit.load(path, _extra_files=record)
    return dict(json.loads(record[RECORD]))


CONTAINERS: dict[str, Container] = {
    "onnx": Container((".onnx",), ("onnx", "onnxruntime"), write_onnx, open_onnx, facts_of_onnx),
    "openvino": Container((".xml",), ("onnx", "openvino"), write_openvino, open_openvino, facts_of_openvino, (".bin",)),
    "torchscript": Container((".torchscript", ".pt"), (), write_torchscript, open_torchscript, facts_of_torchscript),
}
