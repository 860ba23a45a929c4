from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from segkd.datasets.audit import Audit, read_all
from segkd.datasets.faults import forgive_faults, refuse_faults
from segkd.datasets.labels import code_from_colours, code_from_map, code_from_threshold, guess_code
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import How
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


@pytest.fixture
def make_jpeg(make_pair):
    def make(stem, mask):
        pair = make_pair(stem, mask)
        pair = Pair(stem, pair.mask, pair.image)
        Image.fromarray(mask).save(pair.mask, quality=75)
        return pair

    return make


def plane(*values, size=(4, 6), dtype=np.uint8):
    return np.resize(np.array(values, dtype), size)


def audited(pairs):
    audit = Audit()
    read_all(pairs, lambda reading: None, audit, lambda: None)
    return audit


def check(pairs, code, classes=2):
    refuse_faults(audited(pairs), code, [f"c{i}" for i in range(classes)])


def report(pairs, classes, code=None):
    code = code or guess_code(np.flatnonzero(audited(pairs).total).tolist(), [], classes)
    with pytest.raises(InputError) as error:
        check(pairs, code, classes)
    return str(error.value)


def test_a_folder_without_faults_passes(make_pair):
    pairs = [make_pair("a", plane(0, 255)), make_pair("b", plane(0))]
    audit = Audit()
    read_all(pairs, lambda reading: None, audit, lambda: None)
    refuse_faults(audit, guess_code([0, 255], [], 2), ["no", "yes"])


def test_an_unknown_value_names_file_pixels_and_a_ready_map(make_pair):
    pairs = [make_pair("a", plane(0, 10)), make_pair("b", plane(0, 20, 20)), make_pair("c", plane(20))]
    text = report(pairs, 3, code_from_map({0: 0, 10: 1}, [], 3))
    assert f"2 of 3 masks hold raw values that are no class (20): {pairs[1].mask}, {pairs[2].mask}." in text
    assert "Read as: label_map 0 -> 0, 10 -> 1." in text
    assert "`label_map: {0: 0, 10: 1, 20: 2}`" in text
    assert str(pairs[0].mask) not in text


def test_more_values_than_classes_are_offered_to_ignore(make_pair):
    text = report([make_pair("a", plane(0, 1, 7, 9))], 3)
    assert "`label_map: {0: 0, 1: 1, 7: 2}`, and `ignore: [9]`" in text


def test_three_values_of_two_classes_may_be_three_classes(make_pair):
    text = report([make_pair("a", plane(0, 128, 255))], 2)
    assert "name 3 in data.classes; or, where 128 marks a border to leave out" in text
    assert "`label_map: {0: 0, 255: 1}`, and `ignore: [128]`" in text
    text = report([make_pair("b", plane(1, 2, 3))], 2)
    assert "name 3 in data.classes; or say which is which" in text and "1: 0" not in text


def test_one_value_more_than_classes_may_be_none_of_them(make_pair):
    pair = make_pair("a", plane(0, 1, 2, 3))
    assert "where 3 marks pixels to leave out (void), write `ignore: [3]`" in report([pair], 3)
    assert "where 0 is none of them, write `label_map: {1: 0, 2: 1, 3: 2}`, and `ignore: [0]`" in report([pair], 3)
    ignored = report([pair], 3, code_from_map({1: 0, 2: 1}, [0], 3))
    assert "`label_map: {1: 0, 2: 1, 3: 2}`" in ignored and "ignore: [" not in ignored


def test_numbers_of_objects_are_not_called_grey_levels(make_pair):
    for values in ((0, 1, 2, 90, 200, 364), (0, 1, 2, 3, 4)):
        text = report([make_pair(f"a{values[-1]}", plane(*values, dtype=np.uint16))], 2)
        assert "`data.threshold: 0`" in text and "128" not in text


