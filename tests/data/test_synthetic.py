"""Drawn data sets: their layout, that a seed fixes every byte, what they refuse, and what is left of an identity."""

import dataclasses
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resight.data import market1501, veri776
from resight.data.synthetic import (
    DEMOS,
    Shot,
    SyntheticConfig,
    contact_sheet,
    draw_crop,
    shots,
    write_synthetic,
)
from resight.data.synthetic_cameras import Camera, _render, make_cameras
from resight.data.synthetic_figures import Figure
from resight.data.synthetic_people import draw_person, make_person
from resight.data.synthetic_solids import Eye, Mesh, box
from resight.data.synthetic_vehicles import BUILDERS, draw_vehicle, make_vehicle
from resight.errors import ConfigError, DataError

SMALL = SyntheticConfig("people", seed=3, train_identities=3, test_identities=2, cameras=2, images_per_camera=3)
SMALL_VEHICLES = dataclasses.replace(SMALL, kind="vehicles", height=64, width=64)
BOTH = pytest.mark.parametrize("config", [SMALL, SMALL_VEHICLES], ids=["people", "vehicles"])


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people") / "data"
    write_synthetic(root, SMALL)
    return root


def test_people_are_read_as_market1501(people: Path):
    found = market1501.read(people)
    # 3 identities × 2 cameras × 3 views; of 2 test identities × 2 cameras × 3 views one view each is a query.
    assert [len(split) for split in found.splits] == [18, 4, 8]
    assert found.notes == ()
    assert set(found.train.pids) == {1, 2, 3}
    assert set(found.query.pids) == set(found.gallery.pids) == {4, 5}
    assert set(found.train.camids) == set(found.gallery.camids) == {1, 2}
    assert sorted(zip(found.query.pids, found.query.camids, strict=True)) == [(4, 1), (4, 2), (5, 1), (5, 2)]


def test_vehicles_are_read_as_veri776(tmp_path: Path):
    write_synthetic(tmp_path / "v", SMALL_VEHICLES)
    found = veri776.read(tmp_path / "v")
    assert [len(split) for split in found.splits] == [18, 4, 8]
    assert found.notes == ()  # the lists name every image
    assert not set(found.train.pids) & set(found.gallery.pids)
    with Image.open(found.train.paths[0]) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (64, 64))


def test_names_follow_the_public_data_sets(people: Path):
    names = [path.name for path in (people / "bounding_box_train").iterdir()]
    assert all(re.fullmatch(r"\d{4}_c\ds\d_\d{6}_\d\d\.jpg", name) for name in names)
    # 37·2 + 11·1 = 85 hundred, view 5
    vehicle = Shot(split=0, pid=2, camera=1, view=5)
    assert vehicle.path(_kind("vehicles")) == "image_train/0002_c002_00008505_0.jpg"
    assert vehicle.path(_kind("people")) == "bounding_box_train/0002_c2s1_008505_00.jpg"


def _kind(name: str):
    from resight.data.synthetic_crops import KINDS

    return KINDS[name]


@pytest.mark.parametrize("name", sorted(DEMOS))
def test_no_two_images_of_a_demo_share_a_name(name: str):
    paths = [shot.path(_kind(name)) for shot in shots(DEMOS[name])]
    assert len(set(paths)) == len(paths) == 90 * 3 * 6


@BOTH
def test_the_same_configuration_gives_the_same_bytes_in_any_order(config: SyntheticConfig):
    spots = [(shot.pid, shot.camera, shot.view) for shot in shots(config)][::3]
    forwards = {spot: draw_crop(config, *spot) for spot in spots}
    backwards = {spot: draw_crop(config, *spot) for spot in reversed(spots)}
    assert forwards == backwards
    assert len(set(forwards.values())) == len(spots)


def test_a_second_folder_is_byte_identical(people: Path, tmp_path: Path):
    write_synthetic(tmp_path / "again", SMALL)
    assert contents(tmp_path / "again") == contents(people)


