"""Near leaks: the same picture in every guise is found, nothing else is, and what is remembered stays true."""

import dataclasses
import shutil
import sqlite3

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from guises import GUISES, encoded, scene
from resight import cli
from resight.data import near
from resight.data.alignment import best_agreement, same_picture
from resight.data.decode import BrokenImageError, decode
from resight.data.formats import read_dataset
from resight.data.hamming import HashIndex
from resight.data.inspection import inspect_dataset
from resight.data.leaks import Leak, find_leaks, refuse_leaks
from resight.data.near import find_near_leaks
from resight.data.phash import picture_looks
from resight.errors import DataError
from resight.types import Crop, Dataset, Sample, Split


@pytest.fixture
def root(tmp_path):
    """Three training images, two queries, three gallery images; no two alike."""
    names = [
        "image_train/0001_c001_00000001_0.png",
        "image_train/0002_c001_00000001_0.png",
        "image_train/0003_c001_00000001_0.png",
    ]
    names += ["image_query/0004_c001_00000001_0.png", "image_query/0005_c001_00000001_0.png"]
    names += [f"image_test/000{pid}_c002_00000001_0.png" for pid in (4, 5, 6)]
    for seed, name in enumerate(names):
        file = tmp_path / "veri" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(seed)).save(file)
    return tmp_path / "veri"


@pytest.fixture
def find(root, tmp_path):
    return lambda: find_near_leaks(read_dataset(root, "veri776"), tmp_path / "cache")


# --- the pixels ---


def test_other_pictures_do_not_agree():
    scenes = [scene(seed) for seed in range(12)]
    assert not any(same_picture(a, b) for k, a in enumerate(scenes) for b in scenes[:k])


def test_a_picture_trimmed_by_two_pixels_all_around_agrees():
    assert all(same_picture(scene(seed), encoded(scene(seed)[2:-2, 2:-2])) is not None for seed in range(12))


def test_a_part_of_the_picture_that_changed_is_seen():
    original, moved = scene(1), scene(1)
    moved[96:, 8:40] = moved[96:, 24:56].copy()  # a step to the side
    assert same_picture(original, moved) is None
    assert best_agreement(original, original) == (pytest.approx(1), pytest.approx(0, abs=2))


def test_another_brightness_is_allowed_only_while_the_difference_is_small():
    original = scene(2)
    darker = (original * 0.5).astype(np.uint8)
    correlation, difference = best_agreement(original, darker)
    assert correlation > 0.98
    assert difference > 8
    assert same_picture(original, darker) is None


@pytest.mark.parametrize(("share", "least", "most", "same"), [(0.2, 0.98, 0.99, True), (0.25, 0.95, 0.979, False)])
def test_the_least_correlation_divides(share, least, most, same):
    """Soft pictures of little contrast, so that the difference in grey levels decides nothing."""
    base, other = (128 + 0.3 * (scene(seed).astype(float) - 128) for seed in (1, 2))
    changed = base + share * (other - other.mean(axis=(0, 1)))
    one, two = base.round().astype(np.uint8), changed.round().astype(np.uint8)
    correlation, difference = best_agreement(one, two)
    assert least <= correlation <= most
    assert difference < 7
    assert (same_picture(one, two) is not None) is same


# --- the whole search ---


def test_pictures_that_are_not_alike_are_no_leaks(find):
    assert find() == ()


def test_a_picture_in_another_guise_is_a_leak(root, find, tmp_path):
    source = root / "image_train" / "0002_c001_00000001_0.png"
    copy = root / "image_test" / "0009_c005_00000004_0.jpg"
    Image.fromarray(GUISES["all at once"](decode(source))).save(copy, quality=80)
    assert find_leaks(read_dataset(root, "veri776"), tmp_path / "cache") == ()
    assert find() == (Leak(source, copy, "gallery", kind="near"),)


