"""One way to spread work on files over a few threads."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 256
"""Items handed to the threads at a time, unless told: what bounds the results that wait for a slow consumer."""

THREADS = os.cpu_count() or 1


def mapped(function: Callable[[Item], Result], items: Sequence[Item], chunk: int = CHUNK) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, computed by as many threads as there are processors.

    Reading, hashing and decoding let go of the interpreter lock, so that threads are enough.
    """
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        for start in range(0, len(items), chunk):
            yield from pool.map(function, items[start : start + chunk])
