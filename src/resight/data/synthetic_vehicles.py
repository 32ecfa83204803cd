"""Drawn vehicles: an identity is body, paint, markings, load and plate; a view is how it is seen once.

A vehicle is a list of convex solids with decals (windows, doors, stripes, lamps). Metres: x forwards, y to the
vehicle's left, z up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from resight.data.synthetic_cameras import Colour, vary
from resight.data.synthetic_solids import Eye, Mesh, Solid, box, disc, extrude, paint, quad

PAINTS: tuple[Colour, ...] = (
    (34, 34, 38), (236, 236, 234), (168, 170, 174), (96, 100, 106), (176, 32, 36), (36, 66, 140), (40, 104, 66),
    (226, 186, 50), (216, 104, 36), (116, 150, 180), (112, 40, 52), (176, 158, 124), (30, 110, 116), (96, 60, 118),
)  # fmt: skip
KINDS = ("hatchback", "saloon", "estate", "van", "lorry", "bus", "motorcycle")
KIND_SHARES = (0.22, 0.22, 0.2, 0.16, 0.1, 0.06, 0.04)
MARKINGS = ("plain", "plain", "plain", "band", "two-tone", "bonnet stripes", "logo", "roof")
ROOF_LOADS = ("none", "none", "none", "rack", "box", "cases", "ladder")
CARGOES = ("box", "box", "sheet", "crates", "logs")
GLASS: Colour = (38, 48, 58)
TYRE: Colour = (24, 24, 26)


@dataclass(frozen=True)
class Vehicle:
    """What stays the same on every image of one vehicle. `stretch`: its length against its kind's."""

    kind: str
    paint: Colour
    second: Colour
    cargo_paint: Colour
    marking: str
    roof_load: str
    cargo: str
    glass: Colour
    rims: Colour
    plate: Colour
    windows: int
    door: int
    stretch: float
    tall: float
    band: float


def make_vehicle(rng: np.random.Generator) -> Vehicle:
    """Draw one identity's looks."""
    paint, second, cargo = rng.permutation(len(PAINTS))[:3]
    return Vehicle(
        kind=KINDS[int(rng.choice(len(KINDS), p=KIND_SHARES))],
        paint=vary(rng, PAINTS[paint]),
        second=vary(rng, PAINTS[second]),
        cargo_paint=vary(rng, PAINTS[cargo]),
        marking=MARKINGS[int(rng.integers(len(MARKINGS)))],
        roof_load=ROOF_LOADS[int(rng.integers(len(ROOF_LOADS)))],
        cargo=CARGOES[int(rng.integers(len(CARGOES)))],
        glass=vary(rng, GLASS),
        rims=((190, 192, 196), (60, 60, 64), (120, 122, 126))[int(rng.integers(3))],
        plate=((236, 236, 230), (232, 200, 60))[int(rng.integers(2))],
        windows=int(rng.integers(2, 4)),
        door=int(rng.integers(2)),
        stretch=float(rng.uniform(0.9, 1.12)),
        tall=float(rng.uniform(0.93, 1.08)),
        band=float(rng.uniform(0.1, 0.22)),
    )


def _add_wheels(solids: list[Solid], body: Solid, vehicle: Vehicle, places: list[float], radius: float) -> None:
    """Put tyres under a body, and wheels on its sides."""
    half = body.halves[0]
    for x in places:
        for side in (-1, 1):
            tyre = box((x - radius * 0.8, x + radius * 0.8), (0, radius), 0.1, TYRE, side * (half - 0.14))
            solids.insert(0, tyre)
        body.on_sides(disc(x, radius, radius * 1.2), (30, 30, 30))
        body.on_sides(disc(x, radius, radius), TYRE)
        body.on_sides(disc(x, radius, radius * 0.62), vehicle.rims)


