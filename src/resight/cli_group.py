"""The command `resight group`."""

from pathlib import Path
from typing import Annotated

import typer

from resight.cli_options import (
    CacheOption,
    DeviceOption,
    FormatOption,
    JsonOption,
    RunArgument,
    SkipOption,
    SplitOption,
)


def group_command(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="Table to write: .csv, or .parquet, which can be gone on from.")],
    data: Annotated[
        Path | None,
        typer.Argument(help="Folder of images, or a data set as in resight data.", show_default="with --gallery none"),
    ] = None,
    gallery: Annotated[
        str | None,
        typer.Option(
            help="Gallery of this model: its images are grouped together with DATA's, by the embeddings that it holds."
        ),
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file of an earlier grouping: its crops keep their groups, new ones join or found some."
        ),
    ] = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(help="CSV file of answers to pairs, as `resight audit` leaves it; obeyed. May be repeated."),
    ] = None,
    tree: Annotated[Path | None, typer.Option(help="Folder to fill with a folder of links for each group.")] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Leave a crop alone unless it scores a match, as calibrated, in its group."),
    ] = False,
    false_match_rate: Annotated[
        float | None,
        typer.Option(help="Strict at this share of different pairs called a match.", show_default="the calibration's"),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Strict at this cosine.", show_default="the calibration's")
    ] = None,
    distance: Annotated[
        float | None,
        typer.Option(
            help="Mean distance, 0 to 1, of two groups up to which they are one: more gives fewer, larger groups.",
            show_default="0.9; 0.8 with --camera-once",
        ),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option(
            help="Length of the neighbour lists, up to the images an identity has.",
            show_default="11, from 2,000 images on 21; 2 with --camera-once",
        ),
    ] = None,
    by_camera: Annotated[
        bool | None,
        typer.Option(
            "--by-camera/--no-by-camera",
            help="Take out first what images of one camera share.",
            show_default="where cameras are known",
        ),
    ] = None,
    camera_once: Annotated[
        bool | None,
        typer.Option(
            "--camera-once/--no-camera-once",
            help="Each camera saw an identity at most once.",
            show_default="as the model was trained",
        ),
    ] = None,
    tracklets: Annotated[
        bool, typer.Option("--tracklets/--no-tracklets", help="Keep the images of a tracklet together.")
    ] = True,
    same_time: Annotated[
        bool, typer.Option("--same-time", help="Keep images apart that one camera took at the same time.")
    ] = False,
    split: SplitOption = "all",
    format: FormatOption = None,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
    skip_broken: SkipOption = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file in --out.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Put crops into groups, one an identity, without knowing how many there are; a crop may be alone.

    Example: `resight group runs/crops crops/ --out groups.parquet --tree groups/`

    Columns: id, path, name, camid, timestamp, tracklet, left, top, width, height, group (empty for a crop that is
    alone), confidence (how sure the crop is of its place, 0 to 1), rival (the group that is its next best place),
    probability (where the run is calibrated), best_score (largest cosine in its group) and matched (whether one of
    these is a match). Identities, where a data set has them, are never read.
    """
    from resight import cli
    from resight.groups.running import GroupRequest, run_grouping
    from resight.groups.settings import Asked
    from resight.outputs import check_output
    from resight.progress import titled_bar

    check_output(json_file, "--json", overwrite=True)
    request = GroupRequest(
        run=run,
        data=data,
        out=out,
        gallery=gallery,
        known=known,
        answers=tuple(answers or ()),
        tree=tree,
        asked=Asked(neighbours, distance, by_camera, camera_once, strict),
        threshold=threshold,
        false_match_rate=false_match_rate,
        tracklets=tracklets,
        same_time=same_time,
        split=split,
        format=format,
        device=device,
        cache_dir=cache_dir,
        skip_broken=skip_broken,
        overwrite=overwrite,
    )
    cli.write_json(json_file, run_grouping(request, cli.say, lambda title: titled_bar(cli.console, title)))
