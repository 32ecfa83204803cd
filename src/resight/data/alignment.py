"""Whether two images are one picture, re-encoded, resized, brightened a little or trimmed by a few pixels.

The middle of one is held against a frame in the other, and the frame's sides are moved until the pixels agree best.
What is left between different pictures, even of one street or one make of car, is far more than re-encoding leaves.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from resight.data.decode import resized

SIDE = 24
"""Pixels a side, compared: fewer know too little, more would ask a halved image for what it has lost."""
CORRELATION = 0.98
"""Least correlation over pixels and channels, each without its mean."""
DIFFERENCE = 8.0
"""Most grey levels between them, on average."""
INSET = 0.06
"""Share of each side that is left out of the one picture, and by which the frame in the other may move both ways."""
STEPS = 4
HOPELESS = 0.9
"""Correlation after one step below which no more are made: 0.969 and more is reached by copies, trimmed ones too."""
LARGEST = 4 * SIDE
"""Most pixels a side that are kept of a picture (`bounded`): more would only be averaged."""

View = Float[np.ndarray, "24 24 3"]
Frame = Float[np.ndarray, "4"]
"""Left, top, right, bottom in pixels, broken ones too."""


def bounded(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h1 w1 3"]:
    """Give a picture of at most `LARGEST` pixels a side, to keep; proportions are not kept."""
    return resized(pixels, min(pixels.shape[0], LARGEST), min(pixels.shape[1], LARGEST)).copy()


def same_picture(one: UInt8[np.ndarray, "h w 3"], other: UInt8[np.ndarray, "h1 w1 3"]) -> float | None:
    """Give the correlation of two images where they show the same picture, and None where they do not."""
    correlation, difference = best_agreement(one, other)
    return correlation if correlation >= CORRELATION and difference <= DIFFERENCE else None


def best_agreement(one: UInt8[np.ndarray, "h w 3"], other: UInt8[np.ndarray, "h1 w1 3"]) -> tuple[float, float]:
    """Give the correlation and the mean absolute difference, in grey levels, where the two agree best.

    Both are of pixels without each channel's mean; the correlation does not see a change of contrast.
    """
    image = Image.fromarray(other)
    target, frame = _view(Image.fromarray(one), _middle(*one.shape[:2])), _middle(*other.shape[:2])
    seen = []
    for _ in range(STEPS + 1):
        view = _view(image, frame)
        seen.append((correlation(target, view), float(np.abs(target - view).mean())))
        if len(seen) > 1 and max(seen)[0] < HOPELESS:
            break
        frame = _moved(frame, target, view, image.size)
    return max(seen)


def correlation(one: Float[np.ndarray, "*s"], other: Float[np.ndarray, "*s"]) -> float:
    """Give the cosine between two arrays; 0 where one of them is zero."""
    return float((one * other).sum() / max(np.sqrt((one * one).sum() * (other * other).sum()), 1e-9))


def _middle(height: int, width: int) -> Frame:
    return np.array([width, height, width, height]) * np.array([INSET, INSET, 1 - INSET, 1 - INSET])


def _view(image: Image.Image, frame: Frame) -> View:
    resized = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=tuple(frame.tolist()))
    pixels = np.asarray(resized, dtype=np.float64)
    return pixels - pixels.mean(axis=(0, 1))


def _moved(frame: Frame, target: View, view: View, size: tuple[int, int]) -> Frame:
    """Move the sides by one Gauss-Newton step on the squared difference, contrast being free; `size`: width, height."""
    down, right = np.gradient(view, axis=(0, 1))
    share = (np.arange(SIDE) + 0.5) / SIDE
    across, along = share[None, :, None], share[:, None, None]
    slopes = [right * (1 - across), down * (1 - along), right * across, down * along, view]
    jacobian = np.stack([slope.ravel() for slope in slopes], axis=1)
    # The small diagonal keeps the sides in place where the pixels say nothing of them.
    normal = jacobian.T @ jacobian + 1e-3 * np.eye(len(slopes))
    pixels = np.linalg.solve(normal, jacobian.T @ (target - view).ravel())[:4]
    extent = np.tile(frame[2:] - frame[:2], 2)
    whole = np.tile(size, 2)
    lowest, highest = np.array([0, 0, 1 - 2 * INSET, 1 - 2 * INSET]), np.array([2 * INSET, 2 * INSET, 1, 1])
    return np.clip(frame + pixels * extent / SIDE, lowest * whole, highest * whole)
