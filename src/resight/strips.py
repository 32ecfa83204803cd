"""`resight report`: embed the run's query and gallery, pick ranked strips, write the page."""

from pathlib import Path

from resight.artifacts import load_model
from resight.data.digests import default_cache_dir
from resight.data.formats import read_dataset
from resight.errors import DataError, ResightError
from resight.prepare import choose_device, open_test_images
from resight.report import Strip, ranked_strips, write_report
from resight.runlog import read_events


def report_run(
    run: Path,
    data: Path | None,
    out: Path | None,
    *,
    queries: int = 12,
    device: str = "auto",
    cache_dir: Path | None = None,
) -> Path:
    """Write the report of a run and give its path; without data to rank, it says what is missing."""
    if not (run / "log.jsonl").is_file():
        raise DataError(f"{run} must be the folder of a run, with its log.jsonl; make one with resight train")
    strips: list[Strip] = []
    notes: list[str] = []
    if queries:
        try:
            strips = strips_of(run, data, queries, device, cache_dir)
        except ResightError as error:
            if data is not None:
                raise
            notes.append(f"No ranked strips: {error}")
    out = out or run / "report.html"
    write_report(run, out, strips=strips, notes=notes)
    return out


def strips_of(run: Path, data: Path | None, queries: int, device: str, cache_dir: Path | None) -> list[Strip]:
    """Rank the gallery for some queries with the run's model."""
    place = choose_device(device)
    model, recipe = load_model(run, place)
    start = [e for e in read_events(run / "log.jsonl") if e["event"] == "start"]
    if data is None and not start:
        raise DataError(f"{run / 'log.jsonl'} does not say which data the run used; give DATA")
    root, format = (data, None) if data is not None else (Path(start[-1]["data"]["root"]), start[-1]["data"]["format"])
    test_set = open_test_images(
        read_dataset(root, format), recipe.input.height_width, cache_dir or default_cache_dir(), skip_broken=True
    )
    q, g = test_set.embed(model, precision="float32", device=place)
    return ranked_strips(q, g, test_set.query, test_set.gallery, count=queries, protocol=test_set.dataset.protocol)