def test_another_seed_gives_other_images():
    assert draw_crop(SMALL, 1, 0, 0) != draw_crop(dataclasses.replace(SMALL, seed=4), 1, 0, 0)


def test_more_identities_leave_the_others_as_they_are():
    assert draw_crop(SMALL, 1, 0, 0) == draw_crop(dataclasses.replace(SMALL, train_identities=9), 1, 0, 0)


def test_a_finished_data_set_is_used_again(people: Path):
    before = {path: path.stat().st_mtime_ns for path in people.rglob("*")}
    write_synthetic(people, SMALL)
    assert {path: path.stat().st_mtime_ns for path in people.rglob("*")} == before


def test_an_empty_folder_is_taken_and_nothing_is_left_beside_it(tmp_path: Path):
    root = tmp_path / "deep" / "data"
    root.mkdir(parents=True)
    write_synthetic(root, SMALL)
    assert (root / "synthetic.json").is_file()
    assert list(root.parent.iterdir()) == [root]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> bytes:
        raise OSError("No space left on device")

    monkeypatch.setattr("resight.data.synthetic.draw_crop", full)
    with pytest.raises(OSError, match="No space left"):
        write_synthetic(tmp_path / "data", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_that_draw_the_same_both_end_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import resight.data.synthetic as module

    root, write_images = tmp_path / "data", module._write_images

    def overtaken(part: Path, config: SyntheticConfig) -> None:
        write_images(part, config)
        if not root.exists():  # another process is quicker by a moment
            root.mkdir()
            write_images(root, config)

    monkeypatch.setattr(module, "_write_images", overtaken)
    write_synthetic(root, SMALL)
    assert list(tmp_path.iterdir()) == [root]


def _foreign_file(root: Path) -> None:
    root.mkdir()
    (root / "holiday.jpg").write_bytes(b"mine")


def _a_file(root: Path) -> None:
    root.write_bytes(b"mine")


def _other_seed(root: Path) -> None:
    write_synthetic(root, dataclasses.replace(SMALL, seed=8))


def _other_version(root: Path) -> None:
    write_synthetic(root, SMALL)
    record = json.loads((root / "synthetic.json").read_text())
    (root / "synthetic.json").write_text(json.dumps({**record, "synthetic_version": 0}))


def _one_lost(root: Path) -> None:
    write_synthetic(root, SMALL)
    min((root / "query").iterdir()).unlink()


def _broken_record(root: Path) -> None:
    root.mkdir()
    (root / "synthetic.json").write_text("{")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (_foreign_file, "must be empty to draw a data set into it"),
        (_a_file, "must not be a file"),
        (_other_seed, r"holds a drawn data set with seed 8 \(not 3\)"),
        (_other_version, r"with synthetic_version 0 \(not \d+\)"),
        (_one_lost, r"has lost 1 of its images, query/0004_c"),
        (_broken_record, "must be empty"),
    ],
)
def test_a_folder_with_something_else_is_refused_and_left_alone(prepare, words: str, tmp_path: Path):
    root = tmp_path / "data"
    prepare(root)
    before = contents(tmp_path)
    with pytest.raises(DataError, match=words):
        write_synthetic(root, SMALL)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "poeple"}, "no kind of synthetic data named 'poeple'; did you mean 'people'?"),
        ({"seed": -1}, "seed of synthetic data must lie in 0.."),
        ({"train_identities": 0}, "train_identities of synthetic data must lie in 1..5000, got 0"),
        ({"test_identities": 5000}, "test_identities of synthetic data must lie in 1..4999, got 5000"),
        ({"cameras": 1}, "cameras of synthetic data must lie in 2..9, got 1"),
        ({"images_per_camera": 1}, "images_per_camera of synthetic data must lie in 2..99, got 1"),
        ({"height": 8}, "height of synthetic data must lie in 32..1024, got 8"),
        ({"width": 4096}, "width of synthetic data must lie in 32..1024, got 4096"),
    ],
)
def test_a_bad_configuration_is_one_sentence(change: dict[str, object], words: str):
    with pytest.raises(ConfigError, match=re.escape(words)):
        dataclasses.replace(SMALL, **change)


