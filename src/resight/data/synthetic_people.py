"""Drawn people: an identity is clothes, build, hair, skin and what is carried; a view is how it is seen once.

Parts are painted far to near on a `Figure`, whose lengths are shares of the body's height.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from resight.data.synthetic_cameras import Colour, vary
from resight.data.synthetic_figures import SUPERSAMPLING, Figure, Joint

SKINS: tuple[Colour, ...] = ((246, 214, 190), (226, 180, 148), (198, 146, 108), (150, 102, 72), (104, 70, 50))
HAIRS: tuple[Colour, ...] = ((28, 24, 24), (66, 44, 32), (122, 82, 50), (188, 142, 66), (150, 146, 142), (150, 66, 36))
CLOTHS: tuple[Colour, ...] = (
    (30, 30, 34), (236, 234, 230), (128, 128, 130), (196, 42, 44), (40, 74, 156), (52, 128, 72), (232, 196, 60),
    (226, 122, 40), (120, 60, 138), (232, 142, 172), (96, 176, 206), (124, 84, 56), (196, 178, 142), (28, 108, 112),
)  # fmt: skip
PATTERNS = ("plain", "plain", "plain", "hoops", "stripes", "checks", "halves", "logo", "print", "open")
LOWERS = ("trousers", "trousers", "trousers", "shorts", "skirt", "long skirt")
LOADS = ("none", "none", "rucksack", "shoulder bag", "handbag")
HAIR_STYLES = ("short", "short", "short", "long", "long", "bun", "bald")


@dataclass(frozen=True)
class Person:
    """What stays the same on every image of one person. `sleeve`: share of the arm covered. `hem`: height of it."""

    skin: Colour
    hair: Colour
    hair_style: str
    hat: str
    hat_colour: Colour
    upper: Colour
    second: Colour
    pattern: str
    period: float
    sleeve: float
    hem: float
    lower_kind: str
    lower: Colour
    shoes: Colour
    load: str
    load_colour: Colour
    build: float
    tall: float


def make_person(rng: np.random.Generator) -> Person:
    """Draw one identity's looks."""
    upper, second, lower, shoes, load, hat = rng.permutation(len(CLOTHS))[:6]
    return Person(
        skin=vary(rng, SKINS[int(rng.integers(len(SKINS)))]),
        hair=vary(rng, HAIRS[int(rng.integers(len(HAIRS)))]),
        hair_style=HAIR_STYLES[int(rng.integers(len(HAIR_STYLES)))],
        hat=("none", "none", "none", "cap", "beanie")[int(rng.integers(5))],
        hat_colour=vary(rng, CLOTHS[hat]),
        upper=vary(rng, CLOTHS[upper]),
        second=vary(rng, CLOTHS[second]),
        pattern=PATTERNS[int(rng.integers(len(PATTERNS)))],
        period=float(rng.uniform(0.045, 0.09)),
        sleeve=(0.0, 0.42, 1.0, 1.0)[int(rng.integers(4))],
        hem=(0.5, 0.53, 0.53, 0.68)[int(rng.integers(4))],
        lower_kind=LOWERS[int(rng.integers(len(LOWERS)))],
        lower=vary(rng, CLOTHS[lower]),
        shoes=vary(rng, CLOTHS[shoes]),
        load=LOADS[int(rng.integers(len(LOADS)))],
        load_colour=vary(rng, CLOTHS[load]),
        build=float(rng.uniform(0.9, 1.35)),
        tall=float(rng.uniform(0.9, 1.0)),
    )


def _darker(colour: Colour, share: float) -> Colour:
    """Scale a colour towards black."""
    return int(colour[0] * share), int(colour[1] * share), int(colour[2] * share)


