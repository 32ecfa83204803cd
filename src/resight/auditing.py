"""`resight audit`: draw pairs of a run's images, keep the answers, estimate precision and recall from them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from resight.artifacts import write_text
from resight.audit_images import FIRST_PAIRS, AuditImages, AuditRequest, Bar, Say, choose_threshold, open_images
from resight.audit_plan import AuditPlan, load_plan, model_digest, tally
from resight.data.formats import read_dataset
from resight.errors import CheckpointError, ConfigError, DataError
from resight.pair_answers import PairAnswer, picture_name, read_answers, write_answers
from resight.pair_audit import Tally, allocate, first_guess, importance
from resight.pair_posterior import chances
from resight.pair_sampling import Population, count_pairs, draw_pairs, stratify
from resight.report.pairs_page import write_pairs_page
from resight.tables import chosen_splits
from resight.types import JUNK_PID


@dataclass(frozen=True)
class Audit:
    """An audit's folder with its plan and its pairs, answered or not."""

    folder: Path
    plan: AuditPlan
    answers: tuple[PairAnswer, ...]

    @property
    def pairs_file(self) -> Path:
        """The pairs and their answers."""
        return self.folder / "pairs.csv"

    def with_answers(self, same: Mapping[tuple[str, str], bool | None]) -> "Audit":
        """Put answers in, save them, and give the audit with them."""
        answers = tuple(dataclasses.replace(a, same=same.get(a.pair, a.same)) for a in self.answers)
        write_answers(self.pairs_file, answers)
        return dataclasses.replace(self, answers=answers)

    def tally(self) -> Tally:
        """Count the answers in each stratum."""
        return tally(self.plan, [a for a in self.answers if a.same is not None])


def merged(audit: Audit, answers: Sequence[PairAnswer], file: Path, say: Say) -> Audit:
    """Take over the answers that `file` holds; where they answer what was answered already, they are right.

    Raises:
        DataError: they answer none of the audit's pairs.
    """
    given = {a.pair: a.same for a in answers if a.same is not None}
    if not given:
        raise DataError(f"{file} must hold answers, but all of its {len(answers)} pairs are open; answer some first")
    ours = {a.pair: a.same for a in audit.answers}
    foreign = given.keys() - ours.keys()
    if not given.keys() & ours.keys():
        raise DataError(
            f"{file} must answer pairs of {audit.pairs_file}, but none of its {len(given)} answers is to one of those"
        )
    if foreign:
        say(f"{len(foreign)} answers of {file} are to pairs that were not drawn; they do not count")
    changed = sum(ours[pair] not in (None, given[pair]) for pair in given.keys() & ours.keys())
    if changed:
        say(f"{changed} answers of {audit.pairs_file} were changed to those of {file}")
    return audit.with_answers(given)


def from_identities(audit: Audit, say: Say) -> Audit:
    """Answer what is open from the data set's identities, as a simulation of a person who never errs.

    Raises:
        DataError: an image of an open pair has no identity.
    """
    root = Path(audit.plan.data)
    splits = chosen_splits(read_dataset(root, audit.plan.format), audit.plan.split)
    pids = {picture_name(sample, root): sample.pid for split in splits for sample in split}
    open_ = [a for a in audit.answers if a.same is None]
    for name in (name for a in open_ for name in a.pair):
        if pids.get(name) is None:
            raise DataError(f"--from-identities needs the identity of every image, but that of {name} is not known")
    say(f"{len(open_)} pairs were answered from the identities that the data set has, not by a person")
    same = {a.pair: pids[a.left] == pids[a.right] and pids[a.left] != JUNK_PID for a in open_}
    return audit.with_answers(same)


def prepare_audit(request: AuditRequest, say: Say, bar: Bar) -> Audit:
    """Go on with the audit in the folder, or draw a new one; draw more pairs where more are asked for than there are.

    Raises:
        ConfigError: the folder holds an audit of something else.
        DataError: the data cannot be read or have no pairs above the threshold.
        CheckpointError: the model cannot be read, or the files cannot be written.
    """
    plan = load_plan(request.folder / "audit.json")
    file = request.folder / "pairs.csv"
    if plan is None and file.exists():
        raise ConfigError(f"{file} has lost the audit.json beside it; bring that back or give another --out")
    if plan is not None:
        _check_same(request, plan)
    answers = read_answers(file) if file.exists() else ()
    pairs = request.pairs or len(answers) or FIRST_PAIRS
    if plan is not None and len(answers) >= min(pairs, sum(plan.sizes)):
        return Audit(request.folder, plan, answers)
    return _draw(dataclasses.replace(request, pairs=pairs), plan, answers, say, bar)


