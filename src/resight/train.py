"""The training loop, read from top to bottom. It takes finished parts and builds none; it sees no identities."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from resight.backbones import ReidModel, is_frozen
from resight.comparison import Comparison, batches_of, mix_weights
from resight.config import Recipe, TrainConfig
from resight.constraints import Constraints
from resight.data.camstyle import StyledPixels
from resight.data.loading import prefetched
from resight.data.pixels import PixelCache, PixelSource
from resight.data.transforms import augment, draw_augmentation
from resight.embed import embed_blocks, settle_batchnorm
from resight.errors import ResightError
from resight.memory import FeatureMemory
from resight.miners.self_only import SelfOnly
from resight.mining import Mined, mine_all, mining_progress
from resight.refill import embed_augmented
from resight.runlog import RunLog
from resight.schedules import progress_at
from resight.storage import Rows
from resight.types import UNKNOWN_CAMID, Loss, Miner

LOG_EVERY = 10  # steps

DEAD = 1e-12
"""What a weight is below that no image's embedding depends on."""


@dataclass
class Parts:
    """All that training needs: finished, on one device.

    `parts_at`: miner and loss as they are where a share of the epochs, 0..1, has passed.
    `constraints`: what is known of the identities without labels; mined positives are made to agree with it.
    `styles`: what is shown in place of `pixels`, if anything. `beside`: what stands beside the features when labels are
    mined, each with its weight in the first epoch and in the last. `average`: the running average of the model's
    weights. `mined`: the labels of the last epoch, where they were mined all at once.
    """

    recipe: Recipe
    precision: str
    model: ReidModel
    memory: FeatureMemory
    miner: Miner
    loss: Loss
    parts_at: Callable[[float], tuple[Miner, Loss]]
    optimizer: torch.optim.Optimizer
    pixels: PixelCache
    camids: Int[Tensor, " n"]
    timestamps: Float[Tensor, " n"]
    constraints: Constraints
    device: torch.device
    styles: StyledPixels | None = None
    beside: tuple[tuple[Rows, Sequence[float]], ...] = ()
    average: ReidModel | None = None
    mined: Mined | None = None

    @property
    def standard_camids(self) -> Int[Tensor, " n"]:
        """Cameras to standardise mined features by; all unknown, so all as one, where they are not told apart."""
        return self.camids if self.recipe.miner.by_camera else torch.full_like(self.camids, UNKNOWN_CAMID)

    @property
    def result(self) -> ReidModel:
        """The model that labels are mined with, that is scored and left behind: the averaged one where there is one."""
        return self.model if self.average is None else self.average


@dataclass
class Hooks:
    """What happens around the loop.

    `watch` is shown each batch's positives, `observed` adds to the epoch's record. `after_epoch` says whether to go on.
    """

    log: RunLog
    watch: Callable[[Int[Tensor, " b"], Bool[Tensor, "b n"]], None]
    observed: Callable[[], dict[str, Any]]
    after_epoch: Callable[[int], bool]