def draw_person(
    person: Person, rng: np.random.Generator, yaw: float, pitch: float, size: tuple[int, int]
) -> Image.Image:
    """Draw one view as RGBA, (width, height) = `size`; `yaw` 0 shows the front, π the back. `pitch` is not used."""
    figure = Figure(size, rng, person.tall, yaw)
    stride, bend = float(rng.uniform(-0.55, 0.55)), float(rng.uniform(0.1, 0.5))
    for side in sorted((-1, 1), key=lambda s: figure.near(0.06 * s, stride * s * 0.2)):
        _draw_leg(figure, person, side, stride * side)
    arms = sorted((-1, 1), key=lambda s: figure.near(0.12 * s, 0.0))
    if person.load == "rucksack" and figure.cos > 0:
        _draw_rucksack(figure, person)
    _draw_arm(figure, person, arms[0], -stride * arms[0], bend)
    _draw_skirt(figure, person)
    _draw_trunk(figure, person)
    _draw_load(figure, person)
    _draw_head(figure, person)
    if person.load == "rucksack" and figure.cos <= 0:
        _draw_rucksack(figure, person)
    _draw_arm(figure, person, arms[1], -stride * arms[1], bend)
    return figure.image.reduce(SUPERSAMPLING)


def _draw_leg(figure: Figure, person: Person, side: int, swing: float) -> None:
    """Paint one leg: skin, then what covers it, then the shoe."""
    x, build = 0.052 * side * person.build, person.build
    shade = 1.0 if figure.near(x, 0.1 * swing) >= 0 else 0.8
    knee = (x, 0.5 + 0.235 * math.cos(swing * 0.8), 0.235 * math.sin(swing * 0.8))
    back = swing * 0.9 - 0.25 * abs(swing)
    ankle = (x, knee[1] + 0.215 * math.cos(back), knee[2] + 0.215 * math.sin(back))
    hip = (x * 0.9, 0.5, 0.0)
    bare = person.lower_kind != "trousers"
    cloth = _darker(person.skin if bare else person.lower, shade)
    figure.limb([hip, knee, ankle], (0.056 * build, 0.028 * build), cloth)
    if person.lower_kind == "shorts":
        figure.limb([hip, knee], (0.062 * build, 0.052 * build), _darker(person.lower, shade))
    toe = (x, ankle[1] + 0.022, ankle[2] + 0.06)
    figure.limb([(x, ankle[1] + 0.012, ankle[2] - 0.015), toe], (0.03, 0.022), _darker(person.shoes, shade))


def _draw_skirt(figure: Figure, person: Person) -> None:
    """Paint the hips, and a skirt where one is worn."""
    b = person.build
    levels = [(0.44, 0.084 * b, 0.066 * b), (0.53, 0.1 * b, 0.082 * b)]
    if person.lower_kind == "skirt":
        levels.append((0.7, 0.14 * b, 0.115 * b))
    if person.lower_kind == "long skirt":
        levels.append((0.88, 0.15 * b, 0.13 * b))
    figure.draw.polygon(figure.column(levels), fill=person.lower)


def _draw_trunk(figure: Figure, person: Person) -> None:
    """Paint the upper garment with its pattern."""
    b = person.build
    levels = [(0.158, 0.03, 0.032), (0.172, 0.066 * b, 0.048 * b), (0.188, 0.092 * b, 0.058 * b)]
    levels += [(0.215, 0.106 * b, 0.066 * b), (0.3, 0.101 * b, 0.076 * b), (0.41, 0.083 * b, 0.07 * b)]
    levels += [(0.5, 0.096 * b, 0.08 * b), (person.hem, 0.1 * b if person.hem < 0.6 else 0.122 * b, 0.085 * b)]
    figure.limb([(0, 0.1, 0.01), (0, 0.165, 0)], (0.028, 0.032), _darker(person.skin, 0.78))
    mask = Image.new("L", figure.size)
    ImageDraw.Draw(mask).polygon(figure.column(levels), fill=255)
    figure.image.paste(_pattern(figure, person), (0, 0), mask)


def _pattern(figure: Figure, person: Person) -> Image.Image:
    """Paint the upper garment's cloth over the whole canvas, in the body's place and turn."""
    cloth = Image.new("RGB", figure.size, person.upper)
    draw = ImageDraw.Draw(cloth)
    for corners in _pattern_patches(figure, person):
        if corners:
            draw.polygon(corners, fill=person.second)
    return cloth


