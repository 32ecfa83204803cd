"""Convex solids with decals, and a painter that shows them from any side: what drawn vehicles are made of.

A solid is a side profile of (x, z) corners stretched across. Metres: x forwards, y to the left, z up.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

from resight.data.synthetic_cameras import Colour

SUPERSAMPLING = 3
SHADOW = (16, 16, 20, 150)
SUN = np.array([0.35, 0.45, 0.82], dtype=np.float32)
"""Where the light comes from, in the vehicle's own axes: a unit vector."""

Corners = Float[np.ndarray, "corners 3"]


@dataclass
class Face:
    """One flat face with its colour, and the decals that lie on it."""

    corners: Corners
    colour: Colour
    decals: list[tuple[Corners, Colour]] = field(default_factory=list)


@dataclass
class Solid:
    """A convex solid: the two sides, then the strips that join them, in the profile's order."""

    faces: list[Face]
    profile: list[tuple[float, float]]
    halves: list[float]
    middle: float = 0.0

    def on_sides(self, points: list[tuple[float, float]], colour: Colour) -> None:
        """Lay a decal with these (x, z) corners on both sides."""
        low, high = min(z for _, z in self.profile), max(z for _, z in self.profile)
        across = [h for _, h in sorted((z, h) for (_, z), h in zip(self.profile, self.halves, strict=True))]
        for face, sign in zip(self.faces[:2], (1, -1), strict=True):
            half = [across[0] + (across[-1] - across[0]) * (z - low) / (high - low) for _, z in points]
            rows = [(x, self.middle + sign * h, z) for (x, z), h in zip(points, half, strict=True)]
            face.decals.append((np.array(rows, dtype=np.float32), colour))

    def on_strip(self, strip: int, box: tuple[float, float, float, float], colour: Colour) -> None:
        """Lay a decal on a strip: (left, start, right, end), shares across it and along the profile."""
        a, b, c, d = self.faces[2 + strip].corners
        left, start, right, end = box
        rows = []
        for u, v in ((left, start), (right, start), (right, end), (left, end)):
            rows.append((a + (d - a) * u) * (1 - v) + (b + (c - b) * u) * v)
        self.faces[2 + strip].decals.append((np.array(rows, dtype=np.float32), colour))


def extrude(profile: list[tuple[float, float]], low: float, high: float, colour: Colour, y: float = 0.0) -> Solid:
    """Stretch a profile of (x, z) across: half as wide as `low` at its foot, as `high` at its top, round `y`."""
    bottom, top = min(z for _, z in profile), max(z for _, z in profile)
    halves = [low + (high - low) * (z - bottom) / (top - bottom) for _, z in profile]
    left = np.array([(x, y + h, z) for (x, z), h in zip(profile, halves, strict=True)], dtype=np.float32)
    right = np.array([(x, y - h, z) for (x, z), h in zip(profile, halves, strict=True)], dtype=np.float32)
    faces = [Face(left, colour), Face(right, colour)]
    for k in range(len(profile)):
        n = (k + 1) % len(profile)
        faces.append(Face(np.stack([left[k], left[n], right[n], right[k]]), colour))
    return Solid(faces, profile, halves, y)


def box(x: tuple[float, float], z: tuple[float, float], half: float, colour: Colour, y: float = 0.0) -> Solid:
    """Make a box; its strips are front, top, back, underside."""
    return extrude([(x[1], z[0]), (x[1], z[1]), (x[0], z[1]), (x[0], z[0])], half, half, colour, y)


def disc(x: float, z: float, radius: float) -> list[tuple[float, float]]:
    """Corners of a wheel."""
    return [(x + radius * math.cos(a), z + radius * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 17)[:-1]]


def quad(x0: float, z0: float, x1: float, z1: float) -> list[tuple[float, float]]:
    """Corners of an upright rectangle on a side."""
    return [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]


Span = tuple[int, int, Colour]
"""A polygon: its first corner, one past its last, its colour."""


