import struct
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import cv2
import numpy as np
import pytest
from PIL import Image

from segkd.datasets.deep import LOG, SILENT, describe_tiff, read_deep, turn
from segkd.datasets.pictures import How, read_image, read_mask, view_image
from segkd.types import InputError

DEEP = (np.arange(6 * 8 * 3).reshape(6, 8, 3) * 20).astype(np.uint16)
"""Colours of 12 bits."""


def tiff(path, array, tag=1, sample_format=1):
    """A plain TIFF of any number of bands, written by hand: libraries refuse some."""
    height, width, bands = array.shape
    bits, data = array.dtype.itemsize * 8, array.tobytes()
    tags = {256: width, 257: height, 259: 1, 262: 2 if bands == 3 else 1, 273: 8, 274: tag, 277: bands, 278: height}
    entries = {key: (3, 1, value) for key, value in tags.items()} | {279: (4, 1, len(data)), 284: (3, 1, 1)}
    end = 8 + len(data) + 2 + 12 * (len(entries) + 2) + 4
    entries |= {258: (3, bands, end), 339: (3, bands, end + 2 * bands)}
    if bands == 1:
        entries |= {258: (3, 1, bits), 339: (3, 1, sample_format)}
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(entries))
    head += b"".join(struct.pack("<HHII", key, *entry) for key, entry in sorted(entries.items())) + struct.pack("<I", 0)
    path.write_bytes(head + struct.pack(f"<{2 * bands}H", *[bits] * bands, *[sample_format] * bands))
    return path


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_colours_of_16_bits_keep_their_low_bytes_when_a_range_is_given(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    cv2.imwrite(str(path), DEEP[..., ::-1])
    image, seen = view_image(path, How(range=(0.0, 4095.0)))
    assert np.abs(image - DEEP / 4095 * 255).max() <= 0.5
    assert seen.values == (0, 2860) and seen.scale == (0, 4095)
    plain, seen = view_image(path)
    np.testing.assert_array_equal(plain, DEEP // 257)
    assert seen.values == (0, 2860) and seen.scale == (0, 65535)


def test_opencv_stays_silent_while_another_thread_is_done(tmp_path, monkeypatch):
    """Its log level is the whole process's."""
    path, levels = tmp_path / "a.png", []
    cv2.imwrite(str(path), DEEP)
    both, done, decode = Barrier(2), Event(), cv2.imdecode

    def slow(*arguments):
        if both.wait(30) and done.wait(30):  # the second thread looks when the first one has its picture
            levels.append(LOG.getLogLevel())
        return decode(*arguments)

    def read():
        read_deep(path, 1, True, False)
        done.set()

    monkeypatch.setattr(cv2, "imdecode", slow)
    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(read) for _ in range(2)]:
            one.result()
    assert levels == [SILENT]


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("kind", ["deep png", "deep tiff", "deep tiff called png", "plain tiff"])
def test_deep_and_plain_files_are_turned_alike(tmp_path, tag, kind):
    values = DEEP if kind.startswith("deep") else (DEEP // 257).astype(np.uint8)
    path = tmp_path / f"a.{'png' if kind.endswith('png') else 'tif'}"
    if kind == "deep png":
        cv2.imwrite(str(path), values[..., ::-1])
        exif = Image.Exif()
        exif[0x0112] = tag
        chunk = b"eXIf" + exif.tobytes()[6:]
        data = path.read_bytes()  # the chunk goes behind the header, which has 33 bytes
        path.write_bytes(data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + crc(chunk) + data[33:])
    else:
        tiff(path, values, tag)
    expected = (DEEP // 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(path), turn(expected, tag))
    np.testing.assert_array_equal(read_image(path, How(exif=False)), expected)


def crc(chunk):
    import zlib

    return struct.pack(">I", zlib.crc32(chunk))


def test_turning_as_pillow_does():
    from PIL import ImageOps

    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    for tag in range(1, 9):
        picture = Image.fromarray(grey)
        picture.getexif()[0x0112] = tag
        np.testing.assert_array_equal(turn(grey, tag), np.asarray(ImageOps.exif_transpose(picture)))


def test_a_mask_of_equal_deep_planes_keeps_its_numbers(tmp_path):
    numbers = np.arange(48, dtype=np.uint16).reshape(6, 8) * 30
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([numbers] * 3))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), numbers)


@pytest.mark.parametrize("dtype, bits", [(np.uint8, 8), (np.uint16, 16)])
def test_a_tiff_of_six_bands_is_described_and_not_called_damaged(tmp_path, dtype, bits):
    path = tiff(tmp_path / "six.tif", np.zeros((6, 8, 6), dtype))
    assert describe_tiff(path) == f"8x6 pixels of 6 bands, {bits} bits, whole numbers"
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=rf"six\.tif: .*8x6 pixels of 6 bands, {bits} bits.*three as RGB") as error:
            read(path)
        assert "Replace or remove" not in str(error.value)


def test_only_a_tiff_is_described(tmp_path):
    Image.new("L", (3, 2)).save(tmp_path / "a.tif")
    assert describe_tiff(tmp_path / "a.tif") == "3x2 pixels of 1 band, 8 bits, whole numbers"
    for content in (b"", b"II*\0", b"no picture", (tmp_path / "a.tif").read_bytes()[:20]):
        (tmp_path / "b.tif").write_bytes(content)
        assert describe_tiff(tmp_path / "b.tif") is None
