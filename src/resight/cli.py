"""The command `resight`: reads flags, calls the parts, prints, exits."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from resight.cli_app import app_command
from resight.cli_audit import audit_command
from resight.cli_calibrate import calibrate_command
from resight.cli_data import CONVERT, TwoWordCommands, convert_command, data_command
from resight.cli_embed import embed_command
from resight.cli_evaluate import evaluate_command
from resight.cli_export import export_command
from resight.cli_gallery import GALLERY_COMMANDS, index_command, search_command
from resight.cli_group import group_command
from resight.cli_options import (
    CacheOption,
    DataArgument,
    DeviceOption,
    FormatOption,
    JsonOption,
    SkipOption,
    default_out,
    parse_size,
)
from resight.cli_report import report_command
from resight.errors import ResightError

app = typer.Typer(
    name="resight",
    cls=TwoWordCommands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Turn a folder of unlabelled crops of people, vehicles or animals into a re-identification model.",
)
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


@app.command()
def train(
    data: DataArgument,
    recipe: Annotated[
        str,
        typer.Option(
            help="auto looks at the data and picks; cluster (Cluster-Contrast), gsmlp, ssml, mmcl; or a TOML file."
        ),
    ] = "auto",
    out: Annotated[Path | None, typer.Option(help="Run folder.", show_default="runs/DATA-RECIPE-SEED")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: section.key=value. May be repeated.")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="Short for --set backbone.name=…: any timm model.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="Start weights: a file, package, timm, random, or auto.", show_default="auto")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Input size, e.g. 256x128 (height x width).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Short for --set train.epochs=…")] = None,
    seed: Annotated[int | None, typer.Option(help="Short for --set train.seed=…")] = None,
    format: FormatOption = None,
    device: DeviceOption = "auto",
    memory: Annotated[
        str, typer.Option(help="Where the feature memory lies: device, ram, disk, or auto: wherever it fits.")
    ] = "auto",
    cache_dir: CacheOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Train although training images are also in query or gallery.")
    ] = False,
    skip_broken: SkipOption = False,
    camstyle: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the training images redrawn in other cameras' styles (0002_c1s1_000451_03_fake_1to2.jpg): "
            "each time an image is shown, in a random camera's style. --resume remembers it.",
            show_default="none",
        ),
    ] = None,
    train_on_gallery: Annotated[
        bool,
        typer.Option(
            "--train-on-gallery",
            help="Short for --set data.train_on_gallery=true, as published for VeRi-776: the gallery's images are "
            "trained on too, so scores on it are no honest test (docs/published_quirks.md).",
        ),
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Train a model without labels; where identities are known, evaluate it before and after.

    Example: `resight train crops/ --out runs/crops`

    Without --recipe the data are looked at (how many images, which cameras, tracklets, this machine); what was picked
    and why is printed. Any setting can still be given with --set.

    Identities, where a data set has them, are used for the printed figures only, never for training.
    """
    from resight.progress import ProgressListener, decoding_bar
    from resight.run import TrainRequest, run_training

    changes = [*(settings or [])]
    for key, value in {
        "backbone.name": backbone,
        "backbone.weights": weights,
        "input.size": size and parse_size(size),
        "train.epochs": epochs,
        "train.seed": seed,
        "data.train_on_gallery": "true" if train_on_gallery else None,
    }.items():
        if value is not None:
            changes.append(f"{key}={value}")
    out = out or default_out(data, recipe, changes)
    request = TrainRequest(
        data=data,
        recipe=recipe,
        out=out,
        overrides=tuple(changes),
        format=format,
        device=device,
        memory=memory,
        cache_dir=cache_dir,
        resume=resume,
        overwrite=overwrite,
        allow_leak=allow_leak,
        skip_broken=skip_broken,
        camstyle=camstyle,
        command="resight " + shlex.join(sys.argv[1:]),
    )
    progress = ProgressListener(console)
    try:
        summary = run_training(request, listeners=(progress,), say=say, decoding=decoding_bar(console))
    except KeyboardInterrupt:
        progress.bar.stop()
        errors.print(
            f"stopped; finished epochs are saved. Go on with: resight train {shlex.quote(str(data))} "
            f"--out {shlex.quote(str(out))} --resume"
        )
        raise typer.Exit(130) from None
    finally:
        progress.bar.stop()
    write_json(json_file, summary)
    console.print(f"saved {out}; look at it with: resight report {shlex.quote(str(out))}")


app.command("evaluate")(evaluate_command)
app.command("calibrate")(calibrate_command)
app.command("audit")(audit_command)


app.command("index")(index_command)
app.command("search")(search_command)
app.command("group")(group_command)
app.command("app")(app_command)
app.command("embed")(embed_command)
app.command("export")(export_command)
app.command("report")(report_command)
app.command("data")(data_command)
app.command(CONVERT)(convert_command)

gallery = typer.Typer(no_args_is_help=True, help="Look after a gallery: what it holds, deleting, moving it.")
app.add_typer(gallery, name="gallery")
for name, command in GALLERY_COMMANDS.items():
    gallery.command(name)(command)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the drawn images, the run and the report.")] = Path("demo"),
    kind: Annotated[str, typer.Option(help="people or vehicles.")] = "people",
    seed: Annotated[int, typer.Option(help="Seed of the drawing and of the training.")] = 1,
    epochs: Annotated[int | None, typer.Option(help="Epochs to train.", show_default="the demo's own")] = None,
    json_file: JsonOption = None,
) -> None:
    """Draw crops of people (or vehicles), train on them without labels, evaluate, and write a report.

    Example: `resight demo --kind vehicles`
    """
    from resight.demo import run_demo
    from resight.progress import ProgressListener

    progress = ProgressListener(console)
    try:
        summary = run_demo(out, kind, seed=seed, epochs=epochs, listeners=(progress,), say=say)
    finally:
        progress.bar.stop()
    write_json(json_file, summary)


def say(text: str) -> None:
    """Print a sentence as it is: square brackets in it are no markup."""
    console.print(text, markup=False)


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write the figures where --json asks for them."""
    if path is not None:
        from resight.artifacts import write_text

        write_text(path, json.dumps(content, indent=2) + "\n")


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Take the flags that stand before any command (main reads --debug itself)."""
    del debug
    if version:
        from resight import __version__

        console.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; an error of the input is one sentence and exit code 2, without a traceback."""
    try:
        app()
    except ResightError as error:
        if "--debug" in sys.argv:
            raise
        errors.print(f"resight: {error}", markup=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
