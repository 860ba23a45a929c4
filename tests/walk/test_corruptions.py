"""`segkd evaluate --corruptions`, and the same over the cells of a grid."""

import json
import shutil

import numpy as np

from benchmarks import corruptions
from segkd.ablation.cell import State, write_state
from tests.walk.test_disk_to_scores import SHORT, TINY_MODEL

FEW = [*TINY_MODEL, *SHORT, "--engine.epochs", "1", "--data.workers", "0"]


def test_scores_under_corruptions_lie_beside_the_others(make_folder, run_cli, tmp_path, capsys):
    root, run, out = make_folder(n=8), tmp_path / "run", tmp_path / "out"
    assert run_cli("train", "--data.root", root, *FEW, "--out", run)[0] == 0
    ask = ["evaluate", "--run", run, "--split", "val", "--corruptions"]
    status, said, err = run_cli(*ask, "--out", out)
    assert status == 0 and "under corruptions" in said and "(without JPEG)" in said, said + err
    scores = json.loads((out / "scores.json").read_text())
    found = scores["corruptions"]
    assert found["clean"] == scores["miou_image"] and found["images"] == scores["n_images"] == 1
    by_name = {name: [r["miou_image"] for r in found["readings"] if r["corruption"] == name] for name in
               ("blur", "noise", "contrast", "downscale", "jpeg")}  # fmt: skip
    assert all(len(values) == 3 for values in by_name.values())
    assert found["mean_jpeg"] == np.mean(by_name.pop("jpeg"))
    np.testing.assert_allclose(found["mean_corrupted"], np.mean(list(by_name.values())))
    assert (out / "corruptions.csv").read_text().count("\n") == 17
    page = (out / "report.html").read_text()
    assert "Under corruptions" in page and "mean, without JPEG" in page
    a_grid_of_it_gains_nothing(tmp_path / "grid", run, capsys)
    status, said, err = run_cli(*ask, "--slide", "--out", tmp_path / "scores.json")
    assert status == 0 and "corruptions" in json.loads((tmp_path / "scores.json").read_text()), said + err
    maps = ["--predictions", root / "masks", "--labels", root / "masks"]
    status, _, err = run_cli("evaluate", *maps, "--corruptions")
    assert status == 2 and "say --run or --onnx" in err


def a_grid_of_it_gains_nothing(grid, run, capsys):
    """Two arms whose runs are the same one."""
    for arm in ("first", "second"):
        cell = grid / "cells" / "folder" / arm / "seed-0"
        shutil.copytree(run, cell / "run")
        shutil.copy(run / "config.yaml", cell / "config.yaml")
        write_state(cell, State({}, ["val"], "done"))
    (grid / "cells.csv").write_text("arm,dataset,seed\nfirst,folder,0\n")
    corruptions.main(["--grid", str(grid)])
    said = capsys.readouterr().out
    assert "2/2  folder/second/seed-0" in said and said.count("+0.00") == len(corruptions.GROUPS)
    rows = corruptions.read(grid / "corruptions_val.csv")
    assert len(rows) == 2 * 16
    corruptions.main(["--grid", str(grid)])  # all is there: nothing is scored again
    again = capsys.readouterr().out
    assert "folder/second" not in again and again.splitlines() == said.splitlines()[2:]
