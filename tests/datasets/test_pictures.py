import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.pictures import How, read_image, read_mask, view_image, view_mask
from segkd.datasets.unfit import Unfit
from segkd.types import InputError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


def write(path, array=GREY, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_a_truncated_jpeg_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    path = write(tmp_path / "cut.jpg", noise)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match=r"cut\.jpg: expected a readable image.*truncated.*Replace or remove"):
        read_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of a cut TIFF before it refuses it
@pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "tif", "webp", "gif", "ppm", "jp2"])
def test_an_image_cut_at_any_byte_is_refused_or_read_but_never_a_traceback(tmp_path, extension):
    path = write(tmp_path / f"a.{extension}", np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8))
    whole, refused = path.read_bytes(), 0
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        try:
            assert read_image(path).shape == (9, 9, 3)
        except InputError as error:
            assert str(error).startswith(str(path))
            refused += 1
    assert refused >= 20


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_text_file_named_jpg_is_refused_by_name(tmp_path, read):
    path = tmp_path / "text.jpg"
    path.write_text("this is no image")
    with pytest.raises(InputError, match=r"text\.jpg: expected a readable image"):
        read(path)
    with pytest.raises(InputError, match=r"gone\.jpg: expected a readable image"):
        read(tmp_path / "gone.jpg")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(InputError, match=r"text\.jpg: a pointer of Git LFS.*git lfs pull"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"text\.jpg: expected a readable image, found: an empty file"):
        read(path)


def test_an_exif_rotated_photo_is_read_as_displayed(tmp_path):
    shown = np.zeros((40, 24, 3), np.uint8)
    shown[:20] = 200  # bright above
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying down; a viewer turns it by 90 degrees clockwise
    path = write(tmp_path / "phone.jpg", np.rot90(shown).copy(), exif=exif)
    read = read_image(path)
    assert read.shape == (40, 24, 3)
    assert np.abs(read.astype(int) - shown)[[0, 5, 15, 25, 39]].max() <= 4


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_a_16_bit_grey_photo_keeps_its_grey_levels(tmp_path, extension):
    deep = np.linspace(0, 65535, 48).round().astype(np.uint16).reshape(6, 8)
    read = read_image(write(tmp_path / f"deep.{extension}", deep))
    assert np.abs(read - deep[..., None] / 257).max() <= 1


def test_real_numbers_are_refused_with_what_to_write(tmp_path):
    path = write(tmp_path / "real.tif", np.full((4, 4), 0.5, np.float32))
    with pytest.raises(InputError, match=r"real\.tif: images of real numbers.*data\.range: \[0, 1\]"):
        read_image(path)
    write(path, np.full((4, 4), 7.5, np.float32))
    with pytest.raises(InputError, match=r"real\.tif: images of real numbers.*7\.5.*data\.range: \[black, white\]"):
        read_image(path)
    with pytest.raises(InputError, match=r"real\.tif: expected class numbers, found real numbers.*p > 0.5"):
        read_mask(tmp_path / "real.tif")


def test_a_palette_mask_gives_its_indices_not_its_colours(tmp_path):
    picture = Image.fromarray(GREY % 3)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "palette.png")
    with Image.open(tmp_path / "palette.png") as stored:
        assert stored.mode == "P"
    np.testing.assert_array_equal(read_mask(tmp_path / "palette.png"), GREY % 3)


def test_one_bit_grey_alpha_and_grey_as_rgb_masks_give_one_plane(tmp_path):
    bits = GREY > 20
    one = read_mask(write(tmp_path / "bits.png", bits))
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, bits)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "la.png", np.stack([GREY, 255 - GREY], axis=-1))), GREY)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "rgb.png", np.stack([GREY] * 3, axis=-1))), GREY)


def test_16_bit_masks_keep_their_values_in_either_byte_order(tmp_path):
    deep = GREY.astype(np.uint16) * 1000
    big = Image.frombytes("I;16B", (8, 6), deep.astype(">u2").tobytes())
    big.save(tmp_path / "big.tif")
    for path in (write(tmp_path / "deep.png", deep), write(tmp_path / "deep.tif", deep), tmp_path / "big.tif"):
        raw = read_mask(path)
        assert raw.dtype == np.uint16, path
        np.testing.assert_array_equal(raw, deep)


