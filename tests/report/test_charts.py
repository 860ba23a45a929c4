import math
import re
from xml.etree import ElementTree

from segkd.report.charts import Axis, line_chart


def test_a_chart_is_well_formed_and_within_its_box():
    text = line_chart(
        "a <b> & c", Axis("t", 0.0, 1.0), Axis("y"), {"x&y": ([0.0, 0.5, 1.0], [2.0, 5.0, 3.0]), "z": ([0.0], [9.0])}
    )
    root = ElementTree.fromstring(text)
    numbers = [float(n) for path in root.iter("path") for n in re.findall(r"[\d.]+", path.get("d"))]
    assert len(numbers) == 8 and all(0 <= n <= 420 for n in numbers) and len(list(root.iter("path"))) == 2


def test_what_is_not_finite_breaks_the_line():
    text = line_chart("t", Axis("x"), Axis("y"), {"a": ([0.0, 1.0, 2.0, 3.0], [1.0, math.nan, 2.0, 3.0])})
    (path,) = ElementTree.fromstring(text).iter("path")
    assert path.get("d").count("M") == 2 and path.get("d").count("L") == 1
    assert line_chart("t", Axis("x"), Axis("y"), {"a": ([0.0], [math.nan])}) == ""


def test_a_constant_line_has_a_place():
    assert "NaN" not in line_chart("t", Axis("x"), Axis("y"), {"a": ([1.0, 1.0], [2.0, 2.0])})
