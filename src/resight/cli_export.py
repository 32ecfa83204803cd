"""The command `resight export`."""

from pathlib import Path
from typing import Annotated

import typer

from resight.cli_options import JsonOption, RunArgument


def export_command(
    run: RunArgument,
    to: Annotated[str, typer.Option(help="onnx, openvino, torchscript, or boxmot.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File to write.", show_default="RUN/model.onnx, model.xml, model.torchscript or boxmot.onnx"),
    ] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            help="inside: the file takes RGB images as uint8; outside: it takes float32, already normalised. "
            "Resizing is always outside.",
            show_default="inside",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file in --out.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Write the model for another program: batches of any number of images in, unit-length embeddings out.

    Example: `resight export runs/crops --to onnx`

    Before the file is put in its place, its embeddings are compared with the model's own, on images of the run's data
    where they are still there. What it takes and gives stands in the file itself.
    """
    from resight import cli
    from resight.export.exporting import ExportRequest, export_run

    cli.write_json(json_file, export_run(ExportRequest(run, to, out, preprocessing, overwrite), cli.say))
