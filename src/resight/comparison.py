"""What a batch is compared with in an epoch: the images' own rows in the memory, or the rows of their clusters."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from resight.clustering import OUTLIER
from resight.mining import Mined
from resight.proxies import Proxies
from resight.sampling import identity_batches

if TYPE_CHECKING:
    from resight.train import Parts


@dataclass
class Comparison:
    """The loss of a batch, and what the batch changes afterwards; `proxies` is None where images are compared with."""

    parts: "Parts"
    mined: Mined | None
    proxies: Proxies | None
    scores: Float[Tensor, "b n"] | None = None

    @classmethod
    def of(cls, parts: "Parts", mined: Mined | None) -> "Comparison":
        """Make what the recipe's `memory.rows` asks for; before there are labels, images are compared with."""
        settings = parts.recipe.memory
        if settings.rows == "instance" or mined is None or mined.pseudo_pid is None:
            return cls(parts, mined, None)
        camids = parts.camids if settings.rows == "camera" else None
        outliers = kept_outliers(parts, mined.pseudo_pid)
        return cls(
            parts, mined, Proxies.of(parts.memory, mined.pseudo_pid, camids, outliers=outliers, weights=mined.weights)
        )

    def loss(
        self, index: Int[Tensor, " b"], embeddings: Float[Tensor, "b d"], positives: Bool[Tensor, "b n"]
    ) -> Float[Tensor, ""]:
        """Loss of the images at `index`."""
        loss: Any = self.parts.loss
        if self.proxies is None or self.mined is None:
            scores = self.parts.memory.scores(embeddings)
            self.scores = scores.detach()
            return loss(scores, positives)
        more: dict[str, Tensor] = {}
        if self.mined.weights is not None and getattr(loss, "reads_weights", False):
            more["weights"] = self.mined.weights[index.cpu()].to(embeddings.device)
        share = self.parts.recipe.memory.instance_share
        alone = share * loss(self.parts.memory.scores(embeddings), positives, **more) if share else 0.0
        if getattr(loss, "reads_cameras", False):
            more["same_camera"] = self.proxies.same_camera(index)
        return (1 - share) * loss(self.proxies.scores(embeddings), self.proxies.positives(index), **more) + alone

    def update(self, index: Int[Tensor, " b"], embeddings: Float[Tensor, "b d"], momentum: float) -> None:
        """Let the batch change the memory, and the rows of its clusters."""
        settings = self.parts.recipe.memory
        self.parts.memory.update(index, embeddings, momentum, scores=self.scores)
        self.scores = None
        if self.proxies is not None:
            self.proxies.update(index, embeddings, settings.proxy_momentum, settings.proxy_update)


def kept_outliers(parts: "Parts", pseudo_pid: Int[Tensor, " n"]) -> str:
    """Say what becomes of outliers; where all images are, they are kept, or there would be nothing to train on."""
    return "own" if bool((pseudo_pid == OUTLIER).all()) else parts.recipe.memory.outliers


def batches_of(parts: "Parts", mined: Mined | None, generator: torch.Generator) -> list[Int[Tensor, " b"]]:
    """Draw an epoch's batches: images in random order, or several of each cluster together."""
    settings = parts.recipe.train
    everything = torch.arange(len(parts.pixels))
    if mined is None or mined.pseudo_pid is None:
        return list(epoch_batches(everything, settings.batch_size, generator))
    outliers = parts.recipe.memory.rows == "instance" or kept_outliers(parts, mined.pseudo_pid) == "own"
    if not settings.per_identity:
        shown = everything if outliers else (mined.pseudo_pid != OUTLIER).nonzero().squeeze(1)
        return list(epoch_batches(shown, settings.batch_size, generator))
    sizes = settings.batch_size, settings.per_identity
    return identity_batches(mined.pseudo_pid, parts.camids.cpu(), *sizes, generator, outliers=outliers)


def epoch_batches(
    images: Int[Tensor, " m"], batch_size: int, generator: torch.Generator
) -> Iterator[Int[Tensor, " b"]]:
    """Give every image once, in random order; a last batch of one image, which BatchNorm cannot take, is left out."""
    for batch in images[torch.randperm(len(images), generator=generator)].split(batch_size):
        if len(batch) > 1:
            yield batch


@torch.no_grad()
def mix_weights(average: nn.Module, model: nn.Module, *, keep: float) -> None:
    """Move the averaged model towards the trained one: weights by 1 − `keep`, BatchNorm's statistics all the way.

    Paper: Tarvainen, Valpola, NeurIPS 2017 (mean teacher).
    """
    for old, new in zip(average.parameters(), model.parameters(), strict=True):
        old.lerp_(new.detach(), 1 - keep)
    for kept, current in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(current)
