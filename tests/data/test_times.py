"""Numbers that pass for times but tell the identities do not reach a trainer."""

import random
from pathlib import Path

import pytest

from resight.data.formats import read_dataset
from resight.data.times import LEAST_IDENTITIES, false_times, without_false_times
from resight.types import JUNK_PID, Dataset, Sample, Split

REAL = Path(__file__).parents[3] / "shared" / "data"
Known = list[tuple[int | None, int | None, float | None]]


def dataset(known: Known) -> Dataset:
    """Images of given identity, camera and time; the last two are query and gallery."""
    samples = [Sample(Path(f"{n}.png"), pid, camid, time) for n, (pid, camid, time) in enumerate(known)]
    splits = [Split("train", tuple(samples[:-2])), Split("query", (samples[-2],)), Split("gallery", (samples[-1],))]
    return Dataset(Path(), "manifest", *splits)


NAMED: Known = [(pid, camera, float(100 + pid)) for pid in range(LEAST_IDENTITIES + 1) for camera in (1, 2)]
CLOCK = random.Random(0)
MOMENTS = sorted(CLOCK.uniform(0, 86_400) for _ in NAMED)


@pytest.mark.parametrize(
    "known",
    [
        NAMED,
        [*NAMED, (JUNK_PID, 1, 5.0), (None, 1, 105.5)],
        [(pid, camera, 10.0 * pid + camera) for pid, camera, _ in NAMED],
        [(pid, camera, float(number)) for number, (pid, camera, _) in enumerate(NAMED)],  # images counted by identity
        [(pid, camera, float(number // 2 * 7)) for number, (pid, camera, _) in enumerate(NAMED)],
    ],
)
def test_numbers_that_tell_identities_are_no_times(known: Known):
    before = dataset(known)
    found = without_false_times(before)
    assert all(sample.timestamp is None for split in found.splits for sample in split)
    assert "11 of 11 identities that several cameras saw have some of their own" in found.notes[0]
    assert (found.train.pids, found.train.camids) == (before.train.pids, before.train.camids)


@pytest.mark.parametrize(
    "known",
    [
        [(pid, camera, float(pid // 2)) for pid, camera, _ in NAMED],  # two at a time
        [(pid, camera, float(pid + 4 * camera)) for pid, camera, _ in NAMED],  # the other camera saw them later
        [(pid, camera, time) for (pid, camera, _), time in zip(NAMED, MOMENTS, strict=True)],  # a clock's
        [(pid, camera, MOMENTS[pid or 0]) for pid, camera, _ in NAMED],  # two cameras at once, by a clock
        [(pid, 1, time) for pid, _, time in NAMED],  # of one camera, as tracklets are numbered
        [(pid, camera if camera == 1 else None, time) for pid, camera, time in NAMED],
        NAMED[: 2 * LEAST_IDENTITIES - 2],  # too few to tell
        [(None, camera, time) for _, camera, time in NAMED],
        [(pid, camera, None) for pid, camera, _ in NAMED],
    ],
)
def test_other_times_stay(known: Known):
    before = dataset(known)
    assert without_false_times(before) is before


@pytest.mark.skipif(not REAL.is_dir(), reason="shared/data is not there")
def test_frame_numbers_of_real_vehicles_are_their_identities():
    vehicles, people = (read_dataset(REAL / name) for name in ("khoa-vehicles", "pku-reid"))
    assert "567 of 567 identities" in (false_times(vehicles) or "")
    assert false_times(people) is None
