import numpy as np
import pytest
from PIL import Image

from segkd.datasets.audit import Audit, read_all, read_pair, refuse_faults
from segkd.datasets.files import Pair
from segkd.datasets.labels import code_from_map, guess_code
from segkd.types import InputError


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


def report(pairs, classes, code=None):
    audit = Audit()
    read_all(pairs, lambda reading: None, audit, lambda: None)
    code = code or guess_code(np.flatnonzero(audit.total).tolist(), [], classes)
    with pytest.raises(InputError) as error:
        refuse_faults(audit, pairs, code, classes)
    return str(error.value)


def test_a_good_pair_is_read_and_a_bad_one_never_raises(make_pair):
    pair = make_pair("a", plane(0, 1))
    reading = read_pair(pair)
    assert reading.fault is None and reading.image.shape == (4, 6, 3)
    np.testing.assert_array_equal(reading.raw, plane(0, 1))
    pair.mask.write_bytes(b"broken")
    reading = read_pair(pair)
    assert str(pair.mask) in reading.fault and reading.image is None and reading.raw is None


def test_a_size_mismatch_names_the_mask_and_both_sizes(make_pair):
    pair = make_pair("a", plane(0, 1), size=(9, 5))
    fault = read_pair(pair).fault
    assert fault.startswith(f"{pair.mask}: expected 5x9 pixels like a.jpg, found 6x4")
    assert "Save the mask at the image's size" in fault


def test_counts_order_and_progress_of_reading(make_pair):
    pairs = [make_pair(f"p{i}", plane(i, 200, size=(4, 6))) for i in range(5)]
    kept, steps, audit = [], [], Audit()
    read_all(pairs, kept.append, audit, lambda: steps.append(1))
    assert [reading.pair for reading in kept] == pairs and len(steps) == 5
    expected = np.zeros(65536, np.int64)
    expected[[0, 1, 2, 3, 4, 200]] = [12, 12, 12, 12, 12, 60]
    np.testing.assert_array_equal(audit.total, expected)


def test_a_folder_without_faults_passes(make_pair):
    pairs = [make_pair("a", plane(0, 255)), make_pair("b", plane(0))]
    audit = Audit()
    read_all(pairs, lambda reading: None, audit, lambda: None)
    refuse_faults(audit, pairs, guess_code([0, 255], [], 2), 2)


def test_an_unknown_value_names_file_pixels_and_a_ready_map(make_pair):
    pairs = [make_pair("a", plane(0, 10)), make_pair("b", plane(0, 20, 20)), make_pair("c", plane(20))]
    text = report(pairs, 3, code_from_map({0: 0, 10: 1}, [], 3))
    assert f"{pairs[1].mask}: raw value 20 (16 pixels here; it occurs in 2 files) is not a class" in text
    assert "Classes are 0..2" in text and "Read as: label_map 0 -> 0, 10 -> 1." in text
    assert "`label_map: {0: 0, 10: 1, 20: 2}`" in text
    assert str(pairs[0].mask) not in text


def test_more_values_than_classes_are_offered_to_ignore(make_pair):
    text = report([make_pair("a", plane(0, 1, 7, 9))], 3)
    assert "`label_map: {0: 0, 1: 1, 7: 2}`, and `ignore: [9]`" in text


def test_16_bit_values_are_named(make_pair):
    text = report([make_pair("a", plane(0, 1000, dtype=np.uint16))], 3)
    assert "raw value 1000 (12 pixels here" in text and "`label_map: {0: 0, 1000: 1}`" in text


def test_a_0_255_mask_is_not_read_as_class_255(make_pair):
    pair = make_pair("a", plane(0, 255))
    text = report([pair], 3)
    assert f"{pair.mask}: raw value 255" in text
    # to ignore 255 here would leave a single class, so that is not what is advised
    assert "0 and 255 would be read as class 255" in text and "names 3" in text and "data.ignore: [255]" not in text
    text = report([pair, make_pair("b", plane(0, 1))], 3)
    assert "would be read as class 255" in text and "data.ignore: [255]" in text


def test_mixed_0_1_and_0_255_masks_are_refused_with_a_map_for_both(make_pair):
    pairs = [make_pair("a", plane(0, 1)), make_pair("b", plane(0, 255))]
    text = report(pairs, 2)
    assert f"{pairs[1].mask}: raw value 255 (12 pixels here; it occurs in 1 files)" in text
    assert "`data.label_map: {0: 0, 1: 1, 255: 1}`" in text and "`data.ignore: [255]`" in text


def test_grey_levels_get_the_advice_of_a_threshold(make_pair):
    text = report([make_pair("a", plane(0, 3, 128, 250, 255))], 2)
    assert "These look like grey levels: write `data.threshold: 128`" in text


def test_all_faults_stand_in_one_report(make_pair):
    pairs = [make_pair("good", plane(0, 1)), make_pair("size", plane(0, 1), size=(3, 3)), make_pair("cut", plane(0))]
    pairs += [make_pair("odd", plane(0, 77)), make_pair("colour", np.dstack([plane(0, 1), plane(1), plane(0)]))]
    pairs[2].image.write_bytes(pairs[2].image.read_bytes()[:300])
    text = report(pairs, 2)
    assert text.startswith("4 faults in the data:")
    for name in ("size.png: expected", "cut.jpg: expected", "colour.png: expected", "odd.png: raw value 77"):
        assert name in text
    assert "good.png" not in text


def test_a_long_report_is_cut_and_counted(make_pair):
    pairs = [make_pair(f"p{i:02d}", plane(0), size=(3, 3)) for i in range(13)]
    text = report(pairs, 2)
    assert text.startswith("13 faults") and text.count("expected") == 10 and "and 3 more" in text


def test_an_image_too_small_to_crop_is_named(make_pair):
    reading = read_pair(make_pair("tiny", plane(0, 1, size=(3, 40))))
    assert "at least 4 pixels" in reading.fault and "tiny" in reading.fault and "40x3" in reading.fault
