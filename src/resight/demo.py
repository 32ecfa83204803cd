"""`resight demo`: draw a data set, train on it without labels, evaluate, write a report."""

import dataclasses
from pathlib import Path
from typing import Any

from resight.data.synthetic import DEMOS, write_synthetic
from resight.errors import no_such_name
from resight.progress import Say
from resight.run import TrainRequest, run_training
from resight.runlog import Listener
from resight.strips import report_run

EPOCHS = 8


def run_demo(
    out: Path,
    kind: str,
    *,
    seed: int = 1,
    epochs: int | None = None,
    listeners: tuple[Listener, ...] = (),
    say: Say = print,
) -> dict[str, Any]:
    """Run the demo into `out` and give the training summary; an earlier demo's run in the same folder is replaced."""
    if kind not in DEMOS:
        raise no_such_name("demo", kind, DEMOS)
    data, run = out / kind, out / f"run-{kind}"
    say(f"drawing {kind} from seed {seed} into {data}")
    write_synthetic(data, dataclasses.replace(DEMOS[kind], seed=seed))
    request = TrainRequest(
        data=data,
        recipe="gsmlp",
        out=run,
        overwrite=True,
        command=f"resight demo --kind {kind} --seed {seed}",
        overrides=(f"train.seed={seed}", f"train.epochs={epochs or EPOCHS}"),
    )
    summary = run_training(request, listeners=listeners, say=say)
    before, after = summary["untrained"], summary["trained"]
    say(f"untrained: mAP {100 * before['mAP']:.1f} %  R1 {100 * before['cmc']['1']:.1f} %")
    say(f"trained:   mAP {100 * after['mAP']:.1f} %  R1 {100 * after['cmc']['1']:.1f} %   (no label was used)")
    say(f"report: {report_run(run, data, None)}")
    return summary
