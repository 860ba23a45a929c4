import numpy as np
import pytest
from PIL import Image

from segkd.datasets.pictures import How, read_mask, view_mask
from segkd.types import IGNORE, InputError

SQUARE = np.zeros((12, 16), np.uint8)
SQUARE[3:8, 4:11] = 1
"""A mask of 0 and 1."""

COLOURS = (((0, 0, 0), 0), ((200, 0, 0), 1), ((0, 0, 200), IGNORE))


def save(path, array, mode=None):
    Image.fromarray(array).convert(mode).save(path) if mode else Image.fromarray(array).save(path)
    return path


def indexed(path, palette, array=SQUARE, **options):
    picture = Image.fromarray(array)
    picture.putpalette([part for colour in palette for part in colour])
    picture.save(path, **options)
    with Image.open(path) as stored:
        assert stored.mode == "P"
    return path


@pytest.mark.parametrize("extension", ["png", "gif", "tif"])
@pytest.mark.parametrize("dark, bright", [(0, 255), (255, 0), (40, 90)])
def test_a_palette_of_greys_is_a_grey_picture_whichever_end_is_first(tmp_path, extension, dark, bright):
    path = indexed(tmp_path / f"a.{extension}", [(dark,) * 3, (bright,) * 3])
    raw, seen = view_mask(path)
    np.testing.assert_array_equal(raw, np.where(SQUARE, bright, dark))
    assert seen.palette == {} and seen.greys
    assert not view_mask(indexed(tmp_path / f"b.{extension}", [(0,) * 3, (1,) * 3]))[1].greys  # its very numbers


def test_a_palette_with_a_colour_that_is_not_in_use_gives_indices(tmp_path):
    raw, seen = view_mask(indexed(tmp_path / "a.png", [(0, 0, 0), (255, 255, 255), (200, 0, 0)]))
    np.testing.assert_array_equal(raw, SQUARE)
    assert seen.palette == {0: (0, 0, 0), 1: (255, 255, 255)} and not seen.greys


def test_a_palette_with_colours_gives_indices_though_those_in_use_are_grey(tmp_path):
    voc = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 128)]
    raw, seen = view_mask(indexed(tmp_path / "a.png", voc, SQUARE * 3))
    np.testing.assert_array_equal(raw, SQUARE * 3)
    assert seen.palette == {0: (0, 0, 0), 3: (128, 128, 128)}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_masks_in_named_colours_give_class_numbers(tmp_path, mode):
    rgb = np.zeros((*SQUARE.shape, 3), np.uint8)
    rgb[SQUARE == 1], rgb[0] = (200, 0, 0), (0, 0, 200)
    expected = SQUARE.copy()
    expected[0] = IGNORE
    if mode == "P":
        picture = Image.fromarray(rgb).quantize(3)
        picture.save(tmp_path / "a.png")
    else:
        save(tmp_path / "a.png", rgb, mode)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", How(colours=COLOURS)), expected)


def test_grey_masks_beside_coloured_ones_are_read_by_colour_too(tmp_path):
    how = How(colours=(((0, 0, 0), 0), ((255, 255, 255), 1)))
    for path in (save(tmp_path / "l.png", SQUARE * 255), save(tmp_path / "bit.png", SQUARE * 255, "1")):
        np.testing.assert_array_equal(read_mask(path, how), SQUARE)


def test_colours_without_a_name_are_refused(tmp_path):
    path = save(tmp_path / "a.png", np.dstack([SQUARE * 9, SQUARE, SQUARE]))
    with pytest.raises(InputError, match=r"a\.png: colours that data\.colours does not name: #090101 \(100\.0 %\)"):
        read_mask(path, How(colours=COLOURS))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("colour", [0, 255])
def test_a_mask_in_its_alpha_is_refused_by_name(tmp_path, mode, colour):
    planes = [np.full_like(SQUARE, colour)] * (1 if mode == "LA" else 3)
    path = save(tmp_path / "a.png", np.dstack([*planes, SQUARE * 255]))
    with Image.open(path) as stored:
        assert stored.mode == mode
    for how in (How(), How(colours=COLOURS)):
        with pytest.raises(InputError, match=r"a\.png: expected the mask in its values.*transparency.*getchannel"):
            read_mask(path, how)


def test_a_mask_in_the_transparency_of_its_palette_is_refused(tmp_path):
    path = indexed(tmp_path / "a.png", [(255, 0, 0), (255, 0, 0)], transparency=bytes([0, 255]))
    with pytest.raises(InputError, match=r"a\.png: expected the mask in its values"):
        read_mask(path)
    path = indexed(tmp_path / "b.png", [(0, 0, 0), (255, 0, 0)], transparency=bytes([0, 255]))
    np.testing.assert_array_equal(read_mask(path), SQUARE)  # transparent, but its colours say the same


def test_alpha_that_is_constant_or_beside_a_mask_is_left_out(tmp_path):
    flat = save(tmp_path / "flat.png", np.dstack([SQUARE, np.full_like(SQUARE, 255)]))
    raw, seen = view_mask(flat)
    np.testing.assert_array_equal(raw, SQUARE)
    assert seen.left_out == ()
    raw, seen = view_mask(save(tmp_path / "both.png", np.dstack([SQUARE] * 3 + [SQUARE * 100 + 100])))
    np.testing.assert_array_equal(raw, SQUARE)
    assert seen.left_out == ("transparency",)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_whole_numbers_of_any_type_are_a_mask(tmp_path, dtype):
    raw = read_mask(save(tmp_path / "a.tif", (SQUARE * 7).astype(dtype)))
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(raw, SQUARE * 7)


