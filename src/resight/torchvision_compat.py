"""Import torchvision, and timm with it, beside a torch that torchvision was not built for.

PyPI's torchvision is compiled against the CUDA build of torch. Beside a CPU-only torch its compiled part does not
load, so its operators are unknown, and `import torchvision` stops at the first line that describes one of them:
"operator torchvision::nms does not exist". Nothing here calls those operators (box suppression for detectors), so it
is enough to declare that they exist; all that is written in Python then works.
"""

import importlib
import sys
from types import ModuleType

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""The operators that torchvision describes whether or not its compiled part has loaded."""

_declared: list[torch.library.Library] = []  # a Library takes its operators back when it is freed


def import_torchvision() -> ModuleType:
    """Import torchvision; where only its compiled part is missing, declare the operators and import it again.

    Does nothing more than `import torchvision` where that works.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        # Anything but an operator that does not exist is not ours to mend.
        if "torchvision::" not in str(error) or _declared:
            raise
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    _declared.append(library)
    _forget_half_imported()
    return importlib.import_module("torchvision")


def import_timm() -> ModuleType:
    """Import timm, which imports torchvision."""
    import_torchvision()
    return importlib.import_module("timm")


def _forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