def _add_ends(body: Solid, vehicle: Vehicle, front: int, back: int, high: float) -> None:
    """Put lamps, grille and plates on the front and back strips; `high`: share of the strip where the lamps are."""
    for strip, lamp, sign in ((front, (250, 244, 214), 1), (back, (168, 26, 28), -1)):
        near, far = (high, high + 0.2) if sign == 1 else (0.8 - high, 1 - high)
        for left in (0.03, 0.77):
            body.on_strip(strip, (left, near, left + 0.2, far), lamp)
        if sign == 1:
            body.on_strip(strip, (0.28, near - 0.08, 0.72, far - 0.04), (44, 44, 48))
        middle = 0.28 if sign == 1 else 0.62
        body.on_strip(strip, (0.33, middle - 0.11, 0.67, middle + 0.11), vehicle.plate)


def _add_marking(body: Solid, vehicle: Vehicle, x: tuple[float, float], z: tuple[float, float]) -> None:
    """Paint the second colour on the sides, within these limits."""
    tall = z[1] - z[0]
    if vehicle.marking == "band":
        low = z[0] + 0.45 * tall
        body.on_sides(quad(x[0], low, x[1], low + vehicle.band * 1.6 * tall), vehicle.second)
    if vehicle.marking == "two-tone":
        body.on_sides(quad(x[0], z[0], x[1], z[0] + 0.5 * tall), vehicle.second)
    if vehicle.marking == "logo":
        middle = x[0] + (0.4 + 0.2 * vehicle.door) * (x[1] - x[0])
        body.on_sides(quad(middle - 0.5, z[0] + 0.2 * tall, middle + 0.5, z[0] + 0.85 * tall), vehicle.second)


def _car(vehicle: Vehicle) -> list[Solid]:
    """Build a hatchback, saloon or estate."""
    half = {"hatchback": 1.95, "saloon": 2.3, "estate": 2.25}[vehicle.kind] * vehicle.stretch
    belt, roof = 0.92 * vehicle.tall, 1.45 * vehicle.tall
    boot = {"hatchback": 0.05, "saloon": 0.85, "estate": 0.05}[vehicle.kind]
    lean = {"hatchback": 0.55, "saloon": 0.6, "estate": 0.25}[vehicle.kind]
    nose = [(half, 0.28), (half, 0.68), (half - 1.0, belt), (-half, belt), (-half, 0.28)]
    body = extrude(nose, 0.88, 0.84, vehicle.paint)
    front, back = half - 1.05, -half + boot
    top = vehicle.second if vehicle.marking == "roof" else vehicle.paint
    cabin = extrude([(front, belt), (front - 0.75, roof), (back + lean, roof), (back, belt)], 0.82, 0.64, top)
    _add_marking(body, vehicle, (-half, half - 0.3), (0.3, belt - 0.05))
    if vehicle.marking == "bonnet stripes":
        for left in (0.32, 0.56):
            body.on_strip(1, (left, 0, left + 0.12, 1), vehicle.second)
            cabin.on_strip(1, (left, 0, left + 0.12, 1), vehicle.second)
    _add_ends(body, vehicle, 0, 3, 0.62)
    for strip in (0, 2):
        cabin.on_strip(strip, (0.08, 0.1, 0.92, 0.92), vehicle.glass)
    _add_side_glass(cabin, vehicle, (back, front), (belt + 0.05, roof - 0.08), (lean, 0.75))
    body.on_sides(quad(0.1, 0.35, 0.13, belt), (30, 30, 30))
    body.on_sides(quad(-0.15, belt - 0.16, 0.02, belt - 0.12), (40, 40, 40))
    solids = [body, cabin]
    _add_wheels(solids, body, vehicle, [half - 0.75, -half + 0.75], 0.32)
    return solids + _roof_load(vehicle, (back + lean, front - 0.75), roof, 0.55)


