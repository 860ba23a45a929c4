import io
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from segkd.ablation.cell import STOPPED, State, read_state, scores_of, write_state
from segkd.ablation.engines import Engine, Job
from segkd.ablation.grid import chosen, run_grid, write_cells
from segkd.ablation.identity import plain_config
from segkd.ablation.plan import Grid, Part
from segkd.ablation.progress import Watcher
from segkd.ablation.resolve import Cell, content_digest, without_place
from segkd.ablation.rows import read_rows
from segkd.ablation.runner import Run, prepare, run_tasks, take_stock
from segkd.experiment.folder import resolved_text
from segkd.experiment.settings import parse, training_parser
from segkd.metrics.counts import count_binary
from segkd.metrics.meter import Meter
from segkd.types import InputError

IDENTITY = {"config": {"optim.lr": 1}, "data": {}, "code": {"segkd/a.py": "x"}}


def cell(arm, seed=0, **identity):
    return Cell(arm, "data", seed, None, "seed: 0\n", 4, 16, IDENTITY | identity)


class Told(Job):
    """Ends as its arm's name says, after two looks; "stubborn" works until it is stopped, "stopped" was by another."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.looks, self.stopped = folder, 0, False
        self.arm = folder.parent.name

    def poll(self):
        self.looks += 1
        if self.stopped:
            return self.end("waiting", STOPPED)
        if self.looks < 2 or self.arm == "stubborn":
            return None
        if self.arm == "killed":
            return -signal.SIGKILL
        if self.arm == "stopped":
            return self.end("waiting", STOPPED)
        if self.arm == "broken":
            return 1
        if self.arm == "lost":
            (self.folder / "cell.json").write_text("{half")
            return 0
        return self.end("failed", 1) if self.arm == "failing" else self.end("done", 0)

    def end(self, status, code):
        scores = {"val": {"miou_image": 0.5}, "test": {"miou_image": 0.25}} if status == "done" else {}
        state = replace(read_state(self.folder), status=status, scores=scores, steps=4, seconds=8.0)
        write_state(self.folder, replace(state, why="as told") if status == "failed" else state)
        return code

    def stop(self):
        self.stopped = True


class Tellable(Engine):
    def __init__(self):
        self.started, self.most, self.jobs = [], 0, []

    def start(self, folder, slot):
        self.started.append((folder.parent.name, slot))
        self.jobs.append(Told(folder))
        self.most = max(self.most, sum(job.looks < 2 for job in self.jobs))
        return self.jobs[-1]


def run(tmp_path, cells, slots=2, engine=None, look=lambda: None):
    grid = Run(tmp_path, slots, 1, "local")
    tasks = take_stock(cells, grid, ["val", "test"])
    console = Console(file=(tmp_path / "said.txt").open("a"), width=200)
    engine = engine or Tellable()
    waiting = [task.cell for task in tasks if task.run]
    with Watcher(console, ["val", "test"], "miou_image", waiting, slots, look) as watcher:
        stopped = run_tasks([task for task in tasks if task.run], engine, slots, tmp_path, watcher)
    console.file.close()
    return engine, stopped, (tmp_path / "said.txt").read_text()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("segkd.ablation.runner.POLL", 0.01)


def test_cells_run_side_by_side_and_a_failure_stops_nothing(tmp_path):
    cells = [cell(arm) for arm in ("a", "failing", "killed", "b", "c")]
    engine, stopped, said = run(tmp_path, cells)
    assert [arm for arm, _ in engine.started] == ["a", "failing", "killed", "b", "c"]
    assert {slot for _, slot in engine.started} == {0, 1} and engine.most <= 2
    states = {c.arm: read_state(tmp_path / "cells" / c.name) for c in cells}
    assert [states[a].status for a in ("a", "b", "c")] == ["done"] * 3
    assert (states["failing"].status, states["failing"].why) == ("failed", "as told")
    assert states["killed"].status == "failed" and "SIGKILL (out of memory?)" in states["killed"].why
    assert stopped == "" and "test miou_image 0.2500" in said and "failed: as told" in said and "5/5" in said
    assert (tmp_path / "cells" / cells[0].name / "config.yaml").read_text() == cells[0].config


def test_a_second_run_does_what_is_left(tmp_path):
    run(tmp_path, [cell("a"), cell("failing")])
    tasks = take_stock([cell("a"), cell("failing"), cell("new")], Run(tmp_path, 1, 1, "local"), ["val", "test"])
    assert [(t.cell.arm, t.run, t.why) for t in tasks] == [
        ("a", False, "done"), ("failing", True, "failed before: as told"), ("new", True, "new"),
    ]  # fmt: skip
    engine, _, _ = run(tmp_path, [cell("a"), cell("failing"), cell("new")])
    assert [arm for arm, _ in engine.started] == ["failing", "new"]


def test_what_changed_runs_again_and_the_old_result_is_kept_aside(tmp_path):
    run(tmp_path, [cell("a"), cell("b")])
    changed = [cell("a", config={"optim.lr": 2}), cell("b")]
    (task, other) = take_stock(changed, Run(tmp_path, 1, 1, "local"), ["val", "test"])
    assert task.run and task.why == "changed: optim.lr: 1 then, 2 now" and not other.run
    engine, _, _ = run(tmp_path, changed)
    assert [arm for arm, _ in engine.started] == ["a"]
    (old,) = (tmp_path / "replaced").iterdir()
    assert read_state(old).identity["config"] == {"optim.lr": 1} and read_state(old).status == "done"
    assert read_state(tmp_path / "cells" / changed[0].name).why.startswith("changed")


def test_changed_code_runs_again_unless_it_is_to_be_kept(tmp_path):
    run(tmp_path, [cell("a")])
    changed = [cell("a", code={"segkd/a.py": "y"})]
    (task,) = take_stock(changed, Run(tmp_path, 1, 1, "local"), ["val"])
    assert task.run and "the code of segkd/a.py changed" in task.why
    (task,) = take_stock(changed, Run(tmp_path, 1, 1, "local", keep_code=True), ["val"])
    assert not task.run
    both = [cell("a", code={"segkd/a.py": "y"}, config={"optim.lr": 9})]
    (task,) = take_stock(both, Run(tmp_path, 1, 1, "local", keep_code=True), ["val"])
    assert task.run and task.why == "changed: optim.lr: 1 then, 9 now"


@pytest.mark.parametrize("begun", [False, True])
def test_what_failed_before_it_was_trained_is_of_the_code_that_trains_it(tmp_path, begun):
    run(tmp_path, [cell("failing")])
    folder = tmp_path / "cells" / cell("failing").name
    if begun:
        (folder / "run" / "checkpoints").mkdir(parents=True)
        (folder / "run" / "checkpoints" / "last.pt").touch()
    kept = Run(tmp_path, 1, 1, "local", keep_code=True)
    [task] = take_stock([cell("failing", code={"segkd/a.py": "y"})], kept, ["val"])
    prepare(task, tmp_path, ["val"])
    assert read_state(folder).identity["code"] == {"segkd/a.py": "x" if begun else "y"}


def test_a_setting_that_came_with_later_code_is_kept_with_the_code_where_it_stands_at_its_default(tmp_path):
    parser = training_parser()
    text = resolved_text(parser, parse(parser, ["--config", "methods/virtual_teacher.yaml", "--data.embedded", "{}"]))
    whole = plain_config(text)
    (new,) = (key for key in whole if key.endswith("knowledge.init_args.soften_student"))
    before = {key: leaf for key, leaf in whole.items() if key != new}
    run(tmp_path, [replace(cell("a", config=before), config=re.sub(r"\n *soften_student: true", "", text))])

    def found(config, keep_code=True):
        (task,) = take_stock([cell("a", config=config)], Run(tmp_path, 1, 1, "local", keep_code), ["val"])
        return task

    assert not found(whole).run
    assert found(whole, keep_code=False).why == f"changed: {new}: None then, True now"
    assert found(whole | {new: False}).why == f"changed: {new}: True then, False now"
    assert "optim.lr" in found(whole | {"optim.lr": 9}).why


def test_with_the_code_kept_who_reads_a_run_that_is_kept_is_kept_too(tmp_path):
    """The digest of what it reads follows settings that came since, as those of the run itself do."""
    (tmp_path / "source.yaml").write_text("x")
    parser = training_parser()
    run_path = str((tmp_path / "cells" / "data" / "a" / "seed-0" / "run").resolve())
    words = ["--config", "methods/virtual_teacher.yaml", "--data.embedded", "{}", "--init", run_path]
    text = resolved_text(parser, parse(parser, words))
    whole = {key: without_place(value, tmp_path) for key, value in plain_config(text).items()}
    (new,) = (key for key in whole if key.endswith("knowledge.init_args.soften_student"))
    before = {key: value for key, value in whole.items() if key != new}
    old = re.sub(r"\n *soften_student: true", "", text)
    teacher = replace(cell("a", config=before), config=old)
    then = content_digest(teacher.identity)
    pupil = replace(cell("b", config=before | {"needs.a": then}), config=old, needs=(teacher.name,))
    run(tmp_path, [teacher, pupil])

    def stock(first, keep_code=True):
        today = replace(teacher, identity=IDENTITY | {"config": first})
        now = whole | {"needs.a": content_digest(today.identity)}
        cells = [replace(pupil, identity=IDENTITY | {"config": now}), today]
        return take_stock(cells, Run(tmp_path, 1, 1, "local", keep_code), ["val", "test"])

    assert whole["init"] == "$cells/data/a/seed-0/run" and not any(task.run for task in stock(whole))
    assert all(task.run for task in stock(whole, keep_code=False))
    other = whole | {"optim.lr": 9}
    assert [task.run for task in stock(other)] == [True, True]
    run(tmp_path, [replace(teacher, identity=IDENTITY | {"config": other})])  # and the pupil is of the run before
    after = stock(other)
    assert not after[1].run and after[0].why.startswith(f"changed: needs.a: {then} then")


def test_a_part_of_a_grid_leaves_what_still_holds_of_the_rest_and_the_baseline_stands_first(tmp_path):
    cells = [cell(arm, seed) for seed in (0, 1) for arm in ("a", "base", "b")]
    run(tmp_path, cells)

    def written(some, rest=()):
        grid = Run(tmp_path, 1, 1, "local", baseline="base")
        grid = replace(grid, rest=tuple(take_stock(rest, grid, ["val", "test"])))
        write_cells(grid, take_stock(some, grid, ["val", "test"]))
        lines = (tmp_path / "costs.csv").read_text().splitlines()[1:]
        return [(r.arm, r.seed) for r in read_rows(tmp_path / "cells.csv") if r.split == "val"], len(lines)

    everything = [("base", 0), ("base", 1), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert written(cells) == (everything, 6)
    again, costs = written(cells[:1], cells[1:])
    assert sorted(again) == sorted(everything) and again[:2] == everything[:2] and costs == 6
    changed = [replace(one, identity=IDENTITY | {"config": {"optim.lr": 2}}) for one in cells[1:]]
    assert written(cells[:1], changed) == ([("a", 0)], 1), "lines of other settings are not paired with new ones"


def test_an_arm_without_a_tuned_setting_is_left_out_and_said(tmp_path):
    grid = Grid({"fine": Part(), "broken": Part()}, {"data": Part()}, [0], tune=[{"optim.lr": 1}, {"optim.lr": 2}])
    cells = [replace(cell(arm, config={"data.classes": ["a", "b"]}), option=o) for arm in grid.arms for o in (0, 1)]
    for one, score in zip(cells, (0.2, 0.4, None, None)):
        folder = tmp_path / "cells" / one.name
        folder.mkdir(parents=True)
        write_state(folder, State(one.identity, ["val"], scores={"val": {"miou_image": score}} if score else {}))
    said = Console(file=io.StringIO(), width=200)
    assert [(c.arm, c.option) for c in chosen(grid, cells, tmp_path, said)] == [("fine", 1)]
    assert "broken on data is left out: no tuning trial has a score on val" in said.file.getvalue()
    with pytest.raises(InputError, match="no tuning trial has a score"):
        chosen(grid, cells[2:], tmp_path, said)


class Failing(Tellable):
    """Of each arm the trial of option 1 fails."""

    def start(self, folder, slot):
        job = super().start(folder, slot)
        job.arm = "failing" if "option-1" in folder.parts else "fine"
        return job


def test_a_trial_that_failed_is_said_and_ends_with_1(tmp_path, monkeypatch):
    monkeypatch.setattr("segkd.ablation.grid.start_engine", lambda run: Failing())
    grid = Grid({"a": Part()}, {"data": Part()}, [0], tune=[{"optim.lr": number} for number in (1, 2, 3)])
    config = {"data.classes": ["a", "b"]}
    cells = [replace(cell("a", config=config), option=o) for o in range(3)]
    said = Console(file=io.StringIO(), width=200)
    assert run_grid(grid, cells, Run(tmp_path, 1, 1, "local"), said) == 1
    assert "a on data was chosen among 2 of 3 trials: option 1: as told" in said.file.getvalue()
    assert "tuned a on data: option 0" in said.file.getvalue()
    assert run_grid(replace(grid, tune=grid.tune[::2]), cells[::2], Run(tmp_path, 1, 1, "local"), said) == 0


def test_the_worst_domain_can_choose_among_trials(tmp_path):
    grid = Grid({"a": Part()}, {"data": Part()}, [0], tune=[{"optim.lr": 1}, {"optim.lr": 2}])
    select = {"data.classes": ["a", "b"], "evaluation.select": "worst_miou_image"}
    cells = [replace(cell("a", config=select), option=o) for o in (0, 1)]
    label = np.eye(4, dtype=np.uint8)
    for one, foreground in zip(cells, (0.7 - 0.4 * label, 0.3 + 0.4 * label)):
        meter = Meter(["a", "b"])
        for domain in ("x", "y"):
            meter.add(domain, count_binary(foreground.astype(np.float32), label, 0.5), part=domain)
        (tmp_path / "cells" / one.name).mkdir(parents=True)
        scores = {"val": scores_of(meter, "worst_miou_image")}
        write_state(tmp_path / "cells" / one.name, State(one.identity, ["val"], "done", scores=scores))
        assert scores_of(meter, None) == meter.scores()
    assert [c.option for c in chosen(grid, cells, tmp_path, Console(file=io.StringIO()))] == [1]
