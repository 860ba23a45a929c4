from pathlib import Path

import numpy as np
import pytest

from segkd.datasets.data import Data
from segkd.datasets.pictures import Seen
from segkd.datasets.tally import tally_of
from segkd.datasets.truth import label_rule
from segkd.types import InputError

MASK = np.zeros((20, 20), np.uint8)
MASK[4:12, 5:15] = 1
WHITE = MASK * np.uint8(255)
SOFT = WHITE.copy()
SOFT[3, 5:15], SOFT[12, 5:15] = np.arange(10) * 25 + 4, 200
"""A white object with a soft outline."""


def ruled(masks, lossy=False, **settings):
    paths = [Path(f"m{i}.png") for i in range(len(masks))]
    tallies = {p.stem: tally_of(p, m, Seen(lossy=lossy), most=65536) for p, m in zip(paths, masks)}
    return label_rule(tallies, Data(**settings))


@pytest.mark.parametrize("white", [np.uint8(1), np.uint8(255), np.uint16(255), np.uint16(65535)])
def test_masks_of_0_and_one_other_usual_value_are_understood(white):
    code, faults = ruled([MASK * white, MASK * 0])
    np.testing.assert_array_equal(code(MASK * white), MASK)
    assert not faults


def test_soft_outlines_are_read_by_the_convention_of_saliency():
    code, _ = ruled([SOFT, WHITE])
    assert code.rule == "values above 128 are class 1"
    blurred = WHITE.copy()
    blurred[3, :], blurred[4, 5:15] = np.arange(20) % 5, 250 + np.arange(10) % 6
    assert ruled([blurred] * 2, lossy=True)[0].rule == "values above 128 are class 1"


SEVERAL = MASK + np.roll(MASK, 3, 0) * 2

REFUSED = {
    "half white": (MASK * 128, {}, "--data.label_map '{0: 0, 128: 1}'"),
    "five classes": (SEVERAL + np.roll(MASK, 5, 1), {}, "look like 5 classes"),
    "VOC": (np.where(SEVERAL == 3, 255, SEVERAL * 6).astype(np.uint8), {}, "--data.label_map"),
    "trimap": (np.where(SEVERAL == 2, 128, WHITE).astype(np.uint8), {}, "label_map"),
    "many": (np.arange(400, dtype=np.uint8).reshape(20, 20), {}, "--data.threshold 128"),
    "ignored": (np.where(MASK > 0, 255, 1).astype(np.uint8), {"classes": ["a", "b", "c"]}, "data.ignore: [255]"),
    "wrong map": (WHITE, {"label_map": {0: 0, 1: 1}}, "Found raw values: 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_that_cannot_be_read_is_refused_with_what_to_write(name):
    mask, settings, cure = REFUSED[name]
    with pytest.raises(InputError) as caught:
        ruled([mask] * 3, **settings)
    assert cure in str(caught.value), caught.value


def test_what_the_user_says_is_done():
    for settings in ({"label_map": {0: 0, 128: 1}}, {"threshold": 100}):
        code, _ = ruled([MASK * 128], **settings)
        np.testing.assert_array_equal(code(MASK * 128), MASK)


def test_one_stray_mask_costs_its_own_scores_and_two_ways_of_writing_are_refused():
    code, faults = ruled([WHITE] * 5 + [MASK])
    assert list(faults) == ["m5"] and "raw value 1 is not a class" in faults["m5"] and code.known[255]
    code, faults = ruled([MASK] * 5 + [WHITE])
    assert list(faults) == ["m5"] and code.known[1]
    for masks in ([WHITE, MASK], [WHITE] * 5 + [MASK] * 3):
        with pytest.raises(InputError, match="some masks are 0/1 and others 0/255"):
            ruled(masks)


def test_masks_of_one_value_do_not_outvote_those_that_hold_the_object():
    for masks in ([MASK * 0] * 12 + [MASK * 254] * 2, [MASK * 0 + 1] * 12 + [MASK + 1] * 2):
        with pytest.raises(InputError, match="2 of 14 masks hold raw values that are no class"):
            ruled(masks)
    code, faults = ruled([MASK * 0] * 12 + [MASK * 7] * 2, label_map={0: 0, 255: 1})
    assert list(faults) == ["m12", "m13"] and code.told


def test_class_numbers_in_a_lossy_format_are_refused():
    with pytest.raises(InputError, match="JPEG"):
        ruled([SEVERAL] * 2, lossy=True, classes=["a", "b", "c", "d"])
    with pytest.raises(InputError, match="JPEG") as error:
        ruled([MASK] * 2, lossy=True)
    assert "label_map" not in str(error.value)  # a map does not help
    with pytest.raises(InputError, match="JPEG"):
        ruled([MASK] * 5 + [MASK * 2], lossy=True)


def test_one_value_too_many_may_be_void_at_the_end():
    numbers = np.arange(400, dtype=np.uint8).reshape(20, 20) % 4
    with pytest.raises(
        InputError, match=r"4 classes: name them all.*or leave out the last one \(void\).*ignore '\[3\]'"
    ):
        ruled([numbers], classes=["a", "b", "c"])
