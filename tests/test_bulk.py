"""Embedding block by block: the same table by any road, however often it is interrupted."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import typer

from resight import bulk, tables, whole_files
from resight.artifacts import load_model
from resight.bulk_parts import Part, claimed_parts, finished, parts_folder, read_part
from resight.bulk_work import Worker
from resight.cli_embed import embed_command
from resight.data.formats import read_dataset
from resight.data.pixels import open_pixels
from resight.embed import embed
from resight.errors import ConfigError, DataError
from resight.tables import EmbedRequest, embed_to_parquet

WATCH = os.WEXITED | os.WNOHANG | os.WNOWAIT


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk, "BLOCK", 5)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Names of the images of each block that a worker embeds from here on."""
    blocks: list[list[str]] = []
    real = Worker.embed

    def counted(self, pictures, progress=lambda images: None):
        blocks.append([str(picture) for picture in pictures])
        return real(self, pictures, progress)

    monkeypatch.setattr(Worker, "embed", counted)
    return blocks


@pytest.fixture
def images(people: Path, tmp_path: Path) -> Path:
    """The 12 training images as a plain folder of one's own, last changed an hour ago."""
    folder = tmp_path / "images"
    folder.mkdir()
    for place, path in enumerate(sorted((people / "bounding_box_train").iterdir())):
        shutil.copy(path, folder / f"{place:02d}{path.suffix}")
        os.utime(folder / f"{place:02d}{path.suffix}", (time.time() - 3600,) * 2)
    return folder


def request(run: Path, data: Path, out: Path, **more) -> EmbedRequest:
    return EmbedRequest(run, data, out, device="cpu", **more)


def rows_of(table: pa.Table) -> torch.Tensor:
    return torch.tensor(table["embedding"].to_pylist())


def same(one: Path, two: Path) -> bool:
    return pq.read_table(one).equals(pq.read_table(two))


@pytest.mark.parametrize("block", [1, 5, 7, 12, 1000])
def test_blocks_of_any_size_give_the_rows_of_the_whole_in_the_order_of_the_splits(
    people: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
):
    monkeypatch.setattr(bulk, "BLOCK", block)
    count, dim = embed_to_parquet(request(run, people, tmp_path / "e.parquet", batch_size=3))
    table = pq.read_table(tmp_path / "e.parquet")
    model, recipe = load_model(run)
    splits = read_dataset(people).splits
    whole = [embed(model, open_pixels(s.pictures, recipe.input.height_width, tmp_path / "cache")) for s in splits]
    assert (count, dim) == (table.num_rows, model.dim)
    assert table["path"].to_pylist() == [str(sample.path) for split in splits for sample in split]
    assert table["split"].to_pylist() == [split.name for split in splits for _ in split]
    assert table["pid"].to_pylist() == [sample.pid for split in splits for sample in split]
    torch.testing.assert_close(rows_of(table), torch.cat(whole), rtol=0, atol=1e-6)
    assert not parts_folder(tmp_path / "e.parquet").exists()


def test_boxes_in_larger_images_are_embedded_as_such(people: Path, run: Path, tmp_path: Path):
    frame = sorted((people / "bounding_box_train").iterdir())[0]
    boxes = [(0, 0, 20, 40), (4, 8, 28, 56), (0, 10, 32, 20), (1, 1, 30, 60), (0, 0, 32, 64), (9, 9, 9, 9)]
    lines = [f"{frame},{','.join(map(str, box))}" for box in boxes]
    (tmp_path / "boxes.csv").write_text("\n".join(["path,left,top,width,height", *lines]))
    embed_to_parquet(request(run, tmp_path / "boxes.csv", tmp_path / "e.parquet"))
    table = pq.read_table(tmp_path / "e.parquet")
    assert list(zip(*(table[name].to_pylist() for name in ("left", "top", "width", "height")), strict=True)) == boxes
    model, recipe = load_model(run)
    split = read_dataset(tmp_path / "boxes.csv").train
    whole = embed(model, open_pixels(split.pictures, recipe.input.height_width, tmp_path / "cache"))
    torch.testing.assert_close(rows_of(table), whole, rtol=0, atol=1e-6)