def _add_side_glass(
    cabin: Solid, vehicle: Vehicle, x: tuple[float, float], z: tuple[float, float], lean: tuple[float, float]
) -> None:
    """Cut side windows between raked pillars; `lean`: how far the cabin's ends lean at the back and the front."""
    for k in range(vehicle.windows):
        lows = [x[0] + 0.18 + (x[1] - x[0] - 0.36) * (k + s) / vehicle.windows for s in (0.04, 0.96)]
        highs = [x[0] + lean[0] + 0.06 + (x[1] - lean[1] - x[0] - lean[0] - 0.12) * (k + s) / vehicle.windows
                 for s in (0.04, 0.96)]  # fmt: skip
        cabin.on_sides([(lows[0], z[0]), (lows[1], z[0]), (highs[1], z[1]), (highs[0], z[1])], vehicle.glass)


def _roof_load(vehicle: Vehicle, x: tuple[float, float], roof: float, half: float) -> list[Solid]:
    """Build what stands on the roof."""
    if vehicle.roof_load == "none":
        return []
    middle, grey = (x[0] + x[1]) / 2, (70, 70, 74)
    solids = [box((p - 0.04, p + 0.04), (roof, roof + 0.1), half, grey) for p in (x[0] + 0.25, x[1] - 0.25)]
    if vehicle.roof_load == "box":
        wedge = [(middle + 0.95, roof + 0.1), (middle + 0.6, roof + 0.5), (middle - 0.9, roof + 0.5)]
        solids.append(extrude([*wedge, (middle - 0.95, roof + 0.1)], half * 0.7, half * 0.6, vehicle.cargo_paint))
    if vehicle.roof_load == "cases":
        solids.append(box((middle - 0.75, middle - 0.05), (roof + 0.1, roof + 0.5), half * 0.8, vehicle.cargo_paint))
        solids.append(box((middle + 0.05, middle + 0.6), (roof + 0.1, roof + 0.36), half * 0.7, (124, 84, 56)))
    if vehicle.roof_load == "ladder":
        rails = ((x[0] - 0.3, x[1] + 0.5), (roof + 0.1, roof + 0.2))
        solids += [box(*rails, 0.05, (206, 176, 90), y) for y in (-0.25, 0.25)]
    return solids


def _van(vehicle: Vehicle) -> list[Solid]:
    """Build a delivery van."""
    half, roof = 2.5 * vehicle.stretch, 2.2 * vehicle.tall
    shape = [(half, 0.3), (half, 0.95), (half - 0.75, 1.2), (half - 1.35, roof), (-half, roof), (-half, 0.3)]
    body = extrude(shape, 0.98, 0.9, vehicle.paint)
    _add_marking(body, vehicle, (-half, half - 1.4), (0.4, roof - 0.2))
    body.on_strip(2, (0.07, 0.06, 0.93, 0.85), vehicle.glass)
    body.on_sides(
        [(half - 1.5, 1.3), (half - 0.95, 1.3), (half - 1.4, roof - 0.2), (half - 1.85, roof - 0.2)], vehicle.glass
    )
    for k in range(vehicle.windows if vehicle.door else 0):
        body.on_sides(quad(-half + 0.3 + 0.95 * k, 1.3, -half + 1.1 + 0.95 * k, roof - 0.25), vehicle.glass)
    body.on_strip(4, (0.12, 0.12, 0.46, 0.4), vehicle.glass)
    body.on_strip(4, (0.54, 0.12, 0.88, 0.4), vehicle.glass)
    body.on_sides(quad(half - 2.05, 0.4, half - 2.02, roof - 0.15), (40, 40, 40))
    _add_ends(body, vehicle, 0, 4, 0.6)
    solids = [body]
    _add_wheels(solids, body, vehicle, [half - 0.8, -half + 0.95], 0.36)
    return solids + _roof_load(vehicle, (-half + 0.4, half - 1.6), roof, 0.75)


