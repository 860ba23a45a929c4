import itertools
import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from segkd.ablation import plots
from segkd.ablation.statistics import compare
from tests.ablation.test_statistics import make_rows, random_values

NAMES = [
    "plain", "virtual_teacher", "ema+view (decay=0.999, warm=500)", "frozen resnet50 -> efficientnet_lite0 [CWD]",
    "virtual_teacher+dct_disturbance_learned_table", "exits: deepest teaches all, $T_2$ & $x^2$",
    "refined_self_teacher_neck_FRSKD_with_attention_maps", "Onewordwithoutanyplacetobreakitthatgoesonandonandon",
]  # fmt: skip


def comparison_of(arms, sets=2, seeds=3, score="f_mean", lift=0.004, seconds=None):
    values = random_values(arms, sets, seeds, lift)
    named = {name: cells for name, cells in zip(NAMES, values.values())}
    cost = {name: 60.0 * (1 + 0.1 * i) for i, name in enumerate(named)} if seconds is None else seconds
    return compare(make_rows(named, cost, score=score), "test", score, "plain")


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A function that draws and gives the figures by file name, and writes nothing."""
    figures: dict[str, Figure] = {}

    def keep(figure, folder, name):
        figures[name] = figure
        return folder / "a.png", folder / "a.svg"

    monkeypatch.setattr(plots, "_save", keep)

    def draw(comparison):
        figures.clear()
        plots.write_plots(comparison, tmp_path)
        return dict(figures)

    return draw


def svg_text(path):
    """All text of an SVG without blanks, so that broken names are whole again."""
    root = ElementTree.parse(path).getroot()
    texts = [element for element in root.iter() if element.tag.endswith("}text")]
    return re.sub(r"\s", "", "".join("".join(element.itertext()) for element in texts))


# files


@pytest.mark.parametrize("arms", [3, 8])
def test_every_picture_is_there_in_both_forms_and_holds_every_name(tmp_path, arms):
    files = plots.write_plots(comparison_of(arms), tmp_path / "new" / "folder")
    stems = ("gain_f_mean", "cost_gain_f_mean", "critical_difference_f_mean")
    assert [path.name for path in files] == [f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")]
    for path in files:
        if path.suffix == ".svg":
            text = svg_text(path)
            for name in NAMES[:arms]:
                assert re.sub(r"\s", "", name) in text, f"{name} is not in {path.name}"
        else:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert("RGB"))
            assert pixels.shape[1] == 1600
            assert 0.01 < (pixels < 250).any(axis=2).mean() < 0.5, "neither blank nor black"
            edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            assert (edges == 255).all(), f"{path.name}: something runs over the edge"


def test_names_that_the_font_lacks_are_drawn_without_a_warning(tmp_path):
    values = dict(zip(("plain", "方法", "ours"), random_values(3, 2, 3).values()))
    assert len(plots.write_plots(compare(make_rows(values), "test", "f_mean", "plain"), tmp_path)) == 6


def test_the_same_comparison_gives_the_same_files_and_leaves_the_settings_alone(tmp_path):
    before = dict(matplotlib.rcParams)
    first = plots.write_plots(comparison_of(3), tmp_path / "a")
    second = plots.write_plots(comparison_of(3), tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert dict(matplotlib.rcParams) == before


# what is shown


def test_the_gain_picture_shows_every_pair_mean_and_interval_and_says_which_way_is_better(drawn):
    named = (("f_mean", "f_mean, arm - plain"), ("mae", "mae, plain - arm"), ("hd95", "hd95 (pixels), plain - arm"))
    for score, label in named:
        comparison = comparison_of(3, score=score)
        axes = drawn(comparison)[f"gain_{score}"].axes[0]
        assert axes.get_xlabel() == f"gain in {label} (right is better)"
        assert not axes.xaxis_inverted(), "right must be better"
        shown = [tuple(line.get_xdata()) for line in axes.lines]
        for arm in comparison.arms[1:]:
            assert arm.gain.gains in shown and arm.gain.interval in shown and (arm.gain.mean,) in shown
        assert any(set(line.get_xdata()) == {0} for line in axes.lines), "the line at zero"


def test_the_cost_picture_places_each_arm_by_its_cost_and_gain(drawn):
    comparison = comparison_of(4, score="mae")
    axes = drawn(comparison)["cost_gain_mae"].axes[0]
    shown = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if len(line.get_xdata()) == 1]
    for i, arm in enumerate(comparison.arms[1:], start=1):
        assert arm.gain.cost == pytest.approx(1 + 0.1 * i)
        assert (arm.gain.cost, arm.gain.mean) in shown
    assert (1, 0) in shown and "up is better" in axes.get_ylabel() and not axes.yaxis_inverted()


def test_arms_without_a_time_are_left_out_of_the_cost_picture(drawn):
    figures = drawn(comparison_of(3, seconds={"plain": 60.0, NAMES[1]: 0.0, NAMES[2]: 90.0}))
    texts = [text.get_text() for text in figures["cost_gain_f_mean"].axes[0].texts]
    assert NAMES[1] not in texts and "plain (baseline)" in texts
    assert "cost_gain_f_mean" not in drawn(comparison_of(3, seconds=dict.fromkeys(NAMES, 0.0)))


def test_the_critical_difference_picture_has_a_bar_for_each_group_and_the_best_on_the_right(drawn):
    comparison = comparison_of(8, 3, 4, lift=0.003)
    axes = drawn(comparison)["critical_difference_f_mean"].axes[0]
    bars = [line for line in axes.lines if line.get_linewidth() == 4.5]
    assert len(bars) == len(comparison.ranks.groups) >= 2
    feet = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 3]
    assert feet == sorted(feet, reverse=True) and len(feet) == 8, "arms come best first, and the best is on the right"
    for bar, (start, end) in zip(bars, comparison.ranks.groups):
        assert sorted(bar.get_xdata()) == pytest.approx([feet[end] - 0.05, feet[start] + 0.05])
    level = {line.get_ydata()[0]: [] for line in bars}
    for line in bars:
        level[line.get_ydata()[0]].append(sorted(line.get_xdata()))
    for row in level.values():
        assert all(left[1] < right[0] for left, right in itertools.pairwise(sorted(row))), "bars run into each other"
    texts = " ".join(text.get_text() for text in axes.texts)
    assert f"CD = {comparison.ranks.cd:.2f}" in texts and "12 units" in texts


def test_a_critical_difference_longer_than_the_axis_says_so(drawn):
    for seeds, longer in ((2, True), (6, False)):
        comparison = comparison_of(3, 1, seeds)
        axes = drawn(comparison)["critical_difference_f_mean"].axes[0]
        assert any("longer than the axis" in text.get_text() for text in axes.texts) == longer
        axis, bar = (
            next(line.get_xdata() for line in axes.lines if set(line.get_ydata()) == {y} and len(line.get_xdata()) == 2)
            for y in (0, -0.47)
        )
        shown = (bar[1] - bar[0]) / (axis[1] - axis[0]) * 2
        assert bar[0] == axis[0] and shown == pytest.approx(min(comparison.ranks.cd, 2))


def test_one_seed_is_called_a_reading_in_every_picture(drawn):
    for seeds, said in ((1, True), (2, False)):
        for figure in drawn(comparison_of(3, 3, seeds)).values():
            axes = figure.axes[0]
            texts = [axes.get_title(loc="left"), *(text.get_text() for text in axes.texts)]
            assert any("one seed: a reading, no result" in text for text in texts) == said


# what is refused


def test_too_few_arms_or_units_for_ranks_give_none(tmp_path):
    assert plots.plot_critical_difference(comparison_of(2), tmp_path) is None
    assert plots.plot_critical_difference(comparison_of(4, 1, 1), tmp_path) is None
    assert len(plots.write_plots(comparison_of(2), tmp_path)) == 4


def test_nothing_to_compare_gives_no_picture(tmp_path):
    alone = compare(make_rows({"plain": {("d", 0): 0.5}, "b": {("e", 0): 0.6}}), "test", "f_mean", "plain")
    assert plots.write_plots(alone, tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


# what must not overlap


@pytest.mark.parametrize("case", ["three", "eight", "one seed", "many", "equal"])
def test_no_text_runs_over_another_or_over_the_edge(drawn, case):
    if case == "many":
        names = [f"arm {i}" + i % 3 * " with a long name" for i in range(20)]
        generator = np.random.default_rng(0)
        values = {name: {("d", s): generator.uniform() for s in range(4)} for name in names}
        comparison = compare(make_rows(values), "test", "f_mean", names[0])
    elif case == "equal":
        values = {name: {("d", s): 0.5 for s in range(4)} for name in NAMES}
        comparison = compare(make_rows(values), "test", "f_mean", NAMES[-1])
    else:
        comparison = comparison_of(3 if case == "three" else 8, 2, 1 if case == "one seed" else 3)
    figures = drawn(comparison)
    assert len(figures) == 3
    for name, figure in figures.items():
        figure.set_dpi(100)
        figure.draw_without_rendering()
        texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        hidden = _hidden(figure.axes[0])
        boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text not in hidden]
        assert len(boxes) >= 4
        for text, box in boxes:
            assert min(box.x0, box.y0) >= -1, f"{name}: {text!r} runs over the edge"
            assert box.x1 <= 801 and box.y1 <= figure.bbox.height + 1, f"{name}: {text!r} runs over the edge"
        for (text, box), (other, second) in itertools.combinations(boxes, 2):
            width = min(box.x1, second.x1) - max(box.x0, second.x0)
            height = min(box.y1, second.y1) - max(box.y0, second.y0)
            assert width <= 1 or height <= 2, f"{name}: {text!r} runs over {other!r}"


def _hidden(axes):
    """Texts of axes that are not drawn: of an invisible axis, or of all where axes are off."""
    hidden = []
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        hidden += [tick for tick in ticks if not min(limits) <= tick.get_loc() <= max(limits)]
        hidden += [] if axes.axison and axis.get_visible() else [axis]
    return [text for part in hidden for text in part.findobj(Text)]


def test_a_name_of_several_lines_stays_above_the_data_of_its_arm(drawn):
    values = dict(zip(["plain", "a long name " * 15, "b", "c " * 100], random_values(4).values()))
    figure = drawn(compare(make_rows(values), "test", "f_mean", "plain"))["gain_f_mean"]
    axes = figure.axes[0]
    figure.draw_without_rendering()
    means = [line for line in axes.lines if line.get_marker() == "D"]
    assert len(means) == len(axes.texts) == 3
    for name, mean, following in zip(axes.texts, means, [*axes.texts[1:], None]):
        y = axes.transData.transform((0, mean.get_ydata()[0]))[1]
        assert name.get_window_extent().y0 > y + 5
        assert following is None or following.get_window_extent().y1 < y - 5


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 0.3)), min_size=1, max_size=12))
def test_labels_are_moved_off_each_other_in_their_order_and_stay_within(places):
    places = sorted(places)
    total = sum(height for _, height in places)
    heights = [height / max(total, 1) for _, height in places]
    tops = plots._apart([top for top, _ in places], heights)
    assert all(b - a >= height - 1e-9 for a, b, height in zip(tops, tops[1:], heights))
    assert tops[-1] + heights[-1] <= 1 + 1e-9 and tops[0] >= -1e-9


def test_labels_that_have_room_stay_where_they_are():
    assert plots._apart([0.1, 0.5, 0.7], [0.1, 0.1, 0.1]) == [0.1, 0.5, 0.7]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inches", [0.9, 2.0, 7.0])
def test_a_name_is_broken_into_lines_that_fit_and_loses_nothing(name, inches):
    lines = plots._lines(name, inches)
    assert re.sub(r"\s", "", "".join(lines)).replace(r"\$", "$") == re.sub(r"\s", "", name)
    figure = Figure(figsize=(8, 2), dpi=100)
    for line in lines:
        assert figure.text(0, 0, line, size=plots.SIZE).get_window_extent().width <= 100 * inches + 4
    if inches == 7.0:
        assert len(lines) == 1


def test_a_baseline_that_would_be_a_formula_is_drawn_as_it_is_called(tmp_path):
    values = dict(zip(["$x^$", "b"], random_values(2).values()))
    files = plots.write_plots(compare(make_rows(values), "test", "f_mean", "$x^$"), tmp_path)
    assert "arm-$x^$" in svg_text(files[1])


def test_a_gain_without_an_interval_is_still_drawn(drawn):
    comparison = comparison_of(2, 1, 2)
    gain = comparison.arms[1].gain
    assert gain.interval is None
    figures = drawn(comparison)
    assert set(figures) == {"gain_f_mean", "cost_gain_f_mean"}
    assert any(tuple(line.get_xdata()) == (gain.mean,) for line in figures["gain_f_mean"].axes[0].lines)
