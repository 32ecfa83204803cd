"""The collection in Milvus that a gallery is."""

import os
import shutil
from pathlib import Path

from resight.data.manifest_table import BOX_COLUMNS
from resight.errors import GalleryError
from resight.gallery.engine import (
    COLLECTION,
    Engine,
    GalleryThereError,
    NoGalleryError,
    beside,
    open_folder,
    recover_swap,
)
from resight.gallery.entries import LONGEST_ID, LONGEST_PATH, LONGEST_WORD
from resight.gallery.header import Header, read_header

PROPERTY = "resight.gallery"
"""The collection's property with what a gallery says of itself; it is the description, too, for people to read."""


def create_folder(path: Path, header: Header) -> None:
    """Make an empty gallery in a folder, under another name first: a half-made one cannot be opened.

    Raises:
        GalleryError: something is there already, or it cannot be made.
    """
    recover_swap(path)
    if path.exists():
        raise GalleryThereError(f"{path} is there already; open it, or give another place")
    new = beside(path, f"new-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = open_folder(new)
        create_collection(engine, header)
        engine.close()
        new.rename(path)
    except OSError as error:
        shutil.rmtree(new, ignore_errors=True)
        if isinstance(error, GalleryError):
            raise
        raise GalleryError(f"{path} cannot be made ({error.strerror or error}); give another place") from error


def create_collection(engine: Engine, header: Header) -> None:
    """Make the collection of a gallery, which says from the first moment on what it is.

    Raises:
        GalleryError: there is one of that name, or the engine refuses it.
    """
    from pymilvus import DataType, MilvusClient

    with engine.said_plainly():
        if engine.client.has_collection(engine.collection):
            raise GalleryThereError(f"{engine.where} is there already; open it, or name another behind a #")
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=header.text())
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=LONGEST_ID)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=header.dim)
    schema.add_field("path", DataType.VARCHAR, max_length=LONGEST_PATH)
    for name in (*BOX_COLUMNS, "camid", "tracklet"):
        schema.add_field(name, DataType.INT64, nullable=True)
    schema.add_field("timestamp", DataType.DOUBLE, nullable=True)
    for name in ("type", "source"):
        schema.add_field(name, DataType.VARCHAR, max_length=4 * LONGEST_WORD, nullable=True)
    index = None
    if engine.folder is None:  # the embedded engine searches without one, and would store the vectors twice
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
    with engine.said_plainly():
        engine.client.create_collection(
            engine.collection,
            schema=schema,
            index_params=index,
            consistency_level="Strong",
            properties={PROPERTY: header.text()},
        )


def stored_header(engine: Engine) -> Header:
    """Read what a gallery says of itself.

    Raises:
        GalleryError: there is none, or the collection is something else.
    """
    with engine.said_plainly():
        there = engine.client.has_collection(engine.collection)
        said = engine.client.describe_collection(engine.collection) if there else {}
    if not there and engine.folder is None:
        name = "" if engine.collection == COLLECTION else f" named {engine.collection}"
        raise NoGalleryError(f"there is no gallery{name} at {engine.where}; make one with resight index")
    text = (said.get("properties") or {}).get(PROPERTY) or said.get("description")
    return read_header(text, engine.where)
