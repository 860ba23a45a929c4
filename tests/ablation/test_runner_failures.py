"""Cells that fail, and grids that are killed."""

import io
import os
import signal
from dataclasses import replace

import pytest
from rich.console import Console

from segkd.ablation.cell import STOPPED, State, read_state, write_state
from segkd.ablation.engines import spawn
from segkd.ablation.grid import run_grid
from segkd.ablation.plan import Grid, Part
from segkd.ablation.rows import read_rows
from segkd.ablation.runner import Run, take_stock
from segkd.ablation.sources import gather
from segkd.types import InputError
from tests.ablation.test_runner import (
    IDENTITY,
    Tellable,
    Told,
    cell,
    quick,  # noqa: F401
    run,
)


def test_who_reads_the_run_of_a_cell_that_failed_is_not_run_and_says_what_it_waits_for(tmp_path):
    failing = cell("failing")
    pupil = replace(cell("pupil"), needs=(failing.name,))
    grandchild = replace(cell("grandchild"), needs=(pupil.name,))
    fine = replace(cell("fine"), needs=(cell("a").name,))
    engine, stopped, said = run(tmp_path, [grandchild, pupil, failing, fine, cell("a")], slots=1)
    assert [arm for arm, _ in engine.started] == ["failing", "a", "fine"] and stopped == ""
    state = read_state(tmp_path / "cells" / pupil.name)
    assert (state.status, state.why) == ("waiting", f"waits for the run of {failing.name}, which did not end well")
    assert (
        f"{pupil.name}  not run: {state.why}" in said
        and pupil.name in read_state(tmp_path / "cells" / grandchild.name).why
    )
    _, task = take_stock([failing, pupil], Run(tmp_path, 1, 1, "local"), ["val", "test"])
    assert task.run and task.why == "unfinished"  # and once its teacher is there, it runs


def test_who_reads_the_run_of_a_cell_that_something_else_stopped_waits_for_it(tmp_path):
    teacher = cell("stopped")
    engine, _, said = run(tmp_path, [teacher, replace(cell("pupil"), needs=(teacher.name,))], slots=1)
    assert [arm for arm, _ in engine.started] == ["stopped"]
    assert "stopped; its state is saved" in said and f"waits for the run of {teacher.name}" in said


def test_a_cell_whose_process_ends_before_it_can_say_why_has_failed(tmp_path):
    _, _, said = run(tmp_path, [cell("broken")])
    state = read_state(tmp_path / "cells" / cell("broken").name)
    assert state.status == "failed" and "ended with status 1; its log.txt may say more" in said


def test_a_cell_without_a_readable_state_ends_the_grid_with_1(tmp_path, monkeypatch):
    monkeypatch.setattr("segkd.ablation.grid.start_engine", lambda run: Tellable())
    lost = cell("lost", config={"data.classes": ["a", "b"]})
    grid = Grid({"lost": Part()}, {"data": Part()}, [0])
    assert run_grid(grid, [lost], Run(tmp_path, 1, 1, "local"), Console(file=io.StringIO())) == 1


def test_cells_whose_names_differ_in_where_a_hyphen_stands_are_moved_to_different_places(tmp_path):
    cells = [replace(cell("b-c"), dataset="a"), replace(cell("c"), dataset="a-b")]
    run(tmp_path, cells)
    run(tmp_path, [replace(one, identity=one.identity | {"config": {"optim.lr": 2}}) for one in cells])
    assert len(list((tmp_path / "replaced").iterdir())) == 2


