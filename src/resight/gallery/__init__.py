"""A store of embeddings that can be searched: a folder on disk, or a collection of a Milvus server or cluster."""

from resight.gallery.entries import Added, Entry, Hit, Where
from resight.gallery.store import Gallery

__all__ = ["Added", "Entry", "Gallery", "Hit", "Where"]
