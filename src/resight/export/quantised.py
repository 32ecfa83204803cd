"""A written graph in 8-bit integers: weights by their own range, activations by the range met on some images."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from resight.export.containers import need
from resight.export.graph import INPUT

BATCH = 8

WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")
"""Operations that an engine computes faster in 8-bit integers."""


class _Batches:
    """The images as the quantiser asks for them."""

    def __init__(self, images: UInt8[np.ndarray, "b 3 h w"]) -> None:
        self.left: Iterator[np.ndarray] = (images[i : i + BATCH] for i in range(0, len(images), BATCH))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.left, None)
        return None if batch is None else {INPUT: batch}


def quantise(source: Path, target: Path, images: UInt8[Tensor, "b 3 h w"], *, share: float = 1.0) -> None:
    """Write the ONNX file `source`, which takes raw images, to `target` with weights and activations in int8.

    Each output channel of a convolution has its own scale. How far the embeddings move depends on the network: those
    whose channels differ widely in range lose most, so the result must be compared before it is used. `share`: of the
    convolutions, the last ones, above 0 to 1; those before stay in float32.

    Raises:
        MissingPackageError: ONNX Runtime is not installed.

    Paper: Jacob et al. 2018, section 2 (affine quantisation with zero points).
    """
    tools = need("onnx", "onnxruntime", "onnxruntime.quantization", what="a model in 8-bit integers")
    shapes = need("onnxruntime.quantization.shape_inference", what="a model in 8-bit integers")
    prepared = target.with_name(f"{target.name}.prepared")
    shapes.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    tools.quantize_static(
        str(prepared),
        str(target),
        _Batches(images.contiguous().numpy()),
        quant_format=tools.QuantFormat.QDQ,
        per_channel=True,
        activation_type=tools.QuantType.QUInt8,
        weight_type=tools.QuantType.QInt8,
        nodes_to_exclude=_before(need("onnx", what="a model in 8-bit integers").load(prepared).graph.node, share),
    )
    prepared.unlink()


def _before(nodes: Any, share: float) -> list[str]:
    """Name the operations that come before the last `share` of those with weights."""
    places = [place for place, node in enumerate(nodes) if node.op_type in WITH_WEIGHTS]
    kept = len(places) - math.ceil(share * len(places))
    return [node.name for node in nodes[: places[kept]]] if kept else []
