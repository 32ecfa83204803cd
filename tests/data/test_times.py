"""Numbers that pass for times but are the identities do not reach a trainer."""

from pathlib import Path

import pytest

from resight.data.formats import read_dataset
from resight.data.times import LEAST_IDENTITIES, without_false_times
from resight.types import JUNK_PID, Dataset, Sample, Split

REAL = Path(__file__).parents[3] / "shared" / "data"


def dataset(*known: tuple[int | None, int, float | None]) -> Dataset:
    """Images of given identity, camera and time; the last three are query and gallery."""
    samples = [Sample(Path(f"{n}.png"), pid, camid, time) for n, (pid, camid, time) in enumerate(known)]
    train, query, gallery = samples[:-3], samples[-3:-2], samples[-2:]
    return Dataset(
        Path(), "manifest", Split("train", tuple(train)), Split("query", tuple(query)), Split("gallery", tuple(gallery))
    )


NAMED = [(pid, camera, float(100 + pid)) for pid in range(LEAST_IDENTITIES + 1) for camera in (1, 2)]


def test_numbers_of_identities_are_no_times():
    found = without_false_times(dataset(*NAMED, (JUNK_PID, 1, 5.0), (3, 1, 103.0)))
    assert all(sample.timestamp is None for split in found.splits for sample in split)
    assert found.notes[0].startswith("timestamps are not made use of: 11 of 11 identities that several cameras saw")
    assert found.train.pids == dataset(*NAMED, (JUNK_PID, 1, 5.0), (3, 1, 103.0)).train.pids


@pytest.mark.parametrize(
    "known",
    [
        [(pid, camera, 10.0 * pid + camera) for pid, camera, _ in NAMED],  # each camera saw them at another time
        [(pid, camera, float(pid // 2)) for pid, camera, _ in NAMED],  # two at a time
        [(pid, 1, time) for pid, _, time in NAMED],  # by one camera, as tracklets are numbered
        NAMED[: 2 * LEAST_IDENTITIES - 2],  # too few to tell
        [(None, camera, time) for _, camera, time in NAMED],
        [(pid, camera, None) for pid, camera, _ in NAMED],
    ],
)
def test_other_times_stay(known: list[tuple[int | None, int, float | None]]):
    before = dataset(*known)
    assert without_false_times(before) is before


@pytest.mark.skipif(not REAL.is_dir(), reason="shared/data is not there")
def test_frame_numbers_of_real_vehicles_are_their_identities():
    vehicles, people = (read_dataset(REAL / name) for name in ("khoa-vehicles", "pku-reid"))
    assert {sample.timestamp for split in vehicles.splits for sample in split} == {None}
    assert "567 of 567 identities" in vehicles.notes[-1]
    assert None not in {sample.timestamp for sample in people.train}
