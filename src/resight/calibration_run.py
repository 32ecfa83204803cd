"""`resight calibrate`: a trained model and some images → what its scores mean, saved beside the model."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resight.artifacts import load_model
from resight.audit_plan import data_of
from resight.calibrate import Calibration, check_rate, fingerprint, save_calibration
from resight.calibration_check import Check, check_by_identity
from resight.calibration_sources import Learnt, Scored, from_answers, from_identities, from_images, from_tracklets
from resight.data.formats import read_dataset
from resight.errors import ConfigError, DataError
from resight.pair_answers import read_answers
from resight.prepare import choose_device
from resight.progress import Bar, Say
from resight.run_images import each_once, embed_split
from resight.score_counts import smallest_rate
from resight.types import UNKNOWN_TRACKLET, Split

ASKED = ("auto", "answers", "tracklets", "cameras", "identities")

USED = {
    "answers": "the answers to {pairs:,} pairs",
    "tracklets": "tracklets: {pairs:,} pairs known to be same or different",
    "cameras": "the images alone: all {pairs:,} pairs against simulated strangers",
    "identities": "the identities of the data set: {pairs:,} pairs",
}


@dataclass(frozen=True)
class CalibrateRequest:
    """What `resight calibrate` was asked for. `data`: None is what the run was trained on."""

    run: Path
    data: Path | None = None
    answers: Path | None = None
    false_match_rate: float = 1e-3
    source: str = "auto"
    split: str = "train"
    format: str | None = None
    device: str = "auto"
    cache_dir: Path | None = None
    skip_broken: bool = False


def run_calibration(request: CalibrateRequest, say: Say, bar: Bar) -> dict[str, Any]:
    """Embed, learn, check against identities where there are any, save; gives the figures.

    Nothing is written unless all of it has come about; an earlier calibration is replaced at once.

    Raises:
        ConfigError: the source, rate or device cannot be used, or there are too few pairs for the rate.
        DataError: the data or the answers cannot be read, or tell too little.
        CheckpointError: the model cannot be read, or the calibration not be written.
    """
    _check(request)
    answers = read_answers(request.answers) if request.answers is not None else ()
    scored = open_scored(request, say, bar)
    source = chosen_source(request, scored.split)
    rate, counting = request.false_match_rate, bar("counting scores")
    if source == "answers":
        learnt = from_answers(scored, answers, rate, progress=counting)
    else:
        learn = {"tracklets": from_tracklets, "cameras": from_images, "identities": from_identities}[source]
        learnt = learn(scored, rate, progress=counting)
    calibration = learnt.calibration(source, rate, fingerprint(request.run))
    check = _checked(scored, calibration, bar)
    path = save_calibration(request.run, calibration)
    drawn = _drawing(check, path)
    for line in lines(calibration, learnt, len(scored.split)):
        say(line)
    if check is not None:
        for line in check.lines(calibration):
            say(line)
    say(f"saved {path}" + (f" and {drawn.name}" if drawn else ""))
    return as_json(calibration, check)


def _check(request: CalibrateRequest) -> None:
    check_rate(request.false_match_rate)
    if request.source not in ASKED:
        raise ConfigError(f"--source must be one of {', '.join(ASKED)}, got '{request.source}'")
    if request.source == "answers" and request.answers is None:
        raise ConfigError("--source answers needs the file of them; give --answers FILE, as resight audit writes it")
    if request.answers is not None and request.source not in ("auto", "answers"):
        raise ConfigError(f"--answers and --source {request.source} exclude each other; give one of them")


def chosen_source(request: CalibrateRequest, split: Split) -> str:
    """Resolve "auto": answers if there are any, else tracklets where the data have them, else the images alone."""
    if request.source != "auto":
        return request.source
    if request.answers is not None:
        return "answers"
    return "tracklets" if any(t != UNKNOWN_TRACKLET for t in split.tracklets) else "cameras"


def open_scored(request: CalibrateRequest, say: Say, bar: Bar) -> Scored:
    """Read and embed the images to calibrate on; one that stands in several splits counts once.

    Raises:
        ConfigError, DataError, CheckpointError: device, data or model cannot be used.
    """
    place = choose_device(request.device)
    model, recipe = load_model(request.run, place)
    root, format = _data_of(request)
    dataset = read_dataset(root, format)
    split, rows = embed_split(
        model,
        recipe.input.height_width,
        each_once(dataset, request.split),
        cache_dir=request.cache_dir,
        skip_broken=request.skip_broken,
        say=say,
        bar=bar,
    )
    return Scored(rows, split, dataset.root)


def _data_of(request: CalibrateRequest) -> tuple[Path, str | None]:
    """Give the folder of images and its format: as asked, else those that the run's log names."""
    if request.data is not None:
        return request.data, request.format
    return data_of(request.run, request.format)


def _checked(scored: Scored, calibration: Calibration, bar: Bar) -> Check | None:
    """Check against identities where all are known; None where they are not, or where they were learnt from."""
    pids = scored.split.pids
    if pids is None or min(pids) < 0 or calibration.source == "identities":
        return None
    try:
        return check_by_identity(scored, calibration, progress=bar("checking against identities"))
    except DataError:
        return None  # no pair of a kind: there is nothing to check against


def _drawing(check: Check | None, path: Path) -> Path | None:
    """Draw the check beside the calibration; a drawing of an earlier one must not stay."""
    from resight.report.reliability import write_reliability

    drawing = path.with_name("reliability.svg")
    if check is None:
        drawing.unlink(missing_ok=True)
        return None
    write_reliability(drawing, check.reliability)
    return drawing


def lines(calibration: Calibration, learnt: Learnt, images: int) -> list[str]:
    """Say what was learnt, from what, and how far to trust it."""
    rate = calibration.false_match_rate
    said = [
        f"learnt from {USED[calibration.source].format(pairs=calibration.pairs)}, of {images:,} images",
        *learnt.notes,
        f"threshold {calibration.threshold:.4f} at a false-match rate of {rate:g}: of all pairs of two different ones, "
        f"{'about' if calibration.source == 'answers' else 'no more than'} {rate:g} should reach it",
    ]
    if calibration.across is not None and calibration.within is not None:
        said.append(
            f"across cameras {calibration.across.threshold:.4f}, within one camera {calibration.within.threshold:.4f}"
        )
    all_pairs = images * (images - 1) / 2 * (1 - calibration.same_share)
    said.append(f"smallest rate that so many images can tell: {smallest_rate(all_pairs)}")
    said.append(
        f"share of same pairs taken: {calibration.same_share:.3g} of all; a search meets another share, which moves "
        "probabilities (at_prior)"
    )
    said.append(f"how far to trust it: {calibration.trust}")
    return said


def as_json(calibration: Calibration, check: Check | None) -> dict[str, Any]:
    """Give the figures; those of the check under their own name."""
    figures = {**dataclasses.asdict(calibration), "camera_aware": calibration.camera_aware}
    if check is not None:
        figures["for checking, not used in the fit"] = check.to_json()
    return figures
