"""Cameras for drawn data: each has its own place, viewpoint, sharpness and colour rendering.

A camera's colour rendering is one fixed function of the true colour, so what tells two identities apart survives it.
What changes from image to image (light across the crop, blur, noise, JPEG quality) comes from the image's generator.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]

GROUNDS: tuple[Colour, ...] = ((128, 124, 118), (96, 98, 102), (150, 140, 124), (108, 116, 96), (164, 160, 154))
WALLS: tuple[Colour, ...] = (
    (152, 92, 74),
    (178, 172, 160),
    (74, 98, 62),
    (112, 122, 134),
    (196, 184, 152),
    (84, 78, 76),
)
HAZE: Colour = (122, 122, 120)
PANES: tuple[Colour, ...] = ((58, 70, 84), (40, 46, 54), (120, 136, 148), (96, 88, 76))
CLUTTER: tuple[Colour, ...] = (
    (60, 60, 64),
    (200, 196, 190),
    (142, 60, 50),
    (52, 80, 118),
    (66, 96, 58),
    (190, 160, 70),
)

CAST = 0.26
"""How much a camera's cast raises or lowers a channel."""


@dataclass(frozen=True)
class Camera:
    """One camera: where it stands and how it renders colour.

    `yaw`: the viewpoint it mostly sees, radians, 0 is the front. `pitch`: radians above the horizon. `light`: -1
    (from the left) to 1 (from the right). `detail`: share of the crop's pixels that it really resolves, 0 to 1.
    `gamma`, `gain`: one number a channel. `saturation`, `contrast`: 1 changes nothing. `noise`: standard deviation in
    0..1. `quality`: of the JPEG, the highest it gives.
    """

    scene: Image.Image
    yaw: float
    pitch: float
    light: float
    detail: float
    gamma: tuple[float, float, float]
    gain: tuple[float, float, float]
    saturation: float
    contrast: float
    lift: float
    noise: float
    quality: int


def make_cameras(rng: np.random.Generator, count: int, height: int, width: int) -> tuple[Camera, ...]:
    """Draw `count` cameras for crops of `height` × `width` pixels, spread so that no two render colour alike."""
    hue, turn = rng.uniform(0, 2 * math.pi), rng.uniform(-0.7, 0.7)
    spread = 1.5 * math.pi
    order = rng.permutation(count)
    cameras = []
    for number in range(count):
        share = number / count
        cast = hue + 2 * math.pi * share
        # Dark and bright, pale and vivid alternate, so that neighbours in hue differ in these too.
        level = float(order[number]) / max(count - 1, 1)
        red, green, blue = (1 + CAST * math.cos(cast - 2 * math.pi * k / 3) for k in range(3))
        bend = 0.72 + 0.6 * level
        cameras.append(
            Camera(
                scene=_draw_scene(rng, height, width),
                yaw=turn + spread * (share - 0.5),
                pitch=float(rng.uniform(0.12, 0.42)),
                light=float(rng.uniform(-1, 1)),
                detail=float(rng.uniform(0.6, 1.0)),
                gamma=(bend * float(rng.uniform(0.9, 1.1)), bend, bend * float(rng.uniform(0.9, 1.1))),
                gain=(red, green, blue),
                saturation=float(rng.uniform(0.65, 1.2)),
                contrast=float(rng.uniform(0.75, 1.1)),
                lift=float(rng.uniform(-0.03, 0.05)),
                noise=float(rng.uniform(0.006, 0.025)),
                quality=int(rng.integers(62, 92)),
            )
        )
    return tuple(cameras)


