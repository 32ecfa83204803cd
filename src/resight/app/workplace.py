"""What the app works with: a run's model, a gallery, the answers, and the groups and audit once they are there."""

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from resight.app.asking import Asking
from resight.app.pictures import Pictures
from resight.app.request import AppRequest
from resight.artifacts import load_model
from resight.audit_images import AuditRequest
from resight.audit_plan import data_of
from resight.auditing import Audit, prepare_audit
from resight.backends import open_backend
from resight.calibrate import fingerprint, load_calibration
from resight.errors import ConfigError, GalleryError, ResightError
from resight.gallery import Gallery, Where
from resight.gallery.queries import Queries
from resight.gallery.searching import Answer, Judge, explain, make_judge, search
from resight.groups.saved import SavedGroups
from resight.groups.settings import trained_once
from resight.groups.table import write_groups
from resight.matching import check_asked
from resight.pair_answers import read_answers
from resight.prepare import choose_device
from resight.progress import Bar, Say, no_bar, silent
from resight.review.exporting import answers_csv
from resight.review.found import FoundGroups, Means, group_gallery, load_groups
from resight.review.measuring import Measuring
from resight.review.questions import Known, latest, whole_name
from resight.review.store import Pair, ReviewStore
from resight.types import Picture

NO_GALLERY = "this app was started without a gallery; make one with resight index, and start again with: {command}"


