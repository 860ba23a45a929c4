"""`segkd analyse spectra` as a user runs it: two trainings, their page and files; and a user's mistakes."""

import csv
import json

import pytest

from segkd.frequency.rings import EDGES
from tests.conftest import TINY

SET = '{"train": 16, "val": 6, "test": 1, "side": 72, "band": [0.15, 0.3]}'
SMALL = {
    "data.embedded": SET,
    "data.size": 64,
    "data.batch_size": 8,
    "data.workers": 0,
    "model.encoder": TINY,
    "model.weights": "null",
    "model.width": 16,
    "engine.epochs": 2,
    "evaluation.every": 0.5,
}


def flags(settings: dict) -> list[str]:
    return [part for key, value in settings.items() for part in (f"--{key}", str(value))]


@pytest.fixture
def runs(run_cli, tmp_path):
    """A baseline and a run with a learnable table."""
    for name, more in (
        ("plain", {}),
        ("table", {"disturbance": "DctQuantization", "disturbance.objective": "cooperative"}),
    ):
        status, out, err = run_cli("train", *flags(SMALL | more), "--out", tmp_path / name)
        assert status == 0, out + err
    return tmp_path


def test_runs_become_a_page_and_files(runs, run_cli):
    out = runs / "spectra"
    table = runs / "table"
    status, said, err = run_cli("analyse", "spectra", f"plain={runs / 'plain'}", table, "--out", out, "--images", "4")
    assert status == 0, said + err
    assert "36 forward passes per image" in said and "OUTPUT, plain" in said and "table against plain" in said
    found = json.loads((out / "spectra.json").read_text())
    assert found["images"] == 4 and found["band_edges"] == list(EDGES)
    assert [group["name"] for group in found["groups"]] == ["plain", "table"]
    assert found["groups"][1]["runs"][0]["learning"]["tables"] is not None
    assert len(found["groups"][0]["runs"][0]["learning"]["epochs"]) == 5
    rows = list(csv.DictReader((out / "bands.csv").read_text().splitlines()))
    assert {row["quantity"] for row in rows} >= {"error", "half", "sensitivity", "noise_drop/miou_image"}
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 7 and "http" not in page.replace("http-equiv", "")
    assert (out / "figures" / "overview.svg").is_file() and (out / "figures" / "learning.png").is_file()


def test_mistakes_are_told_before_the_work(runs, run_cli, tmp_path):
    def told(*arguments) -> str:
        status, _, err = run_cli("analyse", "spectra", *arguments)
        assert status == 2 and "Traceback" not in err, err
        return err

    plain, out = runs / "plain", runs / "out"
    assert "student.safetensors" in told(tmp_path / "nowhere", "--out", out)
    assert "named twice" in told(plain, f"b={plain}", "--out", out)
    assert "both have seed 0" in told(f"a={plain}", f"a={runs / 'table'}", "--out", out)
    assert "found no name" in told(f"={plain}", "--out", out)
    assert "--images: expected a number from 2 to" in told(plain, "--out", out, "--images", "1")
    assert "--workers: expected a number from 0 to" in told(plain, "--out", out, "--workers", "-1")
    assert "--noise" in told(plain, "--out", out, "--noise", "0")
    three = f'{{"data": {{"embedded": {SET}, "classes": ["a", "b", "c"]}}}}'
    (runs / "three.yaml").write_text(three)
    assert "3 classes" in told(plain, "--data", runs / "three.yaml", "--out", out)
    (runs / "file").write_text("")
    assert "cannot write there" in told(plain, "--out", runs / "file" / "below")
    status, said, _ = run_cli("analyse", "--help")
    assert status == 0 and "spectra" in said and "tables" in said
    status, _, err = run_cli("analyse", "colours")
    assert status == 2 and "expected one of spectra, tables" in err
