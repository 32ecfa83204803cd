"""The training loop, read from top to bottom. It takes finished parts and builds none; it sees no identities."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from resight.backbones import ReidModel, is_frozen
from resight.by_camera import standardise_by_camera
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
from resight.refill import embed_augmented
from resight.runlog import RunLog
from resight.types import UNKNOWN_CAMID, Loss, Miner, SparsePositives

LOG_EVERY = 10  # steps

MINING_EVERY = 5  # seconds


@dataclass
class Parts:
    """All that training needs: finished, on one device.

    `constraints`: what is known of the identities without labels; mined positives are made to agree with it.
    `styles`: what is shown in place of `pixels`, if anything.
    """

    recipe: Recipe
    precision: str
    model: ReidModel
    memory: FeatureMemory
    miner: Miner
    loss: Loss
    optimizer: torch.optim.Optimizer
    pixels: PixelCache
    camids: Int[Tensor, " n"]
    constraints: Constraints
    device: torch.device
    styles: StyledPixels | None = None


@dataclass
class Hooks:
    """What happens around the loop. `watch` is shown each batch's positives, `observed` adds to the epoch's record."""

    log: RunLog
    watch: Callable[[Int[Tensor, " b"], Bool[Tensor, "b n"]], None]
    observed: Callable[[], dict[str, Any]]
    after_epoch: Callable[[int], None]


def train(parts: Parts, hooks: Hooks, *, first_epoch: int = 1) -> None:
    """Train from `first_epoch` to the recipe's last; the state after each epoch is handed to `hooks.after_epoch`."""
    settings = parts.recipe.train
    for epoch in range(first_epoch, settings.epochs + 1):
        torch.manual_seed(derived_seed(settings.seed, epoch, "model"))
        rate = learning_rate(settings, epoch)
        for group in parts.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]

        began = time.perf_counter()
        if refill_is_due(parts.recipe, epoch):
            if parts.recipe.memory.refill_as_published:
                parts.memory.refill(published_features(parts, epoch))
            else:
                if epoch == 1:  # a neck that has seen no image would not centre the rows as it will in training
                    settle(parts)
                parts.memory.refill(fresh_features(parts))
        refill_seconds = time.perf_counter() - began
        parts.memory.forget()  # rebuilt exactly when next asked for, so a resumed run meets the same numbers
        miner = parts.miner if epoch > settings.warmup_epochs else SelfOnly()
        mined = None
        if parts.recipe.miner.schedule == "epoch" and miner is parts.miner:
            mined = mine_all(parts, mining_progress(hooks.log, epoch))
        mining_seconds = time.perf_counter() - began - refill_seconds

        record = train_epoch(parts, hooks, epoch, miner, mined)
        if settings.settle_batchnorm and is_used_after(parts.recipe, epoch):
            settle(parts)
        seconds = time.perf_counter() - began
        hooks.log.event(
            "epoch",
            epoch=epoch,
            **record,
            **hooks.observed(),
            learning_rate=rate,
            seconds=round(seconds, 3),
            refill_seconds=round(refill_seconds, 3),
            mining_seconds=round(mining_seconds, 3),
            images_per_second=round(len(parts.pixels) / max(seconds, 1e-9), 1),
        )
        hooks.after_epoch(epoch)


def train_epoch(
    parts: Parts, hooks: Hooks, epoch: int, miner: Miner, mined: SparsePositives | None
) -> dict[str, float]:
    """Show every image once; labels come from `mined`, or from `miner` batch by batch where there is none."""
    settings, memory = parts.recipe.train, parts.memory
    generator = torch.Generator().manual_seed(derived_seed(settings.seed, epoch, "data"))
    batches = list(epoch_batches(len(parts.pixels), settings.batch_size, generator))
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
            positives = parts.constraints.apply(miner(memory, index), index) if mined is None else mined.dense(index)

        with torch.autocast(parts.device.type, torch.bfloat16, enabled=parts.precision == "bfloat16"):
            embeddings = parts.model(images).train.float()
        scores = memory.scores(embeddings)
        loss = parts.loss(scores, positives)

        parts.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parts.optimizer.step()
        memory.update(index, embeddings.detach(), momentum, scores=scores.detach())

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


def mine_all(parts: Parts, progress: Callable[[int, int], None]) -> SparsePositives:
    """Mine every image once, in blocks, from the memory as it is now; `progress` is told rows done and rows in all."""
    memory, miner, settings = parts.memory, parts.miner, parts.recipe.miner
    if settings.by_camera and bool((parts.camids != UNKNOWN_CAMID).any()):
        standardise_by_camera(memory.rows, parts.camids, memory.spare())
        memory = FeatureMemory.over(memory.spare())
    wanted = getattr(miner, "reads_ranks", False) or settings.precision == "bfloat16"
    length = getattr(miner, "list_length", 0) if wanted else 0
    done, total = 0, len(memory) * (2 if length else 1)
    if length:
        for rows_listed in memory.listing(length, precision=settings.precision):
            done += rows_listed
            progress(done, total)

    def blocks() -> Iterator[Tensor]:
        for number, block in enumerate(torch.arange(len(memory), device=parts.device).split(memory.block_rows)):
            yield parts.constraints.apply(miner(memory, block), block)
            progress(done + number * memory.block_rows + len(block), total)

    mined = SparsePositives.from_blocks(blocks())
    memory.forget()
    return mined


def mining_progress(log: RunLog, epoch: int) -> Callable[[int, int], None]:
    """Log how far the mining of an epoch has come, every few seconds where it takes that long."""
    told = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > MINING_EVERY:
            told = time.monotonic()
            log.event("mining", epoch=epoch, done=done, total=total)

    return progress


def refill_is_due(recipe: Recipe, epoch: int) -> bool:
    """Whether the memory is rewritten with fresh features before `epoch` (1-based)."""
    if epoch == 1:
        return recipe.memory.fill_first
    return recipe.memory.refill_every > 0 and (epoch - 1) % recipe.memory.refill_every == 0


def is_used_after(recipe: Recipe, epoch: int) -> bool:
    """Whether the model is run in eval mode after `epoch`: to be scored, to refill the memory, or for good."""
    return epoch == recipe.train.epochs or refill_is_due(recipe, epoch + 1) or evaluation_is_due(recipe, epoch)


def evaluation_is_due(recipe: Recipe, epoch: int) -> bool:
    """Whether the recipe asks for a point on the curves after `epoch`; the first and the last are always drawn."""
    return recipe.evaluate.every > 0 and epoch % recipe.evaluate.every == 0


def settle(parts: Parts) -> None:
    """Measure BatchNorm's statistics on unaugmented images: the neck's alone where the trunk's are frozen."""
    frozen = parts.recipe.train.freeze_batchnorm
    settle_batchnorm(parts.model, parts.pixels, precision=parts.precision, neck_only=frozen)


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
    return embed_blocks(parts.model, parts.pixels, precision=parts.precision, which="train")


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


def epoch_batches(images: int, batch_size: int, generator: torch.Generator) -> Iterator[Int[Tensor, " b"]]:
    """Give every index once, in random order; a last batch of one image, which BatchNorm cannot take, is left out."""
    for batch in torch.randperm(images, generator=generator).split(batch_size):
        if len(batch) > 1:
            yield batch


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
