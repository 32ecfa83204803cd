"""The command `resight app`."""

from pathlib import Path
from typing import Annotated

import typer

from resight.cli_options import CacheOption, DeviceOption, RunArgument


def app_command(
    run: RunArgument,
    gallery: Annotated[
        str | None,
        typer.Argument(help="Gallery to search and group: a folder, or a server's address.", show_default="none"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any that is free.")] = 8080,
    token: Annotated[
        str | None,
        typer.Option(
            help="Token that all who open it must have.",
            show_default="none on this machine, else one is made",
            envvar="RESIGHT_APP_TOKEN",
        ),
    ] = None,
    browser: Annotated[
        bool | None, typer.Option("--open/--no-browser", help="Open a browser.", show_default="at a terminal")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="File that answers are kept in.", show_default="RUN/review.sqlite")
    ] = None,
    false_match_rate: Annotated[
        float | None,
        typer.Option(help="Share of different pairs that may be called a match.", show_default="the calibration's"),
    ] = None,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
) -> None:
    """Search, browse groups and answer pairs in the browser; works offline, and nothing leaves this machine.

    Example: `resight app runs/crops crops.db`

    Answers are saved at once, and given back as a CSV file that `resight audit`, `resight calibrate` and
    `resight group` read. Beside the pages there is an HTTP API, described under /api/docs.
    """
    from resight import cli
    from resight.app.serving import run_app
    from resight.app.workplace import AppRequest

    run_app(AppRequest(run, gallery, host, port, token, browser, state, false_match_rate, device, cache_dir), cli.say)
