"""Prefetching: the same batches in the same order, errors in their place, no thread left over."""

import threading

import numpy as np
import pytest
import torch

from resight.data.loading import prefetched
from resight.data.pixels import PixelCache
from resight.errors import ConfigError

CPU = torch.device("cpu")


@pytest.fixture
def pixels():
    # Row i is filled with i.
    return PixelCache(np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 2, 4, 3)).copy())


def running():
    return [thread for thread in threading.enumerate() if thread.name == "resight-prefetch"]


@pytest.mark.parametrize("depth", [1, 2, 50])
def test_batches_come_in_order_with_their_own_images(pixels, depth):
    batches = [torch.randint(20, (n,)) for n in (5, 1, 7, 7, 3, 2)]
    got = list(prefetched(pixels, batches, CPU, depth=depth))
    assert len(got) == 6
    for (index, images), wanted in zip(got, batches, strict=True):
        assert torch.equal(index, wanted)
        assert torch.equal(images, pixels.batch(wanted))
        assert images.is_contiguous(memory_format=torch.channels_last)
    assert running() == []


def test_no_batches_are_no_batches(pixels):
    assert list(prefetched(pixels, [], CPU)) == []


def test_no_more_than_depth_batches_are_fetched_ahead(pixels):
    drawn = []

    def batches():
        for i in range(10):
            drawn.append(i)
            yield torch.tensor([i])

    stream = prefetched(pixels, batches(), CPU, depth=2)
    next(stream)
    next(stream)
    # Two taken, two waiting, and one index drawn that waits for room.
    assert len(drawn) <= 5
    assert [int(index) for index, _ in stream] == list(range(2, 10))


def test_an_error_is_raised_in_its_place(pixels):
    stream = prefetched(pixels, [torch.tensor([1]), torch.tensor([99]), torch.tensor([2])], CPU)
    assert int(next(stream)[0]) == 1
    with pytest.raises(IndexError):
        next(stream)
    assert running() == []


def test_an_error_of_the_sampler_is_raised_too(pixels):
    def batches():
        yield torch.tensor([1])
        raise RuntimeError("no more luck")

    stream = prefetched(pixels, batches(), CPU)
    next(stream)
    with pytest.raises(RuntimeError, match="no more luck"):
        next(stream)
    assert running() == []


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_the_thread_ends_when_the_reader_stops_early(pixels, taken):
    def forever():
        while True:
            yield torch.tensor([0, 1])

    stream = prefetched(pixels, forever(), CPU)
    for _ in range(taken):
        next(stream)
    stream.close()
    assert running() == []


def test_the_thread_ends_when_the_loop_is_left(pixels):
    def leave():
        for _ in prefetched(pixels, (torch.tensor([i % 20]) for i in range(1000)), CPU):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    for thread in running():  # the traceback may hold the iterator a moment longer
        thread.join(timeout=60)
    assert running() == []


def test_a_depth_of_nothing_is_refused_at_once(pixels):
    with pytest.raises(ConfigError, match="depth must be at least 1 batch, got 0"):
        prefetched(pixels, [], CPU, depth=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_arrive_on_the_gpu(pixels):
    device = torch.device("cuda")
    for index, images in prefetched(pixels, [torch.arange(i, i + 4) for i in range(8)], device):
        assert index.device.type == images.device.type == "cuda"
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images.cpu(), pixels.batch(index))
