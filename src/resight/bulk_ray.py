"""Blocks embedded by the workers of a Ray, on this machine or on a cluster's.

Workers read images and hand parts back; only the calling process writes, so that neither the table's folder nor the
model's need be reachable from a worker, and no worker that outlives its caller can write anything.
"""

import contextlib
import json
import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from resight.bulk_parts import Block
from resight.bulk_work import Work, Worker
from resight.errors import ConfigError, DataError, ResightError
from resight.progress import Say
from resight.types import Crop, Picture

CPUS = 4
"""CPUs to a worker, unless told: beyond a few of them a model gains little from one more."""

TRIES = 3
"""How often a Ray of our own is started: on a busy machine it gives up after 15 seconds."""

RESTARTS = 2
"""How often a worker that died, or a block that it held, is tried again."""

MEGABYTE = 2**20

Node = tuple[int, int]
"""CPUs and GPUs of a machine."""


class Share(NamedTuple):
    """How many workers, and what each of them gets."""

    workers: int
    cpus: int
    gpus: int


def embedded_on_ray(
    pending: Sequence[Block], model: Path, work: Work, workers: int | None, address: str | None, say: Say
) -> Generator[tuple[str, bytes], None, None]:
    """Yield name and content of each block's part as they come, in any order.

    `model`: a file that this machine can read. `workers`: None is as many as fit. `address`: of a running Ray, as
    ray.init takes it; None starts one on this machine, which ends with the iterator.

    Raises:
        ConfigError: Ray is not installed, cannot be started or reached, has too little room, or lost workers too often.
        DataError: a worker could not do its work; the sentence says why and where.
    """
    ray = imported()
    weights = model.read_bytes()
    with running(ray, address, workers, len(weights)):
        share = shared_out(machines(ray), workers, wants_gpu=work.device != "cpu", needs_gpu=work.device == "cuda")
        share = share._replace(workers=min(share.workers, len(pending)))
        say(f"embedding on {share.workers} Ray workers, each with {share.cpus} CPUs and {share.gpus} GPUs")
        try:
            for row in results(ray, pending, ray.put(weights), work, share):
                if row["error"]:
                    raise DataError(row["error"])
                yield row["name"], row["part"]
        except ray.exceptions.RayError as error:
            raise ConfigError(
                f"Ray could not go on ({root_cause(error)}); what was embedded so far is kept: call again, with fewer "
                "--workers if memory ran out"
            ) from error


def imported() -> Any:
    """Import Ray, told beforehand to send nothing anywhere and to print no lines of its processes.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Read when Ray is imported; log_to_driver alone leaves its notes on workers that died.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ConfigError("--engine ray needs Ray; install it with pip install 'resight[ray]'") from error
    return ray


@contextlib.contextmanager
def running(ray: Any, address: str | None, workers: int | None, model_bytes: int) -> Iterator[None]:
    """Connect to a Ray, or start one; leave one that was there before as it was."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if address is not None:
        connect(ray, {"address": address, **quiet}, f"no Ray answers at {address}")
    else:
        # Each worker has a part or two on the way; the model lies there once.
        room = (100 + 50 * (workers or 1)) * MEGABYTE + 2 * model_bytes
        cpus = max(os.cpu_count() or 1, workers or 1)
        own = {"address": "local", "num_cpus": cpus, "object_store_memory": room, "include_dashboard": False}
        connect(ray, {**own, **quiet}, "no Ray could be started on this machine", TRIES)
    try:
        yield
    finally:
        ray.shutdown()


def connect(ray: Any, settings: dict[str, Any], failure: str, tries: int = 1) -> None:
    """Call ray.init, up to `tries` times.

    Raises:
        ConfigError: it did not work; begins with `failure`.
    """
    for left in reversed(range(tries)):
        try:
            ray.init(**settings)
            return
        except Exception as error:  # ray.init raises whatever the failing piece raises, bare Exception too
            ray.shutdown()
            if not left:
                raise ConfigError(f"{failure} ({root_cause(error)}); try --engine local or another address") from error


def machines(ray: Any) -> list[Node]:
    """List what each machine of the Ray has."""
    found = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in found]


