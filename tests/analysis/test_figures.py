import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from segkd.analysis.canvas import COLOURS, looks, save, style, words
from segkd.analysis.figures import draw_figures
from segkd.analysis.maps import full_plane, plot_heatmap, plot_maps, spearman
from segkd.analysis.plots import plot_outline, plot_overview, plot_reliance
from segkd.analysis.summary import group
from segkd.analysis.training import plot_learning
from segkd.frequency.rings import power

ALWAYS = ["overview", "learning", "spectra", "outline", "reliance", "reliance_f_mean", "dct", "maps"]


def texts(figure: Figure) -> str:
    found = [text.get_text() for axes in figure.axes for text in [*axes.texts, axes.title, axes._left_title]]
    return "\n".join(found)


def marked(axes, colour: str) -> list[tuple[list[float], list[float]]]:
    """The data of the lines of one colour that have large markers."""
    lines = [line for line in axes.lines if line.get_color() == colour and line.get_markersize() == 5.5]
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in lines]


def test_every_figure_is_written_as_png_and_svg_wide_enough_to_read(make_evidence, tmp_path):
    groups = group([make_evidence("a", seed, classes=5, tables=True, heatmap=True) for seed in range(3)])
    found = draw_figures(groups, tmp_path / "new" / "figures")
    assert list(found) == [name for name in [*ALWAYS[:7], "heatmap", "maps"] if name != "reliance_f_mean"]  # one score
    for name, path in found.items():
        assert path == tmp_path / "new" / "figures" / f"{name}.png" and path.with_suffix(".svg").stat().st_size > 5000
        picture = Image.open(path)
        assert picture.width == 1500 or name in ("dct", "heatmap")
        assert np.asarray(picture.convert("L")).std() > 5


def test_what_is_missing_is_left_out_or_said(make_evidence, tmp_path):
    bare = group([make_evidence("bare", learning=False, aliasing=False)])
    assert list(draw_figures(bare, tmp_path)) == [name for name in ALWAYS if name != "learning"]
    assert plot_learning(bare) is None and plot_heatmap(bare) is None
    assert "cannot be told" in texts(plot_overview(bare))
    both = group([make_evidence("bare", learning=False), make_evidence("whole")])
    assert "not recorded:\nbare" in texts(plot_overview(both)) and "cannot be told" not in texts(plot_overview(both))


def test_levels_of_other_networks_stand_at_their_own_strides(make_evidence):
    coarse = make_evidence("coarse")
    coarse = replace(coarse, aliasing=coarse.aliasing[1:])
    axes = plot_outline(group([make_evidence("fine"), coarse])).axes[2]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1/2", "1/4", "1/8", "1/16"]
    places = [np.round(line.get_xdata()).tolist() for line in axes.lines if line.get_markersize() == 6.5]
    assert places == [[0, 1, 2, 3], [1, 2, 3]]


def test_a_group_has_its_colour_in_all_figures_and_nine_groups_have_their_own_marks(make_evidence):
    many = group([make_evidence(f"g{i}", n=4) for i in range(9)])
    known = looks(many)
    assert len({(look.colour, look.marker) for look in known.values()}) == 9
    assert len({look.marker for look in known.values()}) == 9
    for plot in (plot_overview, partial(plot_reliance, score=many[0].scores[-1])):
        panel = plot(many[:2]).axes[1]
        for one in many[:2]:
            ((x, y),) = [(x, y) for x, y in marked(panel, known[one.name].colour) if len(x) == 8 and y]
            score = one.scores[-1]
            np.testing.assert_allclose(y, one.curves[f"noise_drop/{score}"].mean)
            np.testing.assert_allclose(x, np.arange(8) + 0.5)


def test_bands_beyond_the_decoder_are_hatched_in_the_output_only_and_their_marks_are_white(make_evidence):
    groups = group([make_evidence()])
    figure = plot_overview(groups)
    spans = [[(p.get_x(), p.get_width()) for p in axes.patches if p.get_hatch()] for axes in figure.axes]
    assert spans[1] == [] and spans[0] == spans[2] == [(band, 1) for band in (4, 5, 6, 7)]
    white = [line for line in figure.axes[2].lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_ydata()) for line in white] == [list(groups[0].curves["error"].mean[4:])]


def test_the_overview_says_which_panel_is_about_the_output_and_which_about_the_input(make_evidence):
    figure = plot_overview(group([make_evidence()]))
    titles = [axes.get_title("left") or axes.get_title() for axes in figure.axes]
    assert [title.split(":")[0] for title in titles] == ["OUTPUT", "INPUT", "OUTPUT"]


