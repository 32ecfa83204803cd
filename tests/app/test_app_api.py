"""The HTTP API, and what stands before it: tokens, hosts, origins, sizes. After each refusal it keeps serving."""

import csv
import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app_cases import bomb, png

pytest.importorskip("fastapi")
pytest.importorskip("pymilvus")
testclient = pytest.importorskip("fastapi.testclient")

from resight.app import guard  # noqa: E402
from resight.app.api import make_app  # noqa: E402
from resight.app.request import AppRequest  # noqa: E402
from resight.app.workplace import Workplace  # noqa: E402
from resight.errors import ConfigError, GalleryError  # noqa: E402
from resight.groups.saved import read_groups  # noqa: E402
from resight.pair_answers import read_answers, write_answers  # noqa: E402
from resight.progress import no_bar  # noqa: E402
from resight.review.store import Decision  # noqa: E402

# The client library's own, on closing.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:starlette.*", "ignore::ResourceWarning")

LOCAL = "http://127.0.0.1:8080"
TOKEN = "a long and secret word"


@pytest.fixture
def client(place: Workplace) -> testclient.TestClient:
    return testclient.TestClient(make_app(place), base_url=LOCAL)


@pytest.fixture
def guarded(place: Workplace) -> testclient.TestClient:
    return testclient.TestClient(make_app(place, TOKEN), base_url="http://crops.example", follow_redirects=False)


def query(people: Path) -> bytes:
    return min((people / "query").glob("*.jpg")).read_bytes()


def test_health_says_what_it_serves(client, place: Workplace):
    found = client.get("/api/health").json()
    assert found["status"] == "ok" and found["model"] == place.fingerprint and found["entries"] == len(place.gallery)


def test_an_image_finds_itself_first_whichever_way_it_is_sent(client, people: Path):
    image = query(people)
    form = client.post("/api/search?top=3", files={"image": ("x.jpg", image)}).json()
    body = client.post("/api/search?top=3", content=image, headers={"content-type": "image/jpeg"}).json()
    rows = client.post("/api/embed", content=image).json()
    vector = client.post("/api/search?top=3", json={"vector": [2 * x for x in rows["embedding"]]}).json()
    best = [found["queries"][0]["hits"][0] for found in (form, body, vector)]
    assert {hit["id"] for hit in best} == {rows["id"]}
    assert all(hit["score"] == pytest.approx(1, abs=1e-4) for hit in best)
    assert len(form["queries"][0]["hits"]) == 3
    assert form["queries"][0]["match"] is None and form["threshold"] is None  # the run is not calibrated


def test_embeddings_are_the_gallerys(client, place: Workplace, people: Path):
    rows = client.post("/api/embed", content=query(people)).json()
    stored = place.gallery.vectors([rows["id"]])[0]
    assert torch.allclose(torch.tensor(rows["embedding"]), stored, atol=1e-5)


def test_filters_hold(client, people: Path):
    every = client.post("/api/search?top=100", content=query(people)).json()["queries"][0]["hits"]
    camera = every[-1]["camid"]
    some = client.post(f"/api/search?top=100&camera={camera}&type=person", content=query(people)).json()
    assert [hit["id"] for hit in some["queries"][0]["hits"]] == [h["id"] for h in every if h["camid"] == camera]
    none = client.post("/api/search?type=vehicle", content=query(people)).json()["queries"][0]
    assert none["hits"] == [] and none["match"] is False


BAD = [
    ({"content": b"no image"}, 415, "must be an image"),
    ({"content": b""}, 400, "is empty"),
    ({"content": bomb(20_000, 10_000)}, 413, "million pixels"),
    ({"files": {"image": ("../../etc/passwd", b"root:x:0:0")}}, 415, "must be an image"),
    ({"files": {"picture": ("x.png", png())}}, 400, "named 'image'"),
    ({"json": {"vector": [1.0, 2.0]}}, 422, "finite numbers"),
    ({"json": {"vector": "abc"}}, 400, "must be JSON"),
    ({"json": [1]}, 400, "must be JSON"),
    ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 400, "must be JSON"),
    ({"content": png(), "params": {"camera": "north"}}, 400, "numbers of cameras"),
    ({"content": png(), "params": {"after": "yesterday"}}, 400, "after must be"),
    ({"content": png(), "params": {"top": "0"}}, 422, "top"),
    ({"content": png(), "params": {"type": "x\0y"}}, 400, "control characters"),
    ({"content": png(), "params": {"camera": ",".join(map(str, range(2000)))}}, 400, "at most 4,096 characters"),
    ({"content": png(), "params": {"camera": "9" * 4000}}, 400, "up to 9223372036854775807"),
    ({"content": png(), "params": {"camera": str(2**63)}}, 400, "up to 9223372036854775807"),
]