class Mesh:
    """Solids made ready to paint: every corner in one array, and for each polygon its place there.

    `faces[s]` lists a solid's faces, each a list of polygons: the face, then its decals. `planes[s]`: for each face its
    outward normal and how far along it the face lies. `boxes`: lowest and highest corner of each solid.
    """

    def __init__(self, solids: list[Solid]) -> None:
        self.faces: list[list[list[Span]]] = []
        self.planes: list[Float[np.ndarray, "faces 4"]] = []
        self.boxes = np.zeros((len(solids), 2, 3), dtype=np.float32)
        self._rows: list[Corners] = []
        self._total = 0
        for number, solid in enumerate(solids):
            sides = np.concatenate([face.corners for face in solid.faces])
            self.boxes[number] = sides.min(0), sides.max(0)
            planes = [_plane(face.corners, sides.mean(0)) for face in solid.faces]
            self.planes.append(np.stack(planes))
            self.faces.append([self._take(f, _shade(p)) for f, p in zip(solid.faces, planes, strict=True)])
        self.corners = np.concatenate(self._rows)

    def _take(self, face: Face, shade: float) -> list[Span]:
        """Add a face and its decals to the rows."""
        spans = []
        for corners, colour in [(face.corners, face.colour), *face.decals]:
            self._rows.append(corners)
            spans.append((self._total, self._total + len(corners), _lit(colour, shade)))
            self._total += len(corners)
        return spans

    def far_to_near(self, eye: Float[np.ndarray, " 3"]) -> list[int]:
        """Order the solids for painting: of two that a plane parts, the one on the far side from `eye` first."""
        behind = self._behind(eye)
        left, order = list(range(len(self.boxes))), []
        while left:
            free = [s for s in left if not behind[left, s].any()]
            order.append((free or left)[0])
            left.remove(order[-1])
        return order

    def _behind(self, eye: Float[np.ndarray, " 3"], slack: float = 0.12) -> Bool[np.ndarray, "s s"]:
        """Mark [a, b] where a is behind b: they are parted along some axis, and the eye is on b's side."""
        low, high = self.boxes[:, None, 0], self.boxes[:, None, 1]
        below = (high <= low.swapaxes(0, 1) + slack) & (eye > high)
        above = (low >= high.swapaxes(0, 1) - slack) & (eye < low)
        marks = np.logical_or(below, above).any(axis=2)
        return np.logical_and(marks, ~marks.T)


def _plane(corners: Corners, middle: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 4"]:
    """Unit normal of a face, pointing away from its solid's `middle`, and the face's distance along it."""
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal = normal / (np.linalg.norm(normal) + 1e-9)
    if float(normal @ (corners.mean(0) - middle)) < 0:
        normal = -normal
    return np.append(normal, normal @ corners[0]).astype(np.float32)


def _shade(plane: Float[np.ndarray, " 4"]) -> float:
    """Brightness of a face by how it lies to the sun."""
    return 0.66 + 0.36 * max(0.0, float(plane[:3] @ SUN)) + 0.1 * float(plane[2])


def _lit(colour: Colour, shade: float) -> Colour:
    """Brighten or darken a colour."""
    red, green, blue = (min(int(c * shade), 255) for c in colour)
    return red, green, blue


class Eye:
    """Where a vehicle is seen from: `yaw` 0 in front of it, `pitch` above it, radians; `distance` in metres."""

    def __init__(self, yaw: float, pitch: float, distance: float) -> None:
        sin, cos, up, flat = math.sin(yaw), math.cos(yaw), math.sin(pitch), math.cos(pitch)
        towards = [cos * flat, sin * flat, up]
        self.axes = np.array([[-sin, cos, 0], [cos * up, sin * up, -flat], towards], dtype=np.float32)
        self.distance = distance
        self.place = np.array(towards, dtype=np.float32) * distance + np.array([0, 0, 0.8], dtype=np.float32)

    def project(self, corners: Corners) -> Float[np.ndarray, "corners 2"]:
        """Give image coordinates, x to the right and y down, in no particular unit."""
        turned = (corners - np.array([0, 0, 0.8], dtype=np.float32)) @ self.axes.T
        return turned[:, :2] / (self.distance - turned[:, 2:])


def paint(mesh: Mesh, eye: Eye, size: tuple[int, int], fill: float, offset: tuple[float, float]) -> Image.Image:
    """Paint a mesh as RGBA, (width, height) = `size`, so that it fills the share `fill` of it, moved by `offset`."""
    width, height = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    points = _place(mesh, eye, np.array([width, height], dtype=np.float32), fill, offset)
    image = Image.new("RGBA", (width, height))
    draw = ImageDraw.Draw(image)
    draw.polygon(points[-4:], fill=SHADOW)
    for solid in mesh.far_to_near(eye.place):
        planes = mesh.planes[solid]
        seen = planes[:, :3] @ eye.place > planes[:, 3]
        for number in np.flatnonzero(seen).tolist():
            for start, end, colour in mesh.faces[solid][number]:
                draw.polygon(points[start:end], fill=colour)
    return image.reduce(SUPERSAMPLING)


def _place(
    mesh: Mesh, eye: Eye, canvas: Float[np.ndarray, " 2"], fill: float, offset: tuple[float, float]
) -> list[tuple[float, float]]:
    """Find the pixel of every corner of the mesh, then of its shadow's four."""
    flat = eye.project(np.concatenate([mesh.corners, _footprint(mesh)]))
    low, high = flat.min(0), flat.max(0)
    fits = canvas * fill / (high - low)
    # A crop is often stretched to its format a little: a quarter of the way, on a log scale.
    scale = fits.min() * (fits / fits.min()) ** 0.25
    pixels = (flat - (low + high) / 2) * scale + canvas * (0.5 + np.array(offset, dtype=np.float32))
    return [(x, y) for x, y in pixels.tolist()]


def _footprint(mesh: Mesh) -> Corners:
    """Corners of the shadow on the ground."""
    (x0, y0, _), (x1, y1, _) = mesh.boxes[:, 0].min(0) - 0.12, mesh.boxes[:, 1].max(0) + 0.12
    return np.array([(x0, y0, 0), (x1, y0, 0), (x1, y1, 0), (x0, y1, 0)], dtype=np.float32)
