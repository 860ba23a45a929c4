"""Every layer in configs/ builds and trains, its data replaced by the embedded set and its encoder by a tiny one."""

import hashlib
import json
import os
import re
from functools import partial
from pathlib import Path

import pytest
import yaml

from segkd.ablation.plan import grid_parser, narrowed, read_grid
from segkd.ablation.resolve import Place, resolve
from tests.conftest import REPOSITORY, TINY
from tests.contract.recipes import INSIDE, options

GRIDS = sorted((REPOSITORY / "configs" / "ablations").glob("*.yaml"))
LAYERS = sorted(set((REPOSITORY / "configs").rglob("*.yaml")) - set(GRIDS))
SMALL = {
    "data.root": "null",
    "data.embedded": '{"train": 8, "val": 2, "test": 2, "side": 48}',
    "data.size": 32,
    "data.batch_size": 4,
    "data.workers": 0,
    "data.train": "null",
    "data.val": "null",
    "data.test": "null",
    "data.ignore": "[]",
    "model.encoder": TINY,
    "model.weights": "null",
    "model.width": 16,
    "engine.epochs": 1,
    "engine.log_every": 1,
}
FIVE = {"data.embedded": '{"train": 2, "val": 1, "test": 1, "side": 48}'}
"""Five domains hold as many images as one set above."""
PROBED = FIVE | {"draw.probe": 1, "draw.every": 1}


def sections(config: str) -> list[str]:
    """The sections of a resolved configuration without their numbers (not whether they are 0), the names of classes
    (not whether they are two), and what is about scores and threads."""
    parts = yaml.safe_load(config)
    del parts["evaluation"], parts["engine"]["threads"]
    parts["data"]["classes"] = "two" if len(parts["data"]["classes"]) == 2 else "many"
    numbers = partial(re.sub, r"\d[\d.e-]*", lambda found: "0" if found[0].strip("0.") == "" else "#")
    return [numbers(yaml.safe_dump({name: part})) for name, part in parts.items()]


@pytest.fixture(scope="session")
def first_of_its_kind(tmp_path_factory):
    """Whether a section of a layer or arm was in none that was trained before, by this process or one beside it: each
    distiller, network, disturbance, ... of a grid is trained, and each arm, whatever it joins, built by `resolve`."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "sections"
    folder.mkdir(exist_ok=True)

    def claim(config: str) -> bool:
        return bool([section for section in sections(config) if met_first(section)])

    def met_first(section: str) -> bool:
        try:
            (folder / hashlib.sha256(section.encode()).hexdigest()).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    return claim


def within(small: dict, recipe: str) -> dict:
    """Settings of a network, for the one inside that of a recipe too."""
    return {key.replace("model.", f"model.{INSIDE.get(recipe, '')}"): value for key, value in small.items()}


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_layer_trains_two_steps_and_is_reloaded(layer, run_cli, tmp_path, first_of_its_kind):
    text = layer.read_text()
    small = SMALL | (PROBED if "DomainSampler" in text else FIVE if "domains:" in text else {})
    small = within(small, layer.stem)
    overrides = [part for key, value in small.items() for part in (f"--{key}", value)]
    overrides += options(layer)[2:] if layer.parent.name == "methods" else []
    status, out, err = run_cli("train", "--config", layer, *overrides, "--out", tmp_path / "run")
    assert status == 0, out + err
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    # a disturbance writes a line of its own at every validation, a finished teacher at the beginning, a draw by rounds
    kinds = [line["kind"] for line in lines if line["kind"] not in ("disturbance", "teacher", "domains")]
    assert kinds == ["spectrum", "train", "train", "spectrum", "val"]
    from segkd import load_model

    card = load_model(tmp_path / "run").card
    assert card.step == 2 and len(card.classes) == len(lines[-1]["iou"])
    first_of_its_kind((tmp_path / "run" / "config.yaml").read_text())


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_arm_of_every_grid_trains_two_steps(path, run_cli, tmp_path, first_of_its_kind):
    _, grid = read_grid(grid_parser(), ["--config", str(path)])
    longer = [name for name, part in grid.arms.items() if part.set.pop("engine.epochs", None)]  # of the same network
    parts = [grid.base, *grid.arms.values()]
    folds = any(key in ("data.fold", "data.only_fold") for part in parts for key in part.set)
    alike = "data.only_fold" in grid.base.set and not any("data.only_fold" in part.set for part in grid.arms.values())
    assert grid.budget == ("free" if longer or (folds and not alike) else "equal")
    assert len(grid.seeds) >= 3 or path.stem in ("recipes", "tuning")
    if not any("*" in str(part.set) for part in parts):  # an arm with all seeds of another as its teachers
        grid.seeds = grid.seeds[:1]
    grid.base.set |= {"data.only_fold": [0, 2]} if "data.only_fold" in grid.base.set else {}  # of eight images
    small = {key: None if value == "null" else value for key, value in SMALL.items() if key != "model.width"}
    for name, part in grid.datasets.items():
        part.set = part.set | {key: value for key, value in small.items() if not key.startswith("model.")}
        part.set |= PROBED | {"data.fold": None} if name == "domains" else {}
        part.set.pop("data.label_map", None)  # about files, too
        if part.set.pop("data.group", None):  # about files; a store wants keys of every class, from eight images
            part.set |= {"data.classes": ["a", "b", "c"], "data.ignore": []}
    alone = {  # trained above by themselves
        name
        for name, part in grid.arms.items()
        if len(part.layers) == 1 and not part.set and REPOSITORY / "configs" / part.layers[0] in LAYERS
    }
    for part in grid.arms.values():
        recipes = {Path(layer).stem for layer in part.layers} & INSIDE.keys()
        network = {key: value for key, value in small.items() if key.startswith("model.")}
        first = {key: value for key, value in part.set.items() if key == "model"}
        part.set = first | within(network, next(iter(recipes), "")) | part.set
    place = Place(path.parent, 1, out=tmp_path)
    if len(grid.datasets) > 1:  # the data are the same for all by now: the settings of every set are read with one arm
        resolve(narrowed(grid, [grid.baseline]), place)
    cells = resolve(narrowed(grid, [next(iter(grid.datasets))]), place)
    assert {cell.arm for cell in cells} == grid.arms.keys()
    needed = {name for cell in cells if cell.seed == grid.seeds[0] for name in cell.needs}
    for cell in sorted(cells, key=lambda cell: (len(cell.needs), cell.arm != grid.baseline)):
        if cell.name not in needed and (
            cell.seed != grid.seeds[0] or cell.arm in alone or not first_of_its_kind(cell.config)
        ):
            continue
        file = tmp_path / f"{cell.arm}-{cell.seed}.yaml"
        file.write_text(cell.config)
        run = tmp_path / "cells" / cell.name / "run"
        status, out, err = run_cli("train", "--config", file, "--out", run)
        assert status == 0, out + err
        assert cell.steps == 2 or folds


@pytest.mark.parametrize("layer", [*LAYERS, *GRIDS], ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_layer_says_what_it_is(layer):
    assert layer.read_text().startswith("# ")