def test_a_contact_sheet_has_a_row_for_each_identity(people: Path):
    sheet = contact_sheet(people, identities=2, views=2, gap=3)
    # 2 cameras × 2 views of 64 pixels with 5 gaps; 2 rows of 128 with 3 gaps
    assert sheet.size == (4 * 64 + 5 * 3, 2 * 128 + 3 * 3)
    first = np.asarray(Image.open(io.BytesIO(draw_crop(SMALL, 1, 0, 0))))
    np.testing.assert_array_equal(np.asarray(sheet)[3:131, 3:67], first)


def test_a_contact_sheet_takes_rows_too():
    red, blue = Image.new("RGB", (4, 6), "red"), Image.new("RGB", (4, 6), "blue")
    sheet = contact_sheet([[red, blue]], gap=1)
    assert sheet.size == (11, 8)
    assert (sheet.getpixel((1, 1)), sheet.getpixel((6, 1))) == ((255, 0, 0), (0, 0, 255))


@pytest.mark.parametrize("source", [[], [[]]])
def test_a_contact_sheet_of_nothing_is_refused(source: list[list[Image.Image]]):
    with pytest.raises(DataError, match="at least one image, got none"):
        contact_sheet(source)


def test_a_contact_sheet_of_another_folder_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="must hold a data set drawn by this version"):
        contact_sheet(tmp_path)


def _plain_camera(**changes: object) -> Camera:
    camera = make_cameras(np.random.default_rng(0), 2, 64, 32)[0]
    neutral = {"gamma": (1.0, 1.0, 1.0), "gain": (1.0, 1.0, 1.0), "saturation": 1.0, "contrast": 1.0, "lift": 0.0}
    return dataclasses.replace(camera, **{**neutral, **changes})


def test_colour_rendering_by_hand():
    pixel = np.array([[[255, 0, 0]]], dtype=np.uint8)
    np.testing.assert_allclose(_render(_plain_camera(), pixel), [[[1, 0, 0]]], atol=1e-6)
    # Grey is 1/3; half the saturation: 1/3 + (1 − 1/3)/2 = 2/3, 1/3 − 1/6 = 1/6; red gain 0.6: 0.4;
    # contrast 0.5 round 0.5, then 0.1 up: 0.5 − 0.05 + 0.1 = 0.55, 0.5 − 1/6 + 0.1 = 13/30.
    camera = _plain_camera(saturation=0.5, gain=(0.6, 1.0, 1.0), contrast=0.5, lift=0.1)
    np.testing.assert_allclose(_render(camera, pixel), [[[0.55, 13 / 30, 13 / 30]]], atol=1e-6)
    # 51/255 = 0.2; 0.2² = 0.04
    grey = np.full((1, 1, 3), 51, dtype=np.uint8)
    np.testing.assert_allclose(_render(_plain_camera(gamma=(2.0, 2.0, 2.0)), grey), [[[0.04] * 3]], atol=1e-6)


def test_a_camera_renders_one_colour_alike_everywhere():
    camera = make_cameras(np.random.default_rng(5), 3, 64, 32)[1]
    image = np.tile(np.array([90, 140, 30], dtype=np.uint8), (4, 5, 1))
    assert np.unique(_render(camera, image).reshape(-1, 3), axis=0).shape == (1, 3)


def test_an_eye_in_front_sees_left_on_the_right_and_up_above():
    eye = Eye(yaw=0.0, pitch=0.0, distance=10.0)
    corners = np.array([[0, 1, 0.8], [0, 0, 1.8], [5, 1, 0.8]], dtype=np.float32)
    # 1 m to the left at 10 m: 0.1 to the right; 1 m up: −0.1 down; 5 m nearer looks twice as large.
    np.testing.assert_allclose(eye.project(corners), [[0.1, 0], [0, -0.1], [0.2, 0]], atol=1e-6)