def test_passes_stand_at_their_cut_off(make_evidence):
    """The band kept last ends, the band kept first begins, at the frequency under the mark."""
    (one,) = group([make_evidence()])
    panel = plot_reliance([one], one.scores[-1]).axes[3]
    lines = [data for data in marked(panel, COLOURS[0]) if data[0]]
    assert len(lines) == 2
    score = one.scores[-1]
    for (x, y), name in zip(lines, (f"low/{score}", f"high/{score}")):
        np.testing.assert_allclose(x, np.arange(1, 8))
        np.testing.assert_allclose(y, one.curves[name].mean)


def test_learning_has_a_line_per_band_and_the_mean_of_the_seeds_is_thick(make_evidence):
    runs = [make_evidence("a", seed) for seed in range(2)]
    figure = plot_learning(group(runs))
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 7]
    thick = [line for line in lines if line.get_linewidth() > 1.5]
    assert len(lines) == 3 * 8 and len(thick) == 8
    mean = (runs[0].learning.errors + runs[1].learning.errors) / 2
    np.testing.assert_allclose(np.stack([line.get_ydata() for line in thick], axis=1), mean)


@pytest.mark.parametrize(("h", "w"), [(6, 8), (5, 7), (6, 7), (5, 8)])
def test_the_full_plane_is_the_spectrum_of_the_whole(h, w):
    import torch

    field = torch.from_numpy(np.random.default_rng(0).normal(size=(h, w)))
    whole = np.fft.fftshift(np.abs(np.fft.fft2(field.numpy(), norm="ortho")) ** 2)
    np.testing.assert_allclose(full_plane(power(field).numpy(), w), whole, rtol=1e-9)


def test_rank_correlation():
    a = np.array([1.0, 2, 3, 4])
    assert spearman(a, np.exp(a)) == pytest.approx(1) and spearman(a, -a) == pytest.approx(-1)
    assert spearman(a, np.array([1.0, 2, 4, 3])) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    assert math.isnan(spearman(a, np.ones(4)))


def test_long_names_run_into_nothing_and_seeds_are_told_apart(make_evidence):
    name = "frequency_stage_with_a_very_long_name_方"
    groups = group([make_evidence(name, seed, heatmap=True) for seed in range(3)])
    with style():
        waves, planes = plot_heatmap(groups), plot_maps([*groups, *group([make_evidence("b" * 30)])])
        for figure in (waves, planes):
            figure.draw_without_rendering()
    *panels, bar = waves.axes
    titles = [axes._left_title for axes in panels]
    assert [title.get_text().replace("\n", "")[: len(name) + 8] for title in titles] == [
        f"{name}, seed {n}" for n in range(3)
    ]
    ends = [axes.get_window_extent().x0 for axes in [*panels[1:], bar]]
    assert all(title.get_window_extent().x1 < end for title, end in zip(titles, ends))
    upper, lower = (planes.axes[row * 6].yaxis.label.get_window_extent() for row in (0, 1))
    assert upper.y0 > lower.y1


def test_names_are_broken_behind_signs_and_dollars_stay_dollars():
    assert words("one/two_three", 5) == "one/\ntwo_\nthree"
    assert words("x" * 7, 3) == "xxx\nxxx\nx" and words("$a$", 9) == r"\$a\$" and words("", 9) == ""


def test_bands_without_energy_do_not_warn(make_evidence, tmp_path):
    """A label without energy in a band has no relative error there; warnings are errors here."""
    one = make_evidence("a")
    for energy in one.energy.values():
        energy[:, 6:] = 0
    one.learning.errors[:, 6:] = np.nan
    one.sensitivity[:] = 0
    one.untrained_sensitivity[:] = 0
    assert list(draw_figures(group([one]), tmp_path)) == ALWAYS


def test_drawing_leaves_the_users_settings_alone(make_evidence, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    with style():
        assert matplotlib.rcParams["svg.hashsalt"] == "segkd"
    assert dict(matplotlib.rcParams) == before


def test_the_same_evidence_gives_the_same_files(make_evidence, tmp_path):
    for name in ("a", "b"):
        with style():
            save(plot_overview(group([make_evidence(n=4)])), tmp_path / name, "overview")
    assert len(list((tmp_path / "a").iterdir())) == 2
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