def train(parts: Parts, hooks: Hooks, *, first_epoch: int = 1) -> None:
    """Train from `first_epoch` to the recipe's last, or until `hooks.after_epoch`, told of each epoch, says no more."""
    settings = parts.recipe.train
    for epoch in range(first_epoch, settings.epochs + 1):
        torch.manual_seed(derived_seed(settings.seed, epoch, "model"))
        rate = learning_rate(settings, epoch)
        for group in parts.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]

        passed = progress_at(epoch, settings.epochs)
        parts.miner, parts.loss = parts.parts_at(passed)
        began = time.perf_counter()
        if refill_is_due(parts.recipe, epoch):
            refill(parts, epoch)
        refill_seconds = time.perf_counter() - began
        parts.memory.forget()  # rebuilt exactly when next asked for, so a resumed run meets the same numbers
        mines = epoch > settings.warmup_epochs
        miner = parts.miner if mines else SelfOnly()
        mined = None
        if mines and parts.recipe.miner.schedule == "epoch":
            mined = mine_all(parts, mining_progress(hooks.log, epoch), passed=passed)
        mining_seconds = time.perf_counter() - began - refill_seconds

        parts.mined = mined
        record = train_epoch(parts, hooks, epoch, miner, mined)
        for model in {id(m): m for m in (parts.model, parts.result)}.values():
            drop_dead_weights(model)
        if settings.settle_batchnorm and is_used_after(parts.recipe, epoch):
            settle(parts)
        seconds = time.perf_counter() - began
        hooks.log.event(
            "epoch",
            epoch=epoch,
            **record,
            **hooks.observed(),
            **({} if mined is None else mined.record()),
            learning_rate=rate,
            seconds=round(seconds, 3),
            refill_seconds=round(refill_seconds, 3),
            mining_seconds=round(mining_seconds, 3),
            images_per_second=round(len(parts.pixels) / max(seconds, 1e-9), 1),
        )
        if not hooks.after_epoch(epoch):
            break


def train_epoch(parts: Parts, hooks: Hooks, epoch: int, miner: Miner, mined: Mined | None) -> dict[str, float]:
    """Show every image once; labels come from `mined`, or from `miner` batch by batch where there is none."""
    settings, memory = parts.recipe.train, parts.memory
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, epoch, "data"))
    compared = Comparison.of(parts, mined)
    batches = batches_of(parts, mined, generator)
    size = tuple(parts.pixels.pixels.shape[1:3])
    losses = torch.zeros((), device=parts.device)
    count = torch.zeros((), dtype=torch.long, device=parts.device)
    began, seen = time.perf_counter(), 0
    momentum = parts.recipe.memory.momentum_at(epoch, settings.epochs)
    set_train_mode(parts)

    for step, (index, raw) in enumerate(prefetched(shown(parts, epoch), batches, parts.device), start=1):
        params = draw_augmentation(parts.recipe.augment, len(index), size, generator)
        images = augment(raw, params, parts.model.normalisation)
        with torch.no_grad():
            if mined is None:
                positives = parts.constraints.apply(miner(memory, index), index)
            else:
                positives = mined.positives.dense(index)

        with torch.autocast(parts.device.type, torch.bfloat16, enabled=parts.precision == "bfloat16"):
            embeddings = parts.model(images).train.float()
        loss = compared.loss(index, embeddings, positives)

        parts.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parts.optimizer.step()
        compared.update(index, embeddings.detach(), momentum)
        if parts.average is not None:
            mix_weights(parts.average, parts.model, keep=settings.average)

        hooks.watch(index, positives)
        losses += loss.detach() * len(index)
        count += positives.sum()
        seen += len(index)
        if step % LOG_EVERY == 0 or step == len(batches):
            check_finite(losses)
            hooks.log.event(
                "step",
                epoch=epoch,
                step=step,
                steps=len(batches),
                loss=round(float(losses) / seen, 6),
                positives_per_image=round(float(count) / seen, 3),
                images_per_second=round(seen / (time.perf_counter() - began), 1),
                learning_rate=parts.optimizer.param_groups[-1]["lr"],
            )
    return {"loss": round(float(losses) / seen, 6), "positives_per_image": round(float(count) / seen, 3)}


def drop_dead_weights(model: torch.nn.Module) -> None:
    """Set trained weights to zero that are next to it: those of channels that no image needs any more.

    They decay to denormal numbers, below 1.2e-38, with which a CPU computes several times slower, while the output does
    not depend on them (`benchmarks/dead_weights.py`).
    """
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.masked_fill_(weight.abs() < DEAD, 0)


def refill(parts: Parts, epoch: int) -> None:
    """Rewrite the memory with fresh features."""
    settings = parts.recipe.memory
    if settings.refill_as_published:
        parts.memory.refill(published_features(parts, epoch))
        return
    if epoch == 1:  # a neck that has seen no image would not centre the rows as it will in training
        settle(parts)
    parts.memory.refill(fresh_features(parts), damping=settings.damping if epoch > 1 else 0.0)


