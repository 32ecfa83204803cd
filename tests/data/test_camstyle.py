"""CamStyle: files find their originals by name, each camera is drawn equally often, else the original is shown."""

from pathlib import Path

import pytest
import torch

from resight.data.camstyle import StyledPixels, Styles, camstyle_beside, find_styles, open_styles
from resight.data.formats import read_dataset
from resight.data.pixels import open_pixels
from resight.errors import DataError

NAMES = ("0002_c1s1_000451_03", "0002_c2s1_000801_01", "0007_c3s1_001001_02")


@pytest.fixture
def originals(tmp_path, picture) -> list[Path]:
    folder = tmp_path / "bounding_box_train"
    return [picture(folder / f"{name}.png", seed) for seed, name in enumerate(NAMES)]


@pytest.fixture
def folder(tmp_path, picture) -> Path:
    """Cameras 1 to 3. Image 0 has both other styles, image 1 lacks camera 3's, image 2 has none."""
    folder = tmp_path / "bounding_box_train_camstyle"
    picture(folder / f"{NAMES[0]}_fake_1to2.png", 10)
    picture(folder / f"{NAMES[0]}_fake_1to3.PNG", 11)
    picture(folder / f"{NAMES[1]}_fake_2to1.bmp", 12)
    return folder


def opened(styles: Styles, originals: list[Path], cache: Path, *, skip_broken: bool = False) -> StyledPixels:
    pixels = open_pixels(originals, (12, 8), cache)
    return open_styles(styles, pixels, cache, skip_broken=skip_broken)


def test_files_are_matched_by_name_and_the_rest_is_counted(folder, originals, picture):
    picture(folder / "0999_c1s1_000001_00_fake_1to2.png")  # no such original
    picture(folder / f"{NAMES[0]}_fake_1to1.png")  # its own camera
    picture(folder / f"{NAMES[0]}_fake_1to2.bmp")  # sorts before the .png: the same image and camera twice
    picture(folder / "somebody.png")
    (folder / "readme.txt").write_text("no image")
    styles = find_styles(folder, originals)
    assert [path.name for path in styles.paths] == [
        f"{NAMES[0]}_fake_1to2.bmp",
        f"{NAMES[0]}_fake_1to3.PNG",
        f"{NAMES[1]}_fake_2to1.bmp",
    ]
    assert styles.cameras == (1, 2, 3)
    assert styles.places == ((0, 1), (0, 2), (1, 0))
    assert (styles.strangers, styles.passed_over, styles.styled_images) == (1, 4, 2)
    said = styles.sentence()
    assert "3 images of 3 cameras' styles for 2 of 3 training images" in said
    assert "training images without a style, shown as they are: 1" in said
    assert "styles missing, the original shown in their place: 1" in said
    assert "files that belong to no training image: 1" in said


def test_styles_in_folders_of_their_own_are_found(folder, originals):
    (folder / "deeper").mkdir()
    for file in folder.glob("*1to*"):
        file.rename(folder / "deeper" / file.name)
    assert len(find_styles(folder, originals).paths) == 3


def test_what_cannot_be_used_is_one_sentence(tmp_path, folder, originals, picture):
    with pytest.raises(DataError, match=r"--camstyle must be a folder of CamStyle images, but .*none is none"):
        find_styles(tmp_path / "none", originals)
    with pytest.raises(DataError, match="must be a folder"):
        find_styles(originals[0], originals)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        find_styles(tmp_path / "empty", originals)
    with pytest.raises(DataError, match=r"none of the 3 images .* belongs to a training image: .*_fake_1to2"):
        find_styles(folder, [tmp_path / "a.jpg"])
    twin = picture(tmp_path / "other" / originals[0].name)
    with pytest.raises(DataError, match="may belong to"):
        find_styles(folder, [*originals, twin])
    with pytest.raises(DataError, match="must not be training images too, but 1 "):
        find_styles(folder, [*originals, folder / f"{NAMES[0]}_fake_1to2.png"])


def test_each_camera_is_shown_about_equally_often(folder, originals, tmp_path):
    styled = opened(find_styles(folder, originals), originals, tmp_path / "cache")
    generator = torch.Generator().manual_seed(5)
    shown = torch.stack([styled.drawn(generator).row for _ in range(3000)])
    # Image 0: its own camera (the original, −1) and two styles; image 1: the style of camera 3 is missing, so the
    # original stands for two cameras of three; image 2 has no style.
    for image, share in ((0, {-1: 1 / 3, 0: 1 / 3, 1: 1 / 3}), (1, {-1: 2 / 3, 2: 1 / 3}), (2, {-1: 1.0})):
        for row, expected in share.items():
            assert float((shown[:, image] == row).float().mean()) == pytest.approx(expected, abs=0.03)
        assert set(shown[:, image].tolist()) == set(share)


def test_a_batch_holds_what_was_drawn_and_is_the_same_for_the_same_seed(folder, originals, tmp_path):
    styled = opened(find_styles(folder, originals), originals, tmp_path / "cache")
    index = torch.tensor([2, 0, 1, 0])
    for seed in range(20):
        drawn = styled.drawn(torch.Generator().manual_seed(seed))
        again = styled.drawn(torch.Generator().manual_seed(seed))
        images = drawn.batch(index)
        assert torch.equal(images, again.batch(index))
        assert images.is_contiguous(memory_format=torch.channels_last)
        for image, i in zip(images, index.tolist(), strict=True):
            row = int(drawn.row[i])
            wanted = styled.originals.batch([i]) if row < 0 else styled.styles.batch([row])
            assert torch.equal(image, wanted[0])
    assert len(drawn) == 3


def test_a_broken_style_stops_it_or_gives_way_to_the_original(folder, originals, tmp_path):
    (folder / f"{NAMES[0]}_fake_1to3.PNG").write_bytes(b"no image")
    styles = find_styles(folder, originals)
    with pytest.raises(DataError, match=r"1 of 3 CamStyle images cannot be decoded; .*--skip-broken:\n.*1to3"):
        opened(styles, originals, tmp_path / "cache")
    styled = opened(styles, originals, tmp_path / "cache", skip_broken=True)
    assert styled.rows.tolist() == [[-1, 0, -1], [2, -1, -1], [-1, -1, -1]]


def test_the_digest_changes_with_content_and_with_what_is_there(folder, originals, tmp_path, picture):
    cache = tmp_path / "cache"
    before = find_styles(folder, originals).digest(cache)
    assert find_styles(folder, originals).digest(cache) == before
    folder = folder.rename(tmp_path / "moved")
    assert find_styles(folder, originals).digest(cache) == before
    picture(folder / f"{NAMES[1]}_fake_2to1.bmp", 99)
    changed = find_styles(folder, originals).digest(cache)
    (folder / f"{NAMES[1]}_fake_2to1.bmp").unlink()
    assert len({before, changed, find_styles(folder, originals).digest(cache)}) == 3


def test_a_folder_beside_the_training_images_is_noticed(tmp_path, folder, originals):
    assert originals
    assert camstyle_beside(read_dataset(tmp_path)) == folder
    folder.rename(tmp_path / "elsewhere")
    assert camstyle_beside(read_dataset(tmp_path)) is None
