"""`resight report`: embed the run's images, gather what the page shows, write it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.data.digests import content_digests, default_cache_dir
from resight.errors import ConfigError, DataError, ResightError, no_such_name
from resight.progress import Bar, no_bar
from resight.report.against import beside
from resight.report.album import Album
from resight.report.cameras import neighbour_shares, pair_scores
from resight.report.embedding_map import PROJECTIONS, embedding_map
from resight.report.found_groups import found_groups
from resight.report.group_file import groups_of_file
from resight.report.groups import ShownGroups, group_sheets
from resight.report.history import read_history
from resight.report.material import Material, Source, identities, open_material
from resight.report.page import LEAST_MEGABYTES, MEGABYTES, SECTIONS, Extras, albums_of, write_report
from resight.report.strips import chosen_strips, hardest_strips

POINTS = 2000
"""Most points of the map, unless another number is asked for."""

MOST_POINTS = 5000

MOST_STRIPS = 200

WITH_IMAGES = ("strips", "hardest", "groups")
"""Sections that are nothing without images."""


@dataclass(frozen=True)
class ReportRequest:
    """What `resight report` was asked for.

    `data`: None is the run's own. `queries`, `hardest`: strips of each kind. `against`: another run. `groups`: a file
    of groups in place of those that the model finds. `split`: which images are mapped and grouped. `points`: of the
    map, at most. `megabytes`: largest page, 10⁶ bytes each. `images`: False writes no picture.

    Raises:
        ConfigError: a setting that cannot be used.
    """

    run: Path
    data: Path | None = None
    out: Path | None = None
    queries: int = 12
    hardest: int = 8
    device: str = "auto"
    cache_dir: Path | None = None
    format: str | None = None
    against: Path | None = None
    groups: Path | None = None
    sections: tuple[str, ...] = SECTIONS
    split: str = "auto"
    points: int = POINTS
    projection: str = "auto"
    megabytes: float = MEGABYTES
    images: bool = True
    bar: Bar = no_bar

    def __post_init__(self) -> None:
        for name in self.sections:
            if name not in SECTIONS:
                raise no_such_name("section", name, SECTIONS)
        if self.projection not in PROJECTIONS:
            raise no_such_name("projection", self.projection, PROJECTIONS)
        for flag, count in (("--queries", self.queries), ("--hardest", self.hardest)):
            if not 0 <= count <= MOST_STRIPS:
                raise ConfigError(f"{flag} must be 0 to {MOST_STRIPS}, got {count}")
        if not 3 <= self.points <= MOST_POINTS:
            raise ConfigError(f"--points must be 3 to {MOST_POINTS:,}, got {self.points:,}")
        if not self.megabytes >= LEAST_MEGABYTES:
            raise ConfigError(f"--megabytes must be {LEAST_MEGABYTES:g} or more, got {self.megabytes:g}")

    def wants(self, section: str) -> bool:
        """Whether a section is to be shown."""
        return section in self.sections and (self.images or section not in WITH_IMAGES)


def report_run(run: Path, data: Path | None = None, out: Path | None = None, **asked: Any) -> Path:
    """Write the report of a run and give its path; without data to look at, it says what is missing.

    `asked`: see `ReportRequest`.

    Raises:
        ConfigError: a setting that cannot be used.
        DataError: a run's log or the groups' file is missing or cannot be used, or the page cannot be written; where
            data were named, they cannot be read either.
    """
    return write_run_report(ReportRequest(run, data, out, **asked))


def write_run_report(request: ReportRequest) -> Path:
    """Write what was asked for; see `report_run`."""
    if not (request.run / "log.jsonl").is_file():
        raise DataError(f"{request.run} must be the folder of a run, with its log.jsonl; make one with resight train")
    if request.against is not None:
        read_history(request.against)  # refused before anything is computed
    notes: list[str] = []
    albums = albums_of(request.megabytes)
    material = _material(request, notes)
    groups = _groups(request, material, notes)
    extras = Extras()
    if material is not None:
        extras = _seen(request, material, groups, albums)
    if groups is not None and request.wants("groups"):
        known = (
            dict(zip(material.images.pictures, identities(material.images.samples), strict=True)) if material else {}
        )
        extras = dataclasses.replace(extras, groups=group_sheets(groups, albums["groups"], known))
    extras = _against(request, material, extras, notes)
    out = request.out or request.run / "report.html"
    write_report(request.run, out, notes=notes, extras=extras, albums=albums, sections=request.sections)
    return out


def _needs_model(request: ReportRequest) -> bool:
    wanted = {
        "strips": request.queries > 0,
        "hardest": request.hardest > 0,
        "cameras": True,
        "map": True,
        "groups": request.groups is None,
        "against": request.against is not None,
    }
    return any(asked and request.wants(section) for section, asked in wanted.items())


def _source(request: ReportRequest) -> Source:
    return Source(request.data, request.format, request.split, request.device, request.cache_dir, request.bar)


def _material(request: ReportRequest, notes: list[str]) -> Material | None:
    """Embed the images; where the user named none and the run's own cannot be had, that is a note."""
    if not _needs_model(request):
        return None
    try:
        material = open_material(request.run, _source(request))
    except ResightError as error:
        if request.data is not None or isinstance(error, ConfigError):
            raise
        notes.append(f"No images are shown: {error}")
        return None
    notes += material.notes
    return material


