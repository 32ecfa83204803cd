"""The store behind a gallery: Milvus' embedded engine on a folder of this machine, or a server or cluster.

Both are spoken to by one client. What the embedded engine leaves to its user is done here: a batch is on the disk
before it counts as added, a store is made whole or not at all, and after a failed write nothing more is written, as
what came after it would be lost when the store is opened again.
"""

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from resight.checkpoint import sync
from resight.errors import GalleryError

COLLECTION = "resight"
"""Name of a gallery's collection, where its address names no other."""

TOKEN = "RESIGHT_GALLERY_TOKEN"
"""The environment variable with a server's token, or "user:password"."""

CONNECT_SECONDS = 5.0

LOCAL = {"grpc.enable_http_proxy": 0, "grpc.keepalive_time_ms": 2**31 - 1}
"""How the embedded engine is spoken to: a proxy named in the environment is no way to this machine, and what is sent to
keep a connection alive it takes for an attack."""

SPARE_BYTES = 64 * 1024 * 1024
"""Free disk that must be left beside a batch: the engine writes what it holds in memory in one go."""

INSTALL = "a gallery needs pymilvus and milvus-lite; install them with: pip install 'resight[gallery]'"


class NoGalleryError(GalleryError):
    """There is no gallery where one was looked for."""


class GalleryThereError(GalleryError):
    """There is something already where a gallery was to be made."""


class Engine:
    """An open store: its client, and the name of the gallery's collection.

    `folder`: where an embedded store lies; None for a server. `where`: its name in messages.
    """

    def __init__(self, where: str, client: Any, collection: str, folder: Path | None = None, stop: Any = None) -> None:
        self.where, self.client, self.collection, self.folder = where, client, collection, folder
        self.failed: str | None = None
        self._stop: Callable[[bool], None] | None = stop

    def close(self) -> None:
        """Give the store back; what was added is there whether or not this is called."""
        if self._stop is not None:
            stop, self._stop = self._stop, None
            stop(self.failed is None)

    def abandon(self) -> None:
        """Give the store back and write nothing more."""
        self.failed = self.failed or "it was given up"
        self.close()

    @contextmanager
    def writing(self, size: int = 0) -> Iterator[None]:
        """Write up to `size` bytes; on the disk afterwards, where the store is on one of this machine.

        Raises:
            GalleryError: it cannot be written, or an earlier write failed.
        """
        if self.failed:
            raise GalleryError(
                f"{self.where} takes nothing more since a write failed ({self.failed}); what was added before is "
                "safe: start again"
            )
        self._check_room(size)
        try:
            with self.said_plainly():
                yield
            if self.folder is not None:
                sync_files(self.folder)
        except (GalleryError, OSError) as error:
            if self.folder is not None:
                self.failed = str(error)
            if isinstance(error, GalleryError):
                raise
            raise GalleryError(f"{self.where} cannot be written ({error}); what was added before is safe") from error

    @contextmanager
    def said_plainly(self) -> Iterator[None]:
        """Turn what the client raises into one sentence."""
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except (MilvusException, grpc.RpcError) as error:
            raise GalleryError(f"{self.where} could not do this: {reason(error)}") from error

    def _check_room(self, size: int) -> None:
        if self.folder is None:
            return
        free = shutil.disk_usage(self.folder).free
        if free < 2 * size + SPARE_BYTES:
            raise GalleryError(
                f"{self.where} needs {2 * size + SPARE_BYTES:,} free bytes on its disk for the next images, which has "
                f"{free:,}; what was added before is safe: make room and start again"
            )


def reason(error: Exception) -> str:
    """Give what an error of the client says, in one line."""
    text = str(getattr(error, "message", "") or error).strip().split("\n")[0].rstrip(".")
    if "No space left" in text or "File too large" in text:
        return f"the disk is full ({text}); what was added before is safe: make room and start again"
    return text[:500]


