"""An upload, a vector or an entry → a query, and what was found for it."""

import threading
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from resight.app.uploads import Upload, read_upload
from resight.backends import Embedder
from resight.data.decode import resized
from resight.data.decoded import as_batch
from resight.errors import DataError
from resight.gallery import Entry, Gallery
from resight.gallery.queries import Queries

UPLOADED = "uploaded image"


class Asking:
    """Makes queries with a model. `size`: height and width of its images. Safe from several threads."""

    def __init__(self, embedder: Embedder, size: tuple[int, int]) -> None:
        self.embedder, self.size = embedder, size
        self._one = threading.Lock()

    def embed(self, data: bytes) -> tuple[Upload, Float[Tensor, "1 d"]]:
        """Decode and embed an uploaded image.

        Raises:
            RefusedUpload: it cannot be.
        """
        with self._one:  # one at a time, which bounds the memory, too
            upload = read_upload(data)
            return upload, self.embedder(as_batch([resized(upload.pixels, *self.size)]))

    def image(self, data: bytes) -> tuple[Queries, Upload]:
        """Make a query of an uploaded image.

        Raises:
            RefusedUpload: it is none.
        """
        upload, rows = self.embed(data)
        return Queries((UPLOADED,), rows, (None,), (upload.digest,), (None,)), upload

    def vector(self, numbers: Sequence[float]) -> Queries:
        """Make a query of an embedding, of unit length or not.

        Raises:
            DataError: it is no embedding of this model.
        """
        vector, dim = torch.tensor(numbers, dtype=torch.float64), self.embedder.dim
        length = vector.norm()
        if len(vector) != dim or not bool(length.isfinite()) or float(length) == 0:
            raise DataError(f"vector must be {dim} finite numbers, not all 0, got {len(vector)} numbers")
        return Queries(("vector",), (vector / length).float()[None], (None,), (None,), (None,))


def entry_query(gallery: Gallery, id: str) -> tuple[Queries, Entry]:
    """Make a query of an entry.

    Raises:
        GalleryError: there is no such entry, or the gallery cannot be asked.
    """
    entry, vectors = gallery.get([id])[0], gallery.vectors([id])
    source = () if entry.source is None else (entry.source,)
    return Queries((entry.path.name,), vectors, (entry.picture,), (id,), (entry.camid,), sources=source), entry
