"""Grids of real trainings: killed and gone on with, a cell is what `train` and `evaluate` give, ray does the same."""

import csv
import json
import multiprocessing
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
import yaml

from tests.warm import segkd

SETTINGS = {
    "model": "quick_network.Quick",
    "data.embedded.train": 8,
    "data.embedded.val": 3,
    "data.embedded.test": 3,
    "data.embedded.side": 32,
    "data.size": 32,
    "data.batch_size": 4,
    "data.workers": 0,
    "engine.epochs": 3,
    "engine.log_every": 1,
}
OWN = ["--config", "quickstart.yaml", *(part for key, value in SETTINGS.items() for part in (f"--{key}", value)),
       "--engine.threads", 1]  # fmt: skip
"""One cell as a run of its own."""
NETWORK = """
from torch import nn
from segkd.models.network import Network
from segkd.types import Prediction
class Quick(Network):
    def __init__(self, classes: int, width: int = 4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, classes, 1))
    def forward(self, image):
        return Prediction(self.body(image))
"""


@pytest.fixture
def place(tmp_path):
    """A folder with a user's network and a grid of two cells."""
    (tmp_path / "quick_network.py").write_text(NETWORK)
    grid = {
        "base": {"layers": ["quickstart.yaml"], "set": SETTINGS},
        "arms": {"plain": {}, "wide": {"set": {"model.init_args.width": 8}}},
        "datasets": {"embedded": {}},
        "seeds": [1],
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    return tmp_path


def table(path):
    with path.open(newline="") as file:
        return {(r["arm"], r["seed"], r["split"]): r for r in csv.DictReader(file)}


@pytest.fixture
def ablate(place, warm):
    """A function that runs `segkd ablate` on the grid in a process of its own: arguments -> (status, text)."""

    def run(*more, out="GRID", how=segkd):
        return warm.start(how, "ablate", "--config", "grid.yaml", "--out", out, *map(str, more), cwd=place).end(300)

    return run


def with_warm_cells(*arguments):
    """`segkd ARGUMENTS` whose cells are forked from it, which spares each the seconds of the imports."""
    from segkd.ablation import engines

    fork = multiprocessing.get_context("fork")

    def spawn(folder, threads, device=None, home=None):
        process = fork.Process(target=run_warm_cell, args=(folder,))
        process.start()
        return SimpleNamespace(poll=lambda: process.exitcode, terminate=process.terminate)

    engines.spawn = spawn
    return segkd(*arguments)


def run_warm_cell(folder):
    from segkd.ablation.cell import run_cell

    with (folder / "log.txt").open("ab") as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    sys.exit(run_cell(folder))


def test_killed_and_started_again_it_finishes_and_runs_nothing_twice(place, ablate, warm, run_cli, monkeypatch):
    process = warm.segkd("ablate", "--config", "grid.yaml", "--out", "GRID", "--processes", "1", cwd=place)
    deadline = time.monotonic() + 200
    first, second = (place / "GRID" / "cells" / "embedded" / arm / "seed-1" / "cell.json" for arm in ("plain", "wide"))
    while not (second.is_file() and json.loads(second.read_text())["status"] == "running"):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send(signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
    kept = first.read_text()
    assert json.loads(kept)["status"] == "done"

    status, out = ablate()
    assert status == 0, out
    assert "1 of 2 cells are done already" in out and "unfinished" in out
    assert first.read_text() == kept
    rows = table(place / "GRID" / "cells.csv")
    assert len(rows) == 4 and all(float(r["miou_image"]) > 0 for r in rows.values())
    assert {r["steps"] for r in rows.values()} == {"6"} and {r["images"] for r in rows.values()} == {"24"}
    with (place / "GRID" / "report" / "curves.csv").open(newline="") as file:
        looks = list(csv.DictReader(file))
    assert {(r["arm"], r["seed"]) for r in looks} == {(arm, seed) for arm, seed, _ in rows}
    assert all(
        max(float(r["miou_image"]) for r in looks if (r["arm"], r["seed"]) == key)
        == float(rows[*key, "val"]["miou_image"])
        for key in {(r["arm"], r["seed"]) for r in looks}
    )
    assert (place / "GRID" / "report" / "curves_miou_image.png").is_file()

    monkeypatch.chdir(place)
    status, out, err = run_cli("train", *OWN, "--seed", 1, "--model.init_args.width", 8, "--out", "RUN")
    assert status == 0, out + err
    assert run_cli("evaluate", "--run", "RUN", "--trust", "--split", "test", "--out", "test.json")[0] == 0
    alone = json.loads((place / "test.json").read_text())
    row = rows["wide", "1", "test"]
    assert all(float(row[name]) == alone[name] for name in ("f_mean", "miou_image", "miou_dataset", "mae"))

    grid = ("ablate", "--config", "grid.yaml", "--out", "GRID", "--dry-run")
    _, again, _ = run_cli(*grid)
    assert "2 of 2 cells are done already" in again and "runs again" not in again
    _, changed, _ = run_cli(*grid, "--arms.wide.set", '{"model.init_args.width": 6}')
    assert "1 of 2" in changed and "model.init_args.width: 8 then, 6 now" in changed


def test_an_arm_that_fails_says_why_in_its_cell_and_the_others_go_on(place, ablate):
    grid = yaml.safe_load((place / "grid.yaml").read_text())
    grid |= {
        "splits": ["val"],
        "arms": {"wild": {"set": {"optim.lr": 1e30}}, "plain": {}},
    }
    (place / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    status, out = ablate("--processes", "1", how=with_warm_cells)
    assert status == 1 and "diverged" in out
    with (place / "GRID" / "costs.csv").open(newline="") as file:
        costs = {row["arm"]: row for row in csv.DictReader(file)}
    assert costs["wild"]["status"] == "failed" and "diverged" in costs["wild"]["why"]
    assert costs["plain"]["status"] == "done" and float(costs["plain"]["peak_memory_gb"]) > 0.05
    assert list(table(place / "GRID" / "cells.csv")) == [("plain", "1", "val")]


def test_options_are_tried_on_val_and_the_best_is_trained_with_every_seed(place, ablate):
    grid = yaml.safe_load((place / "grid.yaml").read_text())
    grid |= {"seeds": [0, 1], "arms": {"plain": {}}, "tune": [{"optim.lr": 1e-9}, {"optim.lr": 0.05}]}
    (place / "grid.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))
    status, out = ablate(how=with_warm_cells)
    assert status == 0, out
    cells = place / "GRID" / "cells" / "embedded" / "plain"
    vals = [json.loads((cells / f"option-{i}" / "seed-0" / "cell.json").read_text())["scores"] for i in (0, 1)]
    best = max((0, 1), key=lambda i: vals[i]["val"]["miou_image"])
    assert f"tuned plain on embedded: option {best}" in out
    assert "test" in vals[best] and "test" not in vals[1 - best], "the test set is not for choosing"
    assert (cells / f"option-{best}" / "seed-1").is_dir() and not (cells / f"option-{1 - best}" / "seed-1").exists()
    assert {seed for _, seed, _ in table(place / "GRID" / "cells.csv")} == {"0", "1"}


def test_ray_gives_the_same_cells(place, ablate, run_cli, monkeypatch):
    """A cell of the local engine is what `train` gives, as above."""
    pytest.importorskip("ray", reason="the extra segkd[ray] is not installed")
    few = ["--seeds", "[0]", "--arms", "{plain: {}}", "--splits", "[val]"]
    monkeypatch.chdir(place)
    status, out, err = run_cli("train", *OWN, "--out", "RUN")
    assert status == 0, out + err
    status, out = ablate("--engine", "ray", *few, out="RAY")
    assert status == 0, out
    alone = json.loads((place / "RUN" / "model.json").read_text())["scores"]
    [row] = table(place / "RAY" / "cells.csv").values()
    assert all(float(row[name]) == alone[name] for name in ("f_mean", "miou_image", "miou_dataset", "mae"))


def test_another_grid_at_work_in_the_folder_is_refused(place, ablate):
    from filelock import FileLock

    (place / "GRID" / "cells").mkdir(parents=True)
    with FileLock(place / "GRID" / "lock"):
        status, said = ablate()
    assert status == 2 and "another `segkd ablate` is at work there" in said


def test_a_folder_that_holds_something_else_is_refused(place, ablate):
    (place / "GRID").mkdir()
    (place / "GRID" / "thesis.txt").write_text("")
    status, said = ablate()
    assert status == 2 and "found something else there" in said and "Traceback" not in said
