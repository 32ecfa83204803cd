"""The embedding map: where points go, what they are coloured by, and which crops there are."""

import base64
import io
import itertools
import json
import sys
import types

import pytest
import torch
from PIL import Image

from report.report_cases import material, noise
from resight.errors import ConfigError
from resight.report.album import Album
from resight.report.embedding_map import (
    ACROSS,
    DOWN,
    SIDE,
    cell_size,
    colouring,
    crop_sheets,
    embedding_map,
    principal_plane,
    project,
)
from resight.report.material import evenly


def test_the_principal_plane_worked_by_hand():
    # Variances 8 along the first axis, 2 along the second, none along the third: in order, of positive largest part.
    rows = torch.tensor([[2.0, 0, 5], [-2, 0, 5], [0, 1, 5], [0, -1, 5]])
    places, share = principal_plane(rows)
    assert torch.allclose(places.abs(), torch.tensor([[2.0, 0], [2, 0], [0, 1], [0, 1]], dtype=torch.float64))
    assert share == pytest.approx(1.0)
    assert principal_plane(torch.cat([rows[:, :2], torch.tensor([[1.0], [1], [-1], [-1]])], dim=1))[1] == pytest.approx(
        12 / 14
    )


@pytest.mark.parametrize("rows", [torch.zeros(4, 3), torch.ones(3, 1), torch.randn(3, 300)])
def test_images_that_are_all_alike_or_few_or_of_one_dimension_have_places(rows):
    places, _ = project(rows, "pca")
    assert places.shape == (len(rows), 2)
    assert bool(((places >= 0) & (places <= SIDE)).all())


def test_the_map_is_the_same_again_and_fills_the_square():
    rows = torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    places, said = project(rows, "pca")
    assert torch.equal(places, project(rows, "pca")[0])
    assert sorted((int(places.amin()), int(places.amax()))) == [0, SIDE]
    assert "PCA" in said


def test_without_the_package_umap_is_refused_and_auto_says_what_would_be_better(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(
        ConfigError, match=r"--projection umap needs the package umap-learn; pip install 'resight\[map\]'"
    ):
        project(torch.randn(30, 4), "umap")
    assert "resight[map]" in project(torch.randn(30, 4), "auto")[1]
    with pytest.raises(ConfigError, match="no projection named 'ump'; did you mean 'umap'"):
        project(torch.randn(30, 4), "ump")


def test_umap_is_asked_for_cosines_and_a_fixed_seed(monkeypatch):
    asked = {}

    class Umap:
        def __init__(self, **settings):
            asked.update(settings)

        def fit_transform(self, rows):
            return rows[:, :2]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Umap, __spec__=object()))
    _, said = project(torch.randn(30, 4), "auto")
    assert "UMAP" in said
    assert (asked["metric"], asked["random_state"]) == ("cosine", 0)


def test_umap_itself_keeps_clusters_together():
    pytest.importorskip("pynndescent")  # imported by umap, which warns as it is
    draw = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 8, generator=draw).repeat_interleave(12, 0)
    places, said = project(
        torch.nn.functional.normalize(centres + 0.05 * torch.randn(36, 8, generator=draw), dim=1), "umap"
    )
    assert "UMAP" in said
    nearest = (torch.cdist(places.double(), places.double()) + 1e9 * torch.eye(36)).argmin(dim=1)
    assert ((nearest // 12) == torch.arange(36) // 12).double().mean() > 0.9


@pytest.mark.parametrize(("size", "cell"), [((128, 64), (48, 96)), ((128, 128), (96, 96)), ((64, 128), (96, 48))])
def test_cells_have_the_inputs_shape_and_whole_blocks(size, cell):
    assert cell_size(size) == cell


def test_labels_are_numbered_by_how_frequent_they_are():
    assert colouring("camera", ["b", None, "a", "a"]) == {
        "name": "camera", "labels": ["a", "b"], "counts": [2, 1], "of": [1, -1, 0, 0],
    }  # fmt: skip


@pytest.mark.parametrize(("count", "most"), [(10, 3), (7, 7), (3, 10), (20_001, 5000)])
def test_images_are_drawn_evenly(count, most):
    rows = evenly(count, most)
    assert len(rows) == min(count, most)
    gaps = {after - before for before, after in itertools.pairwise(rows)}
    assert rows[0] == 0 and max(gaps) - min(gaps) <= 1


def test_every_crop_lies_where_its_slot_says(tmp_path):
    count = ACROSS * DOWN + 5
    pictures = []
    for row in range(count):
        pictures.append(tmp_path / f"{row}.png")
        Image.new("RGB", (48, 80), (row * 2, 255 - row * 2, 60)).save(pictures[-1])
    pictures[3] = tmp_path / "gone.png"
    sheets, slots = crop_sheets(pictures, (48, 80), Album(10**7))
    opened = [Image.open(io.BytesIO(base64.b64decode(sheet.split(",")[1]))) for sheet in sheets]
    assert slots[3] == -1
    for row in set(range(count)) - {3}:
        place, slot = divmod(slots[row], ACROSS * DOWN)
        at = slot % ACROSS * 48 + 24, slot // ACROSS * 80 + 40
        assert opened[place].getpixel(at) == pytest.approx((row * 2, 255 - row * 2, 60), abs=4)


def test_a_map_is_cut_to_its_room_and_every_point_is_still_named(tmp_path):
    paths = noise(tmp_path, 250)
    facts = [(row % 5, row % 2) for row in range(250)]
    whole = material(facts, torch.randn(250, 8))
    split = type(whole.images)(
        "train", tuple(type(s)(p, s.pid, s.camid) for p, s in zip(paths, whole.images, strict=True))
    )
    whole = type(whole)(whole.recipe, tmp_path, split, whole.embeddings, None, 250, ())
    room = 500_000
    album = Album(room)
    drawn = embedding_map(whole, {}, album, points=220, projection="pca")
    assert drawn is not None
    assert len(drawn.data["points"]) == len(drawn.data["names"]) == 220
    assert 0 < sum(slot < 0 for slot in drawn.data["slots"]) == album.left_out < 220
    assert len(drawn.json.encode()) <= room
    assert [found["name"] for found in drawn.data["colourings"]] == ["identity", "camera"]
    assert drawn.said.startswith("220 of 250 images, evenly drawn")
    small = embedding_map(whole, {}, Album(5000), points=220, projection="pca")
    assert small is not None and len(small.json.encode()) <= 5000 and len(small.data["points"]) < 220
    assert embedding_map(whole, {}, Album(0), points=220, projection="pca") is None


def test_names_and_groups_cannot_leave_the_data_block():
    whole = material([(None, 0)] * 3, torch.randn(3, 4))
    named = dict.fromkeys(whole.images.pictures, "</script><script>alert(1)")
    drawn = embedding_map(whole, named, Album(10**6), points=3, projection="pca", pictures=False)
    assert drawn is not None
    assert "<" not in drawn.json
    assert json.loads(drawn.json)["colourings"][0]["labels"] == ["</script><script>alert(1)"]
    assert drawn.data["sheets"] == [] and drawn.data["slots"] == [-1] * 3
