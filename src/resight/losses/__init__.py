"""Losses on the scores of a batch against the feature memory. One paper, one file; `LOSSES` names them."""

from collections.abc import Callable

from resight.losses.camera import CameraContrast
from resight.losses.dtl import DTL, DTLTriplet
from resight.losses.infonce import InfoNCE
from resight.losses.mmcl import MMCL
from resight.losses.smlc import SMLC
from resight.types import Loss

LOSSES: dict[str, Callable[..., Loss]] = {
    "smlc": SMLC,
    "mmcl": MMCL,
    "dtl": DTL,
    "dtl_triplet": DTLTriplet,
    "infonce": InfoNCE,
    "camera": CameraContrast,
}
