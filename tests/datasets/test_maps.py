import numpy as np
import pytest
from PIL import Image

from segkd.datasets.maps import foreground_plane, read_prediction, stored_size
from segkd.datasets.pictures import How, read_mask
from segkd.types import InputError

GREY = np.arange(60, dtype=np.uint8).reshape(6, 10) * 4
HALF = GREY / np.float32(255)
SIZE = (6, 10)


def saved(path, array):
    np.save(path, array) if path.suffix == ".npy" else Image.fromarray(array).save(path)
    return path


def test_every_order_of_axes_gives_the_same_plane(tmp_path):
    softmax = np.stack([1 - HALF, HALF])
    shapes = {
        "hw": HALF, "1hw": HALF[None], "hw1": HALF[..., None], "11hw": HALF[None, None], "1hw1": HALF[None, ..., None],
        "khw": softmax, "hwk": np.moveaxis(softmax, 0, 2), "1khw": softmax[None],
        "1hwk": np.moveaxis(softmax, 0, 2)[None], "k1hw": softmax[:, None],
    }  # fmt: skip
    for name, array in shapes.items():
        found = read_prediction(saved(tmp_path / f"{name}.npy", array), 2, SIZE)
        np.testing.assert_array_equal(found, HALF, err_msg=name)


def test_scores_of_more_classes_keep_their_planes(tmp_path):
    scores = np.random.default_rng(0).normal(size=(3, 6, 10)).astype(np.float32)
    for name, array in {
        "khw": scores,
        "hwk": np.moveaxis(scores, 0, 2),
        "1khw": scores[None],
        "k1hw": scores[:, None],
    }.items():
        np.testing.assert_array_equal(read_prediction(saved(tmp_path / f"{name}.npy", array), 3, SIZE), scores)


def test_the_label_decides_between_axes_or_the_shape_is_refused(tmp_path):
    planes = np.zeros((2, 40, 2), np.float32)
    planes[..., 1] = 1
    path = saved(tmp_path / "a.npy", planes)
    assert read_prediction(path, 2, (2, 40)).shape == (2, 40)
    with pytest.raises(InputError, match="cannot be read in one way"):
        read_prediction(path, 2, (20, 20))


@pytest.mark.parametrize("shape", [(3, 6, 10), (6, 10, 3), (3, 1, 6, 10), (2, 2, 6, 10), (5, 6, 10)])
def test_planes_that_fit_no_class_are_refused_with_the_cure(tmp_path, shape):
    path = saved(tmp_path / "deep.npy", np.zeros(shape))
    with pytest.raises(InputError, match=r"deep\.npy: expected \[h w\].*two classes.*plane 1 of a softmax"):
        read_prediction(path, 2, SIZE)


def test_two_planes_are_shares_of_one_whole_or_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.testing.assert_array_equal(foreground_plane(path, np.stack([GREY < 90, GREY >= 90])), GREY >= 90)
    np.testing.assert_array_equal(foreground_plane(path, np.stack([255 - GREY, GREY])), GREY)
    half = np.stack([1 - HALF, HALF]).astype(np.float16)
    np.testing.assert_array_equal(foreground_plane(path, half), half[1])
    for logits in (np.stack([-GREY * 0.1, GREY * 0.1]), np.stack([HALF, HALF]), np.stack([5 - HALF, HALF - 4])):
        with pytest.raises(InputError, match=r"a\.npy: expected two planes.*softmax"):
            foreground_plane(path, logits)


def test_pictures_of_bits_and_of_real_numbers_keep_their_type(tmp_path):
    Image.fromarray(GREY > 90).save(tmp_path / "bits.png")
    assert read_prediction(tmp_path / "bits.png", 2, SIZE).dtype == bool
    found = read_prediction(saved(tmp_path / "real.tiff", HALF), 2, SIZE)
    np.testing.assert_array_equal(found, HALF)


def test_a_dark_picture_of_32_bits_is_of_the_same_type_as_its_bright_neighbours(tmp_path):
    for name, levels in (("dark.tif", GREY), ("bright.tif", GREY.astype(np.int32) * 250)):
        found = read_prediction(saved(tmp_path / name, levels.astype(np.int32)), 2, SIZE)
        np.testing.assert_array_equal(found, levels)
        assert found.dtype == np.uint16, name


def bad_files(folder):
    whole = saved(folder / "whole.png", GREY).read_bytes()
    (folder / "torn.png").write_bytes(whole[:-25])
    (folder / "empty.png").write_bytes(b"")
    saved(folder / "colour.png", np.dstack([GREY, GREY, GREY // 2]))
    saved(folder / "nan.npy", np.where(GREY > 40, np.nan, 0.5))
    saved(folder / "infinite.tiff", np.where(GREY > 40, np.inf, 0.5).astype(np.float32))
    return {"torn.png": "readable image", "empty.png": "readable image", "colour.png": "colour", "nan.npy": "NaN",
            "infinite.tiff": "infinite"}  # fmt: skip


def test_every_bad_map_is_named_with_its_reason(tmp_path):
    for name, said in bad_files(tmp_path).items():
        with pytest.raises(InputError, match=said) as caught:
            read_prediction(tmp_path / name, 2, SIZE)
        assert name in str(caught.value)


def test_labels_are_whole_numbers_of_any_type(tmp_path):
    mask = (GREY > 90).astype(np.uint8)
    for name, array in {
        "a.png": mask, "b.tif": mask.astype(np.float32), "c.npy": mask.astype(np.int64), "d.npy": mask > 0,
        "e.npy": mask[None].astype(np.float64), "f.npy": mask[..., None],
    }.items():  # fmt: skip
        found = read_mask(saved(tmp_path / name, array))
        assert found.dtype in (np.uint8, np.uint16)
        np.testing.assert_array_equal(found, mask, err_msg=name)
    for name, array in {"g.npy": HALF, "h.npy": mask - 1.0, "i.npy": np.stack([HALF, HALF]), "j.tif": HALF}.items():
        with pytest.raises(InputError, match=r"(g|h|i|j)\.(npy|tif): expected"):
            read_mask(saved(tmp_path / name, array))


def test_the_size_of_a_picture_is_known_before_it_is_decoded(tmp_path):
    picture = Image.fromarray(GREY)
    tag = Image.Exif()
    tag[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=tag)
    assert stored_size(tmp_path / "turned.png", How()) == (10, 6)
    assert stored_size(tmp_path / "turned.png", How(exif=False)) == (6, 10)
    assert stored_size(saved(tmp_path / "a.npy", GREY), How()) is None and stored_size(tmp_path / "no", How()) is None


def test_predictions_in_colours_are_read_by_them_and_numbers_as_numbers(tmp_path):
    how = How(colours=(((0, 0, 0), 0), ((9, 90, 200), 1), ((200, 9, 9), 2)))
    numbers = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
    Image.fromarray(numbers).save(tmp_path / "numbers.png")
    Image.fromarray(np.array([colour for colour, _ in how.colours], np.uint8)[numbers]).save(tmp_path / "colours.png")
    for name in ("numbers.png", "colours.png"):
        np.testing.assert_array_equal(read_prediction(tmp_path / name, 3, (4, 6), how), numbers)
    with pytest.raises(InputError, match="found a colour image"):
        read_prediction(tmp_path / "colours.png", 3, (4, 6))
