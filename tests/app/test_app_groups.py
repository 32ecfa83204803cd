"""Groups in the app, over a gallery made by hand: saved, gone on from, and pages where the gallery cannot be asked."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("pymilvus")

from held_gallery import MODEL, Holding, of_four
from resight.app import workplace as workplace_module
from resight.app.request import AppRequest
from resight.app.workplace import Workplace
from resight.errors import ConfigError, GalleryError
from resight.gallery.searching import Judge
from resight.groups.saved import read_groups
from resight.progress import no_bar
from resight.review.store import Decision

GONE = "held does not answer; start the server again"
Open = Callable[[Holding, Path], Workplace]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens the app's workplace over a gallery in memory; no model is there."""
    galleries: list[Holding] = []
    monkeypatch.setattr(workplace_module, "fingerprint", lambda run: MODEL)
    monkeypatch.setattr(workplace_module, "load_calibration", lambda run: None)
    monkeypatch.setattr(workplace_module, "make_judge", lambda run, **more: Judge())
    monkeypatch.setattr(workplace_module, "_opened_model", lambda request, say: (False, None))
    monkeypatch.setattr(workplace_module.Gallery, "open", lambda uri, model: galleries[-1])

    def open_over(gallery: Holding, groups: Path) -> Workplace:
        galleries.append(gallery)
        return Workplace(AppRequest(tmp_path, "held", groups, state=tmp_path / "r.sqlite", cache_dir=tmp_path / "c"))

    return open_over


def numbers(file: Path) -> dict[str, int]:
    """The group of each image that a file of groups holds."""
    saved = read_groups(file)
    return dict(zip((row.id for row in saved.crops.firsts), saved.grouping.group.tolist(), strict=True))


def test_saving_after_grouping_again_loses_no_image_and_no_number(opened: Open, tmp_path: Path):
    file, whole = tmp_path / "groups.parquet", of_four()
    with opened(whole, file) as place:
        place.group(no_bar)
        place.save_groups()
    before = numbers(file)
    assert len(before) == 48
    with opened(Holding(whole.entries[30:], whole.rows[30:]), file) as place:
        place.group(no_bar, again=True)
        place.save_groups()
    assert numbers(file) == before


def test_groups_that_were_saved_are_gone_on_from_in_the_same_app(opened: Open, tmp_path: Path):
    file, whole = tmp_path / "groups.parquet", of_four()
    with opened(Holding(whole.entries[12:], whole.rows[12:]), file) as place:
        place.group(no_bar)
        place.save_groups(tmp_path / "copy.parquet")  # a download: nothing is gone on from that
        assert place._earlier is None
        place.save_groups()
        before = numbers(file)
        place.gallery = whole  # others add images that come first, and would be numbered first
        place.store.record(Decision(("/crops/12.jpg", "/crops/13.jpg"), False, "doubts"))
        place.group(no_bar, again=True)
        place.save_groups()
    after = numbers(file)
    assert {id: after[id] for id in list(before)[12:]} == {id: before[id] for id in list(before)[12:]}
    one, other = (whole.entries[at].id for at in (12, 13))
    assert len(after) == 48 and after[one] != after[other] and after[one] in (before[one], -1, max(after.values()))


def test_groups_are_saved_by_one_at_a_time(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    running: list[int] = []
    most: list[int] = []

    def slow(*given: object) -> None:
        running.append(1)
        most.append(len(running))
        threading.Event().wait(0.05)
        running.pop()

    with opened(of_four(3), tmp_path / "groups.parquet") as place:
        place.group(no_bar)
        monkeypatch.setattr(workplace_module, "write_groups", slow)
        threads = [threading.Thread(target=place.save_groups) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == [1, 1, 1]


def test_a_place_where_groups_cannot_be_saved_is_refused_at_once(tmp_path: Path):
    for name, words in (("no/g.parquet", "must be in a folder that is there"), ("g.csv", "must end in .parquet")):
        with pytest.raises(ConfigError, match=f"--groups {words}"):
            AppRequest(tmp_path, groups=tmp_path / name)
    (tmp_path / "g.parquet").touch()
    AppRequest(tmp_path, groups=tmp_path / "g.parquet")


class Gone(Holding):
    """A gallery whose server went away."""

    def __len__(self) -> int:
        raise GalleryError(GONE)

    def stats(self) -> dict[str, object]:
        raise GalleryError(GONE)


# The client library's own on closing, and torch's when NiceGUI looks through all objects for its server.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:starlette.*", "ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore:.torch.distributed.reduce_op:FutureWarning")
def test_pages_say_that_the_gallery_cannot_be_asked(opened: Open, tmp_path: Path):
    pytest.importorskip("nicegui")
    testclient = pytest.importorskip("fastapi.testclient")
    from resight.app.api import make_app
    from resight.app.pages import add_pages

    with opened(Gone([], torch.empty(0, 16)), tmp_path / "groups.parquet") as place:
        app = make_app(place)
        add_pages(app, place)
        with testclient.TestClient(app, base_url="http://127.0.0.1:8080") as client:
            for address in ("/", "/run"):
                page = client.get(address)
                assert page.status_code == 200 and GONE in page.text, address
