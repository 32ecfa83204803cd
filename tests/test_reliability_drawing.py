"""The reliability diagram."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from resight.calibrate import Reliability
from resight.errors import CheckpointError
from resight.report.reliability import drawn, write_reliability

FOUND = Reliability((0.1, 0.5, 0.9), (0.05, 0.6, 0.9), (100.0, 100.0, 99.0))


def test_it_is_well_formed_and_the_same_each_time(tmp_path: Path):
    write_reliability(tmp_path / "reliability.svg", FOUND)
    text = (tmp_path / "reliability.svg").read_text()
    assert ElementTree.fromstring(text).tag.endswith("svg") and text == drawn(FOUND)
    assert text != drawn(Reliability((0.1,), (0.9,), (1.0,)))


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path):
    with pytest.raises(CheckpointError, match="could not be written"):
        write_reliability(tmp_path / "none" / "reliability.svg", FOUND)