def test_the_picture_most_alike_is_named_and_twins_in_train_are_leaks_each(root, find):
    source = root / "image_train" / "0002_c001_00000001_0.png"
    twin = shutil.copy(source, root / "image_train" / "0008_c001_00000001_0.png")
    Image.fromarray(decode(source)).save(root / "image_query" / "0009_c001_00000001_0.jpg", quality=40)
    best = root / "image_test" / "0009_c005_00000004_0.jpg"
    Image.fromarray(decode(source)).save(best, quality=97)
    assert find() == (Leak(source, best, "gallery", "near"), Leak(twin, best, "gallery", "near"))


def test_equal_content_is_left_to_the_exact_check(root, find):
    shutil.copy(root / "image_train" / "0002_c001_00000001_0.png", root / "image_test" / "0009_c005_00000004_0.png")
    assert find() == ()


def test_a_query_that_stands_in_the_gallery_in_another_guise_is_no_leak(root, find):
    Image.fromarray(decode(root / "image_query" / "0004_c001_00000001_0.png")).save(
        root / "image_test" / "0004_c009_00000001_0.jpg"
    )
    assert find() == ()


def test_flat_and_broken_images_are_passed_over(root, find):
    for folder, pid, grey in (("image_train", 30, 17), ("image_test", 40, 18)):
        Image.new("RGB", (64, 128), (grey, grey, grey)).save(root / folder / f"00{pid}_c001_00000001_0.png")
        (root / folder / f"00{pid + 1}_c001_00000001_0.jpg").write_bytes(b"\xff\xd8\xff" + folder.encode())
    assert find() == ()


def test_thousands_of_images_with_one_hash_are_compared_within_bounds(root, tmp_path, monkeypatch):
    """All crops look like each other; the one that is the same picture is found, and few are laid over each other."""
    base, compared = scene(50), []
    files = [
        root / "image_train" / "0050_c001_00000001_0.jpg",
        *(root / "image_test" / f"0051_c001_{k:08}_0.png" for k in range(300)),
    ]
    for k, file in enumerate(files):
        other = base if k in (0, 150) else np.clip(base * 0.55 + k / 20, 0, 255).astype(np.uint8)
        Image.fromarray(other).save(file)
    monkeypatch.setattr(near, "same_picture", lambda a, b: compared.append(1) or same_picture(a, b))
    leaks = find_near_leaks(read_dataset(root, "veri776"), tmp_path / "cache")
    assert leaks == (Leak(files[0], files[150], "gallery", "near"),)
    assert len(compared) <= near.MOST_ALIGNED


@pytest.mark.parametrize(("more_alike", "found"), [(19, True), (20, False)])
def test_the_twentieth_most_alike_is_still_decoded(root, tmp_path, more_alike, found):
    """Grey copies look more alike in grey thumbnails than the trimmed one does, and are not the same picture."""
    base = scene(50)
    source, copy = root / "image_train" / "0050_c001_00000001_0.png", root / "image_test" / "0051_c001_99999999_0.png"
    Image.fromarray(base).save(source)
    Image.fromarray(encoded(base[1:-1, 1:-1])).save(copy)
    grey = np.array(Image.fromarray(base).convert("L").convert("RGB"))
    for k in range(more_alike):
        grey[k, 0] ^= 1  # other bytes each
        Image.fromarray(grey).save(root / "image_test" / f"0051_c001_{k:08}_0.png")
    leaks = find_near_leaks(read_dataset(root, "veri776"), tmp_path / "cache")
    assert leaks == ((Leak(source, copy, "gallery", "near"),) if found else ())


def test_boxes_are_compared_not_the_frames_they_are_cut_from(tmp_path):
    frame = np.concatenate([scene(1), scene(2)], axis=1)
    for name, quality in (("a", 95), ("b", 80)):
        Image.fromarray(frame).save(tmp_path / f"{name}.jpg", quality=quality)
    left, right = (0, 0, 64, 128), (64, 0, 64, 128)
    train = Split("train", (Sample(tmp_path / "a.jpg", box=left), Sample(tmp_path / "a.jpg", box=right)))
    gallery = Split("gallery", (Sample(tmp_path / "b.jpg", box=right),))
    dataset = Dataset(tmp_path, "manifest", train, Split("query"), gallery)
    assert find_near_leaks(dataset, tmp_path / "cache") == (
        Leak(Crop(tmp_path / "a.jpg", right), Crop(tmp_path / "b.jpg", right), "gallery", "near"),
    )


