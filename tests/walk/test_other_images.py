"""The networks of a grid on the training images whose labels `data.only_fold` hid."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import other_images
from segkd.ablation.cell import State, write_state
from tests.walk.test_disk_to_scores import SHORT, TINY_MODEL

FEW = [*TINY_MODEL, *SHORT, "--engine.epochs", "1", "--data.workers", "0"]


def test_the_other_images_are_scored_as_evaluate_scores_the_other_fold(make_folder, run_cli, tmp_path, capsys):
    root, run, grid = make_folder(n=12), tmp_path / "run", tmp_path / "grid"
    assert run_cli("train", "--data.root", root, "--data.only_fold", "[0, 2]", *FEW, "--out", run)[0] == 0
    fold = ["--split", "train", "--data.only_fold", "null", "--data.fold", "[0, 2]"]
    assert run_cli("evaluate", "--run", run, *fold, "--out", tmp_path / "scores.json")[0] == 0
    for arm in ("baseline", "other"):
        cell = grid / "cells" / "folder" / arm / "seed-0"
        shutil.copytree(run, cell / "run")
        shutil.copy(run / "config.yaml", cell / "config.yaml")
        write_state(cell, State({}, ["val"], "done"))
    ask = ["--grids", str(grid), "--out", str(tmp_path / "others.csv")]
    other_images.main(ask)
    said = capsys.readouterr().out
    assert "folder/other/seed-0" in said and "+0.0000" in said and "right where sure" in said
    found, expected = other_images.read(tmp_path / "others.csv"), json.loads((tmp_path / "scores.json").read_text())
    assert [one.row.scores["miou_image"] for one in found] == [expected["miou_image"]] * 2
    other_images.main(ask)  # all is there: nothing is scored again
    assert capsys.readouterr().out.splitlines() == said.splitlines()[2:]
    (grid / "cells" / "folder" / "other" / "seed-0" / "config.yaml").write_text(
        (run / "config.yaml").read_text().replace("only_fold:\n  - 0\n  - 2", "only_fold: null")
    )
    with pytest.raises(other_images.InputError, match="which leaves images without a label"):
        other_images.main(["--grids", str(grid), "--out", str(tmp_path / "new.csv"), "--only", "other"])


def test_what_is_sure_is_counted_pixel_by_pixel():
    draw = np.random.default_rng(0)
    histogram = draw.integers(0, 50, (2, 256))
    sure = right = rest = rest_right = 0
    for label in (0, 1):
        for level, count in enumerate(histogram[label]):
            certain, correct = level < 25 or level >= 230, (level >= 128) == label
            sure, right = sure + certain * count, right + (certain and correct) * count
            rest, rest_right = rest + (not certain) * count, rest_right + (not certain and correct) * count
    expected = sure / (sure + rest), right / sure, rest_right / rest
    assert other_images.sure_of(SimpleNamespace(histogram=histogram)) == pytest.approx(expected)