def _pattern_patches(figure: Figure, person: Person) -> list[list[tuple[float, float]]]:
    """List the polygons of the second colour."""
    half, all_round = 0.12 * person.build, 1.56
    turn = math.atan2(figure.sin, figure.cos)
    patches = []
    if person.pattern in ("hoops", "checks"):
        rows = [(y, y + person.period / 2) for y in np.arange(0.17, 0.7, person.period)]
        patches += [figure.patch((-all_round - turn, all_round - turn), row, half * 1.4) for row in rows]
    if person.pattern in ("stripes", "checks"):
        step = person.period * 8
        ways = np.arange(-math.pi, math.pi, step)
        patches += [figure.patch((a, a + step / 2), (0.15, 0.75), half) for a in ways if math.cos(a + turn) > -0.1]
    if person.pattern == "halves":
        patches.append(figure.patch((-all_round - turn, all_round - turn), (0.33, 0.75), half * 1.4))
    if person.pattern == "logo" and figure.cos > 0:
        patches.append(figure.patch((-0.5, 0.5), (0.24, 0.36), half))
    if person.pattern == "print" and figure.cos < 0:
        patches.append(figure.patch((math.pi - 0.75, math.pi + 0.75), (0.22, 0.42), half))
    if person.pattern == "open" and figure.cos > 0:
        patches.append(figure.patch((-0.38, 0.38), (0.15, 0.75), half))
    return patches


def _draw_arm(figure: Figure, person: Person, side: int, swing: float, bend: float) -> None:
    """Paint one arm: skin, then the sleeve."""
    x, b = 0.096 * side * person.build, person.build
    shade = 0.94 if figure.near(x, 0.0) >= 0 else 0.72
    elbow = (x + 0.03 * side, 0.215 + 0.155 * math.cos(swing), 0.155 * math.sin(swing))
    way = swing + bend
    hand = (elbow[0] + 0.004 * side, elbow[1] + 0.15 * math.cos(way), elbow[2] + 0.15 * math.sin(way))
    shoulder = (x, 0.212, 0.0)
    sleeve = person.second if person.pattern == "halves" and person.sleeve == 1 else person.upper
    covered = _part_way(shoulder, elbow, hand, person.sleeve)
    # A darker outline parts the arm from a trunk of the same colour.
    figure.limb(
        [shoulder, elbow, hand], (0.042 * b, 0.03 * b), _darker(sleeve if covered else person.skin, 0.55 * shade)
    )
    figure.limb([shoulder, elbow, hand], (0.033 * b, 0.021 * b), _darker(person.skin, shade))
    figure.dot(*hand, (0.022, 0.026), _darker(person.skin, shade))
    if covered:
        figure.limb(covered, (0.038 * b, 0.029 * b), _darker(sleeve, shade))
    if person.load == "handbag" and side == 1:
        _draw_handbag(figure, person, hand)


def _part_way(shoulder: Joint, elbow: Joint, hand: Joint, share: float) -> list[Joint]:
    """Cut an arm's joints to the share of it that a sleeve covers; a full sleeve ends at the wrist."""
    if share == 0:
        return []
    first, last = (elbow, hand) if share == 1 else (shoulder, elbow)
    x, y, z = (a + 0.85 * (b - a) for a, b in zip(first, last, strict=True))
    return [shoulder, elbow, (x, y, z)] if share == 1 else [shoulder, (x, y, z)]


def _draw_handbag(figure: Figure, person: Person, hand: Joint) -> None:
    """Hang a bag from a hand."""
    x, y = figure.at(*hand)
    half, tall = figure.half(0.03, 0.07), 0.1 * figure.scale
    figure.draw.line((x, y, x, y + tall * 0.5), fill=_darker(person.load_colour, 0.7), width=SUPERSAMPLING)
    figure.draw.rectangle((x - half, y + tall * 0.4, x + half, y + tall * 1.4), fill=person.load_colour)