def shared_out(nodes: Sequence[Node], workers: int | None, *, wants_gpu: bool, needs_gpu: bool = False) -> Share:
    """Share CPUs and GPUs out so that all workers run at a time: one that does not fit would be waited for for ever.

    A worker gets one GPU where there are any and they are wanted, else `CPUS` CPUs or what its machine has; where
    `workers` is given, as many CPUs as all of them can get.

    Raises:
        ConfigError: so many do not fit, or there is no GPU and one is needed.
    """
    gpus = 1 if wants_gpu and any(node[1] for node in nodes) else 0
    if needs_gpu and not gpus:
        raise ConfigError("--device cuda needs a GPU, but no machine of the Ray has one; give --device auto")

    def fit(cpus: int) -> int:
        return sum(min(has // cpus, on_it) if gpus else has // cpus for has, on_it in nodes)

    most = max((has for has, _ in nodes), default=0)
    if workers is None:
        workers = fit(1) if gpus else sum(max(1, has // CPUS) for has, _ in nodes if has)
    fitting = [cpus for cpus in range(1, most + 1) if fit(cpus) >= max(1, workers)]
    if not fitting:
        what = "GPUs, each with a CPU" if gpus else "CPUs"
        raise ConfigError(f"{workers} workers need as many {what}, but the Ray has {fit(1)}; give fewer --workers")
    return Share(workers, fitting[-1], gpus)


def results(ray: Any, pending: Sequence[Block], weights: Any, work: Work, share: Share) -> Iterator[dict[str, Any]]:
    """Send the blocks through Ray Data's pool of workers, a model in each."""
    import pyarrow as pa

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # its file in Ray's own folder keeps everything
            handler.setLevel(logging.CRITICAL)
    tables = [pa.table({"name": [block.name], "pictures": [packed(block.split.pictures)]}) for block in pending]
    with warnings.catch_warnings():
        # Without a bound on restarts a block that kills its worker would be tried for ever, and up to Ray 2.63 only
        # arguments that it means to give up can set one.
        warnings.simplefilter("ignore")
        made = ray.data.from_arrow(tables).map(
            RayWorker,
            fn_constructor_args=(weights, work),
            compute=ray.data.ActorPoolStrategy(size=share.workers),
            num_cpus=share.cpus,
            num_gpus=share.gpus or None,
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
    yield from made.iter_rows()


def packed(pictures: Sequence[Picture]) -> str:
    """Write pictures as text; absolute, since a worker has another current folder."""
    return json.dumps(
        [[str(p.path.absolute()), p.box] if isinstance(p, Crop) else [str(p.absolute())] for p in pictures]
    )


def unpacked(text: str) -> list[Picture]:
    """Read what `packed` wrote."""
    return [Crop(Path(path), tuple(box[0])) if box else Path(path) for path, *box in json.loads(text)]


class RayWorker:
    """A `Worker` in a process of Ray's. What goes wrong is told in the answer: Ray would wrap it in pages of traces."""

    def __init__(self, weights: Any, work: Work) -> None:
        self.weights, self.work = weights, work
        self.worker: Worker | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Embed one block: {"name", "pictures"} → {"name", "part", "error"}."""
        host = socket.gethostname()
        try:
            self.worker = self.worker or self.opened()
            part = self.worker.embed(unpacked(row["pictures"])).as_bytes()
            return {"name": row["name"], "part": part, "error": ""}
        except ResightError as error:
            return {"name": row["name"], "part": b"", "error": f"on {host}: {error}"}
        except Exception as error:  # whatever it is, the caller must hear of it
            text = f"a Ray worker on {host} failed ({type(error).__name__}: {root_cause(error)})"
            return {"name": row["name"], "part": b"", "error": f"{text}; what was embedded so far is kept"}

    def opened(self) -> Worker:
        """Load the model, which came with the call."""
        import ray

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            file.write_bytes(ray.get(self.weights))
            return Worker.opened(file, self.work)


def root_cause(error: BaseException) -> str:
    """Give the first sentence of the last line: Ray's messages begin with traces and end with advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].partition(". ")[0].rstrip(".") if lines else type(error).__name__
