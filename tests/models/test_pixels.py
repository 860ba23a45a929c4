import cv2
import numpy as np
import pytest
from PIL import Image

from segkd.datasets.pictures import read_image
from segkd.models.pixels import as_rgb
from segkd.types import InputError

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def test_every_kind_of_picture_gives_the_same_pixels(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    alpha = np.dstack([RGB, np.full((6, 9), 7, np.uint8)])
    for one in (RGB, alpha, Image.fromarray(RGB), Image.fromarray(alpha), tmp_path / "a.png", str(tmp_path / "a.png")):
        np.testing.assert_array_equal(as_rgb(one), RGB)
    for grey in (RGB[..., 0], Image.fromarray(RGB[..., 0])):
        np.testing.assert_array_equal(as_rgb(grey), np.repeat(RGB[..., :1], 3, axis=2))


def test_a_photo_is_turned_as_it_is_displayed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(as_rgb(tmp_path / "a.png"), np.rot90(RGB, -1))


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("kind", ["grey.tif", "colours.tif", "clear.tif", "packed.tif", "photo.png"])
def test_a_turned_file_gives_the_pixels_that_training_reads(tmp_path, kind, tag):
    """Pillow maps plain TIFFs that it opens by their names into memory, and scrambles some of those that it turns."""
    modes = {"grey.tif": "L", "clear.tif": "RGBA"}
    exif = Image.Exif()
    exif[0x0112] = tag
    more = {"compression": "tiff_lzw"} if kind == "packed.tif" else {}
    Image.fromarray(RGB).convert(modes.get(kind, "RGB")).save(tmp_path / kind, exif=exif, **more)
    trained = read_image(tmp_path / kind)
    assert trained.shape[:2] == (RGB.shape[1::-1] if tag >= 5 else RGB.shape[:2])
    with Image.open(tmp_path / kind) as opened:
        for picture in (tmp_path / kind, opened):
            np.testing.assert_array_equal(as_rgb(picture), trained)


def test_what_is_no_picture_is_refused_by_its_name(tmp_path):
    (tmp_path / "torn.png").write_bytes(b"torn")
    Image.fromarray(np.full((4, 4), 4095, np.uint16)).save(tmp_path / "deep.png")
    for name, said in [("none.png", "No such file"), ("torn.png", "expected a picture"), ("deep.png", "8 bits")]:
        with pytest.raises(InputError, match=f"{name}.*{said}"):
            as_rgb(tmp_path / name)
    for name in ("colours.png", "colours.tif"):  # 12 bits in 16: Pillow would give the high bytes alone
        cv2.imwrite(str(tmp_path / name), np.full((4, 4, 3), 4095, np.uint16))
        with pytest.raises(InputError, match=f"{name}: expected 8 bits per channel, found colours of 16"):
            as_rgb(tmp_path / name)
        with Image.open(tmp_path / name) as opened, pytest.raises(InputError, match="colours of 16"):
            as_rgb(opened)
    Image.fromarray(np.tile(RGB, (40, 40, 1))).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-400])
    with Image.open(tmp_path / "cut.jpg") as opened, pytest.raises(InputError, match=r"predict: .*picture.*truncated"):
        as_rgb(opened)
    for array in (RGB.astype(np.float32), RGB[None], np.zeros((4, 4, 2), np.uint8)):
        with pytest.raises(InputError, match="uint8"):
            as_rgb(array)


def test_values_are_stretched_as_in_training_but_those_of_arrays(tmp_path):
    bright = np.rint(RGB.clip(10.0, 60.0).astype(float) / 50 * 255 - 51).astype(np.uint8)
    np.testing.assert_array_equal(as_rgb(Image.fromarray(RGB), (10.0, 60.0)), bright)
    np.testing.assert_array_equal(as_rgb(RGB, (10.0, 60.0)), RGB)
    np.testing.assert_array_equal(as_rgb(Image.fromarray(RGB), (0.0, 4095.0)), RGB)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.png", "a.tif"):
        Image.fromarray(RGB).save(tmp_path / name, exif=exif)
    np.testing.assert_array_equal(as_rgb(tmp_path / "a.png", exif=False), RGB)
    with pytest.raises(InputError, match="without an orientation"):
        as_rgb(tmp_path / "a.tif", exif=False)
