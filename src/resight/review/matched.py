"""Answers, which name pictures by their paths, matched to crops: by name, or by what the file holds."""

from dataclasses import dataclass
from pathlib import Path

from resight.data.decode import path_and_box
from resight.data.digests import content_digests
from resight.errors import DataError
from resight.groups.rows import Crops
from resight.review.contradictions import ContradictionError, Ends, contradiction
from resight.review.questions import Known, named, whole_name
from resight.review.store import Pair


@dataclass(frozen=True)
class Matched:
    """Answers about crops.

    Attributes:
        ends: the two crops of each answer, by position; the last of several answers to one pair.
        answers: as they were given, in that order.
        answered: how many answers there are, skipped pairs left out.
        missing: how many of them name a picture that no crop shows.
    """

    ends: tuple[Ends, ...]
    answers: tuple[tuple[Pair, bool], ...]
    answered: int
    missing: int

    @classmethod
    def of(cls, crops: Crops, known: Known, cache_dir: Path) -> "Matched":
        """Match answers to crops; a path that none has is looked up by the content of its file.

        A folder may be known under several paths, by a link or after it was mounted elsewhere.
        """
        said = [(pair, same) for pair, same in known.items() if same is not None]
        place = _places(crops, {name for pair, _ in said for name in pair}, cache_dir)
        found: dict[Ends, tuple[Pair, bool]] = {}
        missing = 0
        for (first, second), same in said:
            if first not in place or second not in place:
                missing += 1
            elif place[first] != place[second]:
                one, other = sorted((place[first], place[second]))
                found[one, other] = ((first, second), same)
        return cls(tuple(found), tuple(found.values()), len(said), missing)

    @property
    def same(self) -> list[Ends]:
        """Pairs of crops that are said to be the same."""
        return [ends for ends, (_, same) in zip(self.ends, self.answers, strict=True) if same]

    @property
    def different(self) -> list[Ends]:
        """Pairs of crops that are said to be different."""
        return [ends for ends, (_, same) in zip(self.ends, self.answers, strict=True) if not same]

    def said(self) -> list[str]:
        """Say what was not used."""
        if not self.missing:
            return []
        return [
            f"{self.missing:,} of {self.answered:,} answers name images that are not grouped here, and were not used."
        ]

    def refuse_contradictions(self, n: int) -> None:
        """Do nothing where all answers about these `n` crops can be right.

        Raises:
            ContradictionError: they cannot.
        """
        found = contradiction(n, self.same, self.different)
        if found is None:
            return
        given = dict(zip(self.ends, self.answers, strict=True))
        ends = [self.different[found[0]], *(self.same[at] for at in found[1])]
        raise ContradictionError([given[pair] for pair in ends])


def _places(crops: Crops, names: set[str], cache_dir: Path) -> dict[str, int]:
    numbered = list(zip(crops.rows, crops.crop.tolist(), strict=True))
    place = {whole_name(row.sample.picture): at for row, at in numbered}
    of_content = {row.id: at for row, at in numbered}
    for name in names - place.keys():
        picture = named(name)
        if not path_and_box(picture)[0].is_file():
            continue
        try:
            digest = content_digests([picture], cache_dir)[0]
        except DataError:  # it cannot be read, so that it matches nothing
            continue
        if digest in of_content:
            place[name] = of_content[digest]
    return place
