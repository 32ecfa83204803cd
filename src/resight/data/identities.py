"""One folder per identity: `ID/*.jpg`, or `train/ID/*.jpg`, `query/ID/*.jpg` and `gallery/ID/*.jpg`.

`test/ID/*.jpg` stands for query and gallery at once: each image searches for the others. Folders in an identity's
folder belong to it. Nothing tells this layout from other folders of folders, so it is read only where it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from resight.data.decode import is_image
from resight.data.folder import SPLIT_FOLDERS, images_below, passed_over_note
from resight.data.lists import refuse_shared_identities
from resight.data.numbering import is_too_large, number_names, too_large
from resight.errors import DataError
from resight.types import JUNK_PID, Dataset, Sample, Split

FORMAT = "folder-per-identity"
TEST = "test"


@dataclass(frozen=True)
class _Identity:
    """A folder, the pid that its name stands for, and its images."""

    folder: Path
    pid: int
    images: Sequence[Path]


def matches(path: Path) -> bool:
    """Say no: any folder of folders looks like this."""
    del path
    return False


def read(path: Path) -> Dataset:
    """Read each folder as an identity; without folders named train, query, gallery or test, all is training data.

    Identities named by integers keep these, and -1 is junk; where any name is no integer, all are numbered from 0 in
    sorted order. Cameras and times are not known. Identity folders without images are noted.

    Raises:
        DataError: there are no identity folders, a split's folder holds no images, images or folders stand where only
            identities or splits may, two folders of a split stand for one identity, `test` stands beside `query` or
            `gallery`, or an identity is in both train and test.
    """
    if not path.is_dir():
        raise DataError(f"{path} must be a folder of identities to be read as {FORMAT}, and it is none")
    notes: list[str] = []
    splits = _split_folders(path, notes)
    folders = {name: _visible_folders(folder, notes, "identity") for name, folder in splits.items()}
    pids = number_names({f.name.strip() for members in folders.values() for f in members}, junk=True)
    found = {name: _identities(splits[name], members, pids, notes) for name, members in folders.items()}
    if TEST in found:
        found["query"] = found["gallery"] = found.pop(TEST)
    _refuse_shared(found)
    if splits != {"train": path}:
        absent = [name for name in ("train", "query", "gallery") if name not in found]
        notes += [f"there is no {path / name}, so that {name} is empty" for name in absent]
    train, query, gallery = (_split(name, found.get(name, ())) for name in ("train", "query", "gallery"))
    return Dataset(path, FORMAT, train, query, gallery, tuple(notes))


def _split_folders(path: Path, notes: list[str]) -> dict[str, Path]:
    """Give the folder of each split; where there are none, all identities are training data."""
    names = [name for name in SPLIT_FOLDERS if (path / name).is_dir()]
    if not names:
        return {"train": path}
    others = [folder for folder in _visible_folders(path, notes, "split") if folder.name not in names]
    if others:
        raise DataError(
            f"{path} must hold identities, or only folders named {', '.join(SPLIT_FOLDERS)}, but {others[0].name} "
            f"stands beside {names[0]}; move it, or rename {names[0]} if it is an identity"
        )
    if TEST in names and ("query" in names or "gallery" in names):
        raise DataError(f"{path / TEST} stands for query and gallery, which {path} has too; keep it or them")
    return {name: path / name for name in names}


def _visible_folders(path: Path, notes: list[str], kind: str) -> list[Path]:
    """List the folders in `path`, sorted by name; other visible files are noted, images refused."""
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{path} cannot be listed: {error.strerror}") from error
    folders = [entry for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if not entry.is_dir()]
    for file in files:
        if is_image(file):
            raise DataError(
                f"every image must lie in the folder of its {kind} to be read as {FORMAT}, but {file} lies beside "
                "them; move it, or use --format folder for images without identities"
            )
    if files:
        notes.append(passed_over_note(path, len(files)))
    return folders


def _identities(split: Path, folders: Sequence[Path], pids: dict[str, int], notes: list[str]) -> tuple[_Identity, ...]:
    found: dict[int, _Identity] = {}
    empty = []
    for folder in folders:
        pid = pids[folder.name.strip()]
        if is_too_large(pid):
            raise too_large(f"{split} has the identity", folder.name)
        if pid < JUNK_PID:
            raise DataError(f"an identity's number must be 0 or more (or -1 for junk), got {folder}; rename it")
        if pid in found:
            raise DataError(f"{found[pid].folder} and {folder} both stand for identity {pid}; join them")
        images, passed_over = images_below(folder)
        if passed_over:
            notes.append(passed_over_note(folder, passed_over))
        if not images:
            empty.append(folder)
        found[pid] = _Identity(folder, pid, images)
    if len(empty) == len(folders):
        raise DataError(f"{split} must hold a folder with images for each identity, and it holds no images")
    if empty:
        notes.append(f"{len(empty)} of {len(folders)} identity folders in {split} hold no images, such as {empty[0]}")
    return tuple(found.values())


def _refuse_shared(found: dict[str, tuple[_Identity, ...]]) -> None:
    """Name folders, not images, where an identity is in both train and test."""
    placed = {
        name: [(str(i.folder), Sample(i.images[0], i.pid)) for i in identities if i.images]
        for name, identities in found.items()
    }
    refuse_shared_identities(placed.get("train", ()), [*placed.get("query", ()), *placed.get("gallery", ())])


def _split(name: str, identities: Sequence[_Identity]) -> Split:
    return Split(name, tuple(Sample(image, i.pid) for i in identities for image in i.images))
