"""Rows on their way into Milvus, and what comes back."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from resight.errors import ShapeError
from resight.gallery.entries import Entry, Hit

UNIT = 1e-3
"""How far from 1 the length of a row may lie."""


def checked(entries: Sequence[Entry], vectors: Tensor, dim: int) -> Float[Tensor, "n d"]:
    """Give rows to add back, float32 on the CPU.

    Raises:
        ShapeError: they are not one an entry, or not as `checked_rows` says.
    """
    rows = checked_rows(vectors, dim)
    if len(rows) != len(entries):
        raise ShapeError(f"vectors must be one row an entry, got {len(rows)} rows and {len(entries)} entries")
    return rows


def checked_rows(vectors: Tensor, dim: int) -> Float[Tensor, "n d"]:
    """Give rows back, float32 on the CPU.

    Raises:
        ShapeError: they are not `dim` long, or not of unit length.
    """
    rows = vectors.detach().to("cpu", torch.float32).contiguous()
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ShapeError(f"vectors must have {dim} columns as the gallery's, got the shape {tuple(rows.shape)}")
    off = (rows.norm(dim=1) - 1).abs()
    if len(rows) and not bool((off <= UNIT).all()):
        raise ShapeError(f"vectors must be rows of length 1, got one of {float(rows[off.argmax()].norm()):g}")
    return rows


def as_hit(found: Mapping[str, Any]) -> Hit:
    """Read a hit as Milvus gives it."""
    return Hit(Entry.from_row({"id": found["id"], **found["entity"]}), float(found["distance"]))
