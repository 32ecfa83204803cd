"""The command `resight report`."""

from pathlib import Path
from typing import Annotated

import typer

from resight.cli_options import CacheOption, DeviceOption, FormatOption, RunArgument


def report_command(
    run: RunArgument,
    data: Annotated[
        Path | None, typer.Argument(help="Data set to look at with the run's model.", show_default="the run's own")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write.", show_default="RUN/report.html")] = None,
    queries: Annotated[int, typer.Option(min=0, help="Ranked strips to show; 0 for none.")] = 12,
    hardest: Annotated[
        int, typer.Option(min=0, help="Hardest queries to show, and with --against those that changed most.")
    ] = 8,
    against: Annotated[
        Path | None, typer.Option(help="Another run, to lay beside this one.", show_default="none")
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="Groups to show: a CSV or Parquet file with the columns path, group and perhaps confidence.",
            show_default="those that the model finds",
        ),
    ] = None,
    sections: Annotated[
        str,
        typer.Option(
            help="What to show beside the head: curves,strips,hardest,cameras,map,groups,against,recipe; or all."
        ),
    ] = "all",
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Write a page without a single picture: scores, curves, cameras, map.")
    ] = False,
    split: Annotated[
        str,
        typer.Option(
            help="Images to map and group: train, query, gallery or all; auto: query and gallery where their "
            "identities are known, else train."
        ),
    ] = "auto",
    points: Annotated[int, typer.Option(help="Most images on the map, 3 to 5000, drawn evenly.")] = 2000,
    projection: Annotated[
        str, typer.Option(help="How the map is laid out: umap, pca, or auto: umap where it is installed.")
    ] = "auto",
    megabytes: Annotated[float, typer.Option(help="Largest page, 2 or more; pictures beyond it are left out.")] = 12.0,
    format: FormatOption = None,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
) -> None:
    """Write one self-contained HTML file: curves, ranked strips, hardest queries, cameras, a map, groups.

    Example: `resight report runs/crops --against runs/crops-longer`

    Identities, where a data set has them, mark what is right and wrong; the map and the groups do without. The file
    holds small pictures of the images: give it only to those who may see them, or write it with --no-images.
    """
    from resight import cli
    from resight.progress import titled_bar
    from resight.report.page import SECTIONS
    from resight.strips import report_run

    shown = (
        SECTIONS if sections.strip() == "all" else tuple(name.strip() for name in sections.split(",") if name.strip())
    )
    written = report_run(
        run,
        data,
        out,
        queries=queries,
        hardest=hardest,
        against=against,
        groups=groups,
        sections=shown,
        images=not no_images,
        split=split,
        points=points,
        projection=projection,
        megabytes=megabytes,
        format=format,
        device=device,
        cache_dir=cache_dir,
        bar=lambda title: titled_bar(cli.console, title),
    )
    cli.say(f"wrote {written}")
