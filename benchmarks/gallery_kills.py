"""Kill `resight index` at random moments, again and again, and look at what it leaves.

    python benchmarks/gallery_kills.py RUN DATA [--times 20] [--split all] [--seed 1]

Every third kill falls into the first fifth of the time that an uninterrupted run takes, when models load and a gallery
is made or opened. After each SIGKILL the gallery is opened: every image that the command was told is added, in this run
or an earlier one, must be there, none twice, none that is not in the data, each with the embedding that an
uninterrupted run gives it. A gallery that is full is begun anew. At the end the command runs to its end.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from resight import cli
from resight.gallery import Gallery

EARLY = 0.2


def index_and_tell(words: list[str]) -> None:
    """Run `resight index` with these words, and write the id of each image that was acknowledged to stderr's pipe."""
    add = Gallery.add

    def told(gallery: Gallery, entries, vectors):  # type: ignore[no-untyped-def]
        added = add(gallery, entries, vectors)
        os.write(2, "".join(f"{entry.id}\n" for entry in entries).encode())  # one write: a kill cuts no id in two
        return added

    Gallery.add = told  # type: ignore[method-assign]
    sys.argv = ["resight", "index", *words]
    cli.main()


def started(words: list[str], gallery: Path) -> "subprocess.Popen[bytes]":
    """Begin to index in a process of its own."""
    command = [sys.executable, __file__, "--child", *words, "--gallery", str(gallery)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def acknowledged(process: "subprocess.Popen[bytes]") -> set[str]:
    """Give what a process that has ended said was added."""
    _, said = process.communicate()
    lines = said.decode(errors="replace").split("\n")[:-1]
    return {line for line in lines if len(line) == 32 and set(line) <= set("0123456789abcdef")}


def check(gallery: Path, right: dict[str, torch.Tensor], told: set[str]) -> set[str]:
    """Open a gallery and compare; gives the ids that are there."""
    with Gallery.open(gallery) as opened:
        now = opened.ids()
        assert len(now) == len(set(now)) == len(opened), "an image is there twice"
        assert told <= set(now), f"{len(told - set(now))} images that were acknowledged are lost"
        assert set(now) <= set(right), "an image is there that is not in the data"
        for id, row in zip(now, opened.vectors(now), strict=True):
            assert torch.allclose(row, right[id], atol=1e-4), f"{id} has another embedding"
    return set(now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--split", default="all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    words = [str(options.run), str(options.data), "--split", options.split, "--batch-size", "16", "--backend", "torch"]
    with tempfile.TemporaryDirectory() as folder:
        cut, whole = Path(folder) / "cut.db", Path(folder) / "whole.db"
        began = time.monotonic()
        with started(words, whole) as process:
            everything = acknowledged(process)
        assert process.returncode == 0, "the run that was not cut short failed"
        seconds = time.monotonic() - began
        with Gallery.open(whole) as gallery:
            right = dict(zip(ids := gallery.ids(), gallery.vectors(ids), strict=True))
        assert everything == set(right), "what was acknowledged is not what is there"
        print(f"uninterrupted: {len(right)} images in {seconds:.1f} s", flush=True)
        there: set[str] = set()
        for kill in range(1, options.times + 1):
            after = draw.uniform(0, EARLY) if kill % 3 == 1 else draw.uniform(EARLY, 1)
            with started(words, cut) as process:
                time.sleep(after * seconds)
                process.send_signal(signal.SIGKILL)
                told = acknowledged(process) | there
            assert process.returncode in (0, -signal.SIGKILL), "the command failed by itself"
            before, there = there, check(cut, right, told) if cut.exists() else set()
            assert before <= there, "a gallery that was there is gone"
            print(f"kill {kill} after {after:.0%} of that: {len(told - before)} acknowledged, {len(there - before)} "
                  f"new there, {len(there)} in all", flush=True)  # fmt: skip
            if len(there) == len(right):
                shutil.rmtree(cut)
                there = set()
        with started(words, cut) as process:
            acknowledged(process)
        assert process.returncode == 0, "the last run failed"
        assert check(cut, right, set(right)) == set(right), "the last run did not finish"
        print(f"killed {options.times} times: nothing lost, nothing twice, finished with {len(right)} images")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        index_and_tell(sys.argv[2:])
    else:
        main()
