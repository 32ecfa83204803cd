"""Name → module: timm's backbones with last stride 1, GAP or GeM pooling, and a BatchNorm neck."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from resight.data.transforms import Normalisation
from resight.errors import ConfigError, no_such_name
from resight.torchvision_compat import import_timm
from resight.weights import load_trunk

BACKBONES = {
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    # The Lite weights were trained with TensorFlow's padding, which timm's tf_ twin has.
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "mobilenetv3": "mobilenetv3_large_100",
    "convnext_tiny": "convnext_tiny",
    "vit_small": "vit_small_patch16_224",
    "dinov2_small": "vit_small_patch14_dinov2",
}
"""Short names for timm's; any other timm model may be named as timm does."""

POOLINGS = ("gap", "gem")


@dataclass(frozen=True)
class BackboneConfig:
    """Which backbone, with which start weights.

    `name`: one of `BACKBONES` or of timm's models. `weights`: "auto", "package", "timm", "random" or a file.
    `pooling`: "gap" is the backbone's own (global average for CNNs, class token or its like for transformers), "gem"
    the generalised mean. `last_stride`: 1 doubles the last feature map where the architecture's last stage halves it.
    `frozen_stages`: so many of the first stages, and the stem before them, keep their start weights (0: none does);
    what is not trained is not computed backwards, so the step is that much faster.
    """

    name: str = "resnet50"
    weights: str = "auto"
    pooling: str = "gap"
    last_stride: int = 1
    frozen_stages: int = 0

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise ConfigError(f"backbone.pooling must be one of {', '.join(POOLINGS)}, got '{self.pooling}'")
        if self.last_stride not in (1, 2):
            raise ConfigError(f"backbone.last_stride must be 1 or 2, got {self.last_stride}")
        if self.frozen_stages < 0:
            raise ConfigError(f"backbone.frozen_stages must be 0 or more, got {self.frozen_stages}")
        if not self.name:
            raise ConfigError("backbone.name must name a backbone, got ''")


class Embeddings(NamedTuple):
    """Two unit-length embeddings of the same images: `train` after the neck, `test` before it."""

    train: Float[Tensor, "b d"]
    test: Float[Tensor, "b d"]


