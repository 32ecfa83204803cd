"""The folder of a run: refused where it is not what the flags say, locked, cleared or ready to go on with."""

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from resight.artifacts import BEST_BY_ESTIMATE, BEST_ON_TEST
from resight.checkpoint import checkpoints
from resight.errors import ConfigError

OURS = (
    *("recipe.toml", "log.jsonl", "tensorboard", "checkpoints"),
    *("model.safetensors", BEST_ON_TEST, BEST_BY_ESTIMATE, "summary.json", "report.html"),
    *("calibration.json", "reliability.svg", "audit"),
    *("model.onnx", "model.xml", "model.bin", "model.torchscript", "boxmot.onnx"),
)


def check_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse a RUN folder that is not what the flags say.

    Raises:
        ConfigError: it exists without --resume or --overwrite, or there is nothing to resume.
    """
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other; give one of them")
    if resume:
        if not (out / "recipe.toml").is_file():
            raise ConfigError(f"--resume needs the folder of an earlier run, got {out}; start without --resume")
    elif out.exists() and (not out.is_dir() or any(out.iterdir())) and not overwrite:
        raise ConfigError(
            f"{out} exists already; go on with it by --resume, replace it by --overwrite, or give another --out"
        )


class claimed:  # noqa: N801 - used as a function
    """Hold the run folder's lock, cleared or ready to resume; gives the first epoch to train."""

    def __init__(self, out: Path, *, resume: bool) -> None:
        self.out, self.resume = out, resume

    def __enter__(self) -> int:
        out = self.out
        out.mkdir(parents=True, exist_ok=True)
        self.lock = FileLock(out / ".lock", timeout=0)
        try:
            self.lock.acquire()
        except Timeout as error:
            raise ConfigError(f"another process is training in {out}; wait for it or give another --out") from error
        if self.resume:
            for left in (out / "checkpoints").glob("*.tmp"):
                left.unlink()
            return last_epoch(out) + 1
        for name in OURS:
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            else:
                (out / name).unlink(missing_ok=True)
        return 1

    def __exit__(self, *exception: object) -> None:
        self.lock.release()
        (self.out / ".lock").unlink(missing_ok=True)


def last_epoch(out: Path) -> int:
    """Give the last epoch of which a checkpoint exists, 0 where there is none."""
    found = checkpoints(out / "checkpoints")
    return int(found[-1].stem.removeprefix("epoch-")) if found else 0
