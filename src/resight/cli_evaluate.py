"""The command `resight evaluate`."""

from typing import Annotated

import typer

from resight.cli_options import (
    CacheOption,
    DataArgument,
    DeviceOption,
    FormatOption,
    JsonOption,
    RunArgument,
    SkipOption,
)


def evaluate_command(
    run: RunArgument,
    data: DataArgument,
    format: FormatOption = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="Rules to score by: general, market1501, vehicleid, cuhk03 …", show_default="the data set's"),
    ] = None,
    tests: Annotated[
        str | None, typer.Option(help="Which tests, where there are several: small,medium.", show_default="all")
    ] = None,
    apart: Annotated[
        float | None,
        typer.Option(
            help="Leave out right answers of the query's camera (or of unknown cameras) within so many seconds of it.",
            show_default="as the protocol says",
        ),
    ] = None,
    rerank: Annotated[bool, typer.Option("--rerank", help="Re-rank by k-reciprocal neighbours.")] = False,
    k1: Annotated[int, typer.Option(min=1, help="Re-ranking: neighbours of a row.")] = 20,
    k2: Annotated[int, typer.Option(min=1, help="Re-ranking: neighbours to average over.")] = 6,
    lambda_: Annotated[float, typer.Option("--lambda", help="Re-ranking: weight of the plain distance.")] = 0.3,
    query_expansion: Annotated[
        int, typer.Option(min=0, help="Add so many nearest gallery images to each query first; 0: none.")
    ] = 0,
    alpha: Annotated[float, typer.Option(min=0, help="Query expansion: weigh them by score to this power.")] = 3.0,
    by_camera: Annotated[
        bool,
        typer.Option(
            "--by-camera",
            help="Take out of all embeddings what the gallery's images of their camera share (colours, background): no "
            "label, but it looks at the gallery as a whole.",
        ),
    ] = False,
    by_tracklet: Annotated[
        bool, typer.Option("--by-tracklet", help="Search tracklets, by their mean, instead of images.")
    ] = False,
    single_shot: Annotated[
        int, typer.Option(min=0, help="Also CMC with one gallery image an identity, over so many draws.")
    ] = 0,
    camera_pairs: Annotated[
        bool, typer.Option("--camera-pairs", help="Also score each camera against each other one.")
    ] = False,
    device: DeviceOption = "auto",
    cache_dir: CacheOption = None,
    skip_broken: SkipOption = False,
    json_file: JsonOption = None,
) -> None:
    """Score a trained model: mAP, CMC at 1, 5, 10, 20 and mINP of query against gallery.

    Example: `resight evaluate runs/crops market1501/ --rerank --json scores.json`

    Each data set is scored by its authors' rules, in all its tests. mAP is the step sum; the trapezoid form that older
    papers print is given beside it. Intervals are a bootstrap over queries.
    """
    from resight import cli
    from resight.evaluation import EvaluateRequest, as_json, run_evaluation
    from resight.progress import titled_bar
    from resight.scoring import Scoring

    scoring = Scoring(
        rerank=rerank,
        k1=k1,
        k2=k2,
        lambda_=lambda_,
        expand=query_expansion,
        alpha=alpha,
        by_camera=by_camera,
        by_tracklet=by_tracklet,
        single_shot_draws=single_shot,
        camera_pairs=camera_pairs,
    )
    request = EvaluateRequest(run, data, format, protocol, tests, apart, device, cache_dir, skip_broken, scoring)
    results = run_evaluation(request, cli.say, lambda title: titled_bar(cli.console, title))
    cli.write_json(json_file, as_json(results))
