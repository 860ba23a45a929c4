import numpy as np
import pytest
from PIL import Image

from segkd.datasets import audit as room
from segkd.datasets.audit import Audit, read_all, read_pair
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import How


@pytest.fixture
def make_pair(tmp_path):
    def make(stem, mask, size=None):
        pair = Pair(stem, tmp_path / f"{stem}.jpg", tmp_path / f"{stem}.png")
        mask = np.asarray(mask)
        Image.fromarray(np.zeros((size or mask.shape), np.uint8)).save(pair.image)
        Image.fromarray(mask).save(pair.mask)
        return pair

    return make


def plane(*values, size=(4, 6), dtype=np.uint8):
    return np.resize(np.array(values, dtype), size)


def test_a_good_pair_is_read_and_a_bad_one_never_raises(make_pair):
    pair = make_pair("a", plane(0, 1))
    reading = read_pair(pair)
    assert reading.fault is None and reading.image.shape == (4, 6, 3)
    np.testing.assert_array_equal(reading.raw, plane(0, 1))
    pair.mask.write_bytes(b"broken")
    reading = read_pair(pair)
    assert str(pair.mask) in str(reading.fault) and reading.image is None and reading.raw is None


def test_a_size_mismatch_names_the_mask_and_both_sizes(make_pair):
    pair = make_pair("a", plane(0, 1), size=(9, 5))
    fault = str(read_pair(pair).fault)
    assert fault.startswith(str(pair.mask)) and "expected 5x9 pixels like a.jpg, found 6x4" in fault
    assert "Save the mask at the image's size" in fault


@pytest.mark.parametrize("place", ["PIL.ImageFile.ImageFile.load", "PIL.Image.Image.convert"])
def test_a_picture_that_does_not_fit_into_memory_is_a_fault_of_its_own(make_pair, monkeypatch, place):
    def full(*_arguments, **_options):
        raise MemoryError

    pair = make_pair("a", plane(0, 1))
    monkeypatch.setattr(place, full)
    fault = read_pair(pair).fault
    assert fault is not None and "does not fit into the memory" in str(fault)


def test_counts_order_and_progress_of_reading(make_pair):
    pairs = [make_pair(f"p{i}", plane(i, 200, size=(4, 6))) for i in range(5)]
    kept, steps, audit = [], [], Audit()
    read_all(pairs, kept.append, audit, lambda: steps.append(1))
    assert [reading.pair for reading in kept] == pairs and len(steps) == 5
    expected = np.zeros(65536, np.int64)
    expected[[0, 1, 2, 3, 4, 200]] = [12, 12, 12, 12, 12, 60]
    np.testing.assert_array_equal(audit.total, expected)


def test_an_image_too_small_to_crop_is_named(make_pair):
    reading = read_pair(make_pair("tiny", plane(0, 1, size=(3, 40))))
    assert all(words in str(reading.fault) for words in ("at least 4 pixels", "tiny", "40x3"))


def test_a_reading_counts_the_values_of_its_mask_as_stored_and_as_the_network_sees_them(make_pair):
    mask = np.zeros((40, 60), np.uint16)
    mask[:10] = 300
    mask[35, 7] = 2
    reading = read_pair(make_pair("a", mask), size=(8, 8))
    assert dict(zip(*(part.tolist() for part in reading.counts))) == {0: 1799, 2: 1, 300: 600}
    assert reading.small.tolist() == [0, 300]


@pytest.fixture
def make_turned(tmp_path):
    def make(size, tag_image, tag_mask, mask_size=None):
        pair = Pair("a", tmp_path / "a.jpg", tmp_path / "a.png")
        for path, tag, shape in ((pair.image, tag_image, size), (pair.mask, tag_mask, mask_size or size)):
            exif = Image.Exif()
            exif[0x0112] = tag
            Image.new("L", shape, 1).save(path, **({"exif": exif} if tag != 1 else {}))
        return pair

    return make


@pytest.mark.parametrize("tag", range(1, 9))
def test_a_mask_with_its_images_orientation_agrees_with_it(make_turned, tag):
    reading = read_pair(make_turned((6, 8), tag, tag))
    assert reading.fault is None and not reading.undecided
    assert reading.image.shape[:2] == reading.raw.shape == ((6, 8) if tag >= 5 else (8, 6))
    stored = read_pair(make_turned((6, 8), tag, tag), How(exif=False))
    assert stored.fault is None and not stored.undecided and stored.raw.shape == (8, 6)


@pytest.mark.parametrize("tag", [2, 3, 4])
def test_an_orientation_on_one_side_is_undecided_where_the_size_stays(make_turned, tag):
    assert read_pair(make_turned((6, 8), tag, 1)).undecided and read_pair(make_turned((6, 8), 1, tag)).undecided
    assert not read_pair(make_turned((6, 8), tag, 1), How(exif=False)).undecided


@pytest.mark.parametrize("tag", [5, 6, 7, 8])
def test_a_quarter_turn_on_one_side_is_decided_by_the_size_unless_it_is_square(make_turned, tag):
    assert read_pair(make_turned((7, 7), tag, 1)).undecided
    fits = read_pair(make_turned((6, 8), tag, 1, mask_size=(8, 6)))
    assert fits.fault is None and not fits.undecided
    raw = make_turned((6, 8), tag, 1)
    assert "fits its image as it is stored" in str(read_pair(raw).fault)
    assert "data.exif: false" in str(read_pair(raw).fault)
    assert read_pair(raw, How(exif=False)).fault is None
    turned = make_turned((6, 8), tag, 1, mask_size=(8, 6))
    assert "data.exif: true" in str(read_pair(turned, How(exif=False)).fault)
    assert "data.exif" not in str(read_pair(make_turned((6, 8), tag, 1, mask_size=(5, 5))).fault)


def test_large_pictures_are_decoded_few_at_a_time_and_all_in_order(make_pair, monkeypatch):
    pairs = [make_pair(f"p{i}", plane(i, size=(20, 20))) for i in range(12)]
    monkeypatch.setattr(room, "AHEAD", 2000)  # two pairs of 800 pixels
    started, taken = [], []
    plain = room.read_pair
    monkeypatch.setattr(room, "read_pair", lambda pair, *rest: started.append(pair.stem) or plain(pair, *rest))

    def keep(reading):
        taken.append(reading.pair.stem)
        assert len(started) <= len(taken) + 2

    read_all(pairs, keep, Audit(), lambda: None)
    assert taken == [f"p{i}" for i in range(12)]
