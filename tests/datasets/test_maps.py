import numpy as np
import pytest
from PIL import Image

from segkd.datasets.maps import label_code, probe, read_class_map, read_map
from segkd.datasets.pictures import read_mask
from segkd.types import InputError

GREY = np.arange(60, dtype=np.uint8).reshape(6, 10) * 4


def saved(path, array, mode=None):
    Image.fromarray(array, mode).save(path) if mode is None else Image.fromarray(array).convert(mode).save(path)
    return path


def test_every_way_to_hold_the_same_map_reads_the_same(tmp_path):
    np.testing.assert_array_equal(read_map(saved(tmp_path / "grey.png", GREY)), GREY)
    colour = np.repeat(GREY[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_map(saved(tmp_path / "rgb.png", colour)), GREY)
    alpha = np.dstack([colour, np.full(GREY.shape, 255, np.uint8)])
    np.testing.assert_array_equal(read_map(saved(tmp_path / "rgba.png", alpha)), GREY)
    palette = Image.fromarray(255 - GREY)
    palette.putpalette([255 - i // 3 for i in range(768)])  # index i is the grey 255 - i
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_map(tmp_path / "palette.png"), GREY)
    sixteen = saved(tmp_path / "sixteen.png", GREY.astype(np.uint16) * 257)
    np.testing.assert_allclose(read_map(sixteen), GREY / np.float32(255), atol=1e-7)
    real = saved(tmp_path / "float.tiff", GREY.astype(np.float32) / 255)
    np.testing.assert_allclose(read_map(real), GREY / np.float32(255), atol=1e-7)
    np.save(tmp_path / "half.npy", (GREY / 255).astype(np.float16)[None])
    np.testing.assert_allclose(read_map(tmp_path / "half.npy"), GREY / 255, atol=1e-3)
    np.save(tmp_path / "bool.npy", GREY > 100)
    np.testing.assert_array_equal(read_map(tmp_path / "bool.npy"), np.where(GREY > 100, 255, 0))
    bits = saved(tmp_path / "bits.png", (GREY > 100).astype(np.uint8) * 255, "1")
    np.testing.assert_array_equal(read_map(bits), np.where(GREY > 100, 255, 0))
    ones = saved(tmp_path / "ones.png", (GREY > 100).astype(np.uint8))
    np.testing.assert_array_equal(read_map(ones, ones=True), np.where(GREY > 100, 255, 0))


def bad_files(folder):
    whole = saved(folder / "whole.png", GREY).read_bytes()
    (folder / "torn.png").write_bytes(whole[:-25])
    (folder / "empty.png").write_bytes(b"")
    tinted = np.dstack([GREY, GREY, GREY // 2])
    saved(folder / "colour.png", tinted)
    saved(folder / "cut.png", np.dstack([np.zeros((6, 10, 3), np.uint8), GREY]))
    np.save(folder / "nan.npy", np.where(GREY > 40, np.nan, 0.5))
    np.save(folder / "logits.npy", GREY - 20.0)
    np.save(folder / "deep.npy", np.zeros((3, 6, 10)))
    np.save(folder / "words.npy", np.array([["a"]]))
    (folder / "torn.npy").write_bytes((folder / "deep.npy").read_bytes()[:90])
    saved(folder / "large.tiff", GREY.astype(np.float32))
    return {
        "torn.png": "readable image", "empty.png": "readable image", "colour.png": "colour picture",
        "cut.png": "alpha", "nan.npy": "NaN", "logits.npy": r"0\.\.1", "deep.npy": r"\[h w\]", "words.npy": "numbers",
        "torn.npy": "NumPy array", "large.tiff": r"0\.\.1",
    }  # fmt: skip


def test_every_bad_map_is_named_with_its_reason(tmp_path):
    for name, said in bad_files(tmp_path).items():
        with pytest.raises(InputError, match=said) as caught:
            read_map(tmp_path / name)
        assert name in str(caught.value)


def test_class_maps_are_numbers_or_scores(tmp_path):
    classes = (GREY // 80).astype(np.uint8)
    np.testing.assert_array_equal(read_class_map(saved(tmp_path / "a.png", classes), 3), classes)
    scores = np.random.default_rng(0).normal(size=(3, 6, 10)).astype(np.float32)
    np.save(tmp_path / "s.npy", scores)
    np.testing.assert_array_equal(read_class_map(tmp_path / "s.npy", 3), scores)
    np.save(tmp_path / "i.npy", classes.astype(np.int64))
    np.testing.assert_array_equal(read_class_map(tmp_path / "i.npy", 3), classes)
    for name, array in (("four", np.zeros((4, 6, 10))), ("high", classes + 7), ("nan", scores * np.nan)):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(InputError, match=name):
            read_class_map(tmp_path / f"{name}.npy", 3)


def test_masks_of_ones_are_told_from_masks_of_255_by_the_first_that_shows_it(tmp_path):
    mask = (GREY > 100).astype(np.uint8)
    paths = [saved(tmp_path / "0.png", mask * 0), saved(tmp_path / "1.png", mask)]
    assert probe(paths, read_mask) == 1
    code = label_code(1, 2, None, [], None)
    np.testing.assert_array_equal(code(mask), mask)
    paths.append(saved(tmp_path / "2.png", mask * 255))
    assert probe(paths, read_mask) == 255 and probe(paths, read_mask, ignore=[255]) == 1
    np.testing.assert_array_equal(label_code(255, 2, None, [], None)(mask * np.uint8(200)), mask)
    assert label_code(255, 3, {7: 1}, [], None).table[7] == 1 and label_code(9, 2, None, [], 5).table[6] == 1


def test_wide_whole_numbers_are_0_and_1_or_refused(tmp_path):
    np.save(tmp_path / "argmax.npy", np.array([[0, 1], [1, 1]], np.int64))
    np.save(tmp_path / "levels.npy", np.array([[0, 200], [3, 4]], np.int32))
    assert read_map(tmp_path / "argmax.npy").tolist() == [[0, 255], [255, 255]]
    with pytest.raises(InputError, match=r"expected int32 of 0 and 1, found 0..200. Save levels as uint8"):
        read_map(tmp_path / "levels.npy")


@pytest.mark.parametrize("kind", ["archive", "zip head", "garbled head"])
def test_a_damaged_array_is_named_whatever_numpy_raises(tmp_path, kind):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((4, 4)))
    if kind == "archive":
        with path.open("wb") as file:
            np.savez(file, a=np.zeros(3))
    elif kind == "zip head":
        path.write_bytes(b"PK\x03\x04 nothing")
    else:
        path.write_bytes(path.read_bytes().replace(b"{'descr'", b"('''('des"))
    with pytest.raises(InputError, match=r"x\.npy: expected"):
        read_map(path)


def test_pictures_of_ones_beside_real_arrays_are_ones(tmp_path):
    np.save(tmp_path / "a.npy", np.full((2, 2), 0.5, np.float32))
    Image.fromarray(np.array([[0, 1], [1, 1]], np.uint8)).save(tmp_path / "b.png")
    assert probe([tmp_path / "a.npy", tmp_path / "b.png"], read_map) == 1
    assert probe([tmp_path / "a.npy"], read_map) == 255
