"""The command `resight app`."""

from pathlib import Path
from typing import Annotated

import typer

from resight.cli_options import BackendOption, CacheOption, DeviceOption, RunArgument


def app_command(
    run: RunArgument,
    gallery: Annotated[
        str | None,
        typer.Argument(help="Gallery to search and group: a folder, or a server's address.", show_default="none"),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(help="Parquet file of groups: shown where it is there, and saved to.", show_default="none"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any that is free.")] = 8080,
    token: Annotated[
        str | None,
        typer.Option(
            help="Token that all who open it must have; others on this machine can read it unless it is given as the "
            "variable.",
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
    threshold: Annotated[
        float | None,
        typer.Option(help="Cosine from which on a pair counts as a match.", show_default="the calibration's"),
    ] = None,
    false_match_rate: Annotated[
        float | None,
        typer.Option(help="Share of different pairs that may be called a match.", show_default="the calibration's"),
    ] = None,
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
) -> None:
    """Search, browse groups and answer pairs in the browser; works offline, and nothing leaves this machine.

    Example: `resight app runs/crops crops.db`

    Answers are saved at once, and given back as a CSV file that `resight audit`, `resight calibrate` and
    `resight group` read. Beside the pages there is an HTTP API, described under /api/docs.
    """
    from resight import cli
    from resight.app.request import AppRequest
    from resight.app.serving import run_app

    request = AppRequest(
        run=run,
        gallery=gallery,
        groups=groups,
        host=host,
        port=port,
        token=token,
        browser=browser,
        state=state,
        threshold=threshold,
        false_match_rate=false_match_rate,
        backend=backend,
        device=device,
        cache_dir=cache_dir,
    )
    run_app(request, cli.say)