class Workplace:
    """All of it, opened once and used by all pages and calls; safe from several threads.

    Raises:
        ConfigError: a flag cannot be used, or another app has the answers open.
        CheckpointError: the model or its calibration cannot be read.
        GalleryError: the gallery is of another model, or cannot be opened.
        DataError: the file of answers, or that of groups, cannot be read.
    """

    def __init__(self, request: AppRequest, say: Say = silent) -> None:
        self.request, self.run = request, request.run
        self.fingerprint = fingerprint(request.run)
        level = {"threshold": request.threshold, "rate": request.false_match_rate}
        check_asked(load_calibration(request.run), request.run, **level)
        self.gallery: Gallery | None = None
        self.groups: FoundGroups | None = None
        self._earlier: SavedGroups | None = None
        if request.groups is not None and request.groups.exists():
            self.groups, self._earlier = load_groups(request.groups, self.fingerprint)
        with ExitStack() as opened:
            self.store = opened.enter_context(ReviewStore(request.state_file))
            if request.gallery is not None:
                self.gallery = opened.enter_context(Gallery.open(request.gallery, self.fingerprint))
            self.judge: Judge = make_judge(request.run, **level, gallery=self.gallery)
            self.trained_once, self.asking = _opened_model(request, say)
            self._opened = opened.pop_all()
        self.pictures = Pictures(self.gallery, request.cache)
        if self.groups is not None:
            self.pictures.offer(self.groups.entries)
        self.measuring: Measuring | None = None
        self._preparing, self._saving = threading.Lock(), threading.Lock()
        self._stats: Mapping[str, Any] | None = None
        self.asked: dict[str, Pair] = {}  # what each open page asks now, so that no two ask the same
        self.audit_error = self._old_audit()

    def _old_audit(self) -> str:
        """Open the audit that there is; says why where it cannot be used."""
        try:
            if self.has_audit():
                self.draw(no_bar)
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

    def stats(self) -> Mapping[str, Any]:
        """Say what the gallery holds; counted anew only where their number has changed, as others may use a server.

        Raises:
            GalleryError: there is no gallery, or it cannot be asked.
        """
        gallery = self.opened_gallery
        if self._stats is None or self._stats["entries"] != len(gallery):
            self._stats = gallery.stats()
        return self._stats

    def explanation(self) -> list[str]:
        """Say what counts as a match, or that this is not known."""
        return explain(self.judge, 0 if self.gallery is None else len(self.gallery), self.run)

    def search(self, queries: Queries, top: int, where: Where, *, others: bool = False) -> Answer:
        """Search for the one query; `others`: without its own picture.

        Raises:
            GalleryError: there is no gallery, or it cannot be asked.
        """
        return search(self.opened_gallery, queries, self.judge, top=top, where=where, others=others)[0]

    def known(self) -> Known:
        """Give all answers, of whatever purpose; the later one is right."""
        given = latest(d for d in self.store.decisions() if d.same is not None)
        before = {} if self.measuring is None else self.measuring.known()
        return {pair: same for pair, same in before.items() if pair not in given} | given

    def take_back(self, pair: Pair) -> None:
        """Take back whatever was answered of a pair, here or in the audit's file.

        Raises:
            DataError, CheckpointError: it cannot be written.
        """
        self.store.take_back(pair)
        with self._preparing:
            if self.measuring is not None and self.measuring.known().get(pair) is not None:
                name = self.measuring.audit.answers[self.measuring.pairs.index(pair)].pair
                self.measuring = Measuring(self._audit_of_now(self.measuring).with_answers({name: None}))

    def is_own(self, picture: Picture) -> bool:
        """Tell whether it is one of those that the run's audit asks about."""
        return self.measuring is not None and whole_name(picture) in self.measuring.names

    def has_audit(self) -> bool:
        """Whether pairs were drawn before."""
        return (self.request.folder / "audit" / "audit.json").is_file()

    def draw(self, bar: Bar, pairs: int | None = None) -> Measuring:
        """Go on with the run's audit, or draw one; `pairs`: in all, None: as many as there are, at first 200.

        Raises:
            ResightError: as `auditing.prepare_audit`.
        """
        asked = AuditRequest(self.run, pairs=pairs, device=self.request.device, cache_dir=self.request.cache_dir)
        with self._preparing:
            if self.measuring is not None and pairs is not None:  # what is drawn next depends on what is known
                given = latest(self.store.decisions(self.measuring.purpose))
                names = zip(self.measuring.pairs, self.measuring.audit.answers, strict=True)
                said = {answer.pair: given.get(pair) for pair, answer in names}
                # A skip takes no answer away that was given elsewhere.
                self._audit_of_now(self.measuring).with_answers(
                    {p: same for p, same in said.items() if same is not None}
                )
            self.measuring = Measuring(prepare_audit(asked, silent, bar))
            return self.measuring

    @staticmethod
    def _audit_of_now(measuring: Measuring) -> Audit:
        """Read the file again: it may hold answers that were given elsewhere meanwhile."""
        return replace(measuring.audit, answers=read_answers(measuring.audit.pairs_file))

    def group(self, bar: Bar, *, again: bool = False) -> FoundGroups:
        """Give the groups that there are, or group the gallery.

        Those that came from the file of --groups, or were saved to it, are gone on from and keep their numbers.

        Raises:
            ResightError: as `found.group_gallery`.
        """
        with self._preparing:
            if self.groups is None or again:
                means = Means(
                    self.judge.calibration,
                    self.judge.thresholds,
                    self.request.decides,
                    self.trained_once,
                    self._earlier,
                )
                self.groups = group_gallery(
                    *(self.opened_gallery, self.known(), means, self.root(), self.request.cache),
                    progress=bar("comparing images"),
                )
            return self.groups

    def save_groups(self, file: Path | None = None) -> Path:
        """Write the groups, whole or not at all, to `file`, or where --groups says; .csv or .parquet.

        Raises:
            ConfigError: there is nothing to write, or no place.
            ResightError: they cannot be written.
        """
        place = file or self.request.groups
        if place is None:
            raise ConfigError("no file was named to save groups to; start the app with --groups groups.parquet")
        with self._saving:  # so that what was saved last is what is gone on from
            groups = self.groups
            if groups is None:
                raise ConfigError("there are no groups yet: open the page of groups first")
            write_groups(place, groups.crops, groups.grouping, groups.embeddings, self.fingerprint)
            if file is None:
                self._earlier = SavedGroups(groups.crops, groups.grouping, groups.embeddings, self.fingerprint)
        return place

    def root(self) -> Path:
        """Where names of pictures in an export begin: the folder of the run's data, where that is known."""
        if self.measuring is not None:
            return Path(self.measuring.audit.plan.data)
        try:
            return data_of(self.run)[0].absolute()
        except ResightError:
            return self.request.folder.absolute()

    def answers_csv(self, *, drawn_only: bool) -> str:
        """Write the answers as CSV, see `review.exporting`."""
        return answers_csv(self.store, self.measuring, self.root(), self.fingerprint, drawn_only=drawn_only)


def _opened_model(request: AppRequest, say: Say) -> tuple[bool, Asking]:
    """Load the model to embed uploads with; whether it was trained under the rule of one image a camera, too."""
    device = choose_device(request.device)
    model, recipe = load_model(request.run, device)
    size = recipe.input.height_width
    # Uploads come one by one: a trial of backends takes longer than it saves.
    name = "torch" if request.backend == "auto" else request.backend
    embedder = open_backend(model, size, name, device=device, say=say, cache_dir=request.cache)
    return trained_once(recipe), Asking(embedder, size)
