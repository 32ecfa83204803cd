"""What the app works with: a run's model, a gallery, the answers, and the groups and audit once they are there."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from resight.app.pictures import Pictures
from resight.app.uploads import Upload, read_upload
from resight.artifacts import load_model
from resight.audit_images import AuditRequest
from resight.audit_plan import data_of
from resight.auditing import prepare_audit
from resight.backbones import ReidModel
from resight.calibrate import fingerprint
from resight.config import Recipe
from resight.data.decode import resized
from resight.errors import DataError, GalleryError, ResightError
from resight.gallery import Entry, Gallery, Where
from resight.gallery.index import as_tensor, torch_rows
from resight.gallery.queries import Queries
from resight.gallery.searching import Answer, Judge, SearchRequest, explain, make_judge, search
from resight.pair_answers import read_answers
from resight.prepare import choose_device
from resight.review.exporting import answers_csv
from resight.review.found import FoundGroups, group_gallery
from resight.review.measuring import Measuring
from resight.review.questions import Known, latest
from resight.review.store import FILE, Pair, ReviewStore
from resight.run_images import Bar

UPLOADED = "uploaded image"

NO_GALLERY = "this app was started without a gallery; make one with resight index, and start again with: {command}"


@dataclass(frozen=True)
class AppRequest:
    """What `resight app` was asked for. `token`: None makes one where others can reach `host`, and none elsewhere."""

    run: Path
    gallery: str | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = None
    browser: bool | None = None
    state: Path | None = None
    false_match_rate: float | None = None
    device: str = "auto"
    cache_dir: Path | None = None

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run if self.run.is_dir() else self.run.parent

    @property
    def state_file(self) -> Path:
        """Where the answers lie."""
        return self.state or self.folder / FILE


class Workplace:
    """All of it, opened once and used by all pages and calls; safe from several threads.

    Raises:
        ConfigError: a flag cannot be used, or another app has the answers open.
        CheckpointError: the model or its calibration cannot be read.
        GalleryError: the gallery is of another model, or cannot be opened.
        DataError: the file of answers cannot be read.
    """

    def __init__(self, request: AppRequest) -> None:
        self.request, self.run = request, request.run
        self.fingerprint = fingerprint(request.run)
        rate = request.false_match_rate
        self.judge: Judge = make_judge(SearchRequest(request.run, Path(), request.gallery or "", false_match_rate=rate))
        self.model: ReidModel
        self.recipe: Recipe
        self.model, self.recipe = load_model(request.run, choose_device(request.device))
        self.gallery: Gallery | None = None
        with ExitStack() as opened:
            self.store = opened.enter_context(ReviewStore(request.state_file))
            if request.gallery is not None:
                self.gallery = opened.enter_context(Gallery.open(request.gallery, self.fingerprint))
            self._opened = opened.pop_all()
        self.pictures = Pictures(self.gallery)
        self.measuring: Measuring | None = None
        self.groups: FoundGroups | None = None
        self._embedding = threading.Lock()
        self._preparing = threading.Lock()
        self.asked: dict[str, Pair] = {}  # what each open page asks now, so that no two ask the same
        self.audit_error = self._old_audit()

    def _old_audit(self) -> str:
        """Open the audit that there is; says why where it cannot be used."""
        try:
            if self.has_audit():
                self.draw(lambda title: lambda done, total: None)
        except ResightError as error:
            return str(error)
        return ""

    def __enter__(self) -> "Workplace":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the gallery and the answers back to other apps."""
        self._opened.close()

    @property
    def opened_gallery(self) -> Gallery:
        """The gallery.

        Raises:
            GalleryError: there is none.
        """
        if self.gallery is None:
            raise GalleryError(NO_GALLERY.format(command=f"resight app {self.run} GALLERY"))
        return self.gallery

    @cached_property
    def stats(self) -> Mapping[str, Any]:
        """What the gallery holds, as it was when this was first asked."""
        return self.opened_gallery.stats()

    def explanation(self) -> list[str]:
        """Say what counts as a match, or that this is not known."""
        return explain(self.judge, 0 if self.gallery is None else len(self.gallery), self.run)

    def embed(self, data: bytes) -> tuple[Upload, Float[Tensor, "1 d"]]:
        """Decode and embed an uploaded image.

        Raises:
            RefusedUpload: it cannot be.
        """
        height, width = self.recipe.input.height_width
        with self._embedding:  # one at a time, which bounds the memory, too
            upload = read_upload(data)
            images = as_tensor([resized(upload.pixels, height, width)], (height, width))
            return upload, torch_rows(self.model)(images)

    def image_query(self, data: bytes) -> tuple[Queries, Upload]:
        """Make a query of an uploaded image.

        Raises:
            RefusedUpload: it is none.
        """
        upload, rows = self.embed(data)
        return Queries((UPLOADED,), rows, (None,), (upload.digest,), (None,)), upload

    def vector_query(self, numbers: Sequence[float]) -> Queries:
        """Make a query of an embedding, of unit length or not.

        Raises:
            DataError: it is no embedding of this model.
        """
        vector = torch.tensor(numbers, dtype=torch.float64)
        length = vector.norm()
        if len(vector) != self.model.dim or not bool(length.isfinite()) or float(length) == 0:
            raise DataError(f"vector must be {self.model.dim} finite numbers, not all 0, got {len(vector)} numbers")
        return Queries(("vector",), (vector / length).float()[None], (None,), (None,), (None,))

    def entry_query(self, id: str) -> tuple[Queries, Entry]:
        """Make a query of an entry of the gallery.

        Raises:
            GalleryError: there is no such entry, or the gallery cannot be asked.
        """
        entry = self.opened_gallery.get([id])[0]
        vectors = self.opened_gallery.vectors([id])
        return Queries((entry.path.name,), vectors, (entry.picture,), (id,), (entry.camid,)), entry

    def search(self, queries: Queries, top: int, where: Where, *, others: bool = False) -> Answer:
        """Search for the one query; `others`: without its own picture.

        Raises:
            GalleryError: there is no gallery, or it cannot be asked.
        """
        return search(self.opened_gallery, queries, self.judge, top=top, where=where, others=others)[0]

    def known(self) -> Known:
        """Give all answers, of whatever purpose; the later one is right."""
        before = {} if self.measuring is None else self.measuring.known()
        return {**before, **latest(d for d in self.store.decisions() if d.same is not None)}

    def has_audit(self) -> bool:
        """Whether pairs were drawn before."""
        return (self.request.folder / "audit" / "audit.json").is_file()

    def draw(self, bar: Bar, pairs: int | None = None) -> Measuring:
        """Go on with the run's audit, or draw one; `pairs`: in all, None: as many as there are, at first 200.

        Raises:
            ResightError: as `auditing.prepare_audit`.
        """
        request = AuditRequest(
            self.request.folder, pairs=pairs, device=self.request.device, cache_dir=self.request.cache_dir
        )
        with self._preparing:
            if self.measuring is not None and pairs is not None:  # what is drawn next depends on what is known
                audit, given = self.measuring.audit, latest(self.store.decisions(self.measuring.purpose))
                names = zip(self.measuring.pairs, audit.answers, strict=True)
                said = {answer.pair: given.get(pair) for pair, answer in names}
                # The file may hold answers that were given elsewhere meanwhile; a skip takes none of them away.
                now = replace(audit, answers=read_answers(audit.pairs_file))
                now.with_answers({pair: same for pair, same in said.items() if same is not None})
            self.measuring = Measuring(prepare_audit(request, lambda text: None, bar))
            return self.measuring

    def group(self, bar: Bar, *, again: bool = False) -> FoundGroups:
        """Group the gallery, or give the groups that there are.

        Raises:
            ResightError: as `found.group_gallery`.
        """
        with self._preparing:
            if self.groups is None or again:
                miner = self.recipe.miner
                once = miner.name == "cluster" and bool(miner.options.get("once_per_camera", False))
                self.groups = group_gallery(
                    self.opened_gallery,
                    self.known(),
                    self.judge.calibration,
                    trained_once=once,
                    progress=bar("comparing images"),
                )
            return self.groups

    def root(self) -> Path:
        """Where names of pictures in an export begin: the folder of the run's data, where that is known."""
        if self.measuring is not None:
            return Path(self.measuring.audit.plan.data)
        try:
            return data_of(self.request.folder)[0].absolute()
        except ResightError:
            return self.request.folder.absolute()

    def answers_csv(self, *, drawn_only: bool) -> str:
        """Write the answers as CSV, see `review.exporting`."""
        return answers_csv(self.store, self.measuring, self.root(), self.fingerprint, drawn_only=drawn_only)
