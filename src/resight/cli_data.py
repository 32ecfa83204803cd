"""The commands `resight data` and `resight data convert`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from resight.cli_options import CacheOption, DataArgument, FormatOption, JsonOption
from resight.errors import ConfigError

CONVERT = "data convert"


class TwoWordCommands(TyperGroup):
    """Commands of which some have names of two words, so that `data` may take a path or be followed by another word."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # whose classes these are depends on typer's version
        """Find the command of two words where the first two are one, else that of the first."""
        joined = " ".join(args[:2])
        return super().resolve_command(ctx, [joined, *args[2:]] if joined in self.commands else args)


def data_command(
    path: DataArgument, format: FormatOption = None, cache_dir: CacheOption = None, json_file: JsonOption = None
) -> None:
    """Show what a data set holds: counts, sizes, broken and duplicate images, and leaks into query or gallery.

    Example: `resight data crops/`

    `resight data convert DATA OUT.csv` writes it as a manifest instead (see `resight data convert --help`). A folder
    that is really named convert is `./convert`.
    """
    from resight.cli import console, say, write_json
    from resight.data.digests import default_cache_dir
    from resight.data.formats import read_dataset
    from resight.data.inspection import inspect_dataset
    from resight.progress import decoding_bar, titled_bar

    bars = titled_bar(console, "comparing images"), decoding_bar(console)
    report = inspect_dataset(read_dataset(path, format), cache_dir or default_cache_dir(), *bars)
    for line in report.lines():
        say(line)
    write_json(json_file, report.to_json())


def convert_command(
    data: DataArgument,
    out: Annotated[Path, typer.Argument(help="Manifest to write, OUT.csv or OUT.parquet.")],
    format: FormatOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Write whole paths, not from OUT's folder: OUT can be moved.")
    ] = False,
    cut: Annotated[
        Path | None,
        typer.Option(
            help="Also cut the boxes of a data set that has them into this folder, as JPEG files of quality 95, and "
            "name these. Crops of the same content that are there already are kept.",
            show_default="boxes are written as boxes",
        ),
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Cut to PNG files, which lose nothing.")] = False,
) -> None:
    """Write a data set of any layout as a manifest: a table with one image a row, to filter, extend or pass on.

    Example: `resight data convert MOT17/train crops.csv --cut crops/`

    Reading OUT gives the same images, identities, cameras, times, tracklets, boxes, tests and protocol.
    """
    from resight import cli
    from resight.data.convert import check_target, write_manifest
    from resight.data.cutting import cut_crops
    from resight.data.formats import read_dataset
    from resight.progress import titled_bar

    if png and cut is None:
        raise ConfigError("--png is for the files that --cut writes; give --cut FOLDER too")
    check_target(out, overwrite=overwrite, to_be_made=cut)
    dataset = read_dataset(data, format)
    for note in dataset.notes:
        cli.say(f"note: {note}")
    if cut is not None:
        dataset = cut_crops(dataset, cut, png=png, progress=titled_bar(cli.console, "cutting crops"))
    rows = write_manifest(dataset, out, overwrite=overwrite, absolute=absolute)
    cli.say(f"wrote {rows:,} images of {data} ({dataset.format}) to {out}")
