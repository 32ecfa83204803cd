"""Every miner against the loops over its definition; hand-worked cases of all but GSMLP, which has its own file."""

import pytest
import torch
from torch import Generator, Tensor

from memories import KINDS, clustered, drawn, on_circle
from oracles import mining as oracle
from resight.errors import ConfigError
from resight.memory import FeatureMemory
from resight.miners import MINERS

ORACLES = {
    "self_only": oracle.self_only,
    "knn": oracle.knn,
    "similarity": oracle.similar,
    "mplp": oracle.mplp,
    "gsmlp": oracle.gsmlp,
    "dplm": oracle.dplm,
}
THRESHOLDS = ["similarity", "mplp", "gsmlp", "dplm"]  # miners with k_i, K_i and their bounds


def options_for(name: str, seed: int, generator: Generator) -> dict[str, float]:
    """Settings of every size, bounds below and above the number of images among them."""
    if name == "self_only":
        return {}
    if name == "knn":
        return {"k": drawn(generator, 1, 25)}
    least = drawn(generator, 1, 3 if seed % 2 else 15)
    tau = [0.25, 0.5, 0.6, 0.75, 0.9][drawn(generator, 0, 4)]
    most = least + drawn(generator, 0, 5) if seed % 3 == 0 else 0
    options = {"tau": tau, "min_candidates": least, "max_candidates": most}
    return options | ({"neighbourhood": drawn(generator, 5, 20)} if name == "dplm" and seed % 4 else {})


def sets(marks: Tensor) -> list[set[int]]:
    return [set(row.nonzero().squeeze(1).tolist()) for row in marks]


def mined(name: str, features: Tensor, *index: int, **options: float) -> list[set[int]]:
    """What the miner finds for the images at `index`."""
    return sets(MINERS[name](**options)(FeatureMemory.of(features), torch.tensor(index)))


def looped(name: str, features: Tensor, *index: int, **options: float) -> list[set[int]]:
    """What the loops find."""
    s = oracle.similarity(features.tolist())
    return [ORACLES[name](s, i, **options) for i in index]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ORACLES)
def test_equals_the_loops(name: str, kind: str, seed: int):
    generator = torch.Generator().manual_seed(seed)
    images = drawn(generator, 1, 40)
    features = KINDS[kind](images, seed, generator)
    options = options_for(name, seed, generator)
    index = torch.randperm(images, generator=generator)[:6].tolist()
    expected = looped(name, features, *index, **options)
    assert mined(name, features, *index, **options) == expected


@pytest.mark.parametrize(
    "kind", ["random_clusters", "partly_written", "thinning", "tied", "duplicated", "antipodal", "identical"]
)
@pytest.mark.parametrize("name", ORACLES)
def test_equals_the_loops_on_more_images_than_a_neighbourhood_holds(name: str, kind: str):
    generator = torch.Generator().manual_seed(5)
    features = KINDS[kind](150, 4, generator)
    index = torch.randperm(150, generator=generator)[:3].tolist()
    expected = looped(name, features, *index)
    assert mined(name, features, *index) == expected


@pytest.mark.parametrize("tau", [0.05, 0.3])
@pytest.mark.parametrize("name", THRESHOLDS)
def test_equals_the_loops_where_more_images_are_similar_than_a_neighbourhood_holds(name: str, tau: float):
    # One loose cluster: K_i runs past DPLM's 100, so that its last test keeps all of them.
    features = clustered(130, 6, 1, 0.6, 11).double()
    index = [129, 0, 64]
    expected = looped(name, features, *index, tau=tau)
    assert mined(name, features, *index, tau=tau) == expected


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ORACLES)
def test_renumbering_the_images_renumbers_the_answer(name: str, seed: int):
    features = clustered(80, 16, 8, 0.4, seed).double()
    order = torch.randperm(80, generator=torch.Generator().manual_seed(seed))
    everyone = torch.arange(80)
    options = {"neighbourhood": 20} if name == "dplm" and seed % 2 else {}
    first = MINERS[name](**options)(FeatureMemory.of(features), everyone)
    again = MINERS[name](**options)(FeatureMemory.of(features[order]), everyone)
    assert torch.equal(first[order][:, order], again)


@pytest.mark.parametrize("name", ORACLES)
def test_an_image_may_come_twice_and_in_any_order(name: str):
    features = clustered(30, 8, 4, 0.4, 2).double()
    everyone = mined(name, features, *range(30))
    assert mined(name, features, 7, 3, 7, 29) == [everyone[i] for i in (7, 3, 7, 29)]


def test_the_nearest_k_count_the_image_itself():
    features = on_circle(0, 10, -5, 90)
    # From image 0: 2 (5°), 1 (10°), 3 (90°); from 3: 1 (80°), 0 (90°), 2 (95°).
    assert mined("knn", features, 0, 3, k=2) == [{0, 2}, {3, 1}]
    assert mined("knn", features, 0, k=1) == [{0}]
    assert mined("knn", features, 0, k=50) == [{0, 1, 2, 3}]


def test_of_equally_similar_images_the_first_are_taken():
    # Rows 0, 1 and 3 are one and the same; 2 and 4 are at 90° to them.
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])
    assert mined("knn", features, 0, 3, 2, k=2) == [{0, 1}, {3, 0}, {2, 0}]
    assert mined("knn", features, 3, 4, k=4) == [{3, 0, 1, 2}, {4, 0, 1, 3}]


