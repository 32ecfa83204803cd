"""Where embeddings are computed: torch, OpenVINO or ONNX Runtime behind one call; the fastest that is right here."""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from resight.artifacts import write_text
from resight.backbones import ReidModel
from resight.backends_converted import Converted
from resight.backends_trial import images_per_second
from resight.data.digests import default_cache_dir
from resight.data.pixels import PixelSource
from resight.data.transforms import to_float
from resight.embed import in_eval_mode
from resight.errors import ConfigError, ResightError, no_such_name, reason_of
from resight.export.containers import MissingPackageError, Run
from resight.export.graph import lowest_cosine
from resight.export.samples import drawn_images
from resight.progress import Say

PRECISIONS = {
    "torch": ("float32", "bfloat16"),
    "openvino": ("float32", "int8", "bfloat16"),
    "onnxruntime": ("float32",),
}
"""What each backend can compute in."""

BACKENDS = tuple(PRECISIONS)
NAMES = tuple(f"{backend} {precision}" for backend, some in PRECISIONS.items() for precision in some)
"""What embedders are called."""

COSINE = 0.999
"""Least cosine of an embedding to torch's in float32 that makes a backend right."""

SAMPLE = 32
"""Images that backends are compared and calibrated on: half are for the one, half for the other."""

FEW = 1000
"""Up to so many images, converting and trying takes longer than it saves."""

Variant = tuple[str, str]
"""A backend and the precision that it computes in."""