# --- what is remembered ---


def test_the_answer_is_remembered_until_an_image_changes(root, find, monkeypatch):
    source = root / "image_train" / "0002_c001_00000001_0.png"
    Image.fromarray(decode(source)).save(root / "image_test" / "0009_c005_00000004_0.jpg")
    found = find()
    monkeypatch.setattr(near, "picture_looks", lambda *_: pytest.fail("looked again"))
    assert find() == found != ()
    monkeypatch.undo()
    Image.fromarray(scene(77)).save(source)
    assert find() == ()


def copies_of_all(root):
    for pid in (1, 2, 3):
        pixels = decode(root / "image_train" / f"000{pid}_c001_00000001_0.png")
        Image.fromarray(pixels).save(root / "image_test" / f"001{pid}_c005_00000004_0.jpg")


def test_a_search_that_was_stopped_goes_on_where_it_was(root, find, monkeypatch):
    copies_of_all(root)
    monkeypatch.setattr(near, "PART", 1)
    compared, same = [], near._same

    def stopped(pairs, pictures):
        if len(compared) == 2:
            raise KeyboardInterrupt
        compared.append(pairs)
        return same(pairs, pictures)

    monkeypatch.setattr(near, "_same", stopped)
    with pytest.raises(KeyboardInterrupt):
        find()
    monkeypatch.setattr(near, "_same", lambda pairs, pictures: compared.append(pairs) or same(pairs, pictures))
    found = find()
    assert [leak.train_path.name[:4] for leak in found] == ["0001", "0002", "0003"]
    assert len(compared) == 3
    assert len({pairs[0] for pairs in compared}) == 3
    monkeypatch.setattr(near, "picture_looks", lambda *_: pytest.fail("looked again"))
    assert find() == found


def test_what_lies_behind_a_part_that_was_not_written_is_searched_again(root, find, tmp_path, monkeypatch):
    copies_of_all(root)
    monkeypatch.setattr(near, "PART", 1)
    found = find()
    with sqlite3.connect(tmp_path / "cache" / "near.sqlite") as table:
        assert table.execute("DELETE FROM parts WHERE start = 1").rowcount == 1
    table.close()
    assert find() == found