def test_solids_are_painted_far_to_near():
    red, green = (200, 0, 0), (0, 200, 0)
    mesh = Mesh([box((2.0, 3.0), (0.0, 1.0), 1.0, red), box((-3.0, -2.0), (0.0, 1.0), 1.0, green)])
    assert mesh.far_to_near(Eye(0.0, 0.2, 12.0).place) == [1, 0]  # from the front, the rear box is the farther
    assert mesh.far_to_near(Eye(math.pi, 0.2, 12.0).place) == [0, 1]


def test_what_stands_on_a_solid_is_painted_after_it():
    mesh = Mesh([box((-1, 1), (1.0, 1.5), 0.5, (9, 9, 9)), box((-2, 2), (0.0, 1.0), 1.0, (8, 8, 8))])
    assert mesh.far_to_near(Eye(0.7, 0.3, 12.0).place) == [1, 0]


@pytest.mark.parametrize("kind", sorted(BUILDERS))
@pytest.mark.parametrize("yaw", [0.0, 0.8, math.pi / 2, math.pi, 4.0])
def test_every_vehicle_fills_its_crop_from_every_side(kind: str, yaw: float):
    vehicle = dataclasses.replace(make_vehicle(np.random.default_rng(1)), kind=kind)
    figure = draw_vehicle(vehicle, np.random.default_rng(2), yaw, 0.25, (64, 64))
    left, top, right, bottom = figure.getchannel("A").getbbox()
    assert figure.size == (64, 64)
    assert max(right - left, bottom - top) > 44


@pytest.mark.parametrize("yaw", [0.0, math.pi / 2, math.pi, -2.0])
def test_every_person_stands_upright_in_the_crop(yaw: float):
    for seed in range(12):
        person = make_person(np.random.default_rng(seed))
        figure = draw_person(person, np.random.default_rng(seed), yaw, 0.0, (64, 128))
        left, top, right, bottom = figure.getchannel("A").getbbox()
        assert bottom - top > 96
        assert bottom - top > 1.5 * (right - left)


def test_a_patch_on_the_chest_is_seen_from_the_front_only():
    for yaw, seen in ((0.0, True), (math.pi, False)):
        figure = Figure((64, 128), np.random.default_rng(0), 1.0, yaw)
        assert bool(figure.patch((-0.5, 0.5), (0.2, 0.4), 0.1)) is seen


def mean_average_precision(features: np.ndarray, marks: list[Shot]) -> float:
    """Cross-camera mAP of every image against all images of other cameras, in a plain loop."""
    values = []
    for row, shot in zip(features, marks, strict=True):
        others = [k for k, mark in enumerate(marks) if mark.camera != shot.camera]
        ranked = sorted(others, key=lambda k: float(np.linalg.norm(features[k] - row)))
        hits = [rank for rank, k in enumerate(ranked, start=1) if marks[k].pid == shot.pid]
        values.append(np.mean([number / rank for number, rank in enumerate(hits, start=1)]))
    return float(np.mean(values))


def test_the_cameras_hide_identity_but_do_not_destroy_it():
    config = SyntheticConfig("people", seed=1, train_identities=20, images_per_camera=3)
    marks = [shot for shot in shots(config) if shot.split == 0]
    crops = [Image.open(io.BytesIO(draw_crop(config, s.pid, s.camera, s.view))).resize((4, 8)) for s in marks]
    colours = np.stack([np.asarray(crop, dtype=np.float64)[:, 1:3].ravel() for crop in crops])
    standard = colours.copy()
    for camera in range(config.cameras):
        rows = [k for k, shot in enumerate(marks) if shot.camera == camera]
        standard[rows] = (colours[rows] - colours[rows].mean(0)) / colours[rows].std(0)
    raw, undone = mean_average_precision(colours, marks), mean_average_precision(standard, marks)
    assert undone > 0.3
    assert undone > 2 * raw
