"""How alike two pictures are when one may be trimmed, told quickly from 256 bytes of each.

Trimming moves each side of a picture a little. To first order the pixels then change by a mixture of four slopes, one a
side; what of the other picture is explained by the picture itself and these four is the likeness.

Paper: Simard, LeCun, Denker 1992, Efficient pattern recognition using a new transformation distance.
"""

import numpy as np
from jaxtyping import Float, UInt8

SIDE = 16
SMOOTHED = 2
"""Times the grey square is smoothed before it is made small. Without it the slopes of fine detail hold for less than
the pixel that a trim may move, and copies look no more alike than two cars of one make."""

PIECE = 4096
SIDES = 5
"""The picture itself and its four sides' slopes."""


def thumbnails(grey: UInt8[np.ndarray, "n 32 32"]) -> UInt8[np.ndarray, "n 256"]:
    """Make grey squares small and smooth."""
    count = grey.shape[1]
    place = np.arange(count)
    smoothing = np.zeros((count, count))
    for step, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):  # at the border the last pixel stands for what lies beyond
        np.add.at(smoothing, (place, np.clip(place + step, 0, count - 1)), weight)
    means = np.kron(np.eye(SIDE), np.full((1, count // SIDE), SIDE / count))
    small = (means @ np.linalg.matrix_power(smoothing, SMOOTHED)).astype(np.float32)
    return np.rint(small @ grey.astype(np.float32) @ small.T).astype(np.uint8).reshape(-1, SIDE * SIDE)


def explained_by(thumbs: UInt8[np.ndarray, "r 256"]) -> Float[np.ndarray, "r 5 256"]:
    """Give what each thumbnail explains: an orthonormal basis of itself and its sides' slopes, without their means."""
    pixels = thumbs.reshape(-1, SIDE, SIDE).astype(np.float32)
    down, right = np.asarray(np.gradient(pixels, axis=1)), np.asarray(np.gradient(pixels, axis=2))
    share = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
    across, along = share[None, None, :], share[None, :, None]
    slopes = (pixels, right * (1 - across), right * across, down * (1 - along), down * along)
    axes: np.ndarray = np.stack(slopes, axis=1).reshape(-1, SIDES, SIDE * SIDE)
    axes -= axes.mean(axis=2, keepdims=True)
    # The small diagonal keeps a picture without slopes, as of stripes, from being divided by zero.
    gram = axes.astype(np.float64) @ axes.transpose(0, 2, 1) + np.eye(SIDES)
    return (np.linalg.inv(np.linalg.cholesky(gram)) @ axes).astype(np.float32)


def spreads(thumbs: UInt8[np.ndarray, "n 256"]) -> Float[np.ndarray, " n"]:
    """Give each thumbnail's length without its mean."""
    pieces = np.array_split(thumbs, 1 + len(thumbs) // PIECE)
    return np.concatenate([np.maximum(piece.std(axis=1, dtype=np.float32) * SIDE, 1e-6) for piece in pieces])


def likeness(
    explained: Float[np.ndarray, "5 256"], others: UInt8[np.ndarray, "c 256"], spread: Float[np.ndarray, " c"]
) -> Float[np.ndarray, " c"]:
    """Give the share, 0..1, of the length of others (`spreads`) that one thumbnail explains (`explained_by`)."""
    parts = others.astype(np.float32) @ explained.T
    return np.sqrt((parts * parts).sum(axis=1)) / spread
