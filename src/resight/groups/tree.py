"""A folder for each group, with links to its crops, to look through with any viewer of images."""

import contextlib
import filecmp
import json
import os
import shutil
from pathlib import Path

from resight.artifacts import write_text
from resight.errors import ConfigError, DataError
from resight.groups.links import NO_GROUP

LIST = ".resight-groups.json"
"""Names what in the folder is ours: what is not in it is never touched."""

ALONE = "alone"

Wanted = dict[str, Path]
"""Place below the folder → the file that it shows."""


def check_tree(tree: Path) -> None:
    """Refuse a folder that holds something else than an earlier tree.

    Raises:
        ConfigError: as said.
    """
    if tree.exists() and not tree.is_dir():
        raise ConfigError(f"--tree must be a folder, and {tree} is a file; give another")
    if tree.is_dir() and any(tree.iterdir()) and not (tree / LIST).is_file():
        raise ConfigError(f"--tree must be a new or empty folder, or one that an earlier grouping filled, got {tree}")


def wanted_links(paths: list[Path], ids: list[str], group: list[int]) -> Wanted:
    """Give a place below the tree to each crop: `group-000012/name.jpg`, `alone/name.jpg` for one that is alone.

    Of several crops of one name in a group, all but the first bear the beginning of their digest, too.
    """
    wanted: Wanted = {}
    for path, digest, number in zip(paths, ids, group, strict=True):
        folder = ALONE if number == NO_GROUP else f"group-{number:06d}"
        place = f"{folder}/{path.name}"
        if place in wanted:
            place = f"{folder}/{path.stem}-{digest[:12]}{path.suffix}"
        count = 1
        while place in wanted:
            count += 1
            place = f"{folder}/{path.stem}-{digest[:12]}-{count}{path.suffix}"
        wanted[place] = path
    return wanted


def write_tree(tree: Path, wanted: Wanted) -> str:
    """Make the tree hold `wanted`, and of its own earlier files nothing else; gives what was made, in words.

    Symbolic links; where the disk knows none hard links; where it knows these not either, or the crop lies on another
    disk, copies.

    Raises:
        ConfigError: something that is not of an earlier tree stands in the way.
        DataError: it cannot be written.
    """
    check_tree(tree)
    try:
        tree.mkdir(parents=True, exist_ok=True)
        own = _own(tree)
        there = {place for place in own | wanted.keys() if os.path.lexists(tree / place)}
        for place in sorted(there):
            if not (place in own and _is_ours(tree / place, own[place])):
                raise ConfigError(
                    f"{tree / place} is not as an earlier grouping made it, and would be lost; move it away or give "
                    "another --tree"
                )
        for place in sorted(there):
            (tree / place).unlink()
            with contextlib.suppress(OSError):  # it holds something else
                (tree / place).parent.rmdir()
        # Named before they are there, so that a run that is stopped leaves nothing that the next takes for another's.
        write_text(tree / LIST, json.dumps({place: str(path) for place, path in wanted.items()}, indent=0) + "\n")
        kinds = {_link(tree / place, path) for place, path in wanted.items()}
    except OSError as error:
        raise DataError(f"{tree} could not be written ({error}); give another --tree") from error
    return " and ".join(sorted(kinds)) or "links"


def _own(tree: Path) -> Wanted:
    """Read what an earlier grouping put here; a list that was meddled with must not lead out of the tree."""
    if not (tree / LIST).is_file():
        return {}
    try:
        content = json.loads((tree / LIST).read_text(encoding="utf-8"))
        places = {place: Path(path) for place, path in content.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{tree / LIST} cannot be read, so what is ours there is not known; give another --tree"
        ) from error
    return {place: path for place, path in places.items() if len(Path(place).parts) == 2 and ".." not in place}


def _is_ours(link: Path, path: Path) -> bool:
    """Say whether what stands at `link` still is the link to `path`, or the copy, that was made there."""
    if link.is_symlink():
        return link.readlink() == path
    return link.is_file() and path.is_file() and filecmp.cmp(link, path, shallow=False)


def _link(link: Path, path: Path) -> str:
    """Make a link of the best kind that there is; gives the kind."""
    link.parent.mkdir(exist_ok=True)
    for kind, make in (("symbolic links", os.symlink), ("hard links", os.link)):
        try:
            make(path, link)
        except (OSError, NotImplementedError):
            continue
        return kind
    shutil.copyfile(path, link)
    return "copies"