def _check_same(request: AuditRequest, plan: AuditPlan) -> None:
    """Refuse to mix answers about different things."""
    data = None if request.data is None else str(request.data.absolute())
    if request.data is not None and request.data.resolve() == Path(plan.data).resolve():
        data = plan.data
    asked = {"threshold": request.threshold, "data": data, "seed": request.seed, "split": request.split}
    asked |= {"across_cameras": request.across_cameras, "model": model_digest(request.run)}
    for name, value in asked.items():
        before = getattr(plan, name)
        if value is not None and value != before:
            raise ConfigError(
                f"{request.folder} holds an audit with {name.replace('_', ' ')} {before}, but this one is to have "
                f"{value}; ask for the same again, or give another --out"
            )


def _draw(request: AuditRequest, plan: AuditPlan | None, answers: tuple[PairAnswer, ...], say: Say, bar: Bar) -> Audit:
    """Count all pairs by score, draw those that are missing, and save."""
    images = open_images(request, plan, say, bar)
    threshold, why = (plan.threshold, plan.threshold_from) if plan else choose_threshold(request, images)
    population = Population(images.rows, threshold, images.camids)
    counts = count_pairs(population, progress=bar("counting pairs"))
    plan = _plan(request, plan, images, counts.sum(axis=0, dtype=np.int64), (threshold, why))
    drawn = tally(plan, answers).asked + _to_draw(plan, answers, request.pairs or FIRST_PAIRS)
    pairs = draw_pairs(population, counts, plan.strata, drawn, seed=plan.seed)
    new = _new_pairs(pairs, images, answers)
    np.random.default_rng((plan.seed, len(answers))).shuffle(new)  # no order of scores to guess answers from
    return _save(request.folder, plan, _weighted(plan, (*answers, *new)))


def _plan(
    request: AuditRequest,
    plan: AuditPlan | None,
    images: AuditImages,
    counts: Int[np.ndarray, " bins"],
    threshold: tuple[float, str],
) -> AuditPlan:
    """Cut the pairs into strata, or check that they lie in those of `plan` as they did."""
    strata = plan.strata if plan else stratify(counts, threshold[0])
    sizes = tuple(strata.sizes(counts).tolist())
    if plan is None:
        return AuditPlan(
            model=model_digest(request.run),
            data=str(images.root.absolute()),  # not resolved: images lie beside a link to a manifest, not its target
            format=images.format,
            split=images.split.name,
            images=len(images.split),
            across_cameras=images.camids is not None,
            threshold=threshold[0],
            threshold_from=threshold[1],
            seed=1 if request.seed is None else request.seed,
            lowest=strata.lowest,
            above=strata.above,
            near=strata.near,
            sizes=sizes,
        )
    if sizes != plan.sizes:
        raise DataError(
            f"the pairs of {images.root} do not score as they did when {request.folder} was made; give another --out"
        )
    return plan


def _to_draw(plan: AuditPlan, answers: tuple[PairAnswer, ...], pairs: int) -> np.ndarray:
    """Spread the pairs still to draw over the strata: by a guess at first, then by what the answers taught."""
    drawn, answered = tally(plan, answers), tally(plan, [a for a in answers if a.same is not None])
    if answered.asked.sum():
        p = chances(answered.asked, answered.yes, 1000, np.random.default_rng(plan.seed))
    else:
        p = first_guess(drawn.sizes, drawn.above)
    return allocate(drawn.sizes, drawn.asked, importance(answered, p), pairs - len(answers))


def _new_pairs(
    pairs: list[tuple[int, int, float]], images: AuditImages, known: tuple[PairAnswer, ...]
) -> list[PairAnswer]:
    """Name the drawn pairs that are not known yet."""
    seen = {answer.pair for answer in known}
    named = [PairAnswer(images.name(i), images.name(j), score=score) for i, j, score in pairs]
    return [answer for answer in named if answer.pair not in seen]


def _weighted(plan: AuditPlan, answers: tuple[PairAnswer, ...]) -> tuple[PairAnswer, ...]:
    """Weigh each pair by the pairs of its stratum over those drawn of it."""
    weight = np.array(plan.sizes) / np.maximum(1, tally(plan, answers).asked)
    strata = plan.strata_of(answers)
    return tuple(dataclasses.replace(a, weight=float(weight[h])) for a, h in zip(answers, strata, strict=True))


def _save(folder: Path, plan: AuditPlan, answers: tuple[PairAnswer, ...]) -> Audit:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be made a folder ({error}); give another --out") from error
    write_text(folder / "audit.json", json.dumps(plan.to_json(), indent=2) + "\n")
    audit = Audit(folder, plan, answers)
    write_answers(audit.pairs_file, answers)
    _write_page(audit)
    return audit


def refresh_page(audit: Audit) -> None:
    """Put the answers into the page, so that it asks for the others; where the images are gone it stays as it is."""
    if Path(audit.plan.data).exists():
        _write_page(audit)


def _write_page(audit: Audit) -> None:
    title = f"audit of {audit.folder.resolve().parent.name}"
    write_pairs_page(audit.folder / "pairs.html", audit.answers, Path(audit.plan.data), title=title)
