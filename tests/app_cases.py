"""A gallery and an app over drawn people, small enough for tests."""

import io
from pathlib import Path

from PIL import Image


def fill_gallery(run: Path, data: Path, folder: Path) -> Path:
    """Index all images of a data set."""
    from resight.gallery.index import IndexRequest, run_index

    gallery = folder / "crops.db"
    request = IndexRequest(run, data, str(gallery), type="person", source="yard", cache_dir=folder / "cache")
    run_index(request, lambda text: None, lambda title: lambda done, total: None)
    return gallery


def png(width: int = 8, height: int = 8, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    """A PNG of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has so many pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