def _groups(request: ReportRequest, material: Material | None, notes: list[str]) -> ShownGroups | None:
    if request.groups is not None:
        return groups_of_file(request.groups, material.root if material else request.data)
    if material is None or not (request.wants("groups") or request.wants("map")):
        return None
    try:
        cache_dir = request.cache_dir or default_cache_dir()
        return found_groups(material, content_digests(material.images.pictures, cache_dir))
    except ResightError as error:
        notes.append(f"No groups were looked for: {error}")
        return None


def _seen(
    request: ReportRequest, material: Material, groups: ShownGroups | None, albums: Mapping[str, Album]
) -> Extras:
    """Gather what one model's view of the images gives."""
    test = material.test
    cameras: Sequence[Any] = ()
    if request.wants("cameras"):
        found = [pair_scores(test) if test else None, neighbour_shares(material)]
        cameras = [matrix for matrix in found if matrix is not None]
    drawn = None
    if request.wants("map"):
        drawn = embedding_map(
            material,
            groups.by_picture() if groups else {},
            albums["map"],
            points=request.points,
            projection=request.projection,
            pictures=request.images,
        )
    return Extras(
        strips=chosen_strips(test, request.queries) if test and request.wants("strips") else (),
        hardest=hardest_strips(test, request.hardest) if test and request.wants("hardest") else (),
        cameras=cameras,
        map=drawn,
    )


def _against(request: ReportRequest, material: Material | None, extras: Extras, notes: list[str]) -> Extras:
    """Lay the other run beside; where its model cannot be had, its log alone."""
    if request.against is None or not request.wants("against"):
        return extras
    histories = read_history(request.run), read_history(request.against)
    tests = None
    if material is not None and material.test is not None:
        source = dataclasses.replace(_source(request), data=request.data or material.root)
        source = dataclasses.replace(source, format=request.format or _format(request))
        try:
            other = open_material(request.against, source).test
            tests = None if other is None else (material.test, other)
        except ResightError as error:
            notes.append(f"{request.against.name} was not shown the images: {error}")
    queries = request.hardest if request.images else 0
    found = beside((request.run, request.against), histories, tests, queries=queries)
    return dataclasses.replace(extras, beside=found, other=histories[1])


def _format(request: ReportRequest) -> str | None:
    """Give the layout of the run's own data, as its log names it; None where others were named."""
    start = read_history(request.run).start
    return None if request.data is not None else start.get("data", {}).get("format")
