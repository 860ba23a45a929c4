from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from segkd.datasets.coding import Coding
from segkd.datasets.labels import code_from_threshold, guess_code
from segkd.datasets.matching import MapPair
from segkd.engine.judge import Looker, MapScorer, look_at, score_maps, to_label_size
from segkd.metrics.counts import count_binary
from segkd.metrics.protocol import PYSOD

TWO = ["background", "foreground"]
LEVELS = Coding(2, {"8 bit": 255.0})


@pytest.fixture
def pairs(tmp_path):
    draw, found = np.random.default_rng(0), []
    for number in range(9):
        size = (20 + number, 30)
        mask = (draw.random(size) < 0.4).astype(np.uint8) * 255
        levels = np.clip(mask * 0.6 + draw.normal(60, 40, size), 0, 255).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / f"m{number}.png")
        Image.fromarray(levels).save(tmp_path / f"p{number}.png")
        found.append(MapPair(f"i{number}", tmp_path / f"p{number}.png", tmp_path / f"m{number}.png"))
    return found


def test_one_bad_file_never_loses_the_scores_of_the_others(pairs):
    whole = score_maps(pairs, MapScorer.for_binary(), TWO)
    pairs[3].prediction.write_bytes(b"torn")
    pairs[5].label.unlink()
    found = score_maps(pairs, MapScorer.for_binary(), TWO)
    assert set(found.faults) == {"i3", "i5"} and "p3.png" in found.faults["i3"] and "m5.png" in found.faults["i5"]
    kept = {id: row for id, row in whole.meter.rows.items() if id not in found.faults}
    assert found.meter.rows == kept and not whole.faults


@pytest.mark.parametrize("protocol", [None, PYSOD])
def test_the_number_of_processes_changes_no_bit(pairs, protocol):
    pairs[2].prediction.write_bytes(b"torn")
    scorer = MapScorer(2, code_from_threshold(128), LEVELS, *([protocol] if protocol else []))
    seen: list[int] = []
    cv2.setNumThreads(4)  # makes a pool of threads, which a fork would copy without its threads
    cv2.resize(np.zeros((2000, 2000), np.uint8), (999, 999), interpolation=cv2.INTER_AREA)
    one, two = score_maps(pairs, scorer, TWO), score_maps(pairs, scorer, TWO, 2, seen.append)
    assert one.meter.scores() == two.meter.scores() and one.meter.rows == two.meter.rows
    assert one.faults == two.faults and sum(seen) == len(pairs)


def test_a_map_of_another_size_is_enlarged_with_its_centres_kept(tmp_path):
    ramp = np.linspace(0, 1, 8, dtype=np.float32)[None].repeat(4, axis=0)
    large = to_label_size(ramp, (8, 16), 2)
    assert large.shape == (8, 16) and large[0, 0] == 0 and large[0, -1] == 1
    np.testing.assert_allclose(large[0, 1:3], [ramp[0, 1] * 0.25, ramp[0, 1] * 0.75], atol=1e-6)
    levels = to_label_size(np.array([[51, 51], [255, 255]], np.uint8), (4, 4), 2)
    np.testing.assert_array_equal(levels[[0, -1]], np.array([[0.2], [1]], np.float32).repeat(4, 1))
    classes = np.array([[0, 2], [1, 1]], np.uint8)
    np.testing.assert_array_equal(to_label_size(classes, (4, 4), 3), classes.repeat(2, 0).repeat(2, 1))
    assert to_label_size(np.stack([ramp, 1 - ramp, ramp]), (8, 16), 3).shape == (3, 8, 16)


def test_resized_maps_are_counted(pairs):
    Image.open(pairs[0].prediction).resize((15, 10)).save(pairs[0].prediction)
    turned = Image.open(pairs[1].prediction).transpose(Image.Transpose.ROTATE_90)
    turned.save(pairs[1].prediction)
    found = score_maps(pairs, MapScorer.for_binary(), TWO)
    assert found.resized == 1 and list(found.faults) == ["i1"]  # of another shape than its label
    size = (turned.height, turned.width)  # of a network that gives every picture this size it is no fault
    assert score_maps(pairs[1:2], replace(MapScorer.for_binary(), own=size), TWO).faults == {}


def test_an_unknown_class_is_a_fault_of_its_file(pairs):
    found = score_maps(pairs[:2], MapScorer(3, guess_code([], [], 3), Coding(3)), ["a", "b", "c"])
    assert len(found.faults) == 2 and "255 is not a class" in found.faults["i0"]


def test_files_score_as_arrays_do(pairs):
    levels, mask = (np.asarray(Image.open(path)) for path in (pairs[1].prediction, pairs[1].label))
    counts = count_binary(levels, (mask > 128).astype(np.uint8), 0.3)
    found = score_maps(pairs[1:2], replace(MapScorer.for_binary(), threshold=0.3), TWO).meter
    np.testing.assert_array_equal(found.histogram, counts.histogram)
    np.testing.assert_array_equal(found.confusion, counts.confusion)
    assert found.rows["i1"]["s_measure"] == counts.shape["s_measure"]


def test_a_first_look_counts_every_file_and_names_bad_ones(pairs):
    pairs[2].prediction.write_bytes(b"torn")
    pairs[4].label.unlink()
    looks = [look_at(pairs, Looker(2), processes) for processes in (1, 2)]
    assert [glance.id for glance in looks[0]] == [pair.id for pair in pairs]
    for one, two in zip(*looks):
        assert one.fault == two.fault and (one.fault is not None) == (one.id in ("i2", "i4"))
        if one.label is not None and two.label is not None:
            np.testing.assert_array_equal(one.label.counts, two.label.counts)
            assert one.label.few == [0, 255] and one.label.size == (20 + int(one.id[1:]), 30)
        assert (one.prediction is None) == (one.fault is not None)


def test_a_map_that_is_far_too_large_is_refused_by_its_head(pairs, monkeypatch):
    Image.new("L", (3000, 2000)).save(pairs[0].prediction)
    monkeypatch.setattr("segkd.engine.judge.view_prediction", lambda *arguments: pytest.fail("was decoded"))
    (glance,) = look_at(pairs[:1], Looker(2))
    assert "p0.png: 3000x2000 pixels for a label of 30x20" in glance.fault


def test_scarce_memory_costs_one_image(pairs, monkeypatch):
    def full(*arguments):
        raise MemoryError

    monkeypatch.setattr("segkd.engine.judge.count_binary", full)
    found = score_maps(pairs[:1], MapScorer.for_binary(), TWO)
    assert found.faults == {"i0": f"{pairs[0].prediction}: could not be scored: the memory is too small for it."}
