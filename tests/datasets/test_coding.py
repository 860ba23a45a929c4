"""One truth in many codings: each gives the same map, or a refusal that says what to write."""

from pathlib import Path

import numpy as np
import pytest

from segkd.datasets.coding import Coding, Told, decide
from segkd.datasets.maps import read_prediction
from segkd.datasets.pictures import Seen
from segkd.datasets.tally import kind_of, tally_of
from segkd.types import InputError

CUT = np.zeros((3, 12, 16), np.uint8)
CUT[0, 2:8, 3:9] = CUT[1, 4:9, 1:12] = CUT[2, 5:7, 5:7] = 1
SOFT = np.clip(CUT * 150.0 + np.arange(16) * 6, 0, 255).astype(np.uint8)
SOFT[0, 2, 3] = 255
NOTHING = Told()


def decided(arrays, classes=2, said=NOTHING, suffix="png"):
    """The coding of raw arrays, and what it makes of each."""
    paths = [Path(f"m{i}.{suffix}") for i in range(len(arrays))]
    coding = decide({p.stem: tally_of(p, a, Seen(lossy=suffix == "jpg")) for p, a in zip(paths, arrays)}, classes, said)
    return coding, [coding(p, a, kind_of(a)) for p, a in zip(paths, arrays) if p.stem not in coding.faults]


def as_probability(found):
    return found / np.float32(255) if found.dtype == np.uint8 else found


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float16",
                                   "float32", "float64"])  # fmt: skip
def test_an_argmax_of_any_type_is_the_same_map(dtype):
    for found, mask in zip(decided(list(CUT.astype(dtype)))[1], CUT):
        np.testing.assert_array_equal(as_probability(found), mask)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64"])
