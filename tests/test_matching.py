"""From which score on a pair is a match: as calibrated, as asked, by camera; the same for search, groups and app."""

from pathlib import Path

import pytest
import torch

from calibration_cases import calibration, curve
from groups.group_cases import people
from resight.errors import ConfigError
from resight.matching import Images, Thresholds, check_asked, find_thresholds, number_cameras, same_camera

RUN = Path("runs/mine")
AWARE = calibration(across=curve(threshold=0.6, intercept=-8.0), within=curve(threshold=0.9, intercept=-10.0))


def images() -> Images:
    return people(30, 8, spread=0.8), torch.arange(240) % 3 - 1  # a third of the cameras is not known


def never() -> Images:
    raise AssertionError("images were asked for")


def test_cameras_that_are_not_known_are_not_one_camera():
    one, other = torch.tensor([[0], [3], [-1], [-1]]), torch.tensor([0, 3, -1, -2])
    assert same_camera(one, other).tolist() == [
        [True, False, False, False],
        [False, True, False, False],
        [False] * 4,
        [False] * 4,
    ]
    scores = torch.tensor([0.7, 0.7, 0.95, 0.5])
    limit = Thresholds(0.6, 0.9)
    assert limit.reached(scores, torch.tensor([True, False, True, False])).tolist() == [False, True, True, False]
    assert limit.lowest == 0.6 and limit.by_camera and not Thresholds(0.5, 0.5).by_camera


def test_thresholds_are_as_calibrated_or_as_asked():
    assert find_thresholds(None, RUN, images=never) is None
    assert find_thresholds(None, RUN, threshold=0.3) == Thresholds(0.3, 0.3)
    plain = calibration(across=curve(threshold=0.8))  # nothing is known of pairs of one camera
    for asked in (None, 1e-3):
        assert find_thresholds(plain, RUN, rate=asked, images=never) == Thresholds(0.8, 0.8, 1e-3)
        assert find_thresholds(AWARE, RUN, rate=asked, images=never) == Thresholds(0.6, 0.9, 1e-3)
    assert find_thresholds(AWARE, RUN, threshold=-0.2, images=never) == Thresholds(-0.2, -0.2)
    assert (
        str(Thresholds(0.6, 0.9)) == "0.6000 across cameras and 0.9000 within one" and str(Thresholds(1, 1)) == "1.0000"
    )


@pytest.mark.parametrize("known", [AWARE, calibration()])
@pytest.mark.parametrize("rate", [0.05, 0.002])
def test_another_rate_is_met_by_the_different_pairs_of_the_images(known, rate: float):
    found = find_thresholds(known, RUN, rate=rate, images=images)
    assert found is not None and found.rate == rate
    # Each pair by itself, different as much as the curve of its cameras says.
    rows, camids = images()
    scores, pairs = (rows @ rows.T).double(), torch.ones(len(rows), len(rows), dtype=torch.bool).triu(1)
    one = (camids[:, None] == camids) & (camids >= 0) & pairs
    kinds = [(pairs, known.curve, found.across)]
    if known.camera_aware:
        kinds = [(one, known.within, found.within), (pairs & ~one, known.across, found.across)]
    for kind, part, level in kinds:
        different = 1 - part.log_odds(scores[kind]).sigmoid()
        share = float(different[scores[kind] >= level].sum() / different.sum())
        assert share == pytest.approx(rate, abs=2 / float(different.sum()))  # a pair at the border counts in part
    lower = find_thresholds(known, RUN, rate=0.7 * rate, images=images)
    assert lower is not None and lower.across > found.across and lower.within > found.within


@pytest.mark.parametrize(
    ("known", "threshold", "rate", "words"),
    [
        (AWARE, 0.5, 0.1, "--threshold and --false-match-rate exclude each other"),
        (AWARE, 1.5, None, "--threshold must be a cosine between -1 and 1, got 1.5"),
        (None, None, 0.1, "needs a calibration, and runs/mine has none; run: resight calibrate runs/mine"),
        (AWARE, None, 2.0, "between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(known, threshold, rate, words: str):
    with pytest.raises(ConfigError, match=words):
        check_asked(known, RUN, threshold=threshold, rate=rate)
    with pytest.raises(ConfigError, match=words):
        find_thresholds(known, RUN, threshold=threshold, rate=rate, images=never)


def test_a_rate_that_nothing_tells_of():
    with pytest.raises(ConfigError, match="is calibrated at 0.001, not 0.01; run: resight calibrate runs/mine --false"):
        find_thresholds(AWARE, RUN, rate=0.01)
    with pytest.raises(ConfigError, match="below what"):
        find_thresholds(AWARE, RUN, rate=1e-9, images=images)
    with pytest.raises(ConfigError, match="told from the images, and there are none"):
        find_thresholds(AWARE, RUN, rate=0.1, images=lambda: (torch.empty(0, 8), torch.empty(0).long()))


def test_a_camera_number_of_two_sources_is_two_cameras():
    seen = [(("gate",), 1), (("yard",), 1), (("yard",), 2), (("gate",), 1), (("gate",), None), (("yard",), -4)]
    assert number_cameras(seen).tolist() == [0, 1, 2, 0, -1, -1]
    assert number_cameras(seen[1:3] + seen[4:]).tolist() == [1, 2, -1, -1]  # no number stands twice: as they are
    assert number_cameras([]).tolist() == []
