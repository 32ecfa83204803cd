"""Answers as a CSV file: what is read, what is refused, what is never lost."""

from pathlib import Path

import pytest

from resight.errors import ConfigError, DataError
from resight.pair_answers import PairAnswer, picture_name, picture_of, read_answers, write_answers
from resight.types import Crop, Sample

HEADER = "left,right,same,weight,score\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    answers = (
        PairAnswer("a,1.jpg", 'b "2".jpg', True, 1 / 3, 0.1 + 0.2),
        PairAnswer("ü.jpg [1, -2, 3, 4]", "c.jpg", False),
        PairAnswer("c\nd.jpg", "=e.jpg", None, 12345678.9, -1.0),
    )
    write_answers(tmp_path / "a.csv", answers)
    assert read_answers(tmp_path / "a.csv") == answers


@pytest.mark.parametrize("word", ["yes", "Y", " true ", "1", "same", "SAME", "T", "1.0"])
def test_words_for_yes(word: str, tmp_path: Path) -> None:
    assert read_answers(write(tmp_path / "a.csv", f"left,right,same\na,b,{word}\n"))[0].same is True


@pytest.mark.parametrize("word", ["no", "N", "False", "0", "different", "f"])
def test_words_for_no(word: str, tmp_path: Path) -> None:
    assert read_answers(write(tmp_path / "a.csv", f"left,right,same\na,b,{word}\n"))[0].same is False


def test_empty_is_open_and_columns_may_stand_anywhere(tmp_path: Path) -> None:
    found = read_answers(write(tmp_path / "a.csv", "score,same,right,left\n0.5,,b,a\n,skip,c,a\n"))
    assert found == (PairAnswer("a", "b", None, 1.0, 0.5), PairAnswer("a", "c", None, 1.0, None))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1 must name the columns left, right, same"),
        ("left,right\na,b\n", "'same' is missing"),
        ("left,right,same,wieght\n", "did you mean 'weight'?"),
        ("left,right,same,pid\n", "got 'pid'; remove it"),
        ("left,right,same,same\n", "'same' stands there twice"),
        (
            HEADER + "a,b,yes,1,\na,c,maybe,1,\n",
            "line 3 must answer yes or no under 'same', or leave it empty, got 'may",
        ),
        (HEADER + "a,,yes,1,\n", "line 2 must name two images, got 'a' and ''"),
        (HEADER + "a,a,yes,1,\n", "two different images, got 'a' twice"),
        (HEADER + "a,b,yes,0,\n", "line 2 must have a weight above 0, got 0"),
        (HEADER + "a,b,yes,much,\n", "must have a number under 'weight', got 'much'"),
        (HEADER + "a,b,yes,1,nan\n", "must have a number under 'score', got 'nan'"),
        (HEADER + "a,b,yes,1,\nb,a,no,1,\n", "line 3 asks for b and a again (line 2 did)"),
        (HEADER + "a,b,yes,1,0.5,9\n", "line 2 has 6 cells under 5 column names"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_answers(write(tmp_path / "a.csv", text))
    assert words in str(error.value) and str(tmp_path / "a.csv") in str(error.value)


def test_no_answer_gets_lost(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    write_answers(file, [PairAnswer("a", "b", True), PairAnswer("a", "c")])
    with pytest.raises(ConfigError, match="holds answers to 1 pairs that would be lost, such as a and b"):
        write_answers(file, [PairAnswer("a", "c", True)])
    assert read_answers(file)[0].same is True
    write_answers(file, [PairAnswer("b", "a", None)])  # taken back: the pair is still there; a and c had no answer
    assert [a.same for a in read_answers(file)] == [None]


def test_a_name_leads_back_to_the_picture(tmp_path: Path) -> None:
    inside, outside = tmp_path / "x" / "a [1].jpg", Path("/elsewhere/b.jpg")
    assert picture_name(Sample(inside), tmp_path) == "x/a [1].jpg"
    for sample in (Sample(inside), Sample(outside), Sample(inside, box=(-1, 2, 30, 40))):
        assert picture_of(picture_name(sample, tmp_path), tmp_path) == sample.picture
    assert picture_of("a.jpg [-1, 2, 3, 4]", tmp_path) == Crop(tmp_path / "a.jpg", (-1, 2, 3, 4))