def is_address(uri: str | Path) -> bool:
    """Tell whether it is a server's address, no folder."""
    return re.match(r"(https?|tcp|unix)://", str(uri)) is not None


def open_engine(uri: str | Path, token: str | None = None) -> Engine:
    """Open the store at a folder, or at http(s)://host:port[/database][#collection].

    Raises:
        GalleryError: nothing is there, another process holds it, the server does not answer, or a package is missing.
    """
    if is_address(uri):
        return _server(str(uri), token)
    path = Path(uri)
    recover_swap(path)
    if not path.exists():
        raise NoGalleryError(f"there is no gallery at {path}; make one with resight index")
    if not (path / "collections").is_dir():
        raise GalleryError(f"{path} is no gallery of resight; make one with resight index")
    return open_folder(path)


def open_folder(path: Path) -> Engine:
    """Open the embedded engine on a folder, which is made where there is none.

    Raises:
        GalleryError: another process holds it, it is damaged or cannot be written, or a package is missing.
    """
    client_class = _client_class()
    try:
        from milvus_lite.adapter.grpc.server import start_server_in_thread
        from milvus_lite.exceptions import DataDirLockedError
    except ImportError as error:
        raise GalleryError(INSTALL) from error
    path = path.absolute()
    try:
        server, database, port = start_server_in_thread(str(path))
    except DataDirLockedError as error:
        raise GalleryError(
            f"{path} is in use, by another process or by this one; wait until that is done, or close it there "
            "(docs/gallery.md says how several can use a gallery)"
        ) from error
    except OSError as error:
        raise GalleryError(f"{path} cannot be opened ({error.strerror or error})") from error
    address = f"http://127.0.0.1:{port}"
    client = client_class(address, timeout=30.0, grpc_options=LOCAL, dedicated=True)

    def stop(whole: bool) -> None:
        client.close()
        server.stop(grace=1).wait()
        if whole:  # else what its memory lost, and the log still has, would be deleted with the log
            database.close()

    return Engine(str(path), client, COLLECTION, path, stop)


def _server(uri: str, token: str | None) -> Engine:
    parts = urlsplit(uri)
    client_class = _client_class()
    where = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # no password in messages
    try:
        client = client_class(
            parts._replace(fragment="").geturl(),
            token=token or os.environ.get(TOKEN, ""),
            timeout=CONNECT_SECONDS,
            dedicated=True,
        )
    except Exception as error:  # the client raises its own, gRPC's and plain ones
        raise GalleryError(
            f"no Milvus server answers at {where} within {CONNECT_SECONDS:g} seconds ({reason(error)}); check the "
            f"address, that the server runs, and the token in {TOKEN} where it wants one"
        ) from error
    return Engine(where, client, parts.fragment or COLLECTION, stop=lambda whole: client.close())


def _client_class() -> Any:
    try:
        from pymilvus import MilvusClient
    except ImportError as error:
        raise GalleryError(INSTALL) from error
    # Both write tracebacks to the terminal of errors that are raised besides, and are said there in one sentence.
    for name in ("pymilvus", "milvus_lite"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return MilvusClient


def sync_files(folder: Path) -> None:
    """Wait until all files below a folder that are not yet there are on the disk."""
    for above, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # the engine merges files in the background
                sync(Path(above) / name)
        with suppress(FileNotFoundError):
            sync(Path(above))


def beside(path: Path, what: str) -> Path:
    """Name a hidden folder beside a gallery."""
    return path.with_name(f".{path.name}.{what}")


def swap(path: Path, new: Path) -> None:
    """Put the folder `new` in the place of `path`; at any moment one of both is there, or `recover_swap` brings it."""
    old = beside(path, "old")
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    sync(path.parent)


def recover_swap(path: Path) -> None:
    """Undo a swap that was cut short."""
    old = beside(path, "old")
    if not path.exists() and old.is_dir():
        old.rename(path)
