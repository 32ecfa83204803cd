"""The best model so far of a run that keeps one of its epochs, by some score, and not the last one: on the disk."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resight.artifacts import save_model
from resight.backbones import ReidModel
from resight.checkpoint import read_header, read_tensors, write_tensors
from resight.config import Recipe
from resight.errors import CheckpointError


class BestSoFar:
    """Keeps the model with the highest score; among equals the earliest stays.

    An epoch must be considered before its checkpoint is written: a run killed between the two then repeats the epoch,
    and none is passed over.

    Args:
        path: the file of the best model so far.
        field: of the file's header, where its epoch and scores stand.
        value: the number that is compared, of the scores.
        first_epoch: of this part of the run; 1: what an earlier run left is deleted.
        expected: whether an epoch before `first_epoch` has been considered, so that the file must be there.

    Raises:
        CheckpointError: it is not.
    """

    def __init__(
        self,
        path: Path,
        field: str,
        recipe: Recipe,
        *,
        value: Callable[[Mapping[str, Any]], float],
        first_epoch: int,
        expected: bool,
    ) -> None:
        self.path, self.field, self.recipe, self.value = path, field, recipe, value
        self.best = -float("inf")
        path.with_name(path.name + ".tmp").unlink(missing_ok=True)
        if first_epoch == 1:
            path.unlink(missing_ok=True)
        if path.exists():
            self.best = value(read_header(path)[field])
        elif expected:
            raise CheckpointError(
                f"{path} is missing: it holds the best model of the epochs before {first_epoch}; put it back, or "
                "train from the start with --overwrite"
            )

    def consider(self, epoch: int, scores: Mapping[str, Any], model: ReidModel, precision: str) -> None:
        """Keep the model of `epoch` if its score is higher than that of all before."""
        if self.value(scores) > self.best:
            save_model(self.path, model, self.recipe, precision, **{self.field: {"epoch": epoch, **scores}})
            self.best = self.value(scores)

    @property
    def any(self) -> bool:
        """Whether there is one: some epoch has been considered."""
        return self.path.exists()

    @property
    def epoch(self) -> int:
        """Which epoch's model it is."""
        return int(read_header(self.path)[self.field]["epoch"])

    def restore(self, model: ReidModel) -> None:
        """Put the best model's weights into `model`."""
        model.load_state_dict(read_tensors(self.path)[0])

    def keep(self, path: Path) -> None:
        """Write the best model as `path`; the file it comes from stays, for a run that is resumed."""
        tensors, header = read_tensors(self.path)
        write_tensors(path, tensors, header)
