"""A cell whose folder came from elsewhere: nothing in it is the user's word."""

import hashlib
from dataclasses import asdict, replace

import pytest
import torch

from segkd.ablation.cell import read_state, run_cell, write_state, written_by
from segkd.ablation.runner import Run, prepare, take_stock
from segkd.disk import write_whole
from segkd.models.store import ModelCard, load_model
from segkd.models.weights import packed
from tests.conftest import TINY
from tests.models.test_trust import Evil

SMP = {"model": "SmpNet", "model.architecture": "FPN", "model.encoder": TINY, "model.weights": None}


@pytest.fixture
def cell(resolved, tmp_path):
    """The folder of a cell that is done, and its cell."""
    base = {"layers": ["quickstart.yaml"], "set": SMP | {
        "data.embedded.train": 4, "data.embedded.val": 2, "data.embedded.test": 2, "data.embedded.side": 32,
        "data.size": 32, "data.batch_size": 4, "data.workers": 0, "engine.epochs": 1}}  # fmt: skip
    grid, cells = resolved(base=base, arms={"plain": {}}, seeds=[0], splits=["val"])
    (task,) = take_stock(cells, Run(tmp_path / "GRID", 1, 1, "local"), grid.splits)
    prepare(task, tmp_path / "GRID", ["val"])
    assert run_cell(task.folder) == 0, read_state(task.folder).why
    return task.folder


def again(folder, splits):
    state = read_state(folder)
    state.splits = splits
    write_state(folder, state)
    return run_cell(folder), read_state(folder)


def test_a_student_that_names_more_than_the_plan_is_not_trusted(cell, tmp_path):
    """Its class is the plan's; what its card adds would be opened on the way through smp to timm."""
    run, marker, pickle = cell / "run", tmp_path / "touched", tmp_path / "evil.pth"
    torch.save(Evil(marker), pickle)
    model = load_model(run)
    card = replace(model.card, init_args=model.card.init_args | {"arguments": {"checkpoint_path": str(pickle)}})
    content = packed(model.network.state_dict(), asdict(card))
    write_whole(run / "student.safetensors", content)
    last = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    last["promises"]["student_sha256"] = hashlib.sha256(content).hexdigest()
    torch.save(last, run / "checkpoints" / "last.pt")
    status, state = again(cell, ["val", "test"])
    assert not marker.exists()
    assert status == 1 and "checkpoint_path" in state.why and "not on the list" in state.why


def test_what_the_training_of_the_plan_writes_is_trusted():
    planned = ModelCard("my.Net", {"classes": 2, "width": 8, "mean": (0.5, 0.5, 0.5)}, ["a", "b"], (32, 32))
    assert written_by(planned, replace(planned, init_args={"classes": 2, "width": 8, "mean": [0.5, 0.5, 0.5]}, step=9))
    assert written_by(planned, replace(planned, init_args={"classes": 2}))  # before the others came
    for args in ({"classes": 3}, {"classes": 2, "file": "x"}):
        assert not written_by(planned, replace(planned, init_args=args))
    assert not written_by(planned, replace(planned, class_path="os.system"))
