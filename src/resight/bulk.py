"""Embedding a collection block by block, so that it can be interrupted, on one machine or on several.

Each block of `BLOCK` images becomes a part file (`bulk_parts`), whose name is a digest of all that decides what stands
in it: the model, the backend and its precision, the input size, and each image's path, box, size in bytes and time of
change. A call that finds a part there need not make it again, whoever made it; what has changed since has another name.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from resight.artifacts import load_model
from resight.backbones import ReidModel
from resight.backends import NAMES, SAMPLE, Embedder, open_backend, with_precision
from resight.bulk_parts import (
    Block,
    claimed_parts,
    finished,
    join,
    leave_out_others,
    parts_folder,
    read_broken,
    write_part,
)
from resight.bulk_work import Work, Worker
from resight.calibrate import fingerprint
from resight.data.decode import RESIZE_VERSION
from resight.data.decoded import DecodedOnce
from resight.data.formats import read_dataset
from resight.data.threads import mapped
from resight.errors import ConfigError, DataError, no_such_name
from resight.outputs import check_output
from resight.prepare import broken_sentence, choose_device
from resight.progress import Bar, Say
from resight.tables import EmbedRequest, TableHeader, chosen_splits
from resight.types import Crop, Picture, Split
from resight.whole_files import refuse_unwritable

BLOCK = 1024
"""Images to a part: what a kill costs at most, a minute at the pace of a laptop."""

FORMAT = 2

Made = Generator[tuple[str, bytes], None, None]
"""Names and contents of parts, in any order."""


@dataclass(frozen=True)
class Plan:
    """What is to be embedded, how, and by what. `job`: with which names of parts begin."""

    splits: Sequence[Split]
    work: Work
    job: str
    header: TableHeader
    opener: "Opener"


def embed_in_blocks(request: EmbedRequest, say: Say, bar: Bar) -> tuple[int, int]:
    """Do what `tables.embed_to_parquet` promises."""
    refuse_unusable(request)
    with claimed_parts(request.out) as folder:
        check_output(request.out, overwrite=request.overwrite)
        plan = planned(request, finished(folder), say)
        blocks = as_blocks(plan.splits, plan.job)
        leave_out_others(folder, plan.job, overwrite=request.overwrite)
        make_parts(blocks, folder, request, plan, say, bar)
        refuse_broken(blocks, plan.splits, folder, request, say)
        boxes = any(sample.box is not None for split in plan.splits for sample in split)
        return join(blocks, folder, request.out, plan.header, boxes=boxes), plan.header.dim


def planned(request: EmbedRequest, parts: Collection[str], say: Say) -> Plan:
    """Read model and data, and settle on the backend once, for all workers and for calls to come."""
    model, recipe = load_model(request.run)
    splits = chosen_splits(read_dataset(request.data, request.format), request.split)
    refuse_unwritable(sample.path for split in splits for sample in split)
    size, mark = recipe.input.height_width, fingerprint(request.run)
    pictures = [picture for split in splits for picture in split.pictures]
    opener = Opener(request, model, DecodedOnce(pictures, size), say)
    jobs = {name: job_digest(mark, model, size, name) for name in NAMES}
    backend = chosen_backend(request, jobs, parts, opener)
    spread = pictures[:: max(1, len(pictures) // SAMPLE)][:SAMPLE]
    work = Work(
        size, backend, request.device, request.batch_size, request.cache_dir, tuple(absolute(p) for p in spread)
    )
    return Plan(splits, work, jobs[backend], TableHeader(mark, model.dim, backend), opener)


def chosen_backend(request: EmbedRequest, jobs: dict[str, str], parts: Collection[str], opener: "Opener") -> str:
    """Name the backend and its precision; for "auto" that of the parts that are there, else the fastest one here."""
    if request.backend != "auto":
        return with_precision(request.backend)
    begun = [name for name, job in jobs.items() if any(part.startswith(job) for part in parts)]
    if begun:
        return begun[0]
    if request.engine == "ray" and request.device != "cpu":
        return with_precision("torch")  # what is fastest here may not even run on workers that have GPUs
    return opener.open("auto").name


class Opener:
    """Opens the model's backend in this process, once, when it is needed."""

    def __init__(self, request: EmbedRequest, model: ReidModel, pixels: DecodedOnce, say: Say) -> None:
        self.request, self.model, self.pixels, self.say = request, model, pixels, say
        self.embedder: Embedder | None = None

    def open(self, name: str) -> Embedder:
        """Open the backend of that name, see `backends.open_backend`.

        Raises:
            ConfigError: it cannot be used here.
        """
        if self.embedder is None or self.embedder.name != name:
            self.embedder = open_backend(
                self.model,
                self.pixels.size,
                name,
                device=choose_device(self.request.device),
                say=self.say,
                cache_dir=self.request.cache_dir,
                ahead=self.pixels,
            )
        return self.embedder


