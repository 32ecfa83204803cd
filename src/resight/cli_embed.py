"""The command `resight embed`."""

from pathlib import Path
from typing import Annotated

import typer

from resight.cli_options import (
    BackendOption,
    BatchOption,
    DataArgument,
    DeviceOption,
    FormatOption,
    RunArgument,
    SkipOption,
    SplitOption,
)


def embed_command(
    run: RunArgument,
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    split: SplitOption = "all",
    format: FormatOption = None,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    engine: Annotated[
        str, typer.Option(help="local: in this process; ray: on several workers or machines (resight[ray]).")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Ray: workers, each with a model.", show_default="as many as fit")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Ray: a running cluster, HOST:PORT or auto.", show_default="a Ray of its own, here"),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(help="Keep decoded images here, for other models to come.", show_default="they are not kept"),
    ] = None,
    batch_size: BatchOption = 256,
    skip_broken: SkipOption = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file in --out.")] = False,
) -> None:
    """Write the embedding of every image, unit length, to a Parquet table.

    Example: `resight embed runs/crops crops/ --out crops.parquet`

    Columns: id (a digest of the content), path, split, pid, camid, timestamp, tracklet, embedding (a list of float32),
    and left, top, width, height where images are boxes in larger ones. Interrupted, the same command goes on where it
    stopped (docs/bulk.md).
    """
    from resight import cli
    from resight.bulk_parts import parts_folder
    from resight.progress import titled_bar
    from resight.tables import EmbedRequest, embed_to_parquet

    request = EmbedRequest(
        run=run,
        data=data,
        out=out,
        split=split,
        format=format,
        device=device,
        cache_dir=cache_dir,
        batch_size=batch_size,
        skip_broken=skip_broken,
        overwrite=overwrite,
        backend=backend,
        engine=engine,
        workers=workers,
        ray_address=ray_address,
    )
    try:
        rows, dim = embed_to_parquet(request, cli.say, lambda title: titled_bar(cli.console, title))
    except KeyboardInterrupt:
        text = f"stopped; what is finished is kept in {parts_folder(out)}; the same command goes on with it"
        cli.errors.print(text, markup=False)
        raise typer.Exit(130) from None
    cli.say(f"wrote {rows} embeddings of {dim} dimensions to {out}")