@pytest.mark.parametrize(("how", "status", "words"), BAD)
def test_bad_input_is_one_sentence_and_it_keeps_serving(client, how: dict, status: int, words: str):
    answer = client.post("/api/search", **how)
    assert answer.status_code == status and words in answer.json()["error"]
    assert "\n" not in answer.json()["error"] and "Traceback" not in answer.text
    assert client.get("/api/health").status_code == 200


def test_a_long_list_of_cameras_is_answered(client, people: Path):
    many = ",".join(map(str, range(1000)))
    answer = client.post(f"/api/search?top=100&camera={many}", content=query(people))
    assert answer.status_code == 200 and len(answer.json()["queries"][0]["hits"]) > 10


def test_groups_are_given_as_a_table_once_there_are_some(client, place: Workplace, tmp_path: Path):
    place.groups = None
    assert client.get("/api/groups.csv").status_code == 400
    found = place.group(no_bar)
    rows = list(csv.DictReader(io.StringIO(client.get("/api/groups.csv").text)))
    assert [row["id"] for row in rows] == [entry.id for entry in found.entries]
    file = tmp_path / "groups.parquet"
    file.write_bytes(client.get("/api/groups.parquet").content)
    assert read_groups(file).grouping.group.tolist() == found.grouping.group.tolist()
    assert client.get("/api/groups.html").status_code == 404


def test_a_body_that_is_too_long_is_stopped_whether_or_not_it_says_so(client):
    limit = guard.MOST_BYTES + guard.ENVELOPE
    assert client.post("/api/embed", content=b"x" * (limit + 1)).status_code == 413

    def pieces() -> Iterator[bytes]:  # sent without a length
        for _ in range(limit // 2**20 + 2):
            yield b"x" * 2**20

    answer = client.post("/api/embed", content=pieces())
    assert answer.status_code == 413 and "20 MB" in answer.json()["error"]
    assert client.get("/api/health").status_code == 200


def test_pictures_are_served_by_id_and_by_nothing_else(client, place: Workplace, people: Path):
    id = place.gallery.ids()[0]
    answer = client.get(f"/pictures/{id}")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    file = min((people / "query").glob("*.jpg"))
    for name in ("..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "/../../etc/passwd", str(file), "nobody", '"] or id != "',
                 "....//....//etc/passwd", str(file).replace("/", "%2f"), f"{id}%00"):  # fmt: skip
        assert client.get(f"/pictures/{name}").status_code == 404, name
    assert client.get(f"/pictures/{id}?size=../large").status_code == 404


def test_a_picture_that_was_shown_for_review_has_an_id(client, place: Workplace, people: Path):
    file = min((people / "query").glob("*.jpg"))
    assert client.get(f"/pictures/{place.pictures.register(file, own=True)}?size=large").status_code == 200


