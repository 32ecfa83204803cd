"""Proxies: rows of clusters, cameras and outliers, and their updates, by hand and against loops."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from memories import clustered, on_circle
from oracles import contrast as oracle
from resight.errors import ConfigError, ResightError, ShapeError
from resight.memory import FeatureMemory
from resight.proxies import UPDATES, Proxies
from resight.storage import DiskRows, Rows

# Cluster 0: images 0, 1 and 4; cluster 1: image 2; outliers: 3 and 5.
PSEUDO_PID = torch.tensor([0, 0, 1, -1, 0, -1])
CAMIDS = torch.tensor([0, 1, -1, 0, 0, 0])


def six() -> FeatureMemory:
    return FeatureMemory.of(on_circle(0, 90, 180, 270, 0, 300))


def test_hand_worked_rows_of_clusters():
    proxies = Proxies.of(six(), PSEUDO_PID, outliers="dropped")
    # cluster 0: the mean of two at 0° and one at 90° is (2, 1)/3, at unit length (2, 1)/√5
    torch.testing.assert_close(proxies.rows, torch.tensor([[2 / 5**0.5, 1 / 5**0.5], [-1.0, 0.0]], dtype=torch.float64))
    assert proxies.of_image.tolist() == [0, 0, 1, -1, 0, -1]
    assert (proxies.pseudo_pid.tolist(), proxies.camid.tolist()) == ([0, 1], [-1, -1])
    everyone = torch.arange(6)
    T, F = True, False
    assert proxies.positives(everyone).tolist() == [[T, F], [T, F], [F, T], [F, F], [T, F], [F, F]]
    assert proxies.same_camera(everyone).all()


def test_hand_worked_rows_of_clusters_and_cameras():
    proxies = Proxies.of(six(), PSEUDO_PID, CAMIDS, outliers="own")
    # cluster 0 in camera 0 and 1, cluster 1 in the unknown camera, the outliers 3 and 5 as 2 and 3 in camera 0
    torch.testing.assert_close(proxies.rows, on_circle(0, 90, 180, 270, 300))
    assert proxies.of_image.tolist() == [0, 1, 2, 3, 0, 4]
    assert (proxies.pseudo_pid.tolist(), proxies.camid.tolist()) == ([0, 0, 1, 2, 3], [0, 1, -1, 0, 0])
    index, (T, F) = torch.tensor([4, 2, 5]), (True, False)
    assert proxies.positives(index).tolist() == [[T, T, F, F, F], [F, F, T, F, F], [F, F, F, F, T]]
    assert proxies.same_camera(index).tolist() == [[T, F, F, T, T], [F, F, T, F, F], [T, F, F, T, T]]


def test_weights_weigh_the_mean():
    weights = torch.tensor([1.0, 0.5, 0.0, 1.0, 0.0, 0.2])
    proxies = Proxies.of(six(), PSEUDO_PID, outliers="dropped", weights=weights)
    # cluster 0: 1 at 0°, ½ at 90°, 0 at 0°: (2, 1)/√5; cluster 1: its only weight is 0, so it counts in full
    torch.testing.assert_close(proxies.rows, torch.tensor([[2 / 5**0.5, 1 / 5**0.5], [-1.0, 0.0]], dtype=torch.float64))


def random_case(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows, clusters numbered with gaps, cameras and weights."""
    generator = torch.Generator().manual_seed(seed)
    images = int(torch.randint(1, 60, (), generator=generator))
    rows = clustered(images, 8, 4, 0.5, seed).double()
    pseudo_pid = torch.randint(-1, 6, (images,), generator=generator)
    pseudo_pid[0] = 2
    pseudo_pid[pseudo_pid > 3] += 5
    camids = torch.randint(-1, 3, (images,), generator=generator)
    weights = torch.rand(images, generator=generator).double() * (torch.rand(images, generator=generator) < 0.7)
    return rows, pseudo_pid, camids, weights