@runtime_checkable
class Embedder(Protocol):
    """What turns images into embeddings. `name`: backend and precision, "openvino int8"; `dim`: of the embeddings."""

    name: str
    dim: int

    def __call__(self, images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Embed RGB images of the size it was opened for: the test output, unit rows, float32, on the CPU."""
        ...


class TorchEmbedder:
    """The model itself, on its device, as `embed` runs it; "bfloat16" is by autocast."""

    def __init__(self, model: ReidModel, device: torch.device, precision: str = "float32") -> None:
        self.model, self.device, self.precision = model.to(device), device, precision
        self.name, self.dim = f"torch {precision}", model.dim

    @torch.no_grad()
    def __call__(self, images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Embed."""
        low = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
        with in_eval_mode(self.model), low:
            try:
                ready = to_float(images.to(self.device, non_blocking=True), self.model.normalisation)
                return self.model(ready).test.float().cpu()
            except torch.cuda.OutOfMemoryError as error:
                raise ConfigError(
                    f"the GPU has no room for {len(images)} images at a time; give a smaller --batch-size"
                ) from error


class ConvertedEmbedder:
    """A converted model in another engine, on the CPU."""

    def __init__(self, name: str, dim: int, run: Run) -> None:
        self.name, self.dim, self.run = name, dim, run

    def __call__(self, images: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Embed.

        Raises:
            ConfigError: the engine cannot run the model, or has no room for so many images.
        """
        if not len(images):
            return torch.empty(0, self.dim)
        try:
            rows = np.asarray(self.run(images.contiguous().cpu().numpy()), dtype=np.float32)
        except Exception as error:  # engines have exceptions of their own, and plain RuntimeError
            raise ConfigError(
                f"{self.name} failed on {len(images)} images ({reason_of(error)}); use --backend torch"
            ) from error
        return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12))


def open_backend(
    model: ReidModel,
    size: tuple[int, int],
    name: str = "auto",
    *,
    device: torch.device | str = "cpu",
    say: Say,
    cache_dir: Path | None = None,
    ahead: PixelSource | None = None,
) -> Embedder:
    """Open the backend of that name, or the fastest one here, and check it against torch in float32.

    A backend asked for by name computes in float32, unless the name says otherwise. "auto" tries all that are
    installed, on a CPU also in 8-bit integers and bfloat16 where it has instructions for them, leaves out those whose
    embeddings are not right, says what it picked, and remembers that for this model on this machine. Converted models
    are kept.

    Args:
        model: moved to `device` for torch.
        size: height and width of the images to come.
        name: one of `BACKENDS`, one with its precision as in `NAMES`, or "auto".
        device: where torch computes; the others need a CPU.
        say: is told sentences.
        cache_dir: where conversions are kept (None: the user's cache folder).
        ahead: the images that will be embedded, where they are known: some of them are compared, timed and calibrated
            on (None: drawn ones are), and for up to `FEW` "auto" is torch.

    Raises:
        ConfigError: no such backend, its package is missing, it does not run on the device, or it is not right.
        CheckpointError: the cache folder cannot be written.
    """
    device = torch.device(device)
    backend, _, precision = ("auto", "", "") if name == "auto" else with_precision(name).partition(" ")
    if backend not in ("auto", "torch") and device.type != "cpu":
        raise ConfigError(f"--backend {name} computes on the CPU, got the device {device}; give --device cpu or torch")
    reference = TorchEmbedder(model, device)
    few = name == "auto" and ahead is not None and len(ahead) <= FEW
    if few or (backend, precision) == ("torch", "float32"):
        return reference
    images = drawn_images(size, SAMPLE) if ahead is None or len(ahead) < SAMPLE else spread(ahead)
    opener = _Opener(reference, size, (cache_dir or default_cache_dir()) / "converted", images)
    if name != "auto":
        return opener.checked((backend, precision))
    return opener.remembered(say) or opener.fastest(say)


def with_precision(name: str) -> str:
    """Name a backend with its precision: "openvino" is "openvino float32".

    Raises:
        ConfigError: no such backend.
    """
    if name in NAMES:
        return name
    if name not in BACKENDS:
        raise no_such_name("backend", name, (*BACKENDS, "auto"))
    return f"{name} float32"


class _Opener:
    """Opens variants of one model and compares them with torch in float32."""

    def __init__(
        self, reference: TorchEmbedder, size: tuple[int, int], folder: Path, images: UInt8[Tensor, "b 3 h w"]
    ) -> None:
        # What int8 was calibrated on says nothing about how right it is elsewhere.
        self.compared = images[1::2].contiguous()
        self.converted = Converted(reference.model, size, folder, images[::2].contiguous())
        self.reference = reference
        self._right: np.ndarray | None = None

    def checked(self, variant: Variant, most: int = SAMPLE) -> Embedder:
        """Open a variant and compare it on up to `most` images.

        Raises:
            ConfigError: it cannot be had, or gives other embeddings than torch in float32.
        """
        embedder = self._open(*variant)
        if self._right is None or len(self._right) < min(most, len(self.compared)):
            self._right = self.reference(self.compared[:most]).numpy()
        right = self._right[:most]
        cosine = lowest_cosine(embedder(self.compared[: len(right)]).numpy(), right)
        if cosine < COSINE:
            raise ConfigError(
                f"{embedder.name} gives other embeddings than torch float32: a cosine must be at least {COSINE}, and "
                f"one is {cosine:.6f}; use --backend torch"
            )
        return embedder

    def _open(self, backend: str, precision: str) -> Embedder:
        model = self.reference.model
        if backend == "torch":
            return TorchEmbedder(model, self.reference.device, precision)
        return ConvertedEmbedder(f"{backend} {precision}", model.dim, self.converted.open(backend, precision))

    def fastest(self, say: Say) -> Embedder:
        """Time what can be opened and is right; remember the choice."""
        candidates: dict[Variant, Embedder] = {("torch", "float32"): self.reference}
        missing = []
        for variant in variants(self.reference.device):
            try:
                candidates[variant] = self.checked(variant)
            except MissingPackageError as error:
                missing.append(str(error))
            except ResightError as error:
                say(f"{' '.join(variant)} was left out: {error}")
        if missing:
            say(f"embedding may become faster: {missing[0]}")
        best = ("torch", "float32")
        if len(candidates) > 1:
            measured = images_per_second(list(candidates.values()), self.compared)
            rates = dict(zip(candidates, measured, strict=True))
            best = max(rates, key=rates.__getitem__)
            others = ", ".join(f"{' '.join(v)} {rate:.3g}" for v, rate in rates.items() if v != best)
            say(f"backend: {' '.join(best)}, {rates[best]:.3g} images/s in a short trial ({others})")
        if not missing:
            self._remember(best)
        return candidates[best]

    @property
    def _choice(self) -> Path:
        return self.converted.folder / f"{self.converted.key}.{self.reference.device.type}.json"

    def _remember(self, best: Variant) -> None:
        try:
            self._choice.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._choice, json.dumps({"variant": best, "here": here(self.reference.device)}) + "\n")
        except (OSError, ResightError):
            return  # the next start tries again

    def remembered(self, say: Say) -> Embedder | None:
        """Open what an earlier trial on this machine chose, if it is still right; None where there is nothing."""
        try:
            found = json.loads(self._choice.read_text(encoding="utf-8"))
            backend, precision = found["variant"]
            if found["here"] != here(self.reference.device):
                return None
            variant = (str(backend), str(precision))
            if variant == ("torch", "float32"):
                return self.reference
            embedder = self.checked(variant, most=4)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # never written, damaged, or no longer right: the trial says which
        say(f"backend: {embedder.name}, the fastest in an earlier trial")
        return embedder


def spread(pixels: PixelSource) -> UInt8[Tensor, "b 3 h w"]:
    """Take `SAMPLE` images from all over a source that holds at least so many."""
    return pixels.batch(torch.linspace(0, len(pixels) - 1, SAMPLE).long())


def variants(device: torch.device) -> list[Variant]:
    """List what "auto" may try beside torch in float32."""
    if device.type != "cpu":
        return [("torch", "bfloat16")]
    found = [("openvino", "float32"), ("onnxruntime", "float32")]
    if _cpu_has("_is_vnni_supported"):
        found.append(("openvino", "int8"))
    if _cpu_has("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        found += [("torch", "bfloat16"), ("openvino", "bfloat16")]
    return found


def _cpu_has(*questions: str) -> bool:
    """Ask torch for instructions; where they are missing, a precision is emulated, several times slower."""
    return any(bool(getattr(torch.cpu, question, lambda: False)()) for question in questions)


def here(device: torch.device) -> dict[str, Any]:
    """Say what a trial's outcome depends on beside the model."""
    versions = {}
    for package in ("torch", "openvino", "onnxruntime"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = ""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    cpu = [platform.machine(), platform.node(), torch.get_num_threads()]
    return {"cpu": cpu, "gpu": gpu, "versions": versions, "variants": [list(v) for v in variants(device)]}