@pytest.mark.parametrize("maps", [SOFT, CUT * np.uint8(255)], ids=["soft", "cut"])
def test_levels_of_any_type_are_the_same_map(dtype, maps):
    coding, found = decided(list(maps.astype(dtype)))
    assert coding.rule == "read as value / 255"
    for one, levels in zip(found, maps):
        np.testing.assert_allclose(as_probability(one), levels / 255, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_probabilities_a_hair_beyond_their_range_are_clipped(dtype):
    maps = (SOFT / 255).astype(dtype)
    maps[0, 0, 0], maps[0, 2, 3] = -1e-9, np.nextafter(maps.dtype.type(1), maps.dtype.type(2))
    for found, levels in zip(decided(list(maps))[1], SOFT):
        assert found.min() >= 0 and found.max() <= 1
        np.testing.assert_allclose(found, levels / 255, atol=1e-3)


def test_sixteen_bits_of_full_range(tmp_path):
    for found, levels in zip(decided(list(SOFT.astype(np.uint16) * 257))[1], SOFT):
        np.testing.assert_allclose(found, levels / 255, atol=1e-6)


REFUSED = {
    "one-based": (CUT + 1, "--prediction-map '{1: 0, 2: 1}'"),
    "VOC's person": (CUT * 15, "--prediction-map '{0: 0, 15: 1}'"),
    "half white": (CUT * np.uint8(128), "--prediction-map '{0: 0, 128: 1}'"),
    "five classes": (CUT * 3 + SOFT // 128, "look like class numbers"),
    "per cent": ((SOFT / 2.55).round().astype(np.uint8), "--prediction-scale 100"),
    "twelve bits": (SOFT.astype(np.uint16) * 16, "--prediction-scale 4095"),
    "levels in 16 bits": (SOFT.clip(0, 252).astype(np.uint16), "--prediction-scale 255;"),
    "seven bits": (SOFT // 2, "--prediction-scale 127;"),
    "fifteen bits": (SOFT.astype(np.uint16) * 128 + SOFT // 2, "--prediction-scale 32767;"),
    "signed bits": ((SOFT // 2).astype(np.int8), "--prediction-scale 127."),
    "half of 16 bits": (SOFT.astype(np.int32) * 120, "--prediction-scale 32767."),
    "half white, 16 bit": (CUT * np.uint16(32768), "--prediction-map '{0: 0, 32768: 1}'"),
    "logits": (SOFT / 25.0 - 5, "sigmoid or softmax"),
    "real per cent": (SOFT / 2.5501, "--prediction-scale 100"),
    "real levels": (SOFT * 0.999, "--prediction-scale 255"),
    "classes and 255": (CUT + (SOFT == 255) * np.uint8(254), "--prediction-map '{0: 0, 1: 1, 255: 1}'"),
    "greys for classes": (CUT * 85 + np.roll(CUT, 4, 2) * 85, "--prediction-map '{0: 0, 85: 1, 170: 1}'"),
    "many classes": ((np.arange(140, 158, dtype=np.uint8).repeat(32).reshape(3, 12, 16) * (1 - CUT)), "class numbers"),
    "real classes": (CUT * 2.0, "--prediction-map '{0: 0, 2: 1}'"),
    "signed": (CUT.astype(np.int16) * 2 - 1, "0 and 1 for the classes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_mean_several_things_is_refused_with_what_to_write(name):
    maps, cure = REFUSED[name]
    with pytest.raises(InputError) as caught:
        decided(list(maps))
    assert cure in str(caught.value)


def test_what_the_user_says_is_done():
    for said, maps in (
        (Told(map={1: 0, 2: 1}), CUT + 1), (Told(map={0: 0, 15: 1}), CUT * 15.0), (Told(scale=128.0), CUT * 128),
        (Told(scale=4080.0), CUT * np.uint16(4080)), (Told(map={0: 1, 255: 0}), 255 * (1 - CUT)),
    ):  # fmt: skip
        for found, mask in zip(decided(list(maps), said=said)[1], CUT):
            np.testing.assert_array_equal(as_probability(found), mask)


def test_settings_that_cannot_be_are_refused():
    planes = [np.stack([CUT[0], 1 - CUT[0], CUT[1]]) * 0.5]
    with pytest.raises(InputError, match="--prediction-map says what whole numbers mean"):
        decided(planes, 3, Told({0: 1, 1: 0, 2: 2}))
    for said, classes in ((Told({0: 0}, 255.0), 2), (Told(scale=0.0), 2), (Told(scale=9.0), 3), (Told({0: 2}), 2)):
        with pytest.raises(InputError, match="--prediction-"):
            decided(list(CUT), classes, said)


def test_one_stray_file_costs_its_own_scores_and_two_ways_of_writing_are_refused():
    many = [CUT[0] * np.uint8(255)] * 9
    coding, _ = decided([*many, CUT[1]])
    assert list(coding.faults) == ["m9"] and "up to 255" in coding.faults["m9"]
    coding, _ = decided([CUT[0]] * 9 + [CUT[1] * np.uint8(255)])
    assert list(coding.faults) == ["m9"] and coding.rule == "read as 0 and 1"
    with pytest.raises(InputError, match=r"two ways to write.*--prediction-map '\{0: 0, 1: 1, 255: 1\}'"):
        decided([*many, *[CUT[1]] * 9])
    coding, _ = decided([*many, CUT[1] + 1])
    assert list(coding.faults) == ["m9"] and "1 to 2" in coding.faults["m9"]
    coding, _ = decided([SOFT[0].astype(np.uint16) * 257] * 9 + [SOFT[0].astype(np.uint16) * 0 + CUT[0] * 255])
    assert "1 of 10" in coding.notes[0]
    coding, _ = decided([*many, CUT[1] * np.uint16(300)])
    assert list(coding.faults) == ["m9"] and "of 65535" in coding.faults["m9"], "a kind of its own"
    soft = [level / np.float32(255) for level in SOFT]
    coding, _ = decided([*soft, *soft, soft[0] * 9 - 3])
    assert list(coding.faults) == ["m6"] and "sigmoid" in coding.faults["m6"]


def test_black_maps_say_nothing_of_the_scale():
    black = [CUT[0] * 0.0] * 9
    coding, found = decided([*black, CUT[1] * 255.0, CUT[0] * 255.0])
    assert not coding.faults and coding.rule == "read as value / 255"
    np.testing.assert_array_equal(as_probability(found[-1]), CUT[0])
    coding, _ = decided([*black, CUT[0] * 0.5, CUT[1] * 0.5, CUT[2] * 0.5, CUT[1] * 255.0])
    assert list(coding.faults) == ["m12"]
    for maps in ([*black, SOFT[1] * 0.9], [*black, SOFT[1] / 25.0 - 5]):
        with pytest.raises(InputError, match="1 of the predictions lie beyond the scale"):
            decided(maps)


def test_a_soft_map_that_saw_nothing_is_read_and_noted():
    dark = (np.arange(192).reshape(12, 16) % 2).astype(np.uint8)
    coding, found = decided([*SOFT, dark])
    assert "1 of 4" in coding.notes[0] and not coding.faults
    np.testing.assert_array_equal(found[3], dark)


def test_more_classes_are_numbers_or_scores():
    numbers = np.stack([CUT[0] + CUT[1], CUT[2] * 2])
    for dtype in ("uint8", "int64", "float32"):
        for found, right in zip(decided(list(numbers.astype(dtype)), 3)[1], numbers):
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, right)
    scores = np.random.default_rng(0).normal(size=(3, 12, 16))
    assert decided([scores], 3)[1][0].shape == (3, 12, 16)
    for maps, cure in ((numbers + 1, "{1: 0, 2: 1, 3: 2}"), (numbers * 100, "--prediction-map"), (SOFT, "scores for")):
        with pytest.raises(InputError) as caught:
            decided(list(maps), 3)
        assert cure in str(caught.value)
    coding, _ = decided([*numbers, *numbers, numbers[0] + 5], 3)
    assert list(coding.faults) == ["m4"]


def test_class_numbers_in_a_lossy_format_are_refused():
    with pytest.raises(InputError, match=r"m0\.jpg.*JPEG.*PNG"):
        decided([CUT[0] + CUT[1]], 3, suffix="jpg")
    with pytest.raises(InputError, match="JPEG"):
        decided(list(CUT), suffix="jpg")
    with pytest.raises(InputError, match="JPEG"):  # no map helps: the advice would be refused, too
        decided([CUT[0] * np.uint8(2), CUT[1]], suffix="jpg")
    assert decided(list(SOFT), suffix="jpg")[0].scales == {"8 bit": 255}


def test_a_file_that_changed_since_it_was_looked_at_is_refused_by_name(tmp_path):
    coding = Coding(2, {"8 bit": 1.0}, rule="read as 0 and 1")
    with pytest.raises(InputError, match=r"x\.npy: expected values 0\.\.1, found -0\.5\.\.1"):
        Coding(2, {"real numbers": 1.0})(Path("x.npy"), np.array([[-0.5, 1.0]], np.float32), "real numbers")
    with pytest.raises(InputError, match=r"x\.png: expected values 0\.\.1, found 0\.\.255"):
        coding(Path("x.png"), SOFT[0], "8 bit")
    with pytest.raises(InputError, match=r"x\.png: value 255 is not a class"):
        Coding(3)(Path("x.png"), CUT[0] * np.uint8(255), "8 bit")


def test_files_are_read_and_coded_alike(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([1 - CUT[0], CUT[0]]).astype(np.float16))
    raw = read_prediction(tmp_path / "a.npy", 2, (12, 16))
    coding = decide({"a": tally_of(tmp_path / "a.npy", raw)}, 2, Told())
    np.testing.assert_array_equal(coding(tmp_path / "a.npy", raw, kind_of(raw)), CUT[0])


@pytest.mark.parametrize("void", [3, 255])
def test_predicted_void_is_never_proposed_as_the_last_class(void):
    maps = [np.where(CUT[0] == 1, void, np.arange(16, dtype=np.uint8) % 3).astype(np.uint8)] * 3
    with pytest.raises(
        InputError, match=rf"If {void} stands for pixels that are left out.*most probable of the 3"
    ) as error:
        decided(maps, 3)
    assert "--prediction-map" not in str(error.value)


def test_values_beyond_the_classes_are_left_to_the_user():
    maps = [np.array([[0, 7, 8, 11]] * 4, np.uint8)] * 3
    with pytest.raises(InputError, match=r"--prediction-map '\{0: 0, 7: 1, 8: 2, 11: CLASS\}'"):
        decided(maps, 3)