class GeM(nn.Module):
    """Generalised mean over a feature map: (mean x^p)^(1/p) with a learnt p; p = 1 is the average.

    Values below 1e-6 count as 1e-6. `dims`: the two spatial axes; `flatten`: drop them from the result.

    Paper: Radenović, Tolias, Chum 2019, eq. 3.
    """

    def __init__(self, *, dims: tuple[int, int] = (2, 3), flatten: bool = True) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(3.0))
        self.dims, self.flatten = dims, flatten

    def forward(self, features: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b ..."]:
        """Pool in float32: powers of bfloat16 lose too much."""
        powers = features.float().clamp(min=1e-6) ** self.p
        return powers.mean(self.dims, keepdim=not self.flatten) ** (1 / self.p)


class ReidModel(nn.Module):
    """A trunk without classifier, then a BatchNorm1d neck; `dim` is the size of both embeddings.

    `trunk`: has timm's forward_features and forward_head. `normalisation`: the input scale that its weights want.
    """

    def __init__(self, trunk: nn.Module, dim: int, config: BackboneConfig, normalisation: Normalisation) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = nn.BatchNorm1d(dim)
        self.dim, self.config, self.normalisation = dim, config, normalisation

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Embeddings:
        """Embed normalised images; the result is float32, whatever the trunk computes in."""
        trunk: Any = self.trunk
        feature = trunk.forward_head(trunk.forward_features(images), pre_logits=True).float()
        return Embeddings(train=F.normalize(self.neck(feature).float()), test=F.normalize(feature))

    def parameter_groups(self, *, backbone_scale: float) -> list[dict[str, Any]]:
        """Give the optimiser's groups; each `lr_scale` says what the learning rate is multiplied by in it.

        The trunk's is `backbone_scale`; the neck and GeM's power, which start untrained, have 1.
        """
        untrained = list(self.neck.parameters())
        untrained += [module.p for module in self.modules() if isinstance(module, GeM)]
        known = {id(parameter) for parameter in untrained}
        trained = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return [{"params": trained, "lr_scale": backbone_scale}, {"params": untrained, "lr_scale": 1.0}]


def freeze_stages(trunk: nn.Module, stages: int, name: str) -> None:
    """Keep the weights of the stem and the first `stages` stages (in a transformer: blocks) as they are; 0 keeps none.

    Raises:
        ConfigError: the trunk has no more stages than that, so that none would be left to train.
    """
    import_timm()
    from timm.models import group_parameters

    matcher: Any = trunk
    groups = group_parameters(trunk, matcher.group_matcher(coarse=True))
    if stages >= len(groups) - 1:
        raise ConfigError(
            f"backbone.frozen_stages must be below {len(groups) - 1}, the stages of {name}, got {stages}; "
            "something must be left to train"
        )
    frozen = {parameter for stage in range(stages + 1) for parameter in groups[stage]} if stages else set()
    for key, parameter in trunk.named_parameters():
        parameter.requires_grad_(key not in frozen)


def is_frozen(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    """Whether a BatchNorm stands in a frozen stage: it has a scale, and that does not train."""
    return norm.affine and not norm.weight.requires_grad


def build_model(config: BackboneConfig, size: tuple[int, int] | None = None) -> ReidModel:
    """Build a backbone with its start weights, on the CPU, in channels-last memory.

    `size` (height, width) is needed by backbones of a fixed input size (most transformers) for any but their own.

    Raises:
        ConfigError: no such backbone or source of weights, or GeM where there is no feature map to pool.
        CheckpointError: the weights cannot be had, or do not fit.
    """
    name = timm_name(config.name)
    options = {"img_size": size} if size and _has_fixed_size(name) else {}
    trunk, normalisation = load_trunk(name, config.weights, options)
    if config.last_stride == 1:
        remove_last_stride(trunk, None if _has_fixed_size(name) else (128, 128))
    if config.frozen_stages:
        freeze_stages(trunk, config.frozen_stages, config.name)
    if config.pooling == "gem":
        _use_gem(trunk, config.name)
    model = ReidModel(trunk, trunk.head_hidden_size, config, normalisation)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def timm_name(name: str) -> str:
    """Look a backbone's name up in `BACKBONES`, then in timm's list; names of hubs ("hf-hub:…") pass as they are.

    Raises:
        ConfigError: neither knows it.
    """
    timm = import_timm()
    full = BACKBONES.get(name, name)
    if ":" in full or timm.is_model(full):
        return full
    known = [*BACKBONES, *timm.list_models()]
    # Without a near name, all of timm's thousand would be listed.
    raise no_such_name("backbone", name, known if difflib.get_close_matches(name, known, n=1) else BACKBONES)


def remove_last_stride(trunk: nn.Module, size: tuple[int, int] | None = None) -> bool:
    """Set the stride of the last stage that halves the feature map to 1, and tell whether there is such a stage.

    No weight changes its shape. Left as they are: transformers, and networks that halve by cutting into patches
    (ConvNeXt), whose weights mean nothing at another stride. `size`: of the images that are tried; None: the model's
    own.
    """
    trial = torch.zeros(1, 3, *(size or _own_size(trunk)))
    before, halving = _trace(trunk, trial)
    if before is None or not halving or any(_cuts_patches(module) for _, _, module in halving):
        return False
    undo = [_set_stride_1(parent, name, module) for parent, name, module in halving]
    try:
        after, _ = _trace(trunk, trial)
    except RuntimeError:  # branches that no longer fit each other
        after = None
    if after == tuple(2 * side for side in before):
        return True
    for owner, attribute, value in undo:
        setattr(owner, attribute, value)
    return False


Place = tuple[nn.Module, str, nn.Module]  # parent, name in it, module


def _trace(trunk: Any, images: Tensor) -> tuple[tuple[int, ...] | None, list[Place]]:
    """Run the trunk; give its feature map's (h, w), None without a map, and the modules of the last halving."""
    met: list[tuple[int, Place]] = []
    hooks = [
        place[2].register_forward_pre_hook(lambda _, inputs, place=place: met.append((inputs[0][0, 0].numel(), place)))
        for place in _strided(trunk)
    ]
    modes = [(module, module.training) for module in trunk.modules()]
    try:
        with torch.no_grad():
            features = trunk.eval().forward_features(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    is_map = isinstance(features, Tensor) and features.ndim == 4 and features.shape[1] == trunk.num_features
    smallest = min((area for area, _ in met), default=0)
    return tuple(features.shape[2:]) if is_map else None, [place for area, place in met if area == smallest]


def _strided(trunk: nn.Module) -> Iterator[Place]:
    """Find the convolutions and pools of stride 2."""
    for parent in trunk.modules():
        for name, child in parent.named_children():
            is_leaf = next(child.children(), None) is None  # whole blocks of timm's note their stride too
            if is_leaf and getattr(child, "stride", None) in (2, (2, 2), [2, 2]):
                yield parent, name, child


def _cuts_patches(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == module.stride


def _set_stride_1(parent: nn.Module, name: str, module: nn.Module) -> tuple[nn.Module, str, Any]:
    """Change a module; give what undoes it, as setattr's arguments. A pool of stride 1 is left out altogether."""
    if isinstance(module, nn.Conv2d):
        old = module.stride
        module.stride = (1, 1)
        return module, "stride", old
    setattr(parent, name, nn.Identity())
    return parent, name, module


def _own_size(trunk: Any) -> tuple[int, int]:
    patches = getattr(trunk, "patch_embed", None)
    size = getattr(patches, "img_size", None) or trunk.pretrained_cfg["input_size"][1:]
    return int(size[0]), int(size[1])


def _has_fixed_size(name: str) -> bool:
    config = import_timm().models.get_pretrained_cfg(name) if ":" not in name else None
    return bool(config and config.fixed_input_size)


def _use_gem(trunk: nn.Module, name: str) -> None:
    """Put GeM in the place of the trunk's global pool; what timm does after pooling stays."""
    from timm.layers import SelectAdaptivePool2d

    pools = [
        (parent, child_name, child)
        for parent in trunk.modules()
        for child_name, child in parent.named_children()
        if isinstance(child, SelectAdaptivePool2d)
    ]
    if not pools:
        raise ConfigError(f"backbone.pooling 'gem' needs a feature map to pool, and '{name}' has none; use 'gap'")
    for parent, child_name, pool in pools:
        flatten = isinstance(pool.flatten, nn.Flatten) or getattr(pool.pool, "flatten", None) is True
        setattr(parent, child_name, GeM(dims=getattr(pool.pool, "dim", (2, 3)), flatten=flatten))