def _draw_rucksack(figure: Figure, person: Person) -> None:
    """Paint a rucksack on the back."""
    x, y = figure.at(0, 0.19, -0.12 * person.build)
    half, tall = figure.half(0.085, 0.055), 0.24 * figure.scale
    figure.draw.rounded_rectangle((x - half, y, x + half, y + tall), half / 2, fill=person.load_colour)
    pocket = (x - half * 0.7, y + tall * 0.55, x + half * 0.7, y + tall * 0.9)
    figure.draw.rounded_rectangle(pocket, half / 4, fill=_darker(person.load_colour, 0.75))


def _draw_load(figure: Figure, person: Person) -> None:
    """Paint what lies over the trunk: a rucksack's straps, or a bag on its strap."""
    if person.load == "rucksack" and figure.cos > 0:
        for middle in (-0.55, 0.55):
            strap = figure.patch((middle - 0.13, middle + 0.13), (0.165, 0.36), 0.11 * person.build)
            if strap:
                figure.draw.polygon(strap, fill=person.load_colour)
    if person.load == "shoulder bag":
        b = person.build
        start, end = figure.at(-0.07 * b, 0.17, 0.0), figure.at(0.115 * b, 0.5, 0.0)
        figure.draw.line((*start, *end), fill=_darker(person.load_colour, 0.7), width=2 * SUPERSAMPLING)
        half = figure.half(0.04, 0.08)
        box = (end[0] - half, end[1] - 0.03 * figure.scale, end[0] + half, end[1] + 0.09 * figure.scale)
        figure.draw.rounded_rectangle(box, 2 * SUPERSAMPLING, fill=person.load_colour)


def _draw_head(figure: Figure, person: Person) -> None:
    """Paint face, hair and hat, the farther first."""
    hair = person.skin if person.hair_style == "bald" else person.hair
    face = ((0.0, 0.086, 0.012), (0.041, 0.058), person.skin)
    mane = ((0.0, 0.068, -0.012), (0.05, 0.06), hair)
    long_hair = [(0.0, 0.075, -0.028), (0.0, 0.18, -0.045)]
    if person.hair_style == "long" and figure.cos > 0:
        figure.limb(long_hair, (0.054, 0.058), hair)
        figure.limb([(0, 0.1, 0.01), (0, 0.165, 0)], (0.028, 0.03), _darker(person.skin, 0.78))
    for middle, radii, colour in (mane, face) if figure.cos > -0.25 else (face, mane):
        figure.dot(*middle, radii, colour)
    _draw_cap(figure, hair, 0.052)
    if person.hair_style == "long" and figure.cos <= 0:
        figure.limb(long_hair, (0.05, 0.062), hair)
    if person.hair_style == "bun":
        figure.dot(0, 0.03, -0.055, (0.026, 0.026), hair)
    _draw_face(figure, person)
    _draw_hat(figure, person)


def _draw_face(figure: Figure, person: Person) -> None:
    """Paint the eyes, and a mouth, where they can be seen."""
    turn = math.atan2(figure.sin, figure.cos)
    for azimuth in (-0.45, 0.45):
        if math.cos(azimuth + turn) > 0.3:
            figure.dot(0.042 * math.sin(azimuth), 0.08, 0.048 * math.cos(azimuth), (0.008, 0.006), (40, 30, 30))
    if figure.cos > 0.2:
        figure.dot(0.0, 0.117, 0.036, (0.013, 0.004), _darker(person.skin, 0.6))


def _draw_cap(figure: Figure, colour: Colour, low: float) -> None:
    """Cover the crown down to height `low` on the brow."""
    x, y = figure.at(0, 0.066, -0.006)
    half, tall = 0.051 * figure.scale, 0.062 * figure.scale
    spread = 90 - 1000 * (0.066 - low)
    figure.draw.chord((x - half, y - tall, x + half, y + tall), 270 - spread, 270 + spread, fill=colour)


def _draw_hat(figure: Figure, person: Person) -> None:
    """Put on a cap with a peak, or a woollen hat."""
    if person.hat == "none":
        return
    _draw_cap(figure, person.hat_colour, 0.056)
    if person.hat == "beanie":
        figure.dot(0, 0.004, -0.006, (0.02, 0.018), person.hat_colour)
    elif figure.cos > -0.5:
        figure.dot(0, 0.05, 0.05, (0.042, 0.012), _darker(person.hat_colour, 0.7))