def test_pages_of_other_sites_and_foreign_names_of_this_host_are_refused(client):
    foreign = ("evil.example", "127.evil.example:8080", "localhost.evil.example", "127.0.0.1@evil.example")
    for host in (*foreign, "0.0.0.0:8080", "192.168.0.1", "[::2]", ""):
        assert client.get("/api/health", headers={"host": host}).status_code == 403, host
    for host in ("localhost:8080", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.2:9", "127.8.9.10", "[::1]:8080"):
        assert client.get("/api/health", headers={"host": host}).status_code == 200, host
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", "http://[bad"):
        assert client.post("/api/embed", content=png(), headers={"origin": origin}).status_code == 403
    assert client.post("/api/embed", content=png(), headers={"origin": LOCAL}).status_code == 200
    image = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/api/health", headers=image).status_code == 403


def test_without_the_token_nothing_is_answered(guarded, place: Workplace):
    id = place.gallery.ids()[0]
    for path in (
        "/",
        "/api/health",
        f"/pictures/{id}",
        "/api/docs",
        "/api/openapi.json",
        "/api/answers.csv",
        "/nowhere",
    ):
        for given in (None, "wrong", TOKEN[:-1], TOKEN + "x", "ünicode"):
            headers = {} if given is None else {"authorization": f"Bearer {given}".encode()}
            answer = guarded.get(path, headers=headers)
            assert answer.status_code == 401 and "token" in answer.json()["error"]
    assert guarded.get("/", headers={"accept": "text/html"}).status_code == 401
    assert guarded.get("/api/health", headers={"authorization": f"bearer {TOKEN}"}).status_code == 200


def test_a_browser_gets_a_cookie_for_the_token_and_an_address_without_it(guarded):
    page = {"accept": "text/html"}
    answer = guarded.get("/api/docs", params={"token": TOKEN, "x": "1"}, headers=page)
    assert (answer.status_code, answer.headers["location"]) == (303, "/api/docs?x=1")
    assert "httponly" in answer.headers["set-cookie"].lower() and "samesite=lax" in answer.headers["set-cookie"].lower()
    assert guarded.get("/api/docs", headers=page).status_code == 200  # by the cookie
    away = guarded.get("http://crops.example//evil.example", params={"token": TOKEN}, headers=page)
    assert away.headers["location"].startswith("/evil")


def test_web_sockets_are_guarded_too(guarded, client):
    from starlette.websockets import WebSocketDisconnect

    for refused, headers in ((guarded, {}), (client, {"origin": "http://evil.example"})):
        with pytest.raises(WebSocketDisconnect), refused.websocket_connect("/_nicegui_ws/socket.io/", headers=headers):
            pass


def test_the_description_needs_nothing_from_elsewhere(client):
    page = client.get("/api/docs").text
    assert "/api/search" in page and "http://" not in page and "https://" not in page and "<script" not in page
    assert set(client.get("/api/openapi.json").json()["paths"]) >= {"/api/embed", "/api/search", "/api/health"}


def test_answers_are_given_as_the_commands_read_them(client, place: Workplace, tmp_path: Path):
    from resight.pair_answers import read_answers
    from resight.review.questions import pair_of

    left, right = (entry.picture for entry in place.gallery.get(place.gallery.ids()[:2]))
    place.store.record(Decision(pair_of(left, right), True, "doubts", 0.5, place.fingerprint))
    answer = client.get("/api/answers.csv")
    assert [row["same"] for row in csv.DictReader(io.StringIO(answer.text))] == ["yes"]
    file = tmp_path / "answers.csv"
    file.write_text(answer.text)
    assert read_answers(file)[0].score == 0.5
    assert client.get("/api/answers.csv?drawn_only=true").text.count("\n") == 1


def test_without_a_gallery_a_search_says_so_and_an_image_can_be_embedded(run: Path, tmp_path: Path):
    with Workplace(AppRequest(run, device="cpu", state=tmp_path / "r.sqlite")) as alone:
        client = testclient.TestClient(make_app(alone), base_url=LOCAL)
        answer = client.post("/api/search", content=png())
        assert answer.status_code == 503 and "without a gallery" in answer.json()["error"]
        assert client.post("/api/embed", content=png()).status_code == 200


def test_what_cannot_be_opened_is_a_sentence(run: Path, place: Workplace, tmp_path: Path):
    state = tmp_path / "r.sqlite"
    gallery = place.request.gallery
    with pytest.raises(GalleryError, match="in use"):
        Workplace(AppRequest(run, str(gallery), device="cpu", state=state))
    with pytest.raises(GalleryError, match="there is no gallery"):
        Workplace(AppRequest(run, str(tmp_path / "none.db"), device="cpu", state=state))
    with pytest.raises(ConfigError, match="another resight app"):
        Workplace(AppRequest(run, device="cpu", state=place.request.state))
    Workplace(AppRequest(run, device="cpu", state=state)).close()  # what was half opened was given back


def test_drawing_more_pairs_takes_no_answer_away_that_was_given_elsewhere(run: Path, tmp_path: Path):
    mine = shutil.copytree(run, tmp_path / "run")
    with Workplace(AppRequest(mine, device="cpu", state=tmp_path / "r.sqlite")) as place:
        measuring = place.draw(no_bar, 6)
        file = measuring.audit.pairs_file
        first, *others = read_answers(file)
        place.store.record(Decision(measuring.pairs[0], None, measuring.purpose))  # skipped here
        write_answers(file, [replace(first, same=True), *others])  # and answered there
        place.draw(no_bar, 10)
    now = {answer.pair: answer.same for answer in read_answers(file)}
    assert len(now) == 10 and now[first.pair] is True