def test_images_kept_in_a_cache_give_the_same_table(images: Path, run: Path, tmp_path: Path):
    embed_to_parquet(request(run, images, tmp_path / "a.parquet"))
    embed_to_parquet(request(run, images, tmp_path / "b.parquet", cache_dir=tmp_path / "kept"))
    assert same(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert len(list((tmp_path / "kept" / "pixels").glob("*.u8"))) == 3


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_call_is_taken_up_and_no_block_is_embedded_twice(
    images: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: list, after: int
):
    embed_to_parquet(request(run, images, tmp_path / "whole.parquet"))
    embedded.clear()
    counted, out, said, drawn = Worker.embed, tmp_path / "e.parquet", [], []

    def interrupted(self, pictures: Sequence, progress: Callable):
        if len(embedded) == after:
            raise KeyboardInterrupt
        return counted(self, pictures, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Worker, "embed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            embed_to_parquet(request(run, images, out))
    assert not out.exists()
    embed_to_parquet(request(run, images, out), said.append, lambda title: lambda *numbers: drawn.append(numbers))
    assert [len(block) for block in embedded] == [5, 5, 2]
    assert len({name for block in embedded for name in block}) == 12
    assert same(out, tmp_path / "whole.parquet")
    assert any(f"{5 * after} of 12" in line for line in said) == (after > 0)
    assert drawn[0] == (5 * after, 12) and drawn[-1] == (12, 12)


def test_a_call_killed_at_any_moment_loses_and_doubles_nothing(images: Path, run: Path, tmp_path: Path):
    embed_to_parquet(request(run, images, tmp_path / "whole.parquet"))
    words = [sys.executable, "-c", "import sys, test_bulk; test_bulk.kill_again_and_again(*sys.argv[1:])"]
    found = subprocess.run(
        [*words, run, images, tmp_path / "e.parquet"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=1800,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) >= 4, "all calls but the last were killed"
    table, whole = (pq.read_table(tmp_path / name) for name in ("e.parquet", "whole.parquet"))
    assert table.drop(["embedding"]).equals(whole.drop(["embedding"]))
    torch.testing.assert_close(rows_of(table), rows_of(whole), rtol=0, atol=1e-6)  # batches of 1 beside those of 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.parquet", "images", "whole.parquet"]


def kill_again_and_again(run: str, data: str, out: str) -> None:
    """Call and kill, each time a little further on, then let a call end; prints how many were killed."""
    torch.set_num_threads(1)
    load_model(Path(run))  # what is imported by now, no child must import
    bulk.BLOCK, killed, draw = 1, 0, random.Random(1)
    for parts in range(0, 13, 3):
        killed += killed_after(parts, draw.uniform(0, 0.05), run, data, out)
    if not Path(out).exists():
        embed_to_parquet(request(Path(run), Path(data), Path(out)))
    shutil.rmtree(parts_folder(Path(out)), ignore_errors=True)  # a kill may fall between the move and the clearing
    print(killed)  # noqa: T201


def killed_after(parts: int, seconds: float, run: str, data: str, out: str) -> bool:
    """Embed in a process of its own and kill it so long after it has so many parts; whether that came in time.

    It waits for that before it has three parts more.
    """
    child = os.fork()
    if child == 0:
        signal.alarm(900)
        write_part = bulk.write_part
        bulk.write_part = lambda path, content: held_back(path.parent, parts + 2) or write_part(path, content)
        with contextlib.suppress(ConfigError):  # the table may be there already
            embed_to_parquet(request(Path(run), Path(data), Path(out)))
        os._exit(0)
    while len(finished(parts_folder(Path(out)))) < parts and os.waitid(os.P_PID, child, WATCH) is None:
        time.sleep(0.002)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def held_back(folder: Path, parts: int) -> None:
    if len(finished(folder)) == parts:
        signal.pause()


def test_broken_images_are_listed_and_what_was_embedded_is_not_embedded_again(
    images: Path, run: Path, tmp_path: Path, embedded: list
):
    out, broken = tmp_path / "e.parquet", sorted(images.iterdir())[6]
    whole = broken.read_bytes()
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match=rf"1 of 12 images of the train split(?s:.)*{broken.name}(?s:.)*need not"):
        embed_to_parquet(request(run, images, out))
    assert not out.exists() and len(embedded) == 3

    shutil.copytree(parts_folder(out), parts_folder(tmp_path / "mended.parquet"))
    said: list[str] = []
    assert embed_to_parquet(request(run, images, out, skip_broken=True), said.append)[0] == 11
    assert len(embedded) == 3
    assert any("1 broken images of the train split were left out" in line for line in said)
    assert str(broken) not in pq.read_table(out)["path"].to_pylist()

    broken.write_bytes(whole)
    assert embed_to_parquet(request(run, images, tmp_path / "mended.parquet"))[0] == 12
    assert len(embedded) == 4 and str(broken) in embedded[3], "its block alone is embedded again"


def test_a_split_of_broken_images_alone_is_refused(images: Path, run: Path, tmp_path: Path):
    for path in images.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="all 12 images of the train split are broken"):
        embed_to_parquet(request(run, images, tmp_path / "e.parquet", skip_broken=True))


def stop_after(monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    """Let the disk be full once so many parts are written."""
    real, written = whole_files.sync, []

    def sync(path: Path) -> None:
        if path.suffix == ".tmp":
            if len(written) == parts:
                raise OSError(28, "No space left on device")
            written.append(path)
        real(path)

    monkeypatch.setattr(whole_files, "sync", sync)


def test_a_full_disk_keeps_the_parts_and_the_table_that_was_there(
    images: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: list
):
    out = tmp_path / "e.parquet"
    out.write_text("older")
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(ConfigError, match="No space left on device.*make room and call again"):
            embed_to_parquet(request(run, images, out, overwrite=True))
    assert out.read_text() == "older"
    embed_to_parquet(request(run, images, out, overwrite=True))
    assert [len(block) for block in embedded] == [5, 5, 2, 2]
    assert pq.read_table(out).num_rows == 12


def test_a_table_that_does_not_fit_on_the_disk_leaves_the_parts(
    images: Path, run: Path, tmp_path: Path, embedded: list
):
    out = tmp_path / "e.parquet"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    rows = 12 * 4 * load_model(run)[0].dim  # a part holds at most 5 of the 12
    resource.setrlimit(resource.RLIMIT_FSIZE, (rows * 3 // 4, limits[1]))
    try:
        with pytest.raises(ConfigError, match=r"e\.parquet could not be written .*what was embedded so far is kept"):
            embed_to_parquet(request(run, images, out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not out.exists() and not list(tmp_path.rglob("*.tmp"))
    embed_to_parquet(request(run, images, out))
    assert len(embedded) == 3 and pq.read_table(out).num_rows == 12


def half_done(run: Path, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(ConfigError):
            embed_to_parquet(request(run, data, out))


def test_an_image_that_changed_meanwhile_is_embedded_again(
    images: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: list
):
    out, (first, *_, last) = tmp_path / "e.parquet", sorted(images.iterdir())
    half_done(run, images, out, monkeypatch)
    embedded.clear()
    shutil.copy(last, first)
    embed_to_parquet(request(run, images, out))
    assert [str(first) in block for block in embedded] == [True, False]
    rows = rows_of(pq.read_table(out))
    torch.testing.assert_close(rows[0], rows[-1], rtol=0, atol=1e-6)


def test_parts_of_another_model_are_kept_apart(
    images: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: list
):
    from resight.artifacts import save_model

    out, other = tmp_path / "e.parquet", tmp_path / "other.safetensors"
    model, recipe = load_model(run)
    next(model.parameters()).data.mul_(-1)
    save_model(other, model, recipe, "float32")
    half_done(run, images, out, monkeypatch)
    parts = sorted(parts_folder(out).glob("*.parquet"))
    with pytest.raises(ConfigError, match="holds 2 parts that another model, backend or input size made"):
        embed_to_parquet(request(other, images, out))
    assert sorted(parts_folder(out).glob("*.parquet")) == parts
    embedded.clear()
    embed_to_parquet(request(other, images, out, overwrite=True))
    assert len(embedded) == 3
    embed_to_parquet(request(other, images, tmp_path / "whole.parquet"))
    assert same(out, tmp_path / "whole.parquet")


def test_two_that_write_one_table_are_told(images: Path, run: Path, tmp_path: Path, embedded: list):
    out = tmp_path / "e.parquet"
    with claimed_parts(out), pytest.raises(ConfigError, match=r"another process is writing .*e\.parquet; wait for it"):
        embed_to_parquet(request(run, images, out))
    assert not embedded
    assert embed_to_parquet(request(run, images, out))[0] == 12


def test_a_damaged_part_is_named(images: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "e.parquet"
    half_done(run, images, out, monkeypatch)
    part = sorted(parts_folder(out).glob("*.parquet"))[0]
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(DataError, match=rf"{part.name} is damaged .*delete it and call again"):
        embed_to_parquet(request(run, images, out))
    part.unlink()
    assert embed_to_parquet(request(run, images, out))[0] == 12


@pytest.mark.parametrize("count", [3, 0])
def test_a_part_is_read_as_it_was_written(tmp_path: Path, count: int):
    part = Part(torch.arange(count) + 1, ("1f", "2e", "3d")[:count], torch.randn(count, 4), ((0, "it is 'no' image"),))
    (tmp_path / "p").write_bytes(part.as_bytes())
    found = read_part(tmp_path / "p")
    assert found.kept.equal(part.kept) and found.rows.equal(part.rows)
    assert (found.ids, found.broken) == (part.ids, part.broken)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"engine": "rya"}, "no engine named 'rya'; did you mean 'ray'"),
        ({"backend": "openvion"}, "no backend named 'openvion'; did you mean 'openvino'"),
        ({"workers": 2}, "--workers and --ray-address are for --engine ray"),
        ({"ray_address": "auto"}, "--workers and --ray-address are for --engine ray"),
        ({"engine": "ray", "workers": 0}, "--workers must be at least 1, got 0"),
        ({"batch_size": 0}, "--batch-size must be at least 1 image, got 0"),
    ],
)
def test_flags_that_cannot_be_used_are_refused_before_any_work(
    images: Path, run: Path, tmp_path: Path, embedded: list, flags: dict, words: str
):
    with pytest.raises(ConfigError, match=words):
        embed_to_parquet(request(run, images, tmp_path / "e.parquet", **flags))
    assert not embedded and [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_table_that_cannot_be_written_is_told_before_any_work(
    images: Path, run: Path, tmp_path: Path, embedded: list
):
    with pytest.raises(ConfigError, match=r"none/e\.parquet\.parts cannot be written .*give another --out"):
        embed_to_parquet(request(run, images, tmp_path / "none" / "e.parquet"))
    (tmp_path / "e.parquet").write_text("older")
    with pytest.raises(ConfigError, match="exists already; replace it with --overwrite"):
        embed_to_parquet(request(run, images, tmp_path / "e.parquet"))
    assert not embedded and (tmp_path / "e.parquet").read_text() == "older"
    assert not parts_folder(tmp_path / "e.parquet").exists()


def test_the_command_says_what_was_written_and_after_ctrl_c_how_to_go_on(
    images: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "e[1].parquet"
    embed_command(run, images, out, device="cpu")
    assert f"wrote 12 embeddings of {load_model(run)[0].dim} dimensions to {out}" in capsys.readouterr().out

    def interrupted(*words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tables, "embed_to_parquet", interrupted)
    with pytest.raises(typer.Exit) as left:
        embed_command(run, images, out, device="cpu", overwrite=True)
    assert left.value.exit_code == 130
    assert f"kept in {out}.parts; the same command goes on" in capsys.readouterr().err


def test_a_folder_of_that_name_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def never(*words: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr(bulk, "planned", never)
    out = tmp_path / "folder"
    out.mkdir()
    with pytest.raises(ConfigError, match="--out must be a file, and .* is a folder"):
        embed_to_parquet(request(tmp_path / "run", tmp_path / "images", out, overwrite=True))
    assert list(tmp_path.iterdir()) == [out]