def test_progress_covers_decoding_and_comparing_and_rises_to_the_end(root, tmp_path, monkeypatch):
    copies_of_all(root)
    monkeypatch.setattr(near, "PART", 1)
    dataset, told = read_dataset(root, "veri776"), []
    find_near_leaks(dataset, tmp_path / "cache", lambda *done: told.append(done))
    assert told == [(done, 11 + 3) for done in range(1, 15)]  # 3 in train, 2 queries, 6 in the gallery
    find_near_leaks(dataset, tmp_path / "cache", lambda *_: pytest.fail("remembered"))
    (tmp_path / "cache" / "near.sqlite").unlink()
    told.clear()
    find_near_leaks(dataset, tmp_path / "cache", lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_hashes_are_remembered_by_content_and_progress_tells_of_new_ones_only(root, tmp_path):
    pictures = sorted((root / "image_train").iterdir())
    (root / "image_train" / "broken.png").write_bytes(b"no image")
    told = []
    first = picture_looks(pictures, tmp_path / "cache", lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]
    moved = [path.rename(path.with_name(f"moved-{path.name}")) for path in pictures]
    again = picture_looks([*moved, root / "image_train" / "broken.png"], tmp_path / "cache", lambda *d: told.append(d))
    assert told[3:] == [(1, 1)]
    assert again[0].tolist() == [*first[0].tolist(), 0]
    assert again.thumbs.tolist() == [*first.thumbs.tolist(), [0] * 256]
    assert (first.usable.tolist(), again.usable.tolist()) == ([True] * 3, [True] * 3 + [False])


def test_a_damaged_table_and_a_cache_that_cannot_be_written_change_nothing(root, find, tmp_path):
    Image.fromarray(decode(root / "image_train" / "0002_c001_00000001_0.png")).save(
        root / "image_test" / "0009_c005_00000004_0.jpg"
    )
    found = find()
    for name in ("near.sqlite", "looks.sqlite"):
        (tmp_path / "cache" / name).write_bytes(b"no table" * 1000)
    assert find() == found
    assert find() == found
    with sqlite3.connect(tmp_path / "cache" / "near.sqlite") as table:
        assert table.execute("SELECT count(*) FROM parts").fetchone() == (1,)
    table.close()
    (tmp_path / "file").write_text("")
    assert find_near_leaks(read_dataset(root, "veri776"), tmp_path / "file" / "cache") == found


def test_without_query_and_gallery_nothing_is_read(root, tmp_path):
    dataset = dataclasses.replace(read_dataset(root, "veri776"), query=Split("query"), gallery=Split("gallery"))
    assert find_near_leaks(dataset, tmp_path / "cache") == ()
    assert not (tmp_path / "cache").exists()


def test_a_missing_file_is_an_error_and_one_lost_between_too(root, tmp_path, monkeypatch):
    dataset = read_dataset(root, "veri776")
    lost = root / "image_train" / "0002_c001_00000001_0.png"
    Image.fromarray(decode(lost)).save(root / "image_test" / "0009_c005_00000004_0.jpg")
    dataset = read_dataset(root, "veri776")
    monkeypatch.setattr(near, "HashIndex", lambda *words: lost.unlink() or HashIndex(*words))
    with pytest.raises(BrokenImageError, match="0002_c001_00000001_0.png cannot be decoded"):
        find_near_leaks(dataset, tmp_path / "cache")
    with pytest.raises(DataError, match="0002_c001_00000001_0.png cannot be read"):
        find_near_leaks(dataset, tmp_path / "cache")


# --- what is said ---


def test_near_leaks_are_refused_in_their_own_words(tmp_path):
    leaks = [Leak(tmp_path / f"t{i}.jpg", tmp_path / f"o{i}.jpg", "query", "near") for i in range(4)]
    with pytest.raises(DataError) as caught:
        refuse_leaks(leaks)
    message = str(caught.value)
    assert "may be in query or gallery too, re-encoded, resized, brightened or trimmed, but 4 of them are" in message
    assert f"{tmp_path / 't0.jpg'} ≈ {tmp_path / 'o0.jpg'} (query)" in message
    assert message.endswith(", ...; take them out, or pass --allow-leak")


def test_the_report_tells_both_kinds_apart(root, tmp_path):
    shutil.copy(root / "image_train" / "0001_c001_00000001_0.png", root / "image_test" / "0008_c005_00000004_0.png")
    Image.fromarray(decode(root / "image_train" / "0002_c001_00000001_0.png")).save(
        root / "image_test" / "0009_c005_00000004_0.jpg"
    )
    report = inspect_dataset(read_dataset(root, "veri776"), tmp_path / "cache")
    assert [leak["kind"] for leak in report.to_json()["leaks"]] == ["exact", "near"]
    lines = report.lines()
    assert "warning: 1 training image also in query or gallery:" in lines
    at = lines.index("warning: 1 training image also in query or gallery, re-encoded, resized, brightened or trimmed:")
    assert "0002_c001_00000001_0.png ≈ " in lines[at + 1]


def test_the_command_refuses_near_leaks_and_shows_them(root, tmp_path, monkeypatch):
    Image.fromarray(decode(root / "image_train" / "0002_c001_00000001_0.png")).save(
        root / "image_test" / "0009_c005_00000004_0.jpg"
    )
    words = [str(root), "--format", "veri776", "--cache-dir", str(tmp_path / "cache")]
    monkeypatch.setattr(cli, "console", cli.Console(highlight=False, soft_wrap=True))
    shown = CliRunner().invoke(cli.app, ["data", *words])
    assert "re-encoded, resized, brightened or trimmed" in shown.output
    run = tmp_path / "run"
    refused = CliRunner().invoke(cli.app, ["train", *words, "--out", str(run), "--device", "cpu"])
    assert isinstance(refused.exception, DataError)
    assert "or pass --allow-leak" in str(refused.exception)
    assert not run.exists()
