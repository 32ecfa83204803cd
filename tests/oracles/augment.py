"""Slow augmentation of one image, pixel by pixel, in float64, straight from the definitions."""

import math

import numpy as np

from resight.data.transforms import AugmentParams, Normalisation


def augmented_image(image: np.ndarray, params: AugmentParams, row: int, normalisation: Normalisation) -> np.ndarray:
    """Augment `image` (height, width, 3), uint8, with the numbers drawn for image `row` of a batch."""
    picture = rotated_crop(
        image.astype(np.float64),
        tuple(params.crop[row].tolist()),
        flip=bool(params.flip[row]),
        degrees=float(params.angle[row]),
    )
    for operation in params.jitter_order.tolist():
        if operation == 0:
            picture = picture * float(params.brightness[row])
        elif operation == 1:
            mean = np.mean([[grey(pixel) for pixel in line] for line in picture])
            picture = mean + (picture - mean) * float(params.contrast[row])
        else:
            greys = np.array([[[grey(pixel)] * 3 for pixel in line] for line in picture])
            picture = greys + (picture - greys) * float(params.saturation[row])
        picture = np.clip(picture, 0, 255)
    if bool(params.grayscale[row]):
        picture = np.array([[[grey(pixel)] * 3 for pixel in line] for line in picture])
    picture = (picture - np.array(normalisation.mean)) / np.array(normalisation.std)
    top, left, tall, wide = params.erase[row].tolist()
    for y in range(top, top + tall):
        for x in range(left, left + wide):
            picture[y, x] = 0
    return picture


def rotated_crop(image: np.ndarray, crop: tuple[int, int, int, int], *, flip: bool, degrees: float) -> np.ndarray:
    """Cut the crop out, stretch it over the whole picture, flip it, turn it about its centre; black beyond it."""
    height, width, _ = image.shape
    top, left, tall, wide = crop
    piece = image[top : top + tall, left : left + wide]
    angle = math.radians(degrees)
    result = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            # The place that a counter-clockwise turn (seen with y pointing down) brings onto this pixel's centre.
            x, y = column + 0.5 - width / 2, row + 0.5 - height / 2
            turned_x = x * math.cos(angle) - y * math.sin(angle) + width / 2
            turned_y = x * math.sin(angle) + y * math.cos(angle) + height / 2
            if flip:
                turned_x = width - turned_x
            if 0 <= turned_x <= width and 0 <= turned_y <= height:
                result[row, column] = bilinear(piece, turned_y * tall / height - 0.5, turned_x * wide / width - 0.5)
    return result


def bilinear(picture: np.ndarray, y: float, x: float) -> np.ndarray:
    """Mix the four pixels around (y, x), in pixel-centre coordinates; beyond the rim the rim's pixels go on."""
    height, width, _ = picture.shape
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = picture[top, left] * (left + 1 - x) + picture[top, right] * (x - left)
    lower = picture[bottom, left] * (left + 1 - x) + picture[bottom, right] * (x - left)
    return upper * (top + 1 - y) + lower * (y - top)


def grey(pixel: np.ndarray) -> float:
    """Grey value of one colour."""
    return 0.2989 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]