def test_a_trimmed_palette_is_not_read_as_white(tmp_path):
    pairs = []
    for name, colours in (("full", [0, 0, 0, 255, 255, 255, 255, 0, 0]), ("trimmed", [0, 0, 0, 255, 255, 255])):
        picture = Image.new("P", (6, 4))
        picture.putdata(plane(*range(len(colours) // 3)).ravel().tolist())
        picture.putpalette(colours)
        picture.save(tmp_path / f"{name}.png")
        image = Image.new("RGB", picture.size)
        image.save(tmp_path / f"{name}.jpg")
        pairs.append(Pair(name, tmp_path / f"{name}.jpg", tmp_path / f"{name}.png"))
    text = report(pairs, 3, guess_code([0, 1, 2, 255], [255], 3))
    assert "1 masks have palettes of greys alone" in text and "trimmed.png" in text and "Name the colours" in text
    assert "label_map" not in text
    mapped = code_from_map({0: 0, 1: 1, 2: 2, 255: 1}, [], 3)
    assert "Name the colours" in report(pairs, 3, mapped)
    check(pairs, replace(mapped, told=True), 3)  # by someone who knows both kinds


def test_masks_of_which_one_value_is_left_are_refused_in_words(make_pair):
    assert "map" in report([make_pair("a", plane(0, 255))], 3, code_from_map({1: 0}, [0], 3))


def test_16_bit_values_are_named(make_pair):
    text = report([make_pair("a", plane(0, 1000, dtype=np.uint16))], 3)
    assert "no class (1000)" in text and "1000 (50.0 %)" in text and "`label_map: {0: 0, 1000: 1}`" in text


def test_a_0_255_mask_is_not_read_as_class_255(make_pair):
    pair = make_pair("a", plane(0, 255))
    text = report([pair], 3)
    assert f"no class (255): {pair.mask}" in text
    # to ignore 255 here would leave a single class, so that is not what is advised
    assert "0 and 255 would be read as class 255" in text and "names 3" in text and "data.ignore: [255]" not in text
    text = report([pair, make_pair("b", plane(0, 1))], 3)
    assert "If 255 marks pixels to leave out, write `data.ignore: [255]`" in text


def test_mixed_0_1_and_0_255_masks_are_refused_with_a_map_for_both(make_pair):
    pairs = [make_pair("a", plane(0, 1)), make_pair("b", plane(0, 255))]
    text = report(pairs, 2)
    assert f"1 of 2 masks hold raw values that are no class (255): {pairs[1].mask}." in text
    assert "`data.label_map: {0: 0, 1: 1, 255: 1}`" in text and "`data.ignore: [255]`" in text


def test_grey_levels_get_the_advice_of_a_threshold(make_pair):
    text = report([make_pair("a", plane(*[0] * 20, 3, 128, 250, 255))], 2)
    assert text.startswith("the data cannot be used as they are. Write `data.threshold: 128`")
    assert "these look like grey levels" in text


def test_numbers_of_classes_beside_a_255_get_no_advice_of_a_threshold(make_pair):
    text = report([make_pair("a", plane(*[0] * 20, 1, 2, 3, 255))], 2)
    assert "threshold: 128" not in text
    assert "name all 4 in data.classes, or map them (and `data.ignore: [255]`" in text


def test_all_kinds_of_faults_stand_in_one_report_a_line_each(make_pair):
    pairs = [make_pair("good", plane(0, 1)), make_pair("size", plane(0, 1), size=(3, 3)), make_pair("cut", plane(0))]
    pairs += [make_pair("odd", plane(0, 77)), make_pair("colour", np.dstack([plane(0, 1), plane(1), plane(0)]))]
    pairs[2].image.write_bytes(pairs[2].image.read_bytes()[:300])
    text = report(pairs, 2)
    lines = text.splitlines()
    assert lines[0] == "the data cannot be used as they are:" and len(lines) == 5
    for name in ("size.png", "cut.jpg", "colour.png", "odd.png"):
        assert sum(name in line for line in lines) == 1
    assert "good.png" not in text


def test_equal_faults_are_one_line_with_the_advice_first_a_count_and_the_first_files(make_pair):
    pairs = [make_pair(f"p{i:02d}", plane(0), size=(3, 3)) for i in range(13)]
    text = report(pairs, 2)
    assert text.startswith("the data cannot be used as they are. Save the mask at the image's size")
    assert "13 files" in text and "p02.png (expected 3x3" in text and "p03" not in text and "and 10 more" in text


def test_colours_of_masks_are_summed_over_the_folder_with_a_map_to_start_from(make_pair):
    first, second = np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)
    first[:2], second[0] = (48, 112, 32), (176, 112, 32)
    pairs = [make_pair("a", first, size=(4, 6)), make_pair("b", second, size=(4, 6))]
    text = report(pairs, 3)
    assert "data.colours: {c0: '#000000', c1: '#307020', c2: '#b07020'}" in text
    assert "Colours found: #000000 (62.5 %), #307020 (25.0 %), #b07020 (12.5 %)" in text and "2 masks" in text


def test_a_label_map_beside_the_masks_is_offered(make_pair, tmp_path):
    (tmp_path / "labelmap.txt").write_text("ground:0,0,0::\ncat:48,112,32::\n")
    mask = np.zeros((4, 6, 3), np.uint8)
    mask[:2] = (48, 112, 32)
    text = report([make_pair("a", mask, size=(4, 6))], 2)
    assert f"Write data.colours: {tmp_path}/labelmap.txt" in text and "data.classes: [ground, cat]" in text


def test_colours_without_a_name_are_listed_over_the_folder(make_pair):
    first, second = np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 3, np.uint8)
    first[:2] = (48, 112, 32)
    pairs, audit = [make_pair("a", first, size=(4, 6)), make_pair("b", second, size=(4, 6))], Audit()
    read_all(pairs, lambda reading: None, audit, lambda: None, How(colours=(((0, 0, 0), 0),)))
    with pytest.raises(InputError) as error:
        refuse_faults(audit, code_from_colours(2), ["no", "yes"])
    assert "2 files: colours that data.colours does not name: #030303 (66.7 %), #307020 (33.3 %)" in str(error.value)


def test_a_photo_as_a_mask_is_not_asked_for_the_class_of_each_colour(make_pair):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    text = report([make_pair("a", noise, size=(40, 40))], 2)
    assert "none can be named" in text and "data.colours: {" not in text
    pairs, audit = [make_pair("b", noise, size=(40, 40)), make_pair("c", noise, size=(40, 40))], Audit()
    read_all(pairs, lambda reading: None, audit, lambda: None, How(colours=(((0, 0, 0), 0),)))
    with pytest.raises(InputError, match="none can be named") as error:
        refuse_faults(audit, code_from_colours(2), ["no", "yes"])
    assert "Name them in data.colours" not in str(error.value)


def blob(high):
    mask = np.zeros((40, 40), np.uint8)
    mask[9:30, 7:28] = high
    return mask


def test_0_255_masks_in_jpeg_are_advised_a_threshold_first_in_one_line(make_jpeg):
    text = report([make_jpeg("a", blob(255)), make_jpeg("b", blob(255))], 2)
    assert text.startswith("the data cannot be used as they are. Write `data.threshold: 128`")
    assert (
        "2 of 2 masks are compressed with loss (as JPEG is), which blurs 0 and 255" in text
        and "\n" not in text
        and len(text) < 900
    )


@pytest.mark.parametrize("high, classes", [(1, 2), (2, 3), (40, 3)])
def test_class_numbers_in_jpeg_are_refused_with_the_reason(make_jpeg, high, classes):
    text = report([make_jpeg("a", blob(high))], classes, code_from_map({0: 0, 1: 1, 2: 1, high: 1}, [], classes))
    assert "as PNG: JPEG changes values" in text and "threshold" not in text


def test_jpeg_masks_are_read_where_nothing_was_lost_or_a_threshold_is_given(make_jpeg):
    flat = np.zeros((32, 32), np.uint8)
    flat[:16] = 255  # along the blocks of 8: exact
    check([make_jpeg("a", flat)], guess_code([0, 255], [], 2))
    check([make_jpeg("b", blob(255))], code_from_threshold(128))


def test_faults_that_leave_good_pairs_are_forgiven_and_forgotten(make_pair):
    pairs = [make_pair("good", plane(0, 1)), make_pair("size", plane(0), size=(3, 3)), make_pair("odd", plane(0, 77))]
    audit, code = audited(pairs), code_from_map({0: 0, 1: 1}, [], 2)
    faults = forgive_faults(audit, code)
    assert set(faults) == {"size", "odd"} and "raw value 77 is not a class" in faults["odd"]
    refuse_faults(audit, code, ["no", "yes"])
    assert forgive_faults(audited(pairs[1:]), code) == {}


def test_forgotten_jpegs_are_no_reason_to_refuse_the_others(make_pair, make_jpeg):
    pairs = [make_pair("good", plane(0, 255)), make_pair("fine", plane(0, 255)), make_jpeg("odd", blob(255))]
    audit, code = audited(pairs), guess_code([0, 255], [], 2)
    assert set(forgive_faults(audit, code)) == {"odd"}
    refuse_faults(audit, code, ["no", "yes"])