class Ending(Tellable):
    """A grid that ends, without a chance to say a word, with the cell of that number."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def start(self, folder, slot):
        if len(self.started) == self.number:
            raise SystemExit
        return super().start(folder, slot)


def cut_off(tmp_path, monkeypatch, grid, cells, number):
    monkeypatch.setattr("segkd.ablation.grid.start_engine", lambda run: Ending(number))
    with pytest.raises(SystemExit):
        run_grid(grid, cells, Run(tmp_path, 1, 1, "local"), Console(file=io.StringIO()))
    return read_rows(tmp_path / "cells.csv")


def test_a_grid_that_is_killed_leaves_no_row_of_what_is_stale(tmp_path, monkeypatch):
    grid = Grid({"a": Part(), "b": Part()}, {"data": Part()}, [0])
    config = {"data.classes": ["a", "b"]}
    assert len(cut_off(tmp_path, monkeypatch, grid, [cell(arm, config=config) for arm in "abc"], 2)) == 2 * 2
    changed = [cell(arm, config=config | {"optim.lr": 2}) for arm in "ab"]
    assert cut_off(tmp_path, monkeypatch, grid, changed, 0) == []


def test_a_grid_that_is_killed_while_it_tunes_has_no_rows_of_trials(tmp_path, monkeypatch):
    grid = Grid({"a": Part()}, {"data": Part()}, [0], tune=[{"optim.lr": number} for number in (1, 2, 3)])
    trials = [replace(cell("a", config={"data.classes": ["a", "b"]}), option=o) for o in range(3)]
    monkeypatch.setattr(Told, "end", lambda self, status, code, end=Told.end: end(self, "done", 0))
    assert cut_off(tmp_path, monkeypatch, grid, trials, 2) == []
    assert len((tmp_path / "costs.csv").read_text().splitlines()) == 1 + 2
    with pytest.raises(InputError, match=r"expected cells with scores, found none. Has a training ended yet\?"):
        gather([str(tmp_path)], None)


def test_a_new_split_is_scored_without_starting_over(tmp_path):
    run(tmp_path, [cell("a")])
    (task,) = take_stock([cell("a")], Run(tmp_path, 1, 1, "local"), ["val", "test", "train"])
    assert task.run and not task.stale and task.why == "not yet scored on train"


def test_an_unreadable_state_is_moved_aside(tmp_path):
    run(tmp_path, [cell("a")])
    (tmp_path / "cells" / cell("a").name / "cell.json").write_text("{half")
    engine, _, _ = run(tmp_path, [cell("a")])
    assert engine.started == [("a", 0)] and len(list((tmp_path / "replaced").iterdir())) == 1


def test_a_signal_stops_what_runs_and_starts_nothing_more(tmp_path):
    signalled = []

    def look():
        if not signalled:
            signalled.append(os.kill(os.getpid(), signal.SIGTERM))

    cells = [cell("a"), cell("stubborn"), cell("b"), cell("c")]
    engine, stopped, said = run(tmp_path, cells, slots=2, look=look)
    assert stopped == "SIGTERM" and [arm for arm, _ in engine.started][:2] == ["a", "stubborn"]
    assert "c" not in [arm for arm, _ in engine.started]
    assert read_state(tmp_path / "cells" / cells[1].name).status == "waiting"
    assert "stopped; its state is saved" in said


def test_a_cell_leaves_when_its_grid_dies(tmp_path):
    """The grid holds the cell's standard input; closing it is what the system does when a process is killed."""
    write_state(tmp_path, State(IDENTITY, ["val"]))
    layer = "data:\n  embedded: {train: 8, val: 2, side: 32}\n  size: 32\n  batch_size: 4\n  workers: 0\n"
    (tmp_path / "config.yaml").write_text(layer + "engine: {epochs: 100000, log_every: 1}\n")
    process = spawn(tmp_path, 1)
    metrics = tmp_path / "run" / "metrics.jsonl"
    # before the first step there is no state to keep
    while not (metrics.is_file() and '"train"' in metrics.read_text()):
        assert process.poll() is None, (tmp_path / "log.txt").read_text()
        try:
            process.wait(0.2)
        except TimeoutError:
            pass
        except Exception as error:
            assert "timed out" in str(error)
    process.stdin.close()
    assert process.wait(120) == STOPPED
    state = read_state(tmp_path)
    assert state.status == "waiting" and state.seconds > 0 and (tmp_path / "run" / "checkpoints" / "last.pt").is_file()