def test_all_images_from_tau_on_are_similar_and_fillers_are_the_next_best():
    features = on_circle(0, 40, 20, 60, 50)
    # τ .9 is 25.8°: from image 0 only 2 (20°), k = 2. L 4: K = 4, filled up by 1 (40°) and 4 (50°), not by 3 (60°).
    assert mined("similarity", features, 0, tau=0.9, min_candidates=1) == [{0, 2}]
    assert mined("similarity", features, 0, tau=0.9, min_candidates=4) == [{0, 2, 1, 4}]
    # From image 1 all but 0 lie within 20°, k = 4; a bound of 2 leaves 4 (10°).
    assert mined("similarity", features, 1, tau=0.9, min_candidates=1) == [{1, 2, 3, 4}]
    assert mined("similarity", features, 1, tau=0.9, min_candidates=1, max_candidates=2) == [{1, 4}]


def test_a_similarity_of_exactly_tau_counts():
    features = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, -0.5], [0.5, 0.5, -0.5, -0.5]])
    # s01 = .25·3 − .25 = .5, s02 = 0
    assert mined("similarity", features, 0, tau=0.5, min_candidates=1) == [{0, 1}]


def test_the_walk_stops_at_the_first_neighbour_that_ranks_the_image_too_low():
    features = on_circle(0, 10, 30, -31, 32, 33, 34, 35)
    # τ is the cosine of 31.5°: from image 0 within it are 1 (10°), 2 (30°), 3 (31°), so k = K = 4.
    # rank_1(0): 1 itself is nearer to 1 than 0 is, the others are 20° or more away: place 1 of at most 4, passes.
    # rank_2(0): nearer to 2 than 30° are 2, 4, 5, 6, 7 (2° to 5°) and 1 (20°): place 6, beyond 4. Stop.
    # rank_3(0) would be 1, but the walk does not get there.
    settings = {"tau": 0.8526, "min_candidates": 1}
    assert mined("similarity", features, 0, **settings) == [{0, 1, 2, 3}]
    assert mined("mplp", features, 0, **settings) == [{0, 1}]
    assert mined("dplm", features, 0, **settings)[0] <= {0, 1}


def test_a_nearest_neighbour_that_fails_is_not_kept():
    features = on_circle(0, 30, 31, 32, 33, 34)
    # τ is the cosine of 30.5°: k = K = 2 and Top(0, 2) = {0, 1}. Nearer to 1 than 30° are 1, 2, 3, 4, 5: place 5 > 2.
    # A walk that always kept the nearest neighbour would give {0, 1}.
    settings = {"tau": 0.8616, "min_candidates": 1}
    assert mined("similarity", features, 0, **settings) == [{0, 1}]
    assert mined("mplp", features, 0, **settings) == [{0}]
    assert mined("dplm", features, 0, **settings) == [{0}]


def test_a_rank_of_exactly_the_bound_passes():
    features = on_circle(0, 30, 31, 32)
    # As above with K = 3 by L, and k = 3 for τ = cos 31.5°: rank_1(0) counts 1, 2, 3, and 3 > 3 is false.
    # rank_2(0): 2, 1, 3: passes too.
    assert mined("mplp", features, 0, tau=0.8526, min_candidates=3) == [{0, 1, 2}]


def test_the_walk_is_cut_to_the_images_that_reach_tau():
    features = on_circle(0, 5, 40, 80)
    # τ .9 (25.8°): k = 2, and L 4 lets the walk see all; all four pass, two are kept.
    assert mined("mplp", features, 0, tau=0.9, min_candidates=4) == [{0, 1}]


def test_an_image_whose_surroundings_differ_is_not_mined_although_it_is_similar_both_ways():
    features = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.8, 0.0, 0.6], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    # S (diagonal 0):  s01 = s02 = .8   s03 = s04 = 0   s12 = .64   s13 = s14 = 0   s23 = s24 = .6   s34 = 1
    # τ .7: k = K = 3, (a) {0, 1, 2}.
    # (b) rank_1(0): only 1 itself is above .8, place 1; rank_2(0): only 2 itself: both pass, {0, 1, 2}.
    # (c) all five are among the 100; squared distances to row 0 (0 .8 .8 0 0):
    #   row 1 (.8 0 .64 0 0)     .64 + .64 + .0256             = 1.3056
    #   row 2 (.8 .64 0 .6 .6)   .64 + .0256 + .64 + .36 + .36 = 2.0256
    #   row 3 (0 0 .6 0 1)       .64 + .04 + 1                 = 1.68, and row 4 alike
    # The three nearest are 0, 1, 3: image 2 is out.
    assert mined("mplp", features, 0, tau=0.7, min_candidates=1) == [{0, 1, 2}]
    assert mined("dplm", features, 0, tau=0.7, min_candidates=1) == [{0, 1}]
    # Among the three most similar only, 3 and 4 are not there: all three rows are kept, and so is 2.
    assert mined("dplm", features, 0, tau=0.7, min_candidates=1, neighbourhood=3) == [{0, 1, 2}]


@pytest.mark.parametrize("name", THRESHOLDS)
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tau": 60.0}, r"miner.tau is a cosine and must lie in \(0, 1\], got 60"),
        ({"min_candidates": 0}, "miner.min_candidates must be at least 1, got 0"),
        ({"max_candidates": 5}, r"must be 0 \(no bound\) or at least miner.min_candidates = 10, got 5"),
    ],
)
def test_bad_settings_are_refused(name: str, settings: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        MINERS[name](**settings)


def test_bad_sizes_of_neighbourhoods_are_refused():
    with pytest.raises(ConfigError, match="miner.k must be at least 1, got 0"):
        MINERS["knn"](k=0)
    with pytest.raises(ConfigError, match=r"miner.neighbourhood must be at least \d, got 0"):
        MINERS["dplm"](neighbourhood=0)
