import re

import numpy as np

from segkd.metrics.counts import count_binary, count_classes
from segkd.metrics.meter import BINARY, MANY, Meter
from segkd.metrics.protocol import PLAIN, find_protocol
from segkd.report.tables import MEANINGS, MOST_CLASSES, class_key, confusions, domain_rows, headline, scores


def binary(*labels, protocol=PLAIN):
    meter = Meter(["background", "object"], protocol)
    for number, label in enumerate(labels):
        full = np.full((4, 4), label, np.uint8)
        full[0] = 0
        meter.add(f"i{number}", count_binary(full.astype(np.float32), full, 0.5, protocol))
    return meter


def many(classes=3, seed=0):
    draw = np.random.default_rng(seed)
    meter = Meter([f"<c{n}>" for n in range(classes)])
    label = draw.integers(0, classes, (40, 40)).astype(np.uint8)
    wrong = np.where(label == 1, 2, label).astype(np.uint8)
    meter.add("a", count_classes(wrong, label, classes))
    return meter


def test_every_score_has_a_name_and_a_meaning():
    assert set(BINARY) | set(MANY) == set(MEANINGS) and all(all(pair) for pair in MEANINGS.values())
    text = scores(binary(1))
    assert all(f"<code>{name}</code>" in text and MEANINGS[name][0] in text for name in BINARY)
    assert text.count("<td>lower</td>") == 4


def test_images_without_foreground_are_counted_aloud():
    meter = binary(1, 0, 0)
    assert meter.without_foreground == {"i1", "i2"}
    assert "2 of 3 labels hold no foreground" in headline(meter) and "3 images" in headline(meter)
    assert "no foreground" not in headline(binary(1)) and "1 image<" in headline(binary(1))
    assert "Mean IoU" in headline(many()) and many().without_foreground == set()


def test_what_is_said_of_images_without_foreground_is_what_the_protocol_counts():
    zero = binary(1, 0, 0, protocol=find_protocol("pysod"))
    assert zero.rows["i1"]["iou_fg_image"] == zero.rows["i1"]["dice"] == zero.rows["i1"]["f_mean"] == 0
    assert "F-measures of these are 0;" in headline(zero) and "leave them out" not in headline(zero)
    assert np.isnan(binary(1, 0).rows["i1"]["f_mean"]) and "F-measures leave them out" in headline(binary(1, 0))


def test_rows_of_domains_are_never_those_of_their_mean_and_worst():
    label = np.zeros((4, 4), np.uint8)
    label[2:] = 1
    for domains, summaries in ((("a", "b"), ("mean", "worst")), (("mean", "b"), ("(mean)", "worst"))):
        meter = Meter(["background", "object"])
        for right, domain in zip((1.0, 0.0), domains):
            meter.add(f"{domain}1", count_binary(label * np.float32(right), label, 0.5), domain)
        rows = {name: (number, found["iou_fg_dataset"]) for name, (number, found) in domain_rows(meter).items()}
        assert rows == {domains[0]: (1, 1), domains[1]: (1, 0), summaries[0]: (2, 0.5), summaries[1]: (2, 0)}


def test_classes_have_their_colours_and_what_they_are_taken_for():
    text = class_key(many())
    assert text.count("background:rgb") == 3 and "&lt;c1&gt;" in text and "<c1>" not in text
    text = confusions(many())
    assert "100.0 % of <b>&lt;c1&gt;</b> is taken for <b>&lt;c2&gt;</b>" in text and text.count("<tr>") == 4
    assert "<table" not in confusions(many(MOST_CLASSES + 1)) and confusions(many(MOST_CLASSES + 1)).count("<li>") == 1
    assert class_key(binary(1)) == confusions(binary(1)) == ""
    meter, label = Meter(["most", "least", "none"]), np.zeros((100, 100), np.uint8)
    label[0, 0] = 1
    meter.add("a", count_classes(label, label, 3))
    assert re.findall(r"[^>]* %(?=<)", class_key(meter)) == ["100 %", "0.01 %", "0 %"]
