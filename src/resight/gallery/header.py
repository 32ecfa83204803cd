"""What a gallery says of itself; it is stored with the collection, as its description, from the moment it exists."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from resight.errors import GalleryError

FORMAT = 1

MARK = "resight gallery"
"""By which a collection, or a file, is known to be ours."""


@dataclass(frozen=True)
class Header:
    """`fingerprint`: of the model that its embeddings are of. `dim`: their length. `about`: what else is worth saying.

    `format`: of the gallery; raised when an older version could not read it.
    """

    fingerprint: str
    dim: int
    about: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def text(self) -> str:
        """Write it as it is stored."""
        return json.dumps({"kind": MARK, **asdict(self)}, ensure_ascii=False)


def read_header(text: str | None, where: str) -> Header:
    """Read what `Header.text` wrote.

    Raises:
        GalleryError: it is of no gallery, or of one that a newer version wrote.
    """
    try:
        content = json.loads(text or "")
        if not isinstance(content, dict) or content.pop("kind") != MARK:
            raise ValueError("it is something else")
        if content["format"] > FORMAT:
            raise GalleryError(
                f"{where} has format {content['format']}, which a newer version of resight made; this one reads up to "
                f"{FORMAT}: update resight"
            )
        return Header(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GalleryError(f"{where} is no gallery of resight; make one with resight index") from error


def check_model(header: Header, fingerprint: str, where: str) -> None:
    """Refuse another model's embeddings: scores between two models mean nothing.

    Raises:
        GalleryError: the fingerprints differ.
    """
    if header.fingerprint != fingerprint:
        raise GalleryError(
            f"{where} holds embeddings of another model ({header.fingerprint[:8]}…) than the one given "
            f"({fingerprint[:8]}…); give that model, or index the images with this one into another gallery"
        )
