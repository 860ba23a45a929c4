import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from segkd.ablation import curve_plots
from segkd.ablation.curve_plots import MOST, plot_curves
from segkd.ablation.curves import Record, records_of, unfinished, write_curves
from segkd.ablation.rows import SCORES, Row, write_rows
from segkd.ablation.sources import gather
from segkd.ablation.statistics import compare
from segkd.types import InputError
from tests.ablation.test_plots import svg_text


def row(arm, dataset="a", seed=0, value=0.5, **rest):
    return Row(arm, dataset, seed, "val", dict.fromkeys(SCORES, value), 0, 0, 0.0, "", **rest)


def record(arm, dataset="a", seed=0, values=(0.1, 0.4, 0.5, 0.6), score="f_mean", step=10):
    return Record(arm, dataset, seed, {step * (i + 1): {score: value} for i, value in enumerate(values)})


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A function that draws and gives the axes of each data set."""
    kept = []
    monkeypatch.setattr(curve_plots, "save", lambda figure, folder, name: kept.append(figure) or folder / f"{name}.png")

    def draw(records, score="f_mean", baseline="plain"):
        cells = [row(one.arm, one.dataset, one.seed, max(one.points(score).values(), default=0.5)) for one in records]
        plot_curves(records, compare(cells, "val", score, baseline), tmp_path)
        return {axes.get_title(loc="left"): axes for axes in kept[-1].axes} if kept else {}

    return draw


def means(axes):
    """Label of the thick lines' colour -> their points."""
    return {line.get_color(): dict(zip(*line.get_data())) for line in axes.lines if line.get_linewidth() > 1}


def test_a_line_is_the_mean_over_the_seeds_and_the_steps_that_all_have(drawn):
    axes = drawn([
        record("plain", seed=0, values=(0.1, 0.2, 0.3)), record("plain", seed=1, values=(0.3, 0.6, 0.5)),
        record("plain", seed=2, values=(0.9, 0.9, 0.9)),
        record("taught", seed=0, values=(0.2, 0.2)), record("taught", seed=1, values=(0.4, 0.8, 0.6, 0.9)),
    ])["a"]  # fmt: skip
    plain, taught = means(axes).values()
    assert plain == pytest.approx({10: 0.2, 20: 0.4, 30: 0.4}), "seed 2 is plain's alone"
    assert taught == pytest.approx({10: 0.3, 20: 0.5}), "later steps are of one seed alone"
    assert len(axes.lines) == 5 + 2, "every training is there, faintly"


def test_arms_without_a_common_seed_have_no_mean_lines(drawn):
    axes = drawn([record("plain", seed=0), record("taught", seed=1)])["a"]
    assert not means(axes) and len(axes.lines) == 2


@pytest.mark.parametrize(
    "score, values, wanted",
    [
        ("f_mean", (0.1, 0.4, 0.5, 0.9), (0.1, 0.9)),
        ("f_mean", (0.0, 0.1, 0.2, 0.3, 0.7, 0.8, 0.8, 0.9), (0.1, 0.9)),
        ("mae", (0.9, 0.7, 0.3, 0.3, 0.2, 0.1, 0.2, 0.2), (0.1, 0.7)),
    ],
)
def test_the_axis_shows_the_last_three_quarters_of_the_training(drawn, score, values, wanted):
    axes = drawn([record("plain", values=values, score=score)], score)["a"]
    room = 0.05 * (wanted[1] - wanted[0])
    assert axes.get_ylim() == pytest.approx((wanted[0] - room, wanted[1] + room))


def test_of_many_arms_the_baseline_and_those_that_gain_most_are_drawn(drawn):
    arms = {f"arm{i}": 0.5 + 0.01 * ((7 * i) % 12) for i in range(12)}
    axes = drawn([record("plain"), *(record(arm, values=(0.1, 0.5, value)) for arm, value in arms.items())])["a"]
    tops = sorted(max(points.values()) for points in means(axes).values())
    assert tops == pytest.approx(sorted([0.6, *sorted(arms.values())[-(MOST - 1) :]]))


