"""The command `resight audit`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from resight.cli_options import CacheOption, DeviceOption, FormatOption, JsonOption, RunArgument, SkipOption


def audit_command(
    run: RunArgument,
    data: Annotated[
        Path | None, typer.Argument(help="Images to audit on: a folder or data set.", show_default="the run's own")
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pairs to ask about, in all; more than before draws more.",
            show_default="as before, at first 200",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Cosine from which two images are called the same.",
            show_default="as before, at first the calibration's",
        ),
    ] = None,
    answers: Annotated[Path | None, typer.Option(help="CSV file with answers, as the page's button gives it.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the audit.", show_default="RUN/audit")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the drawing.", show_default="1")] = None,
    split: Annotated[str | None, typer.Option(help="train, query, gallery, or all.", show_default="train")] = None,
    across_cameras: Annotated[
        bool | None,
        typer.Option("--across-cameras/--all-pairs", help="Only pairs from two different cameras.", show_default="all"),
    ] = None,
    ask: Annotated[bool, typer.Option("--ask/--no-ask", help="Ask here, where this is a terminal.")] = True,
    identities: Annotated[
        bool,
        typer.Option("--from-identities", help="Answer from the data set's identities: a simulation, for tests."),
    ] = False,
    format: FormatOption = None,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
    skip_broken: SkipOption = False,
    json_file: JsonOption = None,
) -> None:
    """Measure how right a model's "same" is without labels: precision and recall from a few hundred yes/no answers.

    Example: `resight audit runs/crops`, answer on runs/crops/audit/pairs.html, then
    `resight audit runs/crops --answers answers.csv`

    Pairs are drawn where their answers tell most. At a terminal they are asked here too: y, n, s (skip), u (undo), q
    (quit). Each answer is saved at once, and the next call goes on where this one stopped.
    """
    from resight import cli
    from resight.audit_images import AuditRequest
    from resight.audit_terminal import ask_pairs, report
    from resight.auditing import from_identities, merged, prepare_audit, refresh_page
    from resight.pair_answers import read_answers
    from resight.progress import titled_bar

    request = AuditRequest(
        run, data, pairs, threshold, out, seed, split, across_cameras, format, device, cache_dir, skip_broken
    )
    given = read_answers(answers) if answers is not None else None
    audit = before = prepare_audit(request, cli.say, lambda title: titled_bar(cli.console, title))
    if answers is not None and given is not None:
        audit = merged(audit, given, answers, cli.say)
    if identities:
        audit = from_identities(audit, cli.say)
    command = f"resight audit {shlex.quote(str(run))}" + (f" --out {shlex.quote(str(out))}" if out else "")
    if ask and answers is None and not identities and sys.stdin.isatty():
        audit = ask_pairs(audit, input, cli.say, cli.console.print)
    if audit.answers != before.answers:
        refresh_page(audit)
    cli.write_json(json_file, report(audit, command, cli.say))