@pytest.mark.parametrize("seed", range(100))
def test_rows_equal_the_loops(seed: int):
    rows, pseudo_pid, camids, weights = random_case(seed)
    by_camera, outliers, weighed = seed % 2 == 0, ["own", "dropped"][seed // 2 % 2], seed % 3 > 0
    proxies = Proxies.of(
        FeatureMemory.of(rows),
        pseudo_pid,
        camids if by_camera else None,
        outliers=outliers,
        weights=weights if weighed else None,
    )
    camera = camids.tolist() if by_camera else [-1] * len(rows)
    groups: dict[tuple[int, int, int], list[int]] = {}
    for i, pid in enumerate(pseudo_pid.tolist()):
        if pid >= 0 or outliers == "own":
            groups.setdefault((pid if pid >= 0 else 10**6, -1 if pid >= 0 else i, camera[i]), []).append(i)
    assert len(proxies) == len(groups)
    seen = set()
    for number, (key, members) in enumerate(sorted(groups.items())):
        share = weights[members] if weighed and weights[members].sum() > 0 else torch.ones(len(members)).double()
        torch.testing.assert_close(proxies.rows[number], oracle.unit((share.unsqueeze(1) * rows[members]).sum(dim=0)))
        assert proxies.of_image[members].tolist() == [number] * len(members)
        assert int(proxies.camid[number]) == key[2]
        identity = int(proxies.pseudo_pid[number])
        if key[1] < 0:
            assert identity == key[0]
        else:
            assert identity > int(pseudo_pid.max())
            assert identity not in seen
        seen.add(identity)
    assert ((proxies.of_image == -1) == ((pseudo_pid == -1) & (outliers == "dropped"))).all()


@pytest.mark.parametrize("seed", range(30))
def test_renumbering_the_images_renumbers_the_rows(seed: int):
    rows, pseudo_pid, camids, weights = random_case(seed)
    order = torch.randperm(len(rows))
    one = Proxies.of(FeatureMemory.of(rows), pseudo_pid, camids, outliers="dropped", weights=weights)
    other = Proxies.of(
        FeatureMemory.of(rows[order]), pseudo_pid[order], camids[order], outliers="dropped", weights=weights[order]
    )
    torch.testing.assert_close(other.rows, one.rows)
    assert torch.equal(other.of_image, one.of_image[order])
    index = torch.arange(len(rows))
    assert torch.equal(other.positives(index), one.positives(order))
    assert torch.equal(other.same_camera(index), one.same_camera(order))


def test_the_place_of_the_memory_and_the_size_of_blocks_make_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows, pseudo_pid, camids = clustered(50, 8, 4, 0.5, 0), torch.arange(50) % 7 - 1, torch.arange(50) % 3
    whole = Proxies.of(FeatureMemory.of(rows), pseudo_pid, camids, outliers="own")
    monkeypatch.setattr("resight.proxies.BLOCK_BYTES", 7 * 8 * 8)
    on_disk = DiskRows(tmp_path, 50, 8)
    on_disk.write(torch.arange(50), rows)
    for place in (Rows(rows), on_disk):
        proxies = Proxies.of(FeatureMemory.over(place), pseudo_pid, camids, outliers="own")
        torch.testing.assert_close(proxies.rows, whole.rows)
        assert torch.equal(proxies.of_image, whole.of_image)


def test_scores_are_cosines_whose_gradient_reaches_the_embeddings_alone():
    proxies = Proxies.of(six(), PSEUDO_PID, outliers="own")
    before = proxies.rows.clone()
    embeddings = on_circle(0, 45).requires_grad_()
    scores = proxies.scores(embeddings)
    torch.testing.assert_close(scores, embeddings @ before.T)
    scores.sum().backward()
    torch.testing.assert_close(embeddings.grad, before.sum(dim=0).expand(2, 2))
    assert not proxies.rows.requires_grad
    assert torch.equal(proxies.rows, before)


def test_hand_worked_updates():
    index, embeddings = torch.tensor([0, 3, 1]), on_circle(90, 10, 180)
    found = {}
    for how in UPDATES:
        proxies = Proxies.of(FeatureMemory.of(on_circle(0, 0, 180, 270, 0, 300)), PSEUDO_PID, outliers="dropped")
        proxies.update(index, embeddings, 0.5, how)
        found[how] = proxies.rows[0]
        torch.testing.assert_close(proxies.rows[1], on_circle(180)[0])  # none of its images; the outlier's 10° is lost
    # each: (0° + 90°) is 45°, (45° + 180°) is 112.5°; mean of 90° and 180°: ((1, 0) + (−½, ½))/2 is at 45°
    torch.testing.assert_close(found["each"], on_circle(112.5)[0])
    torch.testing.assert_close(found["mean"], on_circle(45)[0])
    # hard: of 90° and 100° the row at 0° is less similar to the second, and half-way to it is 50°
    proxies = Proxies.of(FeatureMemory.of(on_circle(0, 0, 180, 270, 0, 300)), PSEUDO_PID, outliers="dropped")
    proxies.update(index, on_circle(90, 10, 100), 0.5, "hard")
    torch.testing.assert_close(proxies.rows[0], on_circle(50)[0])


@pytest.mark.parametrize("how", UPDATES)
@pytest.mark.parametrize("seed", range(40))
def test_updates_equal_the_loops(how: str, seed: int):
    rows, pseudo_pid, camids, _ = random_case(seed)
    generator = torch.Generator().manual_seed(seed)
    proxies = Proxies.of(
        FeatureMemory.of(rows), pseudo_pid, camids if seed % 2 else None, outliers=["own", "dropped"][seed % 2]
    )
    index = torch.randint(len(rows), (int(torch.randint(1, 40, (), generator=generator)),), generator=generator)
    embeddings = normalize(torch.randn(len(index), 8, generator=generator), dim=1).double()
    momentum = [0.0, 0.1, 0.5, 0.9][seed % 4]
    expected = oracle.updated(proxies.rows, proxies.of_image[index].tolist(), embeddings, momentum, how)
    proxies.update(index, embeddings.requires_grad_(), momentum, how)
    torch.testing.assert_close(proxies.rows, expected)
    assert not proxies.rows.requires_grad


def test_of_equally_similar_images_the_first_is_the_hard_one():
    proxies = Proxies.of(FeatureMemory.of(torch.eye(3)), torch.zeros(3, dtype=torch.long), outliers="dropped")
    proxies.rows[0] = torch.tensor([1.0, 0.0, 0.0])
    proxies.update(torch.tensor([2, 1, 0]), torch.eye(3)[[2, 1, 0]], 0.0, "hard")
    assert proxies.rows[0].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("how", UPDATES)
def test_a_batch_of_dropped_outliers_changes_nothing(how: str):
    proxies = Proxies.of(six(), PSEUDO_PID, outliers="dropped")
    before = proxies.rows.clone()
    proxies.update(torch.tensor([3, 5]), on_circle(1, 2), 0.5, how)
    assert torch.equal(proxies.rows, before)
    assert not proxies.positives(torch.tensor([3, 5])).any()


def test_all_outliers_have_rows_of_their_own_or_are_refused():
    alone = torch.full((6,), -1)
    proxies = Proxies.of(six(), alone, outliers="own")
    torch.testing.assert_close(proxies.rows, six().features)
    assert torch.equal(proxies.positives(torch.arange(6)), torch.eye(6, dtype=torch.bool))
    with pytest.raises(ResightError, match=r"all 6 training images are outliers, .* raise miner.eps"):
        Proxies.of(six(), alone, outliers="dropped")


def test_one_cluster_is_one_row():
    proxies = Proxies.of(six(), torch.zeros(6, dtype=torch.long), outliers="dropped")
    assert proxies.rows.shape == (1, 2)
    assert proxies.positives(torch.arange(6)).all()


def test_rows_not_yet_written_give_a_row_of_zeros():
    assert not Proxies.of(FeatureMemory(3, 4), torch.tensor([-1, 0, 0]), outliers="own").rows.any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"outliers": "drop"}, r"outliers must be 'own' \(a row each\) or 'dropped' \(none\), got 'drop'"),
        ({"pseudo_pid": PSEUDO_PID[:5]}, r"pseudo_pid must hold one entry for each of the 6 images .* got 5"),
        ({"camids": CAMIDS[:4]}, r"camids must hold one entry .* got 4"),
        ({"weights": torch.ones(7)}, r"weights must hold one entry .* got 7"),
    ],
)
def test_bad_input_is_refused(change: dict, words: str, unchecked_shapes):
    with pytest.raises((ConfigError, ShapeError), match=words):
        Proxies.of(six(), **{"pseudo_pid": PSEUDO_PID, "outliers": "own", **change})


def test_bad_updates_are_refused(unchecked_shapes):
    proxies, index = Proxies.of(six(), PSEUDO_PID, outliers="own"), torch.tensor([0])
    with pytest.raises(ConfigError, match=r"memory.momentum must lie in \[0, 1\), got 1.0"):
        proxies.update(index, on_circle(0), 1.0)
    with pytest.raises(ConfigError, match=r"no way to update proxies named 'hart'; did you mean 'hard'\?"):
        proxies.update(index, on_circle(0), 0.5, "hart")
    with pytest.raises(ShapeError, match=r"embeddings must be \(1, 2\) to update with as many images, got \(2, 2\)"):
        proxies.update(index, on_circle(0, 1), 0.5)