@pytest.mark.parametrize("planes", [3, 4])
def test_a_colour_mask_is_refused_with_a_remedy(tmp_path, planes):
    colour = np.stack([GREY, GREY, GREY + 1, GREY][:planes], axis=-1)
    with pytest.raises(
        InputError, match=r"colour\.png: expected one class value per pixel.*colour image.*indexed or gr"
    ):
        read_mask(write(tmp_path / "colour.png", colour))


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png: expected a picture file, found no regular file"):
        read(tmp_path / "pipe.png")


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_picture_beyond_the_limit_is_refused_with_the_setting_before_it_is_decoded(tmp_path, read):
    Image.new("1", (20_000, 10_000)).save(tmp_path / "big.png")
    with pytest.raises(
        InputError, match=r"big\.png: larger than the 150 megapixels.*20000x10000 pixels.*data\.max_megapixels: 201"
    ):
        read(tmp_path / "big.png")
    small = write(tmp_path / "small.png")
    with pytest.raises(InputError, match="larger than the 1e-05 megapixels"):
        read(small, How(max_megapixels=1e-5))
    assert read(small, How(max_megapixels=48e-6)).shape[:2] == (6, 8)


@pytest.mark.parametrize("tag", range(1, 9))
def test_image_and_mask_are_turned_by_their_own_tag_or_not_at_all(tmp_path, tag):
    turned = {
        1: GREY,
        2: GREY[:, ::-1],
        3: GREY[::-1, ::-1],
        4: GREY[::-1],
        5: GREY.T,
        6: np.rot90(GREY, -1),
        7: GREY[::-1, ::-1].T,
        8: np.rot90(GREY),
    }
    exif = Image.Exif()
    exif[0x0112] = tag
    for extension in ("png", "tif", "webp"):
        options = {"exif": exif, "lossless": True} if extension == "webp" else {"exif": exif}
        path = write(tmp_path / f"a.{extension}", np.dstack([GREY] * 3) if extension == "webp" else GREY, **options)
        np.testing.assert_array_equal(read_image(path)[..., 1], turned[tag])
        np.testing.assert_array_equal(read_mask(path), turned[tag])
        np.testing.assert_array_equal(read_image(path, How(exif=False))[..., 1], GREY)
        np.testing.assert_array_equal(read_mask(path, How(exif=False)), GREY)


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path):
    """As XMP tells it there, of a picture whose EXIF names the camera alone."""
    camera = Image.Exif()
    camera[0x010F] = "maker"
    path = write(tmp_path / "a.png", exif=camera)
    told = b'iTXtXML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta><a tiff:Orientation="6"/></x:xmpmeta>'
    chunk = struct.pack(">I", len(told) - 4) + told + struct.pack(">I", zlib.crc32(told))
    content = path.read_bytes()
    path.write_bytes(content[:-12] + chunk + content[-12:])  # the last twelve bytes say that it ends
    np.testing.assert_array_equal(read_mask(path), np.rot90(GREY, -1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_a_range_sets_black_and_white_for_every_kind_of_number(tmp_path, dtype):
    values = np.array([[0, 20, 40, 60, 120, 200]], dtype)
    image, seen = view_image(write(tmp_path / "a.tif", values), How(range=(20.0, 120.0)))
    assert image[0, :, 0].tolist() == [0, 0, 51, 102, 255, 255]
    assert seen.values == (0, 200) and seen.scale == (20, 120) and seen.left_out == ()


def test_a_range_of_negative_numbers_reaches_them(tmp_path):
    path = write(tmp_path / "ct.tif", np.array([[-1024, 0, 1024, 3071]], np.int32))
    assert read_image(path, How(range=(-1024.0, 1024.0)))[0, :, 0].tolist() == [0, 128, 255, 255]
    image, seen = view_image(path)
    assert image[0, :, 0].tolist() == [0, 0, 3, 11] and seen.left_out == ("values below 0",)
    assert view_image(write(path, np.array([[70000]], np.int32)))[1].left_out == ("values above 65535",)


@pytest.mark.parametrize(("kind", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_a_range_of_shares_is_not_that_of_whole_numbers(tmp_path, kind, white):
    path = write(tmp_path / "a.png", np.array([[0, white // 2, white]], kind))
    assert read_image(path, How(range=(0.0, 1.0)))[0, :, 0].tolist() == [0, 127, 255]


def test_numbers_that_are_none_are_refused_even_with_a_range(tmp_path):
    path = write(tmp_path / "a.tif", np.array([[0, np.nan]], np.float32))
    with pytest.raises(InputError, match=r"a\.tif: expected numbers.*NaN"):
        read_image(path, How(range=(0.0, 1.0)))


def test_plain_colours_are_read_as_before_and_nothing_is_said(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    for name in ("a.png", "a.bmp", "a.tif", "a.ppm"):
        image, seen = view_image(write(tmp_path / name, colour))
        np.testing.assert_array_equal(image, colour)
        assert (seen.tag, seen.lossy, seen.values, seen.left_out) == (1, False, None, ())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "LAB"])
def test_every_mode_gives_the_colours_that_a_viewer_shows(tmp_path, mode):
    picture = Image.new("RGB", (6, 4), (250, 252, 249))
    path = tmp_path / ("a.tif" if mode in ("CMYK", "LAB", "PA", "YCbCr") else "a.png")
    picture = picture.quantize(4) if mode == "P" else picture.convert("L" if mode in ("LA", "PA") else "RGB")
    picture.convert(mode).save(path)
    assert np.abs(read_image(path).astype(int) - (250, 252, 249)).max() <= 6


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    picture = Image.fromarray(GREY % 2)
    picture.putpalette([9, 9, 9, 200, 0, 0])
    picture.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], np.where(GREY % 2, 200, 9))


def test_pages_bands_and_transparency_that_are_left_out_are_told(tmp_path):
    first = Image.fromarray(GREY)
    for extension in ("tif", "gif", "webp", "png"):
        first.save(tmp_path / f"pages.{extension}", save_all=True, append_images=[Image.fromarray(255 - GREY)])
        image, seen = view_image(tmp_path / f"pages.{extension}")
        assert "pages after the first" in seen.left_out, extension
        assert np.abs(image[..., 0].astype(int) - GREY).max() <= 12
    four = np.dstack([GREY, GREY, GREY, 200 - GREY])
    assert view_image(write(tmp_path / "a.tif", four))[1].left_out == ("bands after the third",)
    assert view_image(write(tmp_path / "a.png", four))[1].left_out == ("transparency",)
    four[..., 3] = 255
    assert view_image(write(tmp_path / "a.png", four))[1].left_out == ()


LOSSY = [
    ("tif", {"compression": "jpeg", "quality": 75}, True),
    ("tif", {"compression": "tiff_lzw"}, False),
    ("jp2", {"irreversible": True}, True),
    ("jp2", {"irreversible": False}, False),
    ("webp", {"quality": 80}, True),
    ("webp", {"lossless": True}, False),
    ("webp", {"lossless": True, "icc_profile": bytes(6001)}, False),
    ("webp", {"quality": 80, "icc_profile": b"VP8L" * 2000}, True),
]


@pytest.mark.parametrize(("extension", "options", "lossy"), LOSSY)
def test_masks_that_lost_something_are_known_by_their_coding(extension, options, lossy, tmp_path):
    plane = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 3, (8, 8), np.uint8), 8, 0), 8, 1)
    path = write(tmp_path / f"a.{extension}", np.dstack([plane] * 3) if extension == "webp" else plane, **options)
    try:
        found, seen = view_mask(path)
    except Unfit:  # its colours drifted apart
        assert lossy
        return
    assert seen.lossy == lossy and ((found == plane).all() or lossy)


def test_a_range_of_more_than_eight_bits_leaves_images_of_eight_as_they_are(tmp_path):
    eight = GREY * np.uint8(5)
    twelve = eight.astype(np.uint16) * 16
    how = How(range=(0.0, 4095.0))
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", eight), how)[..., 0], eight)
    deep = read_image(write(tmp_path / "b.png", twelve), how)[..., 0].astype(int)
    assert abs(deep - eight).max() <= 1
    narrow = read_image(write(tmp_path / "a.png", eight), How(range=(0.0, 100.0)))[..., 0]
    assert narrow.max() == 255 and (narrow[eight >= 100] == 255).all()
