"""A table of groups: written, and read back whole."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from group_cases import people

from resight.calibrate import Calibration
from resight.errors import CheckpointError, DataError
from resight.groups.grouping import group_crops
from resight.groups.rows import Crops, Row
from resight.groups.saved import earlier_of, read_groups, with_earlier
from resight.groups.settings import Rules
from resight.groups.table import write_groups
from resight.matching import Thresholds
from resight.types import Sample

RULES = Rules(k1=5, k2=2, eps=0.6, by_camera=False, camera_once=False)
CALIBRATION = Calibration(0.8, 0.01, -2.0, 2.0, 0.1, "answers", 100, "model")
FACTS = ("group", "confidence", "rival", "probability", "best", "matched")


def rows(count: int) -> list[Row]:
    """Rows, the last of them a copy of the first; some are boxes, and not all is known of all."""
    made = [
        Row(
            f"{at:032x}",
            f"{at}.jpg",
            Sample(
                Path(f"/crops/{at}.jpg"),
                None,
                at % 2 if at % 3 else None,
                0.5 * at if at % 4 else None,
                at // 3 if at % 5 else None,
                (at, -1, 8, 16) if at % 5 == 0 else None,
            ),
        )
        for at in range(count)
    ]
    return [*made, Row(made[0].id, "copy.jpg", Sample(Path("/copy.jpg")))]


@pytest.mark.parametrize("thresholds", [None, Thresholds(0.9, 0.95, 0.01)])
def test_what_is_written_is_read_back_whole(tmp_path: Path, thresholds: Thresholds | None):
    vectors, out = torch.cat([people(6, 5), people(1, 1, seed=9)]), tmp_path / "g.parquet"
    crops = Crops.of(rows(31))
    grouping = group_crops(
        *(vectors, torch.full((31,), -1), RULES),
        calibration=CALIBRATION if thresholds else None,
        thresholds=thresholds,
    )
    assert grouping.alone == 1 and grouping.groups == 6
    write_groups(out, crops, grouping, vectors, "model")
    saved = read_groups(out)
    assert saved.crops.rows == crops.rows and saved.fingerprint == "model" and saved.grouping.thresholds == thresholds
    assert torch.equal(saved.embeddings, vectors)
    for name in FACTS:
        np.testing.assert_array_equal(getattr(saved.grouping, name), getattr(grouping, name))
    assert list(tmp_path.iterdir()) == [out]


def test_who_matches_is_left_open_where_nothing_tells(tmp_path: Path):
    vectors, crops = people(2, 3), Crops.of(rows(6))
    for thresholds, words in ((None, {""}), (Thresholds(0.5, 0.5), {"yes"})):
        out = tmp_path / "g.csv"
        write_groups(out, crops, group_crops(vectors, torch.full((6,), -1), RULES, thresholds=thresholds), vectors, "m")
        assert {line.rpartition(",")[2] for line in out.read_text().splitlines()[1:]} == words


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    vectors, crops, out = people(2, 3), Crops.of(rows(6)), tmp_path / "g.parquet"
    grouping = group_crops(vectors, torch.full((6,), -1), RULES)
    write_groups(out, crops, grouping, vectors, "first")
    before = out.read_bytes()

    def full(table, file, **how):  # type: ignore[no-untyped-def]
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        write_groups(out, crops, grouping, vectors, "second")
    assert out.read_bytes() == before and list(tmp_path.iterdir()) == [out]


def test_earlier_rows_come_first_and_what_is_said_of_them_now_counts(tmp_path: Path):
    vectors, out = people(2, 3), tmp_path / "g.parquet"
    crops = Crops.of(rows(6)[:-1])
    grouping = group_crops(vectors, torch.full((6,), -1), RULES)
    write_groups(out, crops, grouping, vectors, "model")
    saved = read_groups(out)
    again = Row(crops.rows[2].id, "2.jpg", Sample(Path("/crops/2.jpg"), camid=7, tracklet=3))
    new = Row("f" * 32, "new.jpg", Sample(Path("/new.jpg")))
    both = Crops.of(with_earlier(saved, [new, again, new]))
    assert [row.id for row in both.rows] == [*(row.id for row in crops.rows), new.id]
    assert both.rows[2] == again and both.rows[1] == crops.rows[1]
    number, held = earlier_of(both, saved)
    assert number.tolist() == [*grouping.group.tolist(), -1] and held.tolist() == [True] * 6 + [False]
    assert earlier_of(both, None)[1].tolist() == [False] * 7


def test_a_table_of_something_else_is_refused(tmp_path: Path):
    vectors, crops, out = people(2, 3), Crops.of(rows(6)), tmp_path / "g.parquet"
    write_groups(out, crops, group_crops(vectors, torch.full((6,), -1), RULES), vectors, "model")
    table = pq.read_table(out)
    for changed in (
        table.drop_columns(["group"]),
        table.replace_schema_metadata({b"resight.groups": b'{"format": 2}'}),
    ):
        pq.write_table(changed, out)
        with pytest.raises(DataError, match="must be a file that resight group wrote"):
            read_groups(out)


def test_tracklets_of_an_earlier_result_are_written_again_and_hold_nothing_together(tmp_path: Path):
    vectors, out = people(2, 3), tmp_path / "g.parquet"
    crops = Crops.of(rows(6)[:-1])
    grouping = group_crops(vectors, torch.full((6,), -1), RULES)
    assert max(crops.unlabelled.tracklets) > 0
    for _ in range(2):
        write_groups(out, crops, grouping, vectors, "model")
        crops = Crops.of(with_earlier(read_groups(out), []))
        assert set(crops.unlabelled.tracklets) == {-1}
    assert pq.read_table(out).column("tracklet").to_pylist() == [None, 0, 0, 1, 1, None]


def test_a_table_from_before_rivals_were_written_is_gone_on_from(tmp_path: Path):
    vectors, crops, out = people(2, 3), Crops.of(rows(6)), tmp_path / "g.parquet"
    grouping = group_crops(vectors, torch.full((6,), -1), RULES)
    write_groups(out, crops, grouping, vectors, "model")
    pq.write_table(pq.read_table(out).drop_columns(["rival", "best_score"]), out)
    saved = read_groups(out)
    assert saved.grouping.group.tolist() == grouping.group.tolist()
    assert set(saved.grouping.rival.tolist()) == {-1} and set(saved.grouping.best.tolist()) == {-1.0}


def test_an_earlier_result_is_known_by_content(tmp_path: Path):
    vectors, crops, out = people(2, 3), Crops.of(rows(6)[:-1]), tmp_path / "g.parquet"
    grouping = group_crops(vectors, torch.full((6,), -1), RULES)
    write_groups(out, crops, grouping, vectors, "model")
    moved = Crops.of(Row(row.id, row.name, Sample(Path("/mnt") / row.name)) for row in crops.rows)
    number, held = earlier_of(moved, read_groups(out))
    assert number.tolist() == grouping.group.tolist() and held.all()
