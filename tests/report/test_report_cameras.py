"""Camera by camera: where the nearest images are, and mAP by pair."""

import dataclasses
from pathlib import Path

import pytest
import torch

from report.report_cases import material, scored, unit
from resight.report.cameras import CAMERAS_SHOWN, NEAREST, neighbour_shares, pair_scores, shares_of_nearest
from resight.types import UNKNOWN_TRACKLET, Sample, Split


def shares(rows: torch.Tensor, camids: list[int], tracklets: list[int], shown: list[int]) -> list[list[float]]:
    return shares_of_nearest(rows, torch.tensor(camids), torch.tensor(tracklets), shown).tolist()


def test_shares_as_a_slow_loop_finds_them():
    for seed in range(10):
        draw = torch.Generator().manual_seed(seed)
        rows = torch.nn.functional.normalize(torch.randn(25, 5, generator=draw), dim=1)
        camids = torch.randint(-1, 3, (25,), generator=draw).tolist()
        tracklets = torch.randint(-1, 6, (25,), generator=draw).tolist()
        found = shares(rows, camids, tracklets, [0, 1, 2])
        for one in range(3):
            nearest = []
            for row in (row for row in range(25) if camids[row] == one):
                others = [
                    other for other in range(25) if other != row
                    and not (camids[other] == one and tracklets[row] == tracklets[other] != UNKNOWN_TRACKLET)
                ]  # fmt: skip
                others.sort(key=lambda other: -float(rows[row] @ rows[other]))
                nearest += [camids[other] for other in others[:NEAREST]]
            expected = [nearest.count(other) / max(1, len(nearest)) for other in range(3)]
            assert found[one] == pytest.approx(expected)


def test_the_matrix_without_identities_and_its_last_row():
    # Six images of camera 4 close together, two of camera 9 far away: all five nearest of the six are their own.
    # Those of camera 9 have one of their own and four others: 1 of 5.
    facts = [(None, 4)] * 6 + [(None, 9)] * 2
    matrix = neighbour_shares(material(facts, unit(0, 1, 2, 3, 4, 5, 120, 121)))
    assert matrix["columns"] == ["camera 4", "camera 9"]
    assert [row["name"] for row in matrix["rows"]] == ["camera 4", "camera 9", "all images"]
    assert [[cell["text"] for cell in row["cells"]] for row in matrix["rows"]] == [
        ["100", "0"],
        ["80", "20"],
        ["75", "25"],
    ]
    assert "100.0 % of the nearest images of camera 4 are in camera 4" in matrix["rows"][0]["cells"][0]["title"]
    # White on the darkest, dark on the lightest.
    assert [matrix["rows"][0]["cells"][column]["style"].split("color: ")[1] for column in (0, 1)] == ["#fff", "#10151a"]


@pytest.mark.parametrize("cameras", [(None, None), (3, 3), (3, None)])
def test_fewer_than_two_cameras_make_no_matrix(cameras):
    assert neighbour_shares(material([(None, camid) for camid in cameras], unit(0, 10))) is None


def test_too_many_cameras_are_cut_to_the_largest_and_counted():
    facts = [(None, camid) for camid in range(CAMERAS_SHOWN + 6) for _ in range(1 + (camid > 5))]
    matrix = neighbour_shares(material(facts, torch.nn.functional.normalize(torch.randn(len(facts), 8), dim=1)))
    assert matrix["hidden"] == 6
    assert matrix["columns"] == [f"camera {camid}" for camid in range(6, CAMERAS_SHOWN + 6)]


def test_pairs_of_cameras_are_those_of_the_evaluation():
    # From camera 0: in camera 1 the wrong one stands first, so AP ½ and rank-1 0; in camera 2 the right one.
    test = scored(
        [(1, 0)], [(1, 1), (2, 1), (1, 2), (2, 2)], (unit(0), unit(20, 10, 5, 50)), camera_pairs=True
    )  # fmt: skip
    matrix = pair_scores(test)
    assert (matrix["columns"], matrix["rows"][0]["name"]) == (["camera 1", "camera 2"], "camera 0")
    assert [(cell["text"], cell["below"]) for cell in matrix["rows"][0]["cells"]] == [("50", "R1 0"), ("100", "R1 100")]
    assert "camera 0 to camera 1: mAP 50.0 %, rank-1 0.0 %, 1 queries" in matrix["rows"][0]["cells"][0]["title"]


def test_a_pair_without_an_answer_is_a_dash():
    test = scored([(1, 0), (2, 1)], [(1, 1), (2, 0)], (unit(0, 90), unit(1, 89)), camera_pairs=True)
    cells = [[cell["text"] for cell in row["cells"]] for row in pair_scores(test)["rows"]]
    assert cells == [["–", "100"], ["100", "–"]]
    assert pair_scores(scored([(1, 0)], [(1, 1)], (unit(0), unit(1)))) is None


def test_the_own_tracklet_is_passed_over():
    images = Split(
        "train", tuple(Sample(Path(f"{row}.jpg"), None, camid, None, 0) for row, camid in enumerate((0, 0, 1)))
    )
    whole = dataclasses.replace(material([(None, 0), (None, 0), (None, 1)], unit(0, 1, 90)), images=images)
    # The two of camera 0 are one tracklet: the only other image is of camera 1.
    assert [cell["text"] for cell in neighbour_shares(whole)["rows"][0]["cells"]] == ["0", "100"]
