"""Kill `resight index` at random moments, again and again, and look at what it leaves.

    python benchmarks/gallery_kills.py RUN DATA [--times 20] [--seed 1]

After each SIGKILL the gallery is opened: every image that was there before must be there still, none twice, each with
the embedding that an uninterrupted run gives it. At the end the command runs to its end.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from resight.gallery import Gallery


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        cut, whole, facts = (Path(folder) / name for name in ("cut.db", "whole.db", "facts.json"))
        words = [
            sys.executable,
            "-m",
            "resight.cli",
            "index",
            str(options.run),
            str(options.data),
            "--batch-size",
            "16",
        ]
        began = time.monotonic()
        subprocess.run([*words, "--gallery", str(whole), "--json", str(facts)], check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        total = json.loads(facts.read_text())["entries"]
        with Gallery.open(whole) as gallery:
            ids = gallery.ids()
            rows = dict(zip(ids, gallery.vectors(ids), strict=True))
        there: set[str] = set()
        for kill in range(options.times):
            with subprocess.Popen([*words, "--gallery", str(cut)], stdout=subprocess.DEVNULL) as process:
                time.sleep(draw.uniform(0.2, 1.0) * seconds)
                process.kill()
            if not cut.exists():
                print(f"kill {kill + 1}: before the gallery was made")
                continue
            with Gallery.open(cut) as gallery:
                now = gallery.ids()
                assert len(now) == len(set(now)) == len(gallery), "an image is there twice"
                assert there <= set(now) <= set(rows), "an image that was there is lost"
                for id, row in zip(now, gallery.vectors(now), strict=True):
                    assert torch.allclose(row, rows[id], atol=1e-4), f"{id} has another embedding"
                there = set(now)
            print(f"kill {kill + 1}: {len(there)} of {total} images there", flush=True)
        subprocess.run([*words, "--gallery", str(cut)], check=True)
        with Gallery.open(cut) as gallery:
            assert gallery.ids() == sorted(rows), "the run that was not cut short did not finish"
        print(f"killed {options.times} times: nothing lost, nothing twice, finished with {total} images")


if __name__ == "__main__":
    main()
