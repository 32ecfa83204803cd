"""A canvas for a standing body: a small skeleton in three dimensions, turned by the view's yaw.

Lengths are shares of the body's height: x to the figure's left, y down from the crown, z forwards.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

from resight.data.synthetic_cameras import Colour

SUPERSAMPLING = 3

Joint = tuple[float, float, float]


class Figure:
    """A canvas that knows where the body stands and which way it faces."""

    def __init__(self, size: tuple[int, int], rng: np.random.Generator, tall: float, yaw: float) -> None:
        self.size = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
        self.image = Image.new("RGBA", self.size)
        self.draw = ImageDraw.Draw(self.image)
        self.scale = self.size[1] * tall * float(rng.uniform(0.95, 1.05))
        self.left = self.size[0] * float(rng.normal(0.5, 0.04))
        self.top = self.size[1] * (0.99 + float(rng.normal(0, 0.02))) - self.scale
        self.sin, self.cos = math.sin(yaw), math.cos(yaw)

    def at(self, x: float, y: float, z: float = 0.0) -> tuple[float, float]:
        """Pixel of a point of the body."""
        return self.left + self.scale * (x * self.cos + z * self.sin), self.top + self.scale * y

    def near(self, x: float, z: float) -> float:
        """How much nearer to the viewer than the body's axis; negative is behind it."""
        return z * self.cos - x * self.sin

    def half(self, wide: float, deep: float) -> float:
        """Half the visible width, in pixels, of an ellipse with these half axes."""
        return self.scale * math.hypot(wide * self.cos, deep * self.sin)

    def dot(self, x: float, y: float, z: float, radii: tuple[float, float], colour: Colour) -> None:
        """Paint an ellipse."""
        (px, py), (rx, ry) = self.at(x, y, z), (radii[0] * self.scale, radii[1] * self.scale)
        self.draw.ellipse((px - rx, py - ry, px + rx, py + ry), fill=colour)

    def limb(self, joints: list[Joint], thick: tuple[float, float], colour: Colour) -> None:
        """Paint a limb through its joints, as thick as `thick` at its ends."""
        points = [self.at(*joint) for joint in joints]
        radii = [self.scale * r for r in np.linspace(*thick, len(points))]
        for (ax, ay), (bx, by), ra, rb in zip(points, points[1:], radii, radii[1:], strict=False):
            length = math.hypot(bx - ax, by - ay) or 1.0
            nx, ny = (by - ay) / length, (ax - bx) / length
            corners = [(ax + nx * ra, ay + ny * ra), (bx + nx * rb, by + ny * rb)]
            corners += [(bx - nx * rb, by - ny * rb), (ax - nx * ra, ay - ny * ra)]
            self.draw.polygon(corners, fill=colour)
            for x, y, r in ((ax, ay, ra), (bx, by, rb)):
                self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def column(self, levels: list[tuple[float, float, float]]) -> list[tuple[float, float]]:
        """Outline of stacked ellipses, each (y, half width, half depth)."""
        sides = [(self.half(wide, deep), self.top + self.scale * y) for y, wide, deep in levels]
        return [(self.left - h, y) for h, y in sides] + [(self.left + h, y) for h, y in reversed(sides)]

    def patch(self, azimuth: tuple[float, float], rows: tuple[float, float], half: float) -> list[tuple[float, float]]:
        """Corners of a patch on the trunk between two azimuths (0 is the chest); empty where it faces away."""
        yaw = math.atan2(self.sin, self.cos)
        first, last = (min(max(_wrap(a + yaw), -1.57), 1.57) for a in azimuth)
        if last - first < 0.05:
            return []
        x0, x1 = (self.left + self.half(half, half * 0.62) * math.sin(a) for a in (first, last))
        y0, y1 = (self.top + self.scale * y for y in rows)
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def _wrap(angle: float) -> float:
    """Bring an angle into -π..π."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