def refill_is_due(recipe: Recipe, epoch: int) -> bool:
    """Whether the memory is rewritten with fresh features before `epoch` (1-based)."""
    if epoch == 1:
        return recipe.memory.fill_first
    return recipe.memory.refill_every > 0 and (epoch - 1) % recipe.memory.refill_every == 0


def is_used_after(recipe: Recipe, epoch: int) -> bool:
    """Whether the model is run in eval mode after `epoch`: to be scored, to refill the memory, or for good."""
    asked = recipe.trust.every > 0 and epoch % recipe.trust.every == 0
    return epoch == recipe.train.epochs or refill_is_due(recipe, epoch + 1) or evaluation_is_due(recipe, epoch) or asked


def evaluation_is_due(recipe: Recipe, epoch: int) -> bool:
    """Whether the recipe asks for a point on the curves after `epoch`; the first and the last are always drawn."""
    return recipe.evaluate.every > 0 and epoch % recipe.evaluate.every == 0


def settle(parts: Parts) -> None:
    """Measure BatchNorm's statistics on unaugmented images: the neck's alone where the trunk's are frozen."""
    frozen = parts.recipe.train.freeze_batchnorm
    for model in {id(m): m for m in (parts.model, parts.result)}.values():
        settle_batchnorm(model, parts.pixels, precision=parts.precision, neck_only=frozen)


def set_train_mode(parts: Parts) -> None:
    """Put the model in train mode, but for the trunk's BatchNorm where the recipe freezes it or its stage."""
    parts.model.train()
    freeze_batchnorm(parts.model.trunk, all_of_it=parts.recipe.train.freeze_batchnorm)


def freeze_batchnorm(trunk: torch.nn.Module, *, all_of_it: bool = True) -> None:
    """Let BatchNorm use, and not change, its statistics; its scale and shift are trained on.

    `all_of_it`: not only that of frozen stages, whose weights do not train.
    """
    for module in trunk.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and (all_of_it or is_frozen(module)):
            module.eval()


def fresh_features(parts: Parts) -> Iterator[Tensor]:
    """Embed all training images as the memory wants them: after the neck, in eval mode, without augmentation."""
    return embed_blocks(parts.result, parts.pixels, precision=parts.precision, which="train")


def published_features(parts: Parts, epoch: int) -> Iterator[Tensor]:
    """Embed all training images as the published refill does: augmented, in train mode (docs/published_quirks.md)."""
    settings = parts.recipe.train
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, epoch, "refill"))
    set_train_mode(parts)
    return embed_augmented(
        parts.model,
        parts.pixels,
        parts.recipe.augment,
        generator,
        batch_size=settings.batch_size,
        precision=parts.precision,
    )


def shown(parts: Parts, epoch: int) -> PixelSource:
    """Give the images that `epoch` shows: the originals, or where there are styles, a random camera's of each."""
    if parts.styles is None:
        return parts.pixels
    return parts.styles.drawn(torch.Generator().manual_seed(derived_seed(parts.recipe.train.seed, epoch, "camstyle")))


def learning_rate(settings: TrainConfig, epoch: int) -> float:
    """Learning rate of a 1-based epoch: ×`decay` once each epoch of `decay_at` has passed."""
    return settings.learning_rate * settings.decay ** sum(epoch > at for at in settings.decay_at)


def derived_seed(seed: int, epoch: int, purpose: str) -> int:
    """Seed of one epoch's draws for one purpose: all randomness of a run follows from these, so it can be resumed."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{epoch}/{purpose}".encode(), digest_size=7).digest(), "big")


def check_finite(losses: Tensor) -> None:
    """Stop a run whose loss is no number any more."""
    if not bool(torch.isfinite(losses)):
        raise ResightError(
            "the loss is no longer a finite number; lower train.learning_rate or use --set train.precision=float32, "
            "then --resume from the last checkpoint"
        )