@pytest.mark.parametrize(
    "value, words", [(0.5, "class numbers, found real.*p > 0.5"), (np.nan, r"a number.*\(NaN\).*data.ignore: \[255\]")]
)
def test_other_real_numbers_name_the_conversion(tmp_path, value, words):
    with pytest.raises(InputError, match=rf"a\.tif: expected {words}"):
        read_mask(save(tmp_path / "a.tif", SQUARE * np.float32(value)))


@pytest.mark.parametrize("value", [-1, 70000])
def test_numbers_out_of_range_name_the_conversion(tmp_path, value):
    with pytest.raises(InputError, match=r"a\.tif: expected whole numbers 0\.\.65535.*data\.ignore: \[255\]"):
        read_mask(save(tmp_path / "a.tif", SQUARE.astype(np.int32) * value))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_lies_beyond_the_numbers_of_a_mask(tmp_path, value):
    np.save(tmp_path / "a.npy", np.where(SQUARE, value, 0.0))
    with pytest.raises(InputError, match=r"a\.npy: expected whole numbers 0\.\.65535"):
        read_mask(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float64, ">u2"])
@pytest.mark.parametrize("shape", [(12, 16), (1, 12, 16), (12, 16, 1)])
def test_numpys_files_are_masks(tmp_path, dtype, shape):
    np.save(tmp_path / "a.npy", SQUARE.reshape(shape).astype(dtype))
    np.savez(tmp_path / "a.npz", SQUARE.reshape(shape).astype(dtype))
    for path in (tmp_path / "a.npy", tmp_path / "a.npz"):
        np.testing.assert_array_equal(read_mask(path), SQUARE)


def test_an_array_of_scores_is_no_mask(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 12, 16), np.float32))
    with pytest.raises(InputError, match=r"a\.npy: expected one class per pixel \[h w\].*argmax"):
        read_mask(tmp_path / "a.npy")


def test_a_large_array_is_refused_by_its_head(tmp_path):
    np.save(tmp_path / "a.npy", SQUARE)
    with pytest.raises(InputError, match=r"a\.npy.*max_megapixels"):
        read_mask(tmp_path / "a.npy", How(max_megapixels=1e-5))


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.avif"])
def test_loss_is_known_by_the_format(tmp_path, name):
    Image.fromarray(SQUARE).convert("RGB").save(tmp_path / name, quality=95)
    assert view_mask(tmp_path / name)[1].lossy


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp"])
def test_files_without_loss_are_known_too(tmp_path, name):
    options = {"lossless": True, "exif": Image.Exif()} if name == "a.webp" else {}
    Image.fromarray(SQUARE).convert("RGB").save(tmp_path / name, **options)
    raw, seen = view_mask(tmp_path / name)
    np.testing.assert_array_equal(raw, SQUARE)
    assert not seen.lossy


@pytest.mark.parametrize("name", ["a.webp", "a.jpg"])
def test_a_grey_mask_whose_bands_a_lossy_format_moved_apart_is_grey(tmp_path, name):
    tinted = np.dstack([SQUARE * 255, SQUARE * 251, SQUARE * 253]).repeat(4, 0).repeat(4, 1)
    raw = read_mask(save(tmp_path / name, tinted))
    assert raw.shape == tinted.shape[:2]
    np.testing.assert_array_equal(raw > 128, tinted[..., 0] > 128)
    with pytest.raises(InputError, match="a colour image"):
        read_mask(save(tmp_path / "a.png", tinted))
    with pytest.raises(InputError, match="a colour image"):
        read_mask(save(tmp_path / name, tinted * np.array([1, 0, 0], np.uint8)))


def test_a_photo_is_no_mask_and_its_alpha_may_be_one(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (24, 32, 4)).astype(np.uint8)
    with pytest.raises(InputError, match=r"transparency varies. Save its alpha channel as a grey picture"):
        read_mask(save(tmp_path / "cut.png", photo))
    with pytest.raises(InputError, match="so none can be named") as error:
        read_mask(save(tmp_path / "photo.png", photo[..., :3]))
    assert "data.colours" not in str(error.value)


def test_arrays_in_named_colours_are_read_as_pictures_are_and_planes_of_classes_are_refused(tmp_path):
    colours = (((0, 0, 0), 0), ((255, 0, 0), 1), ((0, 255, 0), 2))
    index = np.array([[0, 1, 2], [2, 2, 0]])
    table = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    np.save(tmp_path / "a.npy", table[index])
    np.testing.assert_array_equal(read_mask(tmp_path / "a.npy", How(colours=colours)), index)
    with pytest.raises(InputError, match=r"a\.npy"):
        read_mask(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.eye(3, dtype=np.uint8)[index])
    for how in (How(), How(colours=colours)):
        with pytest.raises(InputError, match="argmax"):
            read_mask(tmp_path / "b.npy", how)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, bool])
def test_an_array_of_levels_is_read_by_grey_colours_and_one_of_numbers_by_others(tmp_path, kind):
    levels = np.array([[0, 255, 255], [0, 0, 255]]).astype(kind)
    np.save(tmp_path / "a.npy", levels)
    grey, other = (((0, 0, 0), 1), ((255, 255, 255), 0)), (((0, 0, 0), 0), ((255, 0, 0), 1))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.npy", How(colours=grey)), levels == 0)
    for how in (How(colours=other), How(colours=grey, grey_values=True)):
        np.testing.assert_array_equal(read_mask(tmp_path / "a.npy", how), levels)
    np.save(tmp_path / "b.npy", np.array([[0, 7]], np.uint8))
    with pytest.raises(InputError, match="does not name: #070707"):
        read_mask(tmp_path / "b.npy", How(colours=grey))
