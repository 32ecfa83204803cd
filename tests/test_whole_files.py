"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from resight.errors import CheckpointError
from resight.whole_files import replacing


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path):
    file = tmp_path / "groups.parquet"
    with replacing(file) as first:
        first.write_text("first, ")
        with replacing(file) as second:
            second.write_text("second")
        assert file.read_text() == "second"
        with first.open("a") as more:
            more.write("whole")
    assert file.read_text() == "first, whole" and list(tmp_path.iterdir()) == [file]
    assert first != second and {first.suffix, second.suffix} == {".tmp"}  # as those that clear what a kill left expect


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path):
    file = tmp_path / "table.csv"
    file.write_text("old")

    def fill_the_disk() -> None:
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="No space"):
        fill_the_disk()
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