def test_a_look_repeated_after_a_resume_counts_once_and_other_lines_do_not(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [{"kind": "train", "step": 5, "loss": 1.0}, {"kind": "val", "step": 20, "f_mean": 0.3, "miou_image": None},
             {"kind": "val", "step": 10, "f_mean": 0.1}, {"kind": "val", "step": 20, "f_mean": 0.4}]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [row("plain", record=path), row("plain", record=path), row("none", record=None)]
    assert records_of(rows) == [Record("plain", "a", 0, {10: {"f_mean": 0.1}, 20: {"f_mean": 0.4}})]
    write_curves(tmp_path / "curves.csv", records_of(rows))
    found = list(csv.DictReader((tmp_path / "curves.csv").read_text().splitlines()))
    assert [(line["arm"], line["step"], line["f_mean"], line["mae"]) for line in found] == [
        ("plain", "10", "0.1", ""), ("plain", "20", "0.4", "")]  # fmt: skip


@pytest.mark.parametrize("sets", [1, 5])
def test_the_picture_is_there_in_both_forms_and_names_sets_and_arms(tmp_path, sets):
    arms = ("plain", "virtual_teacher+dct, $T_2$")
    names = ["$x^$", *(f"set{i}" for i in range(1, sets))]
    records = [record(arm, name, seed) for arm in arms for name in names for seed in (0, 1)]
    comparison = compare([row(one.arm, one.dataset, one.seed) for one in records], "val", "f_mean", "plain")
    png, svg = plot_curves(records, comparison, tmp_path)
    for name in (*arms, *names, "optimiser steps"):
        assert re.sub(r"\s", "", name) in svg_text(svg)
    with Image.open(png) as image:
        pixels = np.asarray(image.convert("RGB"))
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edges == 255).all() and 0.01 < (pixels < 250).any(axis=2).mean() < 0.5


def test_no_picture_without_a_record_of_the_score(tmp_path):
    comparison = compare([row("plain")], "val", "mae", "plain")
    assert plot_curves([record("plain", score="f_mean")], comparison, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_grid_leads_to_its_records_but_not_to_those_of_several_options(tmp_path):
    write_rows(tmp_path / "cells.csv", [row("plain"), row("gone"), row("tuned"), row("tuned", seed=1)])
    for folder in ("plain/seed-0", "tuned/option-0/seed-0", "tuned/option-1/seed-0", "tuned/option-1/seed-1"):
        run = tmp_path / "cells" / "a" / folder / "run"
        run.mkdir(parents=True)
        (run / "metrics.jsonl").touch()
    rows, _ = gather([str(tmp_path)], None)
    found = [one.record and one.record.parents[1].name for one in rows]
    assert found == ["seed-0", None, None, "seed-1"]


@pytest.mark.parametrize(
    ("curves", "score", "words"),
    [
        ([(0.1, 0.5, 0.52), (0.1, 0.5, 0.51)], "f_mean", "plain by 0.0150 (2 of 2"),
        ([(0.1, 0.5, 0.52), (0.1, 0.5, 0.54), (0.1, 0.6, 0.59)], "f_mean", "plain by 0.0167 (2 of 3"),
        ([(0.9, 0.5, 0.48)], "mae", "plain by 0.0200 (1 of 1"),
        ([(0.1, 0.5, 0.504)], "f_mean", ""),  # less than half a point
        ([(0.1, 0.5, 0.6), (0.1, 0.6, 0.55)], "f_mean", ""),  # half of them fell
        ([(0.5,)], "f_mean", ""),
    ],
)
def test_a_score_that_still_rose_is_said(curves, score, words):
    records = [record("plain", seed=seed, values=values, score=score) for seed, values in enumerate(curves)]
    records.append(record("taught", values=(0.5, 0.5), score=score))
    comparison = compare([row("plain"), row("taught")], "val", score, "plain")
    found = unfinished(records, comparison)
    assert len(found) == bool(words) and (not words or words in found[0]) and "taught" not in "".join(found)


def test_what_compare_wrote_is_a_source_that_has_its_curves(tmp_path):
    records = [record("plain", seed=seed, values=(0.1, 0.2 + seed / 10)) for seed in (0, 1)] + [record("taught")]
    records.append(record("taught", seed=1, values=(31.5, 30.0), score="hd95"))  # and others than cells always have
    write_rows(tmp_path / "cells.csv", [row(one.arm, one.dataset, one.seed) for one in records] + [row("none")])
    write_curves(tmp_path / "curves.csv", records)
    rows, _ = gather([str(tmp_path)], None)
    assert records_of(rows) == records


def test_curves_of_another_tool_are_passed_over(tmp_path):
    write_rows(tmp_path / "cells.csv", [row("plain")])
    (tmp_path / "curves.csv").write_text("epoch,loss\n1,2\n")
    assert records_of(gather([str(tmp_path)], None)[0]) == []


@pytest.mark.parametrize("old, new, words", [("0.4", "x", "could not convert"), ("plain,a,0", "plain,a,x", "invalid"),
                                             ("0.4", "40", "In per cent?")])  # fmt: skip
def test_curves_that_are_none_are_named(tmp_path, old, new, words):
    write_rows(tmp_path / "cells.csv", [row("plain")])
    write_curves(tmp_path / "curves.csv", [record("plain")])
    (tmp_path / "curves.csv").write_text((tmp_path / "curves.csv").read_text().replace(old, new))
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        records_of(gather([str(tmp_path)], None)[0])
    assert "curves.csv, line " in str(caught.value)
