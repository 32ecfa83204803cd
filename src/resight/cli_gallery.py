"""The commands `resight index`, `resight search` and `resight gallery …`."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from resight.cli_options import (
    BackendOption,
    BatchOption,
    CacheOption,
    DataArgument,
    DeviceOption,
    FormatOption,
    JsonOption,
    RunArgument,
    SkipOption,
    SplitOption,
)
from resight.errors import ConfigError
from resight.gallery.entries import absolute, parse_where
from resight.outputs import check_output

GalleryOption = Annotated[
    str,
    typer.Option(
        "--gallery",
        help="Folder of the gallery, or http(s)://host:port[/database][#name] of a Milvus server or cluster (its token "
        "in RESIGHT_GALLERY_TOKEN).",
    ),
]
GalleryArgument = Annotated[str, typer.Argument(help="Folder of the gallery, or the address of a Milvus server.")]
TypeOption = Annotated[
    str | None, typer.Option("--type", help="What the images show, a free word: person, vehicle, animal …")
]
CameraOption = Annotated[str | None, typer.Option(help="Only entries of these cameras: 1,2.")]
AfterOption = Annotated[
    str | None, typer.Option(help="Only entries at or after this time: a number, or a date such as 2024-05-01T12:00.")
]
BeforeOption = Annotated[str | None, typer.Option(help="Only entries before this time.")]
TypeFilter = Annotated[str | None, typer.Option("--type", help="Only entries of these types: person,vehicle.")]
SourceFilter = Annotated[str | None, typer.Option("--source", help="Only entries from these sources.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]


def index_command(
    run: RunArgument,
    data: DataArgument,
    gallery: GalleryOption,
    type: TypeOption = None,
    source: Annotated[
        str | None, typer.Option(help="Where they come from, a free word.", show_default="the name of DATA")
    ] = None,
    split: SplitOption = "all",
    format: FormatOption = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    cache_dir: CacheOption = None,
    batch_size: BatchOption = 256,
    skip_broken: SkipOption = False,
    json_file: JsonOption = None,
) -> None:
    """Add the images of a data set to a gallery that can be searched; it is made where there is none.

    Example: `resight index runs/crops crops/ --gallery crops.db --type person`

    Images that are there already, told by their content, are not embedded again, so a run that was cut short goes on
    where it stopped. For several machines: `resight embed --engine ray`, then `resight gallery import` its table.
    """
    from resight import cli
    from resight.gallery.index import IndexRequest, run_index
    from resight.progress import titled_bar

    check_output(json_file, "--json", overwrite=True)
    request = IndexRequest(
        *(run, data, gallery, type, source),
        split=split,
        format=format,
        device=device,
        backend=backend,
        cache_dir=cache_dir,
        batch_size=batch_size,
        skip_broken=skip_broken,
    )
    try:
        figures = run_index(request, cli.say, lambda title: titled_bar(cli.console, title))
    except KeyboardInterrupt:
        again = "resight " + shlex.join(sys.argv[1:])
        cli.errors.print(f"stopped; what was added stays. Go on with: {again}", markup=False)
        raise typer.Exit(130) from None
    cli.write_json(json_file, figures)


def search_command(
    run: RunArgument,
    query: Annotated[
        Path,
        typer.Argument(
            help="An image, a folder or data set, or embeddings: .npy, or .parquet as resight embed writes."
        ),
    ],
    gallery: GalleryOption,
    top: Annotated[int, typer.Option(min=1, max=1000, help="Entries to give for each query.")] = 10,
    camera: CameraOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    type: TypeFilter = None,
    source: SourceFilter = None,
    others: Annotated[
        bool, typer.Option("--others", help="Leave out the query's own picture, where it is in the gallery.")
    ] = False,
    false_match_rate: Annotated[
        float | None,
        typer.Option(help="Share of different pairs that may be called a match.", show_default="the calibration's"),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Score from which on an entry counts as a match, instead of the calibration's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write all hits to this file, .csv or .parquet.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with the images, in one file.")] = None,
    overwrite: OverwriteOption = False,
    split: SplitOption = "all",
    format: FormatOption = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    cache_dir: CacheOption = None,
    batch_size: BatchOption = 256,
    skip_broken: SkipOption = False,
    json_file: JsonOption = None,
) -> None:
    """Find the entries of a gallery that look most like an image, or like each of several.

    Example: `resight search runs/crops someone.jpg --gallery crops.db --camera 1,2 --after 2024-05-01`

    Where the run is calibrated, hits below the threshold are marked and a query without any above it is "no match".
    """
    from resight import cli
    from resight.gallery.results import SUFFIXES, print_answers, write_answers, write_page
    from resight.gallery.searching import SearchRequest, as_json, run_search
    from resight.progress import titled_bar

    check_output(out, suffixes=SUFFIXES, overwrite=overwrite)
    check_output(html, "--html", overwrite=overwrite)
    check_output(json_file, "--json", overwrite=overwrite)
    where = parse_where(camera, after, before, type, source)
    request = SearchRequest(
        *(run, query, gallery, top, where, others, false_match_rate, threshold),
        split=split,
        format=format,
        device=device,
        backend=backend,
        cache_dir=cache_dir,
        batch_size=batch_size,
        skip_broken=skip_broken,
    )
    said: list[str] = []
    answers, judge = run_search(request, said.append, lambda title: titled_bar(cli.console, title))
    print_answers(answers, cli.console)
    for line in said:
        cli.say(line)
    cli.write_json(json_file, as_json(answers, judge))
    if out is not None:
        write_answers(answers, out)
    if html is not None:
        write_page(answers, html, said)


def stats_command(gallery: GalleryArgument, json_file: JsonOption = None) -> None:
    """Show what a gallery holds: entries by camera, type and source, times, and the model it is of.

    Example: `resight gallery stats crops.db`
    """
    from resight import cli
    from resight.gallery import Gallery
    from resight.gallery.results import shown_time

    with Gallery.open(gallery) as opened:
        found = opened.stats()
    cli.say(f"{found['where']}: {found['entries']:,} entries of {found['dim']} dimensions")
    cli.say(f"model {found['fingerprint']}; {json.dumps(found['about'], ensure_ascii=False)}")
    for name in ("cameras", "types", "sources"):
        cli.say(f"{name}: {', '.join(f'{key} ({count:,})' for key, count in found[name].items()) or 'none'}")
    if found["first"] is not None:
        cli.say(f"times: {shown_time(found['first'])} to {shown_time(found['last'])}")
    if found["bytes"] is not None:
        cli.say(f"on the disk: {found['bytes'] / 1e6:,.1f} MB")
    cli.write_json(json_file, found)


def delete_command(
    gallery: GalleryArgument,
    camera: CameraOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    type: TypeFilter = None,
    source: SourceFilter = None,
    path: Annotated[list[str] | None, typer.Option(help="Only the entry of this file. May be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would go.")] = False,
) -> None:
    """Take entries out of a gallery: those that meet all conditions given, at least one.

    Example: `resight gallery delete crops.db --before 2024-01-01 --camera 3`

    `resight gallery compact` then gives the room back.
    """
    from resight import cli
    from resight.gallery import Gallery

    paths = None if path is None else [str(absolute(name)) for name in path]
    where = parse_where(camera, after, before, type, source, paths)
    if not where:
        raise ConfigError("gallery delete must be told which entries go: by --camera, --after, --before, --type, "
                          "--source or --path")  # fmt: skip
    with Gallery.open(gallery) as opened:
        gone = len(opened.ids(where)) if dry_run else opened.delete(where)
        left = len(opened)
    cli.say(f"{gone:,} of {left:,} entries would be deleted" if dry_run else f"deleted {gone:,} entries; {left:,} left")


def compact_command(gallery: GalleryArgument) -> None:
    """Give the room of deleted entries back.

    Example: `resight gallery compact crops.db`
    """
    from resight import cli
    from resight.gallery import Gallery

    with Gallery.open(gallery) as opened:
        before = opened.stats()["bytes"]
        opened.compact()
        after = opened.stats()["bytes"]
    room = "" if before is None else f": {before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now"
    cli.say(f"compacted {gallery}{room}")


def export_command(
    gallery: GalleryArgument,
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    overwrite: OverwriteOption = False,
) -> None:
    """Write all entries and embeddings of a gallery to one Parquet file, from which it can be built again.

    Example: `resight gallery export crops.db crops.parquet`
    """
    from resight import cli
    from resight.gallery import Gallery
    from resight.progress import titled_bar

    check_output(out, "OUT", overwrite=overwrite)
    with Gallery.open(gallery) as opened:
        total = opened.export_parquet(out, progress=titled_bar(cli.console, "exporting"))
    cli.say(f"wrote {total:,} entries to {out}")


def import_command(
    gallery: GalleryArgument,
    file: Annotated[Path, typer.Argument(help="Parquet file that `resight gallery export`, embed or group wrote.")],
    type: TypeOption = None,
    source: Annotated[
        str | None, typer.Option(help="Where they come from, a free word.", show_default="the name of FILE")
    ] = None,
) -> None:
    """Add the entries of a table to a gallery of the same model; it is made where there is none.

    Example: `resight gallery import http://localhost:19530#crops crops.parquet --type person`

    `--type` and `--source` are for entries of which FILE does not say them, as after `resight embed`.
    """
    from resight import cli
    from resight.gallery.index import open_or_create
    from resight.gallery.parquet import importable_header
    from resight.progress import titled_bar

    header = importable_header(file)
    with open_or_create(gallery, header.fingerprint, header.dim, dict(header.about)) as opened:
        added = opened.import_parquet(file, type=type, source=source, progress=titled_bar(cli.console, "importing"))
        total = len(opened)
    cli.say(
        f"added {added.new:,} entries to {gallery}, {added.known:,} were there or stood twice; it holds {total:,} now"
    )


GALLERY_COMMANDS: dict[str, Callable[..., None]] = {
    "stats": stats_command,
    "delete": delete_command,
    "compact": compact_command,
    "export": export_command,
    "import": import_command,
}
