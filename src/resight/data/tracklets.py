"""What must hold of tracklets that a table gives: each shows one identity in one camera."""

from collections.abc import Callable, Sequence
from pathlib import Path

from resight.errors import DataError
from resight.types import Sample


def of_each_camera(
    tracklets: Sequence[int | None], camids: Sequence[int | None], file: Path, notes: list[str]
) -> list[int | None]:
    """Number each camera's tracklets apart where any stands in several, as trackers count that start anew in each."""
    keys = [(-1 if c is None else c, t) for c, t in zip(camids, tracklets, strict=True)]
    known = {(c, t) for c, t in keys if t is not None and c >= 0}
    if len(known) == len({t for _, t in known}):
        return list(tracklets)
    notes.append(f"some tracklets of {file} stand in several cameras: each camera's are taken for its own")
    found = sorted({(c, t) for c, t in keys if t is not None})
    numbers: dict[tuple[int, int | None], int] = {key: number for number, key in enumerate(found)}
    return [numbers.get(key) for key in keys]


def refuse_mixed(
    samples: Sequence[Sample], identity: str, cell: Callable[[int, str], str], place: Callable[[int], str]
) -> None:
    """Do nothing if no tracklet is of two identities; a row where that is not known goes with any.

    `identity`: the name of the column of identities. `cell`: what a row has in a column. `place`: how it is named.

    Raises:
        DataError: one is; both rows are named.
    """
    first: dict[int, tuple[int, int]] = {}
    for row, sample in enumerate(samples):
        if sample.tracklet is None or sample.pid is None:
            continue
        before, found = first.setdefault(sample.tracklet, (row, sample.pid))
        if found != sample.pid:
            raise DataError(
                f"a tracklet shows one identity in one camera, but {place(before)} and {place(row)} give tracklet "
                f"{cell(row, 'tracklet')} {identity} {cell(before, identity)} and {cell(row, identity)}; give each "
                "tracklet its own number or name"
            )
