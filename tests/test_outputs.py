"""Files that a command will write are looked at before its work."""

from pathlib import Path

import pytest

from resight.errors import ConfigError
from resight.outputs import check_output


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.txt", "--out must end in .csv or .parquet, got "),
        ("folder.csv", "--out must be a file, and .* is a folder"),
        ("none/a.csv", "--out must be in a folder that is there, and .*none is none; make it first"),
        ("old.csv/a.csv", "--out must be in a folder that is there"),
        ("old.csv", "exists already; replace it with --overwrite or give another --out"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str, words: str):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "old.csv").write_text("old")
    with pytest.raises(ConfigError, match=words):
        check_output(tmp_path / name, suffixes=(".csv", ".parquet"))


def test_what_can_be_written_passes(tmp_path: Path):
    old = tmp_path / "old.csv"
    old.write_text("old")
    check_output(None)
    check_output(tmp_path / "new.CSV", suffixes=(".csv",))
    check_output(old, overwrite=True)
    check_output(old, may_replace=tmp_path / "." / "old.csv")
    with pytest.raises(ConfigError, match="another --json"):
        check_output(old, "--json", may_replace=tmp_path / "other.csv")
