"""Images that a finished model is asked about: which they are, and their embeddings."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from resight.backbones import ReidModel
from resight.data.digests import default_cache_dir
from resight.embed import embed
from resight.prepare import open_split
from resight.progress import Bar, Say
from resight.tables import chosen_splits
from resight.types import Dataset, Split


def each_once(dataset: Dataset, name: str) -> Split:
    """Lay the splits that --split names together; an image that stands in several counts once."""
    samples = {sample.picture: sample for split in reversed(chosen_splits(dataset, name)) for sample in split}
    return Split(name, tuple(samples.values()))


def embed_split(
    model: ReidModel,
    size: tuple[int, int],
    whole: Split,
    *,
    cache_dir: Path | None,
    skip_broken: bool,
    say: Say,
    bar: Bar,
) -> tuple[Split, Float[Tensor, "n d"]]:
    """Open a split's images at `size` (height, width) and embed them with the test output, on the model's device.

    Broken images are left out, and that is said, where `skip_broken` is given.

    Raises:
        DataError: there are broken images, or no others.
    """
    split, pixels = open_split(
        whole, size, cache_dir or default_cache_dir(), skip_broken=skip_broken, progress=bar("decoding images")
    )
    if len(split) < len(whole):
        say(f"{len(whole) - len(split)} broken images were left out")
    progress, done = bar("embedding images"), 0

    def count(images: int) -> None:
        nonlocal done
        done += images
        progress(done, len(split))

    return split, embed(model, pixels, progress=count).to(next(model.parameters()).device)