def _bus(vehicle: Vehicle) -> list[Solid]:
    """Build a bus."""
    half, roof = 4.6 * vehicle.stretch, 2.9 * vehicle.tall
    body = box((-half, half), (0.35, roof), 1.2, vehicle.paint)
    _add_marking(body, vehicle, (-half, half), (0.4, 1.5))
    panes = 2 + 2 * vehicle.windows
    for k in range(panes):
        x = -half + 0.25 + (2 * half - 0.5) * k / panes
        body.on_sides(quad(x + 0.06, 1.5, x + (2 * half - 0.5) / panes - 0.06, roof - 0.5), vehicle.glass)
    for x in (half - 1.3, -0.6 + vehicle.door):
        body.on_sides(quad(x, 0.5, x + 0.9, roof - 0.5), (60, 72, 82))
    body.on_strip(0, (0.05, 0.38, 0.95, 0.82), vehicle.glass)
    body.on_strip(0, (0.2, 0.85, 0.8, 0.97), (232, 168, 40))
    body.on_strip(2, (0.12, 0.15, 0.88, 0.45), vehicle.glass)
    if vehicle.marking in ("roof", "bonnet stripes"):
        body.on_strip(1, (0, 0, 1, 1), vehicle.second)
        body.on_sides(quad(-half, roof - 0.45, half, roof), vehicle.second)
    _add_ends(body, vehicle, 0, 2, 0.12)
    solids = [body]
    _add_wheels(solids, body, vehicle, [half - 1.8, -half + 2.0], 0.48)
    return solids


def _lorry(vehicle: Vehicle) -> list[Solid]:
    """Build a lorry: chassis, cab, and a box, a sheeted body or an open bed with a load."""
    half, roof = 3.4 * vehicle.stretch, 2.5 * vehicle.tall
    chassis = box((-half, half), (0.45, 0.85), 1.0, (52, 52, 56))
    cab = extrude(
        [(half, 0.45), (half, 1.4), (half - 0.25, roof), (half - 1.6, roof), (half - 1.6, 0.45)],
        1.1,
        1.02,
        vehicle.paint,
    )
    cab.on_strip(1, (0.06, 0.08, 0.94, 0.86), vehicle.glass)
    cab.on_sides(
        [(half - 1.1, 1.45), (half - 0.15, 1.45), (half - 0.35, roof - 0.2), (half - 1.1, roof - 0.2)], vehicle.glass
    )
    _add_marking(cab, vehicle, (half - 1.6, half - 0.05), (0.5, 1.4))
    _add_ends(cab, vehicle, 0, 4, 0.3)
    _add_ends(chassis, vehicle, 0, 2, 0.3)
    solids = [chassis, *_cargo(vehicle, (-half, half - 1.75)), cab]
    _add_wheels(solids, chassis, vehicle, [half - 0.9, -half + 1.9, -half + 0.85], 0.48)
    return solids


def _cargo(vehicle: Vehicle, x: tuple[float, float]) -> list[Solid]:
    """Build a lorry's load."""
    roof, colour = 2.95 * vehicle.tall, vehicle.cargo_paint
    if vehicle.cargo in ("box", "sheet"):
        body = box(x, (0.9, roof), 1.15, colour)
        _add_marking(body, vehicle, x, (1.0, roof - 0.1))
        for k in range(1, 6 if vehicle.cargo == "sheet" else 1):
            at = x[0] + (x[1] - x[0]) * k / 6
            body.on_sides(quad(at, 0.9, at + 0.07, roof), (70, 70, 72))
        body.on_strip(2, (0.49, 0, 0.51, 1), (60, 60, 60))
        return [body]
    bed = box(x, (0.85, 1.3), 1.12, colour)
    if vehicle.cargo == "logs":
        logs = [box((x[0] + 0.1, x[1]), (1.3, 1.85), 0.26, (128, 88, 56), y) for y in (-0.75, 0.0, 0.75)]
        return [bed, *logs, box((x[0] + 0.3, x[1] - 0.2), (1.85, 2.3), 0.6, (112, 76, 48))]
    spots = [x[0] + 0.1 + 1.4 * k for k in range(vehicle.windows)]
    crates = [box((s, s + 1.2), (1.3, 2.1 + 0.3 * (k % 2)), 0.85, vehicle.second) for k, s in enumerate(spots)]
    return [bed, *crates]


