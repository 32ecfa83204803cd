"""Pictures, and the same pictures in other bytes."""

import io

import numpy as np
from PIL import Image


def scene(seed: int, height: int = 128, width: int = 64) -> np.ndarray:
    """Draw soft patches of colour with some grain; each seed another picture."""
    random = np.random.default_rng(seed)
    patches = Image.fromarray(random.integers(0, 256, (8, 4, 3), dtype=np.uint8))
    grain = random.normal(0, 6, (height, width, 3))
    return np.clip(np.asarray(patches.resize((width, height), Image.Resampling.BICUBIC)) + grain, 0, 255).astype(
        "uint8"
    )


def encoded(pixels: np.ndarray, quality: int = 90) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file).convert("RGB"))


def scaled(pixels: np.ndarray, share: float) -> np.ndarray:
    height, width, _ = pixels.shape
    return np.array(Image.fromarray(pixels).resize((round(width * share), round(height * share))))


GUISES = {
    "quality 95": lambda a: encoded(a, 95),
    "quality 50": lambda a: encoded(a, 50),
    "half": lambda a: encoded(scaled(a, 0.5)),
    "double": lambda a: encoded(scaled(a, 2)),
    "another shape": lambda a: np.array(Image.fromarray(a).resize((128, 128))),
    "trimmed by one": lambda a: encoded(a[1:-1, 1:-1]),
    "trimmed by one on two sides": lambda a: encoded(a[1:, :-1]),
    "brightened": lambda a: encoded(np.clip(a * 1.1, 0, 255).astype(np.uint8)),
    "all at once": lambda a: encoded(np.clip(scaled(a[1:, 1:], 1.4) * 1.05, 0, 255).astype(np.uint8), 70),
}
