"""The store of answers: what is acknowledged is there, whatever happens next."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from resight.errors import ConfigError, DataError
from resight.review.store import Decision, ReviewStore

PAIR, OTHER = ("/a.jpg", "/b.jpg"), ("/a.jpg", "/c.jpg")


def test_the_last_decision_of_a_pair_counts(tmp_path: Path):
    with ReviewStore(tmp_path / "r.sqlite") as store:
        store.record(Decision(PAIR, True, "measure", 0.9, "m"))
        store.record(Decision(OTHER, None, "measure"))
        store.record(Decision(PAIR, False, "measure", 0.9, "m"))
        assert store.decisions() == [
            Decision(OTHER, None, "measure"),
            Decision(PAIR, False, "measure", 0.9, "m"),
        ]


def test_decisions_of_two_purposes_stand_beside_each_other(tmp_path: Path):
    with ReviewStore(tmp_path / "r.sqlite") as store:
        store.record(Decision(PAIR, True, "measure"))
        store.record(Decision(PAIR, False, "doubts"))
        assert [d.same for d in store.decisions("measure")] == [True]
        assert [d.same for d in store.decisions("doubts")] == [False]


def test_undo_takes_back_one_after_the_other_and_what_stood_before_counts_again(tmp_path: Path):
    with ReviewStore(tmp_path / "r.sqlite") as store:
        store.record(Decision(PAIR, True, "measure"))
        store.record(Decision(PAIR, False, "measure"))
        assert store.undo() == Decision(PAIR, False, "measure")
        assert [d.same for d in store.decisions()] == [True]
        assert store.undo() == Decision(PAIR, True, "measure")
        assert store.decisions() == []
        assert store.undo() is None


def test_skipped_pairs_are_asked_again_and_answered_ones_are_not(tmp_path: Path):
    with ReviewStore(tmp_path / "r.sqlite") as store:
        store.record(Decision(PAIR, None, "measure"))
        store.record(Decision(OTHER, True, "measure"))
        assert store.ask_skipped_again("doubts") == 0
        assert store.ask_skipped_again("measure") == 1
        assert store.decisions() == [Decision(OTHER, True, "measure")]


def test_what_was_decided_is_there_after_reopening(tmp_path: Path):
    with ReviewStore(tmp_path / "r.sqlite") as store:
        store.record(Decision(PAIR, True, "doubts", 0.25, "m"))
        store.record(Decision(OTHER, False, "doubts"))
        store.undo()
    with ReviewStore(tmp_path / "r.sqlite") as store:
        assert store.decisions() == [Decision(PAIR, True, "doubts", 0.25, "m")]


def test_a_second_app_on_one_file_is_refused_with_a_sentence(tmp_path: Path):
    with (
        ReviewStore(tmp_path / "r.sqlite"),
        pytest.raises(ConfigError, match=r"open in another resight app; .*--state"),
    ):
        ReviewStore(tmp_path / "r.sqlite")
    ReviewStore(tmp_path / "r.sqlite").close()  # closed: free again


def _text(path: Path) -> None:
    path.write_text("no database at all, but long enough to be looked at" * 20)


def _of_another_program(path: Path) -> None:
    with sqlite3.connect(path) as table:
        table.execute("CREATE TABLE mine (x)")
    table.close()


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as table:
        table.execute("PRAGMA user_version = 99")
    table.close()


@pytest.mark.parametrize("make", [_text, _of_another_program, _newer, Path.mkdir])
def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path, make):
    path = tmp_path / "r.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises((ConfigError, DataError), match="--state"):
        ReviewStore(path)
    assert before is None or path.read_bytes() == before


def test_a_full_disk_is_a_sentence_and_the_store_goes_on_afterwards(tmp_path: Path):
    with ReviewStore(tmp_path / "r.sqlite") as store:
        store.record(Decision(PAIR, True, "measure"))
        pages = store._table.execute("PRAGMA page_count").fetchone()[0]
        store._table.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DataError, match=r"cannot be written \(database or disk is full\).*what was saved before"):
            store.record(Decision((PAIR[0], "/" + "x" * 50_000), False, "measure"))
        assert store.decisions() == [Decision(PAIR, True, "measure")]
        store._table.execute("PRAGMA max_page_count = 100000")
        store.record(Decision(OTHER, False, "measure"))
        assert len(store.decisions()) == 2


KILLED = """
import os, pathlib, random, signal, sys, time
from resight.review.store import Decision, ReviewStore

def read(fd, most):
    while part := os.read(fd, 1):
        yield part
        most -= part == b"\\n"
        if not most:
            return

random.seed(1)
first = 0
for round in range(8):
    out, into = os.pipe()
    child = os.fork()
    if not child:
        os.close(out)
        store = ReviewStore(pathlib.Path(sys.argv[1]))
        while True:
            store.record(Decision((f"/{first:06}", "/x"), first % 2 == 0, "measure"))
            os.write(into, f"{first}\\n".encode())
            first += 1
    os.close(into)
    said = b"".join(read(out, 1))  # one is acknowledged
    time.sleep(random.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    said += b"".join(read(out, -1))
    print(*said.decode().split(), flush=True)
    first = int(said.split()[-1]) + 1
"""
"""A program that answers in a child process and kills that at random moments; prints what was acknowledged."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_every_acknowledged_answer_survives_sigkill(tmp_path: Path):
    path = tmp_path / "r.sqlite"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, check=True)
    acknowledged = [int(number) for number in done.stdout.split()]
    assert len(done.stdout.splitlines()) == 8 and len(acknowledged) >= 8
    with ReviewStore(path) as store:
        kept = {int(d.pair[0][1:]): d.same for d in store.decisions()}
    assert set(acknowledged) <= set(kept)
    assert all(same == (number % 2 == 0) for number, same in kept.items())
    assert len(kept) <= len(acknowledged) + 8  # beside these at most one a kill, written and not acknowledged any more