def _motorcycle(vehicle: Vehicle) -> list[Solid]:
    """Build a motorcycle with its rider."""
    wheels = [extrude(disc(x, 0.32, 0.32), 0.07, 0.07, TYRE) for x in (-0.7, 0.72)]
    for wheel, x in zip(wheels, (-0.7, 0.72), strict=True):
        wheel.on_sides(disc(x, 0.32, 0.2), vehicle.rims)
    frame = extrude([(0.5, 0.3), (0.62, 0.8), (0.2, 0.98), (-0.8, 0.8), (-0.4, 0.3)], 0.14, 0.17, vehicle.paint)
    frame.on_sides([(0.1, 0.3), (0.3, 0.6), (-0.3, 0.6), (-0.35, 0.3)], (70, 70, 74))
    frame.on_strip(3, (0.2, 0.1, 0.8, 0.4), (190, 30, 30))
    fairing = extrude([(0.85, 0.75), (0.72, 1.15), (0.5, 1.1), (0.55, 0.75)], 0.2, 0.16, vehicle.second)
    fairing.on_strip(0, (0.2, 0.1, 0.8, 0.5), (250, 244, 214))
    legs = [
        extrude([(0.25, 0.85), (0.2, 0.35), (0.0, 0.35), (-0.25, 0.9)], 0.08, 0.1, (44, 48, 60), y)
        for y in (-0.24, 0.24)
    ]
    torso = extrude([(0.05, 0.85), (0.3, 1.35), (0.05, 1.45), (-0.35, 0.85)], 0.2, 0.25, vehicle.cargo_paint)
    arms = [
        extrude([(0.25, 1.35), (0.6, 1.05), (0.55, 0.97), (0.1, 1.2)], 0.06, 0.06, vehicle.cargo_paint, y)
        for y in (-0.3, 0.3)
    ]
    helmet = extrude(disc(0.28, 1.58, 0.17), 0.14, 0.14, vehicle.second if vehicle.door else (230, 230, 230))
    helmet.on_strip(0, (0.1, 0, 0.9, 1), GLASS)
    solids = [*wheels, frame, fairing, *legs, torso, *arms, helmet]
    if vehicle.roof_load in ("box", "cases", "rack"):
        solids.append(box((-1.0, -0.5), (0.85, 1.25), 0.24, vehicle.second))
    return solids


BUILDERS: dict[str, Callable[[Vehicle], list[Solid]]] = {
    "hatchback": _car, "saloon": _car, "estate": _car, "van": _van, "lorry": _lorry, "bus": _bus,
    "motorcycle": _motorcycle,
}  # fmt: skip


@lru_cache(maxsize=512)
def _mesh(vehicle: Vehicle) -> Mesh:
    """Build a vehicle once, however often it is seen."""
    return Mesh(BUILDERS[vehicle.kind](vehicle))


def draw_vehicle(
    vehicle: Vehicle, rng: np.random.Generator, yaw: float, pitch: float, size: tuple[int, int]
) -> Image.Image:
    """Draw one view as RGBA, (width, height) = `size`; `yaw` 0 shows the front, π the back; `pitch` is from above."""
    eye = Eye(yaw, pitch + float(rng.normal(0, 0.03)), distance=float(rng.uniform(11, 16)))
    fill = float(rng.uniform(0.8, 0.98))
    offset = float(rng.normal(0, 0.025)), float(rng.normal(0.01, 0.025))
    return paint(_mesh(vehicle), eye, size, fill, offset)