def _draw_scene(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Draw what stands behind everything one camera sees, wider and taller than a crop."""
    size = (3 * width, height + height // 3)
    horizon = int(size[1] * rng.uniform(0.25, 0.6))
    scene = Image.new("RGB", size, _pick(rng, WALLS))
    draw = ImageDraw.Draw(scene)
    _draw_wall(draw, rng, size[0], horizon)
    draw.rectangle((0, horizon, *size), fill=_pick(rng, GROUNDS))
    _draw_ground(draw, rng, size, horizon)
    for _ in range(int(rng.integers(2, 6))):
        _draw_clutter(draw, rng, size, horizon)
    # Far things are hazy: less detail and less colour than what the crop is about.
    haze = Image.new("RGB", size, HAZE)
    return Image.blend(scene.filter(ImageFilter.GaussianBlur(height / 64)), haze, 0.4)


def _draw_wall(draw: ImageDraw.ImageDraw, rng: np.random.Generator, width: int, horizon: int) -> None:
    """Cover the far side with windows, or with leaves."""
    if rng.random() < 0.5:
        colour, step = _pick(rng, PANES), int(width * rng.uniform(0.07, 0.16))
        for left in range(0, width, step):
            for top in range(-step // 2, horizon - step // 3, step):
                draw.rectangle((left, top, left + 0.6 * step, top + 0.7 * step), fill=colour)
        return
    for x, y, radius in rng.uniform((0, 0, 0.01), (width, horizon, 0.05), (160, 3)):
        shade = int(rng.integers(40, 110))
        r = radius * width
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(shade // 2, shade, shade // 3))


def _draw_ground(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], horizon: int) -> None:
    """Lay paving joints or lane lines on the ground."""
    pale = _pick(rng, ((210, 206, 200), (88, 86, 84), (180, 170, 120)))
    slope, step = rng.uniform(-0.8, 0.8), size[0] * rng.uniform(0.12, 0.5)
    for k in range(-6, 18):
        x = k * step
        draw.line((x, horizon, x + slope * size[1], size[1]), fill=pale, width=max(1, size[1] // 90))
    if rng.random() < 0.6:
        y = horizon + (size[1] - horizon) * rng.uniform(0.15, 0.5)
        draw.line((0, y, size[0], y), fill=pale, width=max(1, size[1] // 50))


def _draw_clutter(draw: ImageDraw.ImageDraw, rng: np.random.Generator, size: tuple[int, int], horizon: int) -> None:
    """Put a post, a bin or a box somewhere on the ground."""
    foot = rng.uniform(horizon, size[1])
    tall, wide = size[1] * rng.uniform(0.15, 0.6), size[0] * rng.uniform(0.01, 0.12)
    x = rng.uniform(0, size[0])
    draw.rectangle((x, foot - tall, x + wide, foot), fill=_pick(rng, CLUTTER))


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    """Take one of `colours`, a little lighter or darker."""
    red, green, blue = (int(c * rng.uniform(0.85, 1.15)) for c in colours[int(rng.integers(len(colours)))])
    return min(red, 255), min(green, 255), min(blue, 255)


def vary(rng: np.random.Generator, colour: Colour) -> Colour:
    """Vary a colour a little, as dyes and paints do."""
    red, green, blue = (int(min(max(c + rng.normal(0, 9), 0), 255)) for c in colour)
    return red, green, blue


def backdrop(
    camera: Camera, rng: np.random.Generator, place: float, size: tuple[int, int]
) -> Float[np.ndarray, "h w 3"]:
    """Cut a crop's background, (width, height) = `size`, out of the camera's scene near `place`, 0 (left) to 1."""
    width, height = size
    at = min(max(place + rng.normal(0, 0.04), 0.0), 1.0)
    left, top = int(at * (camera.scene.width - width)), int(rng.integers(camera.scene.height - height + 1))
    return np.asarray(camera.scene.crop((left, top, left + width, top + height)), dtype=np.float32) / 255


def compose(
    behind: Float[np.ndarray, "h w 3"], figure: Image.Image, camera: Camera, *, roundness: float
) -> Float[np.ndarray, "h w 3"]:
    """Lay an RGBA figure over a background, shaded as if round and lit from the camera's side; values 0 to 1.

    `roundness`: how much darker the figure is at its outline, 0 to 1.
    """
    mask = figure.getchannel("A")
    alpha = np.asarray(mask, dtype=np.float32) / 255
    radius = figure.height / 26
    soft = np.asarray(mask.filter(ImageFilter.BoxBlur(radius)), dtype=np.float32) / 255
    shift = max(1, round(radius))
    slope = np.roll(soft, shift, axis=1) - np.roll(soft, -shift, axis=1)
    shade = 1 - roundness * (1.2 * (1 - soft) + 0.8 * camera.light * slope)
    # The same blur, moved down, is the shadow round the figure's foot.
    contact = 1 - 0.35 * np.roll(soft, shift, axis=0)
    inside = np.asarray(figure.convert("RGB"), dtype=np.float32) / 255 * shade[..., None]
    outside = behind * contact[..., None]
    return outside + alpha[..., None] * (inside - outside)


def occlude(light: Float[np.ndarray, "h w 3"], rng: np.random.Generator) -> Float[np.ndarray, "h w 3"]:
    """Put a post, or a low wall, between the camera and what it sees."""
    height, width = light.shape[:2]
    covered = light.copy()
    colour = np.array(_pick(rng, CLUTTER), dtype=np.float32) / 255
    if rng.random() < 0.6:
        left, wide = int(rng.uniform(0.05, 0.9) * width), max(2, int(rng.uniform(0.04, 0.16) * width))
        across = np.linspace(0.75, 1.1, wide, dtype=np.float32)[None, :, None]
        covered[:, left : left + wide] = (colour * across)[:, : width - left]
    else:
        top = int(rng.uniform(0.7, 0.92) * height)
        covered[top:] = colour * np.linspace(1.1, 0.8, height - top, dtype=np.float32)[:, None, None]
    return covered


def expose(camera: Camera, light: Float[np.ndarray, "h w 3"], rng: np.random.Generator) -> Image.Image:
    """Turn true colours, 0 to 1, into what the camera records: uneven light, blur, its rendering, noise."""
    height, width = light.shape[:2]
    across, down = rng.uniform(-0.22, 0.22, 2).astype(np.float32)
    gradient = 1 + across * np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    gradient = gradient + down * np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    sharp = _to_image(light * gradient * np.float32(rng.uniform(0.85, 1.1)))
    blurred = _lose_detail(sharp, camera.detail * float(rng.uniform(0.75, 1.0)))
    noise = rng.standard_normal(light.shape, dtype=np.float32) * np.float32(camera.noise)
    return _to_image(_render(camera, np.asarray(blurred)) + noise)


def _render(camera: Camera, image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """Apply the camera's colour rendering: the same for every pixel of every image."""
    levels = np.linspace(0, 1, 256, dtype=np.float32)
    bent = np.stack([(levels**gamma)[image[..., c]] for c, gamma in enumerate(camera.gamma)], axis=2)
    grey = bent.mean(axis=2, keepdims=True)
    cast = (grey + camera.saturation * (bent - grey)) * np.array(camera.gain, dtype=np.float32)
    return 0.5 + camera.contrast * (cast - 0.5) + camera.lift


def _lose_detail(image: Image.Image, detail: float) -> Image.Image:
    """Shrink to `detail` of the size and back."""
    small = max(4, round(image.width * detail)), max(4, round(image.height * detail))
    return image.resize(small, Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BICUBIC)


def _to_image(light: Float[np.ndarray, "h w 3"]) -> Image.Image:
    """Round 0..1 to bytes."""
    return Image.fromarray((np.clip(light, 0, 1) * 255 + 0.5).astype(np.uint8))


def to_jpeg(image: Image.Image, quality: int) -> bytes:
    """Encode at `quality`; the same image gives the same bytes."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
