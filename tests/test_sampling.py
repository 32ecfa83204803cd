"""Batches of identities: what every epoch must keep, whatever the clusters."""

from collections import Counter
from math import ceil

import pytest
import torch
from torch import Tensor

from resight.errors import ConfigError, ResightError, ShapeError
from resight.sampling import identity_batches


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_case(seed: int) -> tuple[Tensor, Tensor | None, int, int]:
    """Clusters of many sizes, some of them one that dwarfs all; cameras, sizes of batches and of groups."""
    generator = drawn(seed)
    images = int(torch.randint(2, 400, (), generator=generator))
    clusters = int(torch.randint(1, 60, (), generator=generator))
    pseudo_pid = (torch.rand(images, generator=generator) ** (1 + seed % 3) * (clusters + 1)).long() - seed % 2
    if seed % 5 == 0:
        pseudo_pid[torch.rand(images, generator=generator) < 0.5] = 0
    pseudo_pid[:2] = 0
    camids = torch.randint(-1, 5, (images,), generator=generator) if seed % 4 else None
    per_identity = int(torch.randint(1, 17, (), generator=generator))
    batch_size = max(2, per_identity * int(torch.randint(1, 9, (), generator=generator)))
    return pseudo_pid, camids, batch_size, per_identity


@pytest.mark.parametrize("outliers", [False, True])
@pytest.mark.parametrize("seed", range(150))
def test_what_every_epoch_keeps(seed: int, outliers: bool):
    pseudo_pid, camids, batch_size, per_identity = random_case(seed)
    wanted = (pseudo_pid >= 0).nonzero().squeeze(1) if not outliers else torch.arange(len(pseudo_pid))
    sizes = pseudo_pid[pseudo_pid >= 0].bincount()
    if per_identity == 1 and len(wanted) == int(sizes.max()):
        with pytest.raises(ResightError):
            identity_batches(pseudo_pid, camids, batch_size, per_identity, drawn(seed), outliers=outliers)
        return
    batches = identity_batches(pseudo_pid, camids, batch_size, per_identity, drawn(seed), outliers=outliers)

    shown = torch.cat(batches)
    assert len(shown) == shown.unique().numel()  # at most once
    lost = set(wanted.tolist()) - set(shown.tolist())
    assert set(shown.tolist()) <= set(wanted.tolist())
    assert all(2 <= len(batch) <= batch_size for batch in batches)
    # Lost is only what one cluster, cut in more parts than there would be batches, leaves alone in a batch; where
    # batches hold a handful at most, also what is left over.
    largest_cut = max(ceil(int(n) / per_identity) for n in sizes)
    assert (
        not lost or len(batches) + len(lost) == largest_cut or (batch_size <= 4 and len(lost) <= 1 + len(wanted) // 10)
    )
    for batch in batches:
        of_each = Counter(p for p in pseudo_pid[batch].tolist() if p >= 0)
        assert max(of_each.values(), default=0) <= per_identity


@pytest.mark.parametrize("seed", range(60))
def test_an_identity_s_parts_are_equal_and_hold_as_many_cameras_as_can_be(seed: int):
    pseudo_pid, camids, batch_size, per_identity = random_case(4 * seed + 1)
    assert camids is not None
    if per_identity == 1:
        return
    batches = identity_batches(pseudo_pid, camids, batch_size, per_identity, drawn(seed), outliers=True)
    parts: dict[int, list[Counter]] = {}
    for batch in batches:
        for pid in set(pseudo_pid[batch].tolist()) - {-1}:
            parts.setdefault(pid, []).append(Counter(camids[batch[pseudo_pid[batch] == pid]].tolist()))
    shown = torch.cat(batches)
    for pid, held in parts.items():
        images = int((pseudo_pid == pid).sum())
        if int((pseudo_pid[shown] == pid).sum()) < images:
            continue  # one of its images made a batch alone, and was left out
        assert len(held) == ceil(images / per_identity)
        assert {part.total() for part in held} <= {images // len(held), -(-images // len(held))}
        for camera, count in Counter(camids[pseudo_pid == pid].tolist()).items():
            assert sum(part[camera] > 0 for part in held) == min(count, len(held))
            assert max(part[camera] for part in held) - min(part[camera] for part in held) <= 1


def test_full_identities_make_p_by_k_batches():
    pseudo_pid = torch.arange(12 * 4) // 4
    batches = identity_batches(pseudo_pid, None, 16, 4, drawn(0), outliers=False)
    assert len(batches) == 3
    for batch in batches:
        assert sorted(Counter(pseudo_pid[batch].tolist()).values()) == [4, 4, 4, 4]


def test_outliers_are_spread_evenly():
    pseudo_pid = torch.cat([torch.arange(40) // 4, torch.full((25,), -1)])
    batches = identity_batches(pseudo_pid, None, 13, 4, drawn(0), outliers=True)
    assert [len(batch) for batch in batches] == [13] * 5
    assert [int((pseudo_pid[batch] == -1).sum()) for batch in batches] == [5] * 5


def test_the_draw_follows_the_generator_and_nothing_else():
    pseudo_pid, camids, batch_size, per_identity = random_case(7)

    def batches(seed: int, labels: Tensor = pseudo_pid) -> list[list[int]]:
        torch.manual_seed(seed + 100)
        found = identity_batches(labels, camids, batch_size, per_identity, drawn(seed), outliers=True)
        return [batch.tolist() for batch in found]

    assert batches(1) == batches(1)
    assert batches(1) != batches(2)
    # Who shares a cluster counts, not its number.
    renumbered = torch.where(pseudo_pid == -1, -1, 1000 - 3 * pseudo_pid)
    assert batches(1, renumbered) == batches(1)


def test_unknown_cameras_are_as_none():
    pseudo_pid = torch.arange(60) % 7
    for camids in (torch.full((60,), -1), torch.full((60,), 3)):
        batches = identity_batches(pseudo_pid, camids, 12, 4, drawn(0), outliers=False)
        assert sorted(torch.cat(batches).tolist()) == list(range(60))


def test_one_cluster_fills_a_batch_with_its_share_only():
    batches = identity_batches(torch.zeros(22, dtype=torch.long), None, 64, 4, drawn(0), outliers=False)
    assert sorted(len(batch) for batch in batches) == [3, 3, 4, 4, 4, 4]


def test_all_outliers_are_shown_or_refused():
    alone = torch.full((9,), -1)
    assert sorted(len(b) for b in identity_batches(alone, None, 4, 2, drawn(0), outliers=True)) == [3, 3, 3]
    with pytest.raises(ResightError, match=r"no batch can be made of 9 training images of which 0 are in clusters"):
        identity_batches(alone, None, 4, 2, drawn(0), outliers=False)


@pytest.mark.parametrize("images", [0, 1])
def test_too_few_images_are_refused(images: int):
    with pytest.raises(ResightError, match=rf"no batch can be made of {images} training images"):
        identity_batches(torch.zeros(images, dtype=torch.long), None, 4, 2, drawn(0), outliers=True)


def test_every_image_s_batch_differs_from_epoch_to_epoch():
    pseudo_pid, generator = torch.arange(64) // 8, drawn(0)
    mates = [set(), set()]
    for epoch in range(2):
        for batch in identity_batches(pseudo_pid, None, 16, 4, generator, outliers=False):
            mates[epoch] |= {frozenset(batch[pseudo_pid[batch] == pid].tolist()) for pid in pseudo_pid[batch].tolist()}
    assert len(mates[0] & mates[1]) < 4  # 16 groups of 4 in each epoch; identities are cut anew


@pytest.mark.parametrize(
    ("batch_size", "per_identity", "words"),
    [
        (1, 1, r"train.batch_size must be 2 or more, got 1"),
        (16, 0, r"must lie in 1..train.batch_size, here 1..16, got 0"),
        (16, 17, r"must lie in 1..train.batch_size, here 1..16, got 17"),
    ],
)
def test_bad_sizes_are_refused(batch_size: int, per_identity: int, words: str):
    with pytest.raises(ConfigError, match=words):
        identity_batches(torch.zeros(4, dtype=torch.long), None, batch_size, per_identity, drawn(0), outliers=True)


def test_cameras_must_be_as_many_as_images(unchecked_shapes):
    with pytest.raises(ShapeError, match=r"camids must hold one camera for each of 4 images, got 3"):
        identity_batches(
            torch.zeros(4, dtype=torch.long), torch.zeros(3, dtype=torch.long), 4, 2, drawn(0), outliers=True
        )
