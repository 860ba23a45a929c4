import io
import os
import zipfile

import numpy as np
import pytest

from segkd.datasets.arrays import read_array
from segkd.types import InputError

PLANES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_an_archive_gives_its_one_array_or_the_one_that_is_named_so(tmp_path):
    path = tmp_path / "a.npz"
    for arrays in ({"arr_0": PLANES}, {"x": PLANES}, {"probabilities": PLANES, "seg": PLANES[0]}):
        np.savez_compressed(path, **arrays)
        np.testing.assert_array_equal(read_array(path, 1e6), PLANES)
    for arrays, said in (({"a": PLANES, "b": PLANES}, "found a, b"), ({"softmax": PLANES, "mask": PLANES}, "softmax")):
        np.savez(path, **arrays)
        with pytest.raises(InputError, match=said):
            read_array(path, 1e6)


def test_arrays_have_two_to_four_axes(tmp_path):
    for axes in range(1, 6):
        np.save(tmp_path / "a.npy", PLANES.reshape((24, 1, 1, 1, 1)[:axes]))
        if 2 <= axes <= 4:
            assert read_array(tmp_path / "a.npy", 1e6).ndim == axes
        else:
            with pytest.raises(InputError, match="expected numbers"):
                read_array(tmp_path / "a.npy", 1e6)


def test_the_other_byte_order_and_column_order_are_read(tmp_path):
    np.save(tmp_path / "big.npy", PLANES.astype(">f4"))
    np.save(tmp_path / "columns.npy", np.asfortranarray(PLANES))
    for name in ("big", "columns"):
        found = read_array(tmp_path / f"{name}.npy", 1e6)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, PLANES)


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_a_head_that_promises_too_much_is_refused_before_it_is_read(tmp_path, kind):
    head = io.BytesIO()
    shape = (60_000, 60_000)
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        path.write_bytes(head.getvalue())
        os.truncate(path, len(head.getvalue()) + 4 * shape[0] * shape[1])  # a hole of 14 GB
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("arr_0.npy", head.getvalue())
    with pytest.raises(InputError, match=r"at most 150 million numbers.*60000.*max_megapixels"):
        read_array(path, 150e6)


def damaged(path, kind):
    np.save(path, np.zeros((4, 4)))
    whole = path.read_bytes()
    if kind == "zip head":
        path.write_bytes(b"PK\x03\x04 nothing")
    elif kind == "garbled head":
        path.write_bytes(whole.replace(b"{'descr'", b"('''('des"))
    elif kind == "cut":
        path.write_bytes(whole[:-9])
    elif kind == "objects":
        np.save(path, np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    elif kind == "words":
        np.save(path, np.array([["a"]]))
    elif kind == "line":
        np.save(path, np.zeros(9))
    elif kind == "nothing":
        np.save(path, np.zeros((0, 4)))
    elif kind == "records":
        np.save(path, np.zeros((2, 2), np.dtype([("\u00e4", "f4")])))
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pipe":
        path.unlink()
        os.mkfifo(path)


KINDS = ["zip head", "garbled head", "cut", "objects", "words", "line", "nothing", "records", "empty", "pipe"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
def test_a_damaged_array_is_named_whatever_numpy_raises(tmp_path, kind):
    path = tmp_path / "x.npy"
    damaged(path, kind)
    with pytest.raises(InputError, match=r"x\.npy: expected"):
        read_array(path, 1e6)
