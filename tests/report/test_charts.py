import math
import re
from xml.etree import ElementTree

import pytest

from segkd.report.charts import WIDTH, Axis, Scale, line_chart


def test_a_chart_is_well_formed_and_within_its_box():
    text = line_chart(
        "a <b> & c", Axis("t", 0.0, 1.0), Axis("y"), {"x&y": ([0.0, 0.5, 1.0], [2.0, 5.0, 3.0]), "z": ([0.0], [9.0])}
    )
    root = ElementTree.fromstring(text)
    numbers = [float(n) for path in root.iter("path") for n in re.findall(r"[\d.]+", path.get("d"))]
    assert len(numbers) == 8 and all(0 <= n <= 420 for n in numbers) and len(list(root.iter("path"))) == 2


def test_no_line_crosses_the_name_of_the_axis():
    unit = Axis("recall", 0.0, 1.0)
    root = ElementTree.fromstring(line_chart("t", unit, Axis("precision", 0.0, 1.0), {"": ([0.0, 1.0], [1.0, 1.0])}))
    (name,) = [text for text in root.iter("text") if text.text == "precision"]
    assert 8 <= float(name.get("y")) < min(float(line.get("y1")) for line in root.iter("line"))


def test_what_is_not_finite_breaks_the_line():
    text = line_chart("t", Axis("x"), Axis("y"), {"a": ([0.0, 1.0, 2.0, 3.0], [1.0, math.nan, 2.0, 3.0])})
    (path,) = ElementTree.fromstring(text).iter("path")
    assert path.get("d").count("M") == 2 and path.get("d").count("L") == 1
    assert line_chart("t", Axis("x"), Axis("y"), {"a": ([0.0], [math.nan])}) == ""


def test_a_constant_line_has_a_place():
    assert "NaN" not in line_chart("t", Axis("x"), Axis("y"), {"a": ([1.0, 1.0], [2.0, 2.0])})


def test_a_constant_learning_rate_can_be_read():
    for value in (1e-4, 2.0, -3e9):
        scale = Scale.of([value, value], Axis("lr"))
        assert scale.low < value < scale.high and scale.high - scale.low <= 2 * abs(value)
    assert Scale.of([0.0], Axis("lr")).ticks == pytest.approx((-0.5, -0.25, 0, 0.25, 0.5))
    assert Scale.of([0.0, 0.0], Axis("IoU", 0.0)).low == 0


@pytest.mark.parametrize("values", [[-1e308, 1e308], [0.0, 5e-324], [1e-320, 2e-320], [1.0, 1.0 + 2e-16]])
def test_numbers_that_no_training_has_end_in_no_error(values):
    assert "NaN" not in line_chart("t", Axis("x"), Axis("y"), {"a": ([0.0, 1.0], values)})


def test_ticks_are_round_numbers_within_the_picture():
    lr = [0.000942, 0.00188, 0.0011]
    assert Scale.of(lr, Axis("")).ticks == pytest.approx((0.00075, 0.001, 0.00125, 0.0015, 0.00175, 0.002))
    assert Scale.of([3.0, 138.0], Axis("step")).ticks == pytest.approx((0, 50, 100, 150))
    assert Scale.of([0.2], Axis("t", 0.0, 1.0)).ticks == pytest.approx((0, 0.25, 0.5, 0.75, 1))
    for values in (lr, [1e-7, 3e-6], [12345.0, 99999.0], [-0.5, 0.5], [2.0, 2.0]):
        root = ElementTree.fromstring(
            line_chart("t", Axis("x"), Axis(""), {"a": ([float(n) for n in range(len(values))], values)})
        )
        for text in root.iter("text"):
            wide, at = 6 * len(text.text), float(text.get("x"))
            left = at - {"end": wide, "middle": wide / 2}.get(text.get("text-anchor"), 0)
            assert left >= 0 and left + wide <= WIDTH + 8, text.text
