import numpy as np
import pytest

from segkd.metrics.counts import count_binary, count_classes
from segkd.metrics.meter import Meter
from segkd.report.judging import Judged, emptiness, renamed

NONE, ALL = np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8)
HALF = np.repeat(np.array([0, 1], np.uint8), 32).reshape(8, 8)


@pytest.mark.parametrize(
    ("label", "predicted", "said"),
    [
        (HALF, HALF, []), (NONE, HALF, ["no image has foreground"]),
        (HALF, NONE, ["nothing is ever predicted as foreground"]),
        (ALL, ALL, ["every pixel of every label is foreground"]),
        (HALF, ALL, ["every pixel is predicted as foreground"]),
        (HALF, ALL - HALF, ["inverted (1 - p), these predictions would have a miou_dataset of 1.0000, not 0.0000: "
                            "is their foreground black?"]),
        (HALF, np.roll(HALF, 2, 0), []),
        (HALF * 0 + 255, HALF, ["no label has a pixel that counts"]),
    ],
)  # fmt: skip
def test_two_classes_of_which_one_is_nowhere(label, predicted, said):
    meter = Meter(["background", "foreground"])
    meter.add("a", count_binary(predicted * np.uint8(255), label.astype(np.uint8), 0.5))
    assert emptiness(meter) == said


def test_classes_that_are_only_predicted():
    meter = Meter(["sky", "car", "tree"])
    meter.add("a", count_classes(HALF * 2, HALF, 3))
    assert emptiness(meter) == ["predicted, but in no label: tree"]
    meter = Meter(["sky", "car", "tree"])
    meter.add("a", count_classes(NONE, HALF, 3))
    assert emptiness(meter) == ["nothing but sky is ever predicted"]


def test_most_classes_of_the_labels_are_never_predicted():
    meter = Meter(["sky", "car", "tree", "road", "sign"])
    label = np.arange(64, dtype=np.uint8).reshape(8, 8) % 5
    meter.add("a", count_classes(HALF, label, 5))
    [said] = emptiness(meter)
    assert said.startswith("in the labels, but never predicted: tree, road, sign (3 of 5)")
    meter.add("b", count_classes(HALF * 2, label, 5))
    assert emptiness(meter) == []


def test_class_numbers_that_are_one_apart_are_told():
    label = np.arange(64, dtype=np.uint8).reshape(8, 8) // 16
    for by, said in ((0, []), (-1, ["the next one: does the model not count sky"]), (1, ["the one before: does the"])):
        meter = Meter(["sky", "car", "tree", "road"])
        true = label.clip(max(0, -by), 3 - max(0, by))
        meter.add("a", count_classes(true + np.uint8(by % 256), true, 4))
        found = [sentence for sentence in emptiness(meter) if sentence.startswith("miou_dataset would be 1.0000")]
        assert len(found) == len(said) and all(part in one for part, one in zip(said, found)), found


def test_no_two_data_sets_are_written_into_one_folder():
    judged = [Judged(name, "", Meter(["a", "b"]), {}, lambda id: None) for name in ("x", "x", "x-2", "x")]
    found = renamed(judged)
    assert [one.name for one in found] == ["x", "x-2", "x-2-2", "x-3"]
    assert [one.result["dataset"] for one in found] == [one.name for one in found]