def absolute(picture: Picture) -> Picture:
    """Name a picture so that a process with another current folder finds it."""
    return Crop(picture.path.absolute(), picture.box) if isinstance(picture, Crop) else picture.absolute()


def refuse_unusable(request: EmbedRequest) -> None:
    """Check the flags that no other piece checks before there is work.

    Raises:
        ConfigError: no such engine, backend or device, flags of another engine, or not even one worker or image.
    """
    if request.engine not in ENGINES:
        raise no_such_name("engine", request.engine, ENGINES)
    if request.backend != "auto":
        with_precision(request.backend)
    if request.batch_size < 1:
        raise ConfigError(f"--batch-size must be at least 1 image, got {request.batch_size}")
    if request.engine == "ray":
        if request.workers is not None and request.workers < 1:
            raise ConfigError(f"--workers must be at least 1, got {request.workers}")
        if request.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"with --engine ray, --device must be auto, cpu or cuda, got '{request.device}'")
        return
    if request.workers is not None or request.ray_address is not None:
        raise ConfigError("--workers and --ray-address are for --engine ray; add that or leave them out")
    choose_device(request.device)


def job_digest(mark: str, model: ReidModel, size: tuple[int, int], backend: str) -> str:
    """Tell apart what must not be joined: other weights, of which `mark` is the fingerprint, backends, sizes."""
    facts = [FORMAT, RESIZE_VERSION, mark, repr(model.normalisation), backend, size]
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=4).hexdigest()


def as_blocks(splits: Sequence[Split], job: str) -> list[Block]:
    """Cut the splits into blocks, each of one split, and name their parts.

    Raises:
        DataError: a file is missing or cannot be read.
    """
    files = list({sample.path for split in splits for sample in split})
    stamps = dict(zip(files, mapped(_stamp, files), strict=True))

    def named(split: Split) -> Block:
        facts = [[str(s.path.absolute()), s.box, *stamps[s.path]] for s in split]
        return Block(split, f"{job}-{hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()}.parquet")

    return [
        named(Split(split.name, split.samples[start : start + BLOCK]))
        for split in splits
        for start in range(0, len(split), BLOCK)
    ]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


def make_parts(blocks: Sequence[Block], folder: Path, request: EmbedRequest, plan: Plan, say: Say, bar: Bar) -> None:
    """Embed the blocks that have no part yet."""
    there = finished(folder)
    pending = list({block.name: block for block in blocks if block.name not in there}.values())
    total = sum(len(block.split) for block in blocks)
    done = total - sum(len(block.split) for block in pending)
    if done and pending:
        say(f"going on in {folder} with {plan.work.backend}: {done} of {total} images are embedded already")
    draw = bar("embedding images")

    def count(images: int) -> None:
        nonlocal done
        done += images
        draw(min(done, total), total)

    count(0)
    if pending:
        with contextlib.closing(ENGINES[request.engine](pending, request, plan, count, say)) as made:
            for name, content in made:
                write_part(folder / name, content)


def embed_here(
    pending: Sequence[Block], request: EmbedRequest, plan: Plan, count: Callable[[int], None], say: Say
) -> Made:
    """Embed in this process."""
    del request, say
    worker = Worker(plan.opener.open(plan.work.backend), plan.work)
    for block in pending:
        yield block.name, worker.embed(block.split.pictures, count).as_bytes()


def embed_on_ray(
    pending: Sequence[Block], request: EmbedRequest, plan: Plan, count: Callable[[int], None], say: Say
) -> Made:
    """Embed on the workers of a Ray; see `bulk_ray`."""
    from resight.bulk_ray import embedded_on_ray

    images = {block.name: len(block.split) for block in pending}
    model = request.run / "model.safetensors" if request.run.is_dir() else request.run
    made = embedded_on_ray(pending, model, plan.work, request.workers, request.ray_address, say)
    with contextlib.closing(made):
        for name, content in made:
            count(images[name])
            yield name, content


ENGINES = {"local": embed_here, "ray": embed_on_ray}


def refuse_broken(
    blocks: Sequence[Block], splits: Sequence[Split], folder: Path, request: EmbedRequest, say: Say
) -> None:
    """Stop at broken images, or say how many are left out where --skip-broken is given.

    Raises:
        DataError: there are some and it is not given, or a split has no others. The parts stay.
    """
    for split in splits:
        broken, first = [], 0
        for block in blocks:
            if block.split.name == split.name:
                broken += [(first + place, reason) for place, reason in read_broken(folder / block.name)]
                first += len(block.split)
        if broken and not request.skip_broken:
            kept = f"\nThe others are embedded, in {parts_folder(request.out)}: the next call need not do it again."
            raise DataError(broken_sentence(split, broken) + kept)
        if len(broken) == len(split):
            raise DataError(f"all {len(split)} images of the {split.name} split are broken; nothing is left to embed")
        if broken:
            say(f"{len(broken)} broken images of the {split.name} split were left out")
