"""torchvision and timm must import beside any torch, and stay untouched where they import by themselves."""

import subprocess
import sys

import pytest

from resight import torchvision_compat

USE_BOTH = """
import torch
from resight.torchvision_compat import import_timm, import_torchvision
torchvision = import_torchvision()
assert import_torchvision() is torchvision
timm = import_timm()
from torchvision.transforms import v2
model = timm.create_model("resnet18", num_classes=3).eval()
image = v2.functional.horizontal_flip(torch.zeros(1, 3, 32, 32))
assert model(image).shape == (1, 3)
"""

IMPORTS_BY_ITSELF = """
import sys, types
sys.modules["torchvision"] = types.ModuleType("torchvision")
from resight import torchvision_compat
assert torchvision_compat.import_torchvision() is sys.modules["torchvision"]
assert not torchvision_compat._declared
"""


@pytest.mark.parametrize("script", [USE_BOTH, IMPORTS_BY_ITSELF])
def test_a_fresh_process_imports_without_a_warning(script: str) -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_an_error_of_another_kind_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(torchvision_compat.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="the disk is on fire"):
        torchvision_compat.import_torchvision()
