"""Which images are embedded for grouping, and what becomes of broken ones."""

from pathlib import Path

import pytest
import torch

from resight.backbones import ReidModel
from resight.errors import DataError
from resight.groups.opening import _embedded
from resight.groups.rows import Crops, Row
from resight.groups.running import GroupRequest
from resight.progress import no_bar
from resight.recipes import load_recipe
from resight.types import Sample


def test_fresh_images_that_are_all_broken_are_left_out_where_others_are_held(tmp_path: Path):
    rows = []
    for name in ("known", "broken", "torn"):
        (tmp_path / f"{name}.jpg").write_text("no image")
        rows.append(Row(name, f"{name}.jpg", Sample(tmp_path / f"{name}.jpg")))
    request = GroupRequest(tmp_path, None, tmp_path / "g.csv", skip_broken=True, cache_dir=tmp_path / "cache")
    recipe = load_recipe("gsmlp", overrides=["input.size=[64,32]"])
    never = ReidModel.__new__(ReidModel)  # nothing is embedded, so nothing of it is asked for
    said: list[str] = []
    held = {"known": torch.eye(4)[0]}
    crops = _embedded(request, (never, recipe), Crops.of(rows), held, (said.append, no_bar))
    assert crops.rows == (rows[0],) and list(held) == ["known"] and said == ["2 broken images were left out"]
    with pytest.raises(DataError, match="all 3 images of the data split are broken"):
        _embedded(request, (never, recipe), Crops.of(rows), {}, (said.append, no_bar))
