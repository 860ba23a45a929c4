import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segkd.analysis.evidence import Condition, Sentence
from segkd.analysis.outputs import first_band, images_table, write_outputs
from segkd.analysis.summary import group
from segkd.frequency.rings import EDGES
from segkd.types import InputError

SAID = [Sentence("Low bands of the output were learned first.", "supported"), Sentence("F is .8.", "measured")]
ABOUT = {"command": ["segkd", "analyse"], "data": Path("ecssd.yaml"), "odd": float("inf")}


@pytest.fixture
def groups(make_evidence):
    runs = [make_evidence("b", seed, n=12, tables=True, heatmap=True, notes=["seen"]) for seed in (3, 1, 2)]
    return group([*runs, make_evidence("a", 1, n=12, learning=False)])


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_json_holds_everything_and_what_is_not_defined_is_null(groups, tmp_path):
    paths = write_outputs(groups, SAID, tmp_path / "new", ABOUT)
    assert paths == [tmp_path / "new" / name for name in ("spectra.json", "bands.csv", "images.csv")]
    assert sorted(tmp_path.joinpath("new").iterdir()) == sorted(paths)  # nothing half written is left

    def refuse(constant):
        raise AssertionError(constant)

    found = json.loads(paths[0].read_text(), parse_constant=refuse)
    assert found["about"] == {"command": ["segkd", "analyse"], "data": "ecssd.yaml", "odd": None}
    assert found["sentences"][0] == {"text": SAID[0].text, "verdict": "supported"}
    assert found["band_edges"] == list(EDGES) and found["images"] == 12 and found["size"] == [72, 90]
    assert [one["name"] for one in found["groups"]] == ["b", "a"]
    b, a = found["groups"]
    assert set(b["curves"]) == set(groups[0].curves) and "half" not in a["curves"]
    for name, curve in groups[0].curves.items():
        np.testing.assert_allclose(np.array(b["curves"][name]["mean"], float), curve.mean)
        np.testing.assert_allclose(np.array(b["curves"][name]["seeds"], float), curve.seeds)
    np.testing.assert_allclose(b["curves"]["error"]["seed_interval"], groups[0].curves["error"].seed_interval)
    assert b["curves"]["half"]["low"] == [None] * 8 and a["curves"]["error"]["seed_interval"] is None
    assert [run["seed"] for run in b["runs"]] == [1, 2, 3] and b["runs"][0]["notes"] == ["seen"]
    np.testing.assert_allclose(b["runs"][1]["learning"]["errors"], groups[0].runs[1].learning.errors)
    np.testing.assert_allclose(b["runs"][1]["learning"]["tables"], groups[0].runs[1].learning.tables)
    assert a["runs"][0]["learning"] is None and a["runs"][0]["forwards_per_image"] == 31.5
    assert b["runs"][0]["heatmap"]["images"] == 6 and len(b["runs"][0]["heatmap"]["places"]) == 60


def test_bands_are_in_long_form_with_the_band_that_each_value_is_of(groups, tmp_path):
    write_outputs(groups, SAID, tmp_path, ABOUT)
    rows = rows_of(tmp_path / "bands.csv")
    by_key = {(row["group"], row["quantity"], int(row["band"])): row for row in rows}
    assert len(by_key) == len(rows)
    curves = groups[0].curves
    row = by_key["b", "error", 2]
    assert (row["low_edge"], row["high_edge"]) == ("0.03125", "0.0625")
    assert float(row["mean"]) == curves["error"].mean[2] and float(row["high"]) == curves["error"].high[2]
    assert [float(row[f"run_{i}"]) for i in (1, 2, 3)] == list(curves["error"].seeds[:, 2])
    assert by_key["b", "half", 0]["low"] == "" and float(by_key["b", "half", 0]["mean"]) > 0
    assert by_key["a", "error", 2]["run_1"] != "" and by_key["a", "error", 2]["run_2"] == ""
    high = sorted(band for name, quantity, band in by_key if (name, quantity) == ("b", "high/f_mean"))
    low = sorted(band for name, quantity, band in by_key if (name, quantity) == ("b", "low/f_mean"))
    assert (low, high) == (list(range(7)), list(range(1, 8)))
    assert float(by_key["b", "high/f_mean", 1]["mean"]) == curves["high/f_mean"].mean[0]
    names = {row["quantity"] for row in rows}
    assert names == {name for name in curves if first_band(name) is not None}
    assert not names & {"boundary", "interior", "aliasing", "clean/f_mean"}


def test_images_have_a_row_per_run_and_condition(groups, tmp_path):
    groups[0].runs[1].scores["f_mean"][Condition("low", 2)][3] = np.nan
    write_outputs(groups, SAID, tmp_path, ABOUT)
    rows = rows_of(tmp_path / "images.csv")
    assert len(rows) == 4 * 12 * (1 + 8 + 8 + 7 + 7)
    found = {(row["group"], row["seed"], row["id"], row["condition"]): row for row in rows}
    assert len(found) == len(rows)
    run = groups[0].runs[1]
    row = found["b", "2", "image03", "noise/5"]
    assert float(row["f_mean"]) == run.scores["f_mean"][Condition("noise", 5)][3]
    assert float(row["miou_image"]) == run.scores["miou_image"][Condition("noise", 5)][3]
    assert found["b", "2", "image03", "low/2"]["f_mean"] == "" and row["run"] == str(run.run)
    assert [row["condition"] for row in rows[::12]][:3] == ["clean", "stop/0", "stop/1"]


def test_a_score_that_a_group_does_not_have_is_empty(make_evidence):
    one = make_evidence("a", n=4)
    other = replace(make_evidence("b", n=4), scores={"miou_image": one.scores["miou_image"]})
    rows = list(csv.DictReader(images_table(group([one, other])).splitlines()))
    assert {row["f_mean"] == "" for row in rows if row["group"] == "b"} == {True}
    assert {row["f_mean"] == "" for row in rows if row["group"] == "a"} == {False}


def test_the_same_groups_give_the_same_bytes(groups, tmp_path):
    for name in ("a", "b"):
        write_outputs(groups, SAID, tmp_path / name, ABOUT)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_folder_that_cannot_be_written_is_said(groups, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write there"):
        write_outputs(groups, SAID, tmp_path / "file", ABOUT)
