import json

import pytest

from segkd.metrics.protocol import PLAIN, PYSOD, differences, find_protocol, fingerprint, rules_apart
from segkd.types import InputError


def test_equal_fingerprints_do_not_differ_even_through_a_file():
    one = fingerprint(PLAIN, 0.5, [255])
    assert differences(one, json.loads(json.dumps(one))) == []


def test_every_difference_is_said():
    one, other = fingerprint(PLAIN, 0.5, [255]), fingerprint(PYSOD, 0.5, (), "flip")
    said = differences({"fingerprint": one, "mae": 0.1}, {"fingerprint": other, "mae": 0.2})
    assert said == [
        "augmentation: none against flip",
        "ignore: [255] against []",
        "minmax: False against True",
        "protocol: plain against pysod",
        "threshold: p >= 0.5 against p > 0.5",
    ]
    assert differences(one, {}) and "not said" in differences(one, {})[0]
    assert differences(one, fingerprint(PLAIN, 0.4, [255])) == ["threshold: p >= 0.5 against p >= 0.4"]
    assert differences(one, fingerprint(PLAIN, None, [255])) == ["threshold: p >= 0.5 against largest"]


def test_another_reading_of_the_labels_is_another_rule():
    usual, same = fingerprint(PLAIN, 0.5), fingerprint(PLAIN, 0.5, reading={"threshold": None, "size": 64})
    assert usual == same and "labels" not in usual
    high, low = (fingerprint(PLAIN, 0.5, reading={"threshold": cut}) for cut in (128, 60))
    assert differences(high, low) == ["labels: threshold 128 against threshold 60"]
    assert differences(usual, high) == ["labels: not said against threshold 128"]
    mapped = fingerprint(PLAIN, 0.5, reading={"label_map": {0: 0, 9: 1}})
    for same in ({"9": 1, "0": 0}, {9: 1, 0: 0}):  # as a file has it, and in another order
        assert differences(mapped, fingerprint(PLAIN, 0.5, reading={"label_map": same})) == []


def test_how_maps_came_to_be_is_told_where_both_say_it_and_is_no_rule():
    old, maps = fingerprint(PLAIN, 0.5), [{"scaled": how, "output": ""} for how in ("as logits", "as probabilities")]
    one, other = (fingerprint(PLAIN, 0.5, maps=how) for how in maps)
    assert differences(one, other) == ["scaled: as logits against as probabilities"]
    assert rules_apart(one, other) == differences(old, one) == differences(other, old) == []
    assert rules_apart(one, fingerprint(PLAIN, 0.4, maps=maps[1])) == ["threshold: p >= 0.5 against p >= 0.4"]


def test_an_unknown_protocol_is_refused():
    assert find_protocol("pysod") is PYSOD and find_protocol("plain") is PLAIN
    with pytest.raises(InputError, match="plain or pysod"):
        find_protocol("paper")
