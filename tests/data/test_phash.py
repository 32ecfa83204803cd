"""Perceptual hashes against ImageHash's and the formula; the index of hashes against comparing all pairs."""

import numpy as np
import pytest

from guises import GUISES, scene
from resight.data import hamming, near
from resight.data.alignment import same_picture
from resight.data.hamming import HashIndex
from resight.data.phash import grey_square, perceptual_hash
from resight.data.thumbnails import explained_by, likeness, spreads, thumbnails


def test_hashes_are_those_of_imagehash():
    y, x = np.mgrid[0:32, 0:32]
    grey = [((x * (5 + k) + y * y * (3 + k) + (x * y) // (2 + k)) % 256).astype(np.uint8) for k in range(4)]
    # str(imagehash.phash(Image.fromarray(grey[k]))), ImageHash 4.3.2
    expected = ["8b061d3f29342a7f", "811ba63a273b2d75", "a71da3a218ae3b27", "a61f19a3181da73d"]
    assert [f"{value:016x}" for value in perceptual_hash(np.stack(grey)).tolist()] == expected


def test_a_hash_is_the_sign_of_each_low_frequency_against_the_median():
    grey = np.random.default_rng(5).integers(0, 256, (6, 32, 32), dtype=np.uint8)
    for square, value in zip(grey.astype(float), perceptual_hash(grey).tolist(), strict=True):
        waves = [[np.cos(np.pi * k * (2 * n + 1) / 64) for n in range(32)] for k in range(8)]
        low = [sum(v[y] * h[x] * square[y, x] for y in range(32) for x in range(32)) for v in waves for h in waves]
        assert f"{value:064b}" == "".join("1" if number > np.median(low) else "0" for number in low)


@pytest.mark.parametrize("guise", GUISES)
def test_every_guise_has_a_near_hash_and_agrees_in_its_pixels(guise):
    for seed in range(12):
        original = scene(seed)
        other = GUISES[guise](original)
        one, two = perceptual_hash(np.stack([grey_square(original), grey_square(other)])).tolist()
        assert (one ^ two).bit_count() <= near.DISTANCE
        assert same_picture(original, other) is not None
        assert same_picture(other, original) is not None


def alike(one, other):
    thumbs = thumbnails(np.stack([grey_square(one), grey_square(other)]))
    return float(likeness(explained_by(thumbs[:1])[0], thumbs[1:], spreads(thumbs[1:]))[0])


@pytest.mark.parametrize("guise", GUISES)
def test_every_guise_looks_alike_in_its_thumbnail(guise):
    for seed in range(12):
        original = scene(seed)
        other = GUISES[guise](original)
        ways = alike(original, other), alike(other, original)
        assert min(ways) >= near.NEARLY_ALIKE
        assert max(ways) >= near.ALIKE


def test_other_scenes_do_not_look_alike_in_their_thumbnails():
    assert max(alike(scene(a), scene(b)) for a in range(8) for b in range(8) if a != b) < near.NEARLY_ALIKE


def test_a_thumbnail_is_the_mean_of_four_pixels_smoothed_twice():
    grey = np.random.default_rng(6).integers(0, 256, (1, 32, 32), dtype=np.uint8)
    (found,) = thumbnails(grey).reshape(-1, 16, 16)
    smooth = grey[0].astype(float)
    for _ in range(2):
        wide = np.pad(smooth, 1, mode="edge")
        weights = [(v, h, (1, 2, 1)[v] * (1, 2, 1)[h] / 16) for v in range(3) for h in range(3)]
        smooth = np.array([[sum(wide[y + v, x + h] * w for v, h, w in weights) for x in range(32)] for y in range(32)])
    for y in range(16):
        for x in range(16):
            assert abs(found[y, x] - smooth[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()) <= 0.501


def test_a_thumbnail_explains_itself_darker_and_flatter_and_nothing_of_what_is_orthogonal():
    y, x = np.mgrid[0:16, 0:16] + 0.5
    one, other = np.cos(np.pi * x / 8), np.cos(np.pi * y / 8) * np.cos(np.pi * x / 2)
    thumbs = np.rint(np.stack([128 + 100 * one, 90 + 20 * one, 128 + 100 * other])).astype(np.uint8).reshape(3, 256)
    scores = likeness(explained_by(thumbs[:1])[0], thumbs, spreads(thumbs))
    assert scores.tolist() == pytest.approx([1, 1, 0], abs=0.01)


@pytest.mark.parametrize("distance", [0, 3, 6, 10])
def test_pairs_equal_those_of_comparing_all(distance, monkeypatch):
    monkeypatch.setattr(hamming, "ROWS", 7)  # pieces that do not come out even
    monkeypatch.setattr(hamming, "MOST_COMPARED", 50)
    random = np.random.default_rng(distance)
    left = random.integers(0, 2**64, 60, dtype=np.uint64)
    planted = left[random.integers(0, 60, 200)].copy()
    for row, bits in enumerate(random.integers(0, 14, 200)):
        for bit in random.choice(64, bits, replace=False):
            planted[row] ^= np.uint64(1) << np.uint64(bit)
    right = np.unique(np.concatenate([planted, random.integers(0, 2**64, 100, dtype=np.uint64)]))
    found = [
        (a, b) for i, j in HashIndex(right, distance).pairs(left) for a, b in zip(i.tolist(), j.tolist(), strict=True)
    ]
    pairs = [(a, b) for a in range(60) for b in range(len(right)) if int(left[a] ^ right[b]).bit_count() <= distance]
    assert len(pairs) > 5
    assert sorted(found) == pairs  # each once


def test_hashes_that_agree_in_a_whole_chunk_are_still_all_found():
    right = np.arange(5000, dtype=np.uint64)  # 48 bits the same in all of them
    (found,) = HashIndex(right, 2).pairs(np.array([0], np.uint64))
    assert sorted(found[1].tolist()) == [number for number in range(5000) if number.bit_count() <= 2]


def test_no_hashes_make_no_pairs():
    none, one = np.zeros(0, np.uint64), np.zeros(1, np.uint64)
    assert [*HashIndex(one, 10).pairs(none), *HashIndex(none, 10).pairs(one)] == []
