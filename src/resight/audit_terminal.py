"""What `resight audit` asks a person at the terminal, and what it says the answers mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from resight.auditing import Audit
from resight.pair_answers import picture_of
from resight.pair_audit import MOST_MORE, Estimate, Interval, estimate, more_to_halve, recall_is_wider
from resight.progress import Say
from resight.report.strips import small_image

ANSWERS = {"y": True, "yes": True, "n": False, "no": False}
PREVIEW = (32, 64)
"""Largest width and height of an image at the terminal, in pixels; a line of characters shows two rows of them."""

Read = Callable[[str], str]


def ask_pairs(audit: Audit, read: Read, say: Say, show: Callable[[Text], None]) -> Audit:
    """Ask for each open pair and save each answer; stops at q, at the end of the input, or at Ctrl-C."""
    todo = [place for place, a in enumerate(audit.answers) if a.same is None]
    at, root = 0, Path(audit.plan.data)
    while at < len(todo):
        pair = audit.answers[todo[at]]
        try:
            show(side_by_side(pair.left, pair.right, root))
            say(f"{pair.left}\n{pair.right}")
            word = read(f"{todo[at] + 1} of {len(audit.answers)}: the same? y, n, s(kip), u(ndo), q(uit): ")
        except (EOFError, KeyboardInterrupt):
            break
        word = word.strip().lower()
        if word in ("q", "quit"):
            break
        if word in ANSWERS:
            audit = audit.with_answers({pair.pair: ANSWERS[word]})
            at += 1
        elif word in ("s", "skip"):
            at += 1
        elif word in ("u", "undo") and at:
            at -= 1
            audit = audit.with_answers({audit.answers[todo[at]].pair: None})
        else:
            say("there is nothing to undo" if word in ("u", "undo") else "please answer y, n, s, u or q")
    return audit


def side_by_side(left: str, right: str, root: Path) -> Text:
    """Draw two images in half blocks of colour; one that cannot be read is left empty."""
    canvas = np.zeros((PREVIEW[1], 2 * PREVIEW[0] + 4, 3), dtype=np.uint8)
    for column, name in ((0, left), (PREVIEW[0] + 4, right)):
        image = small_image(picture_of(name, root), PREVIEW)
        if image is not None:
            canvas[: image.height, column : column + image.width] = np.asarray(image)
    text = Text()
    for upper, lower in zip(canvas[::2].tolist(), canvas[1::2].tolist(), strict=True):
        for (r, g, b), (r2, g2, b2) in zip(upper, lower, strict=True):
            text.append("▀", f"rgb({r},{g},{b}) on rgb({r2},{g2},{b2})")
        text.append("\n")
    return text


def report(audit: Audit, command: str, say: Say) -> dict[str, Any]:
    """Say what the answers tell, or how to answer; give the figures."""
    plan, tally = audit.plan, audit.tally()
    answered, population = int(tally.asked.sum()), int(tally.sizes.sum())
    which = "pairs across cameras" if plan.across_cameras else "pairs"
    say(
        f"{population:,} {which} of {plan.images:,} images ({plan.split}, {plan.data}); the same from a score of "
        f"{plan.threshold:g} up ({plan.threshold_from}), as {int(tally.sizes[: plan.above].sum()):,} are"
    )
    say(f"{answered} of {len(audit.answers)} drawn pairs are answered, {int(tally.yes.sum())} with yes")
    figures = {
        "threshold": plan.threshold,
        "population": population,
        "images": plan.images,
        "across_cameras": plan.across_cameras,
        "drawn": len(audit.answers),
        "answered": answered,
        "yes": int(tally.yes.sum()),
        "floor": plan.floor,
    }
    if answered < len(audit.answers):
        say(f"answer the others on {audit.folder / 'pairs.html'}, then: {command} --answers answers.csv")
    if not answered:
        return figures
    found = estimate(tally, seed=plan.seed)
    for line in lines(audit, found):
        say(line)
    more = more_to_halve(tally, seed=plan.seed)
    wider = "recall" if recall_is_wider(found) else "precision"
    if more is None:
        say(f"more than {MOST_MORE:,} more answers would be needed to halve the interval of {wider}")
    elif more:
        total = len(audit.answers) + more
        say(f"about {more:,} more answers would halve the interval of {wider}: {command} --pairs {total}")
    return {**figures, **as_json(found), "more_answers_to_halve": more}


def lines(audit: Audit, found: Estimate) -> list[str]:
    """Put an estimate into words."""
    plan = audit.plan
    near = sum(plan.sizes[: plan.near])
    words = [
        f'precision of "same": {found.precision}',
        f'recall of "same", of all pairs: {found.recall or "no pair is"}',
    ]
    if near < sum(plan.sizes):
        words.append(f"recall among the {near:,} pairs that score at least {plan.floor:.3f}: {found.recall_near}")
    words.append(f"F1: {found.f1}")
    if found.recall is not None and near < sum(plan.sizes) and found.recall.width > 0.5:
        words.append(
            f"so few answers say little of the {sum(plan.sizes) - near:,} pairs that score less: rare ones among them "
            "may be the same"
        )
    return words


def as_json(found: Estimate) -> dict[str, Any]:
    """Give the figures as JSON holds them."""

    def ends(interval: Interval | None) -> dict[str, float] | None:
        return None if interval is None else {"value": interval.value, "low": interval.low, "high": interval.high}

    return {
        "precision": ends(found.precision),
        "recall": ends(found.recall),
        "recall_above_floor": ends(found.recall_near),
        "f1": ends(found.f1),
    }
