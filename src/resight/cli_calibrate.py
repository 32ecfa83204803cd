"""The command `resight calibrate`."""

from pathlib import Path
from typing import Annotated

import typer

from resight.cli_options import CacheOption, DeviceOption, FormatOption, JsonOption, RunArgument, SkipOption


def calibrate_command(
    run: RunArgument,
    data: Annotated[
        Path | None, typer.Argument(help="Images to calibrate on: a folder or data set.", show_default="the run's own")
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="CSV file of answers to pairs, as `resight audit` leaves it.")
    ] = None,
    false_match_rate: Annotated[
        float, typer.Option(help="Share of different pairs that may be called the same.")
    ] = 1e-3,
    source: Annotated[
        str,
        typer.Option(
            help="answers; tracklets; cameras: the images alone; identities: the data set's own, for reference; or "
            "auto: the first of these three that there is."
        ),
    ] = "auto",
    split: Annotated[str, typer.Option(help="train, query, gallery, or all.")] = "train",
    format: FormatOption = None,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
    skip_broken: SkipOption = False,
    json_file: JsonOption = None,
) -> None:
    """Learn what scores mean: the probability that two images show the same one, and a threshold.

    Example: `resight calibrate runs/crops --answers runs/crops/audit/pairs.csv --false-match-rate 1e-4`

    Writes RUN/calibration.json. Without answers or tracklets the images alone are used: the threshold is then on the
    safe side, the probabilities are rough. Identities, where a data set has them, only check the result, unless
    --source identities asks for them.
    """
    from resight import cli
    from resight.calibration_run import CalibrateRequest, run_calibration
    from resight.progress import titled_bar

    request = CalibrateRequest(
        run, data, answers, false_match_rate, source, split, format, device, cache_dir, skip_broken
    )
    cli.write_json(json_file, run_calibration(request, cli.say, lambda title: titled_bar(cli.console, title)))
