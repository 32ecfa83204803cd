"""How much memory a run will need beside the model, and where its feature memory goes: decided and said beforehand."""

from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from resight.config import Recipe
from resight.errors import ConfigError
from resight.memory import PRODUCT_BYTES, FeatureMemory
from resight.miners import MINERS
from resight.schedules import options_at
from resight.storage import DiskRows, Rows

PLACES = ("auto", "device", "ram", "disk")

SHARE = 0.6
"""Share of what is free that a feature memory may take; the rest is for the model, its gradients and the system."""


@dataclass(frozen=True)
class Need:
    """Bytes. `rows`: the memory itself, and the standardised copy where there is one; `work`: what is computed from it.

    `work` is on the device wherever the rows lie.
    """

    rows: int
    work: int


def needed(recipe: Recipe, images: int, dim: int, beside: int = 0) -> Need:
    """About what the recipe's miner, loss and memory will take for N images, without what the model itself takes.

    `beside`: numbers of an image that stand beside its features where labels are mined.
    """
    matrix = 4 * images * min(recipe.train.batch_size, images)  # one (B, N) tensor
    # Scores and their gradient; the similarity of the old rows and of the new; adjacency distances; the loss's and the
    # selection's copies; marks.
    step = 8 * matrix
    lists = rough = 0
    if recipe.miner.schedule == "epoch":
        step = max(step, 5 * min(PRODUCT_BYTES, 4 * images * images))
        lists = (
            8 * images * getattr(MINERS[recipe.miner.name](**options_at(recipe.miner.options, 0.0)), "list_length", 0)
        )
        rough = 2 * images * dim if recipe.miner.precision == "bfloat16" else 0
    gram = 4 * (2 * dim * dim + 2 * images) + rough
    rows = dim * (2 if recipe.miner.by_camera or beside else 1)
    if beside:
        rows += beside + (dim + beside)  # themselves, and both beside each other
    if recipe.memory.rows != "instance":
        rows += dim  # where every image is an outlier with a row of its own
    return Need(rows=4 * images * rows, work=step + gram + lists)


def free_ram(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of RAM that can still be taken, by the system and by the container's limit if there is one.

    Pages of files that are not in use count as used there, but are given up when others need them.
    """
    free = psutil.virtual_memory().available
    limit, used, stat = (cgroup / f"memory.{name}" for name in ("max", "current", "stat"))
    if limit.is_file() and used.is_file() and stat.is_file() and (most := limit.read_text().strip()).isdigit():
        pages = dict(line.split() for line in stat.read_text().splitlines())
        taken = int(used.read_text()) - int(pages.get("inactive_file", 0))
        free = min(free, max(0, int(most) - taken))
    return free


def choose_place(wanted: str, need: Need, device: torch.device, *, ram: int, on_device: int) -> str:
    """Resolve "auto": on the device if rows and work fit `SHARE` of it, else in RAM if they fit that, else on disk.

    Args:
        wanted: one of `PLACES`; anything but "auto" is kept.
        need: what it takes.
        device: where training runs; a CPU's own place is RAM.
        ram: free bytes of RAM.
        on_device: free bytes on the device.
    """
    if wanted not in PLACES:
        raise ConfigError(f"--memory must be one of {', '.join(PLACES)}, got '{wanted}'")
    if wanted == "auto":
        if device.type != "cpu" and need.rows + need.work <= SHARE * on_device:
            return "device"
        in_ram = need.rows + (need.work if device.type == "cpu" else 0)
        return "ram" if in_ram <= SHARE * ram else "disk"
    return "ram" if wanted == "device" and device.type == "cpu" else wanted


def place_memory(
    wanted: str, recipe: Recipe, shape: tuple[int, int], device: torch.device, scratch: Path, *, beside: int = 0
) -> tuple[FeatureMemory, str]:
    """Make an empty feature memory of `shape` (N, D) where it fits best, and a sentence that says so.

    Raises:
        ConfigError: no such place, or no room there.
    """
    need = needed(recipe, *shape, beside)
    ram = free_ram()
    on_device = ram if device.type != "cuda" else torch.cuda.mem_get_info(device)[0]
    place = choose_place(wanted, need, device, ram=ram, on_device=on_device)
    if place != "disk" and need.rows > (free := on_device if place == "device" else ram):
        where, instead = (f"on {device}", "ram") if place == "device" else ("in RAM", "disk")
        raise ConfigError(
            f"a feature memory of {shape[0]} x {shape[1]} needs {size(need.rows)} {where}, with {size(free)} free; "
            f"give --memory {instead}"
        )
    rows = make_rows(place, shape, device, scratch)
    where = {"device": f"on {device}", "ram": "in RAM", "disk": f"on disk, in {scratch}"}[place]
    said = (
        f"feature memory: {shape[0]} x {shape[1]} {where} ({size(need.rows)}), about {size(need.work)} to work on it; "
        f"free: {size(ram)} RAM" + (f", {size(on_device)} on {device}" if device.type == "cuda" else "")
    )
    memory = FeatureMemory.over(rows)
    if recipe.miner.by_camera:
        memory.spare()  # now, so that a full disk is met before the start
    return memory, said


def make_rows(place: str, shape: tuple[int, int], device: torch.device, scratch: Path) -> Rows:
    """Make a store of zeros."""
    if place == "disk":
        return DiskRows(scratch, *shape, device)
    if place == "ram" and device.type == "cuda":
        return Rows(torch.zeros(*shape, pin_memory=True), device)
    return Rows(torch.zeros(*shape, device=device))


def size(count: int) -> str:
    """Write a number of bytes for people."""
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
