"""The stand's own judgement: what it calls a traceback, a hang, a difference; damage is the same every time."""

import random
import subprocess
import sys

import pytest
import torch

from benchmarks.siege.mutate import mutated
from benchmarks.siege.stand import Ended
from benchmarks.siege.table import HELD, Tally, Trial, broken, keep, notes, table
from benchmarks.siege.tiny import equal, flatten
from tests.conftest import REPOSITORY

FORKED = """
import os, signal, sys, time
from pathlib import Path
from benchmarks.siege import stand
from benchmarks.siege.crash import die_at, operations
from benchmarks.siege.table import broken

def fails():
    raise RuntimeError("a fault")

def waits():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)

def writes():
    Path("kept").mkdir()
    Path("kept/one").write_text("1")
    os.replace("kept/one", "kept/two")

def dies():
    die_at(Path("kept"), 3)
    writes()

folder = Path(sys.argv[1])
for name in ("--version", "--nonsense"):
    print(stand.run([name], folder).status)
print(broken(stand.run(["--version"], folder, before=fails), "x").verdict)
print(broken(stand.run(["--version"], folder, before=waits, limit=0.5), "x").verdict)
ended = stand.run(["--version"], folder, before=dies)
print(ended.status, broken(ended, "x"), sorted(p.name for p in (folder / "kept").iterdir()))
print(sorted(p.name for p in folder.iterdir()))
"""


def test_commands_in_forked_children_end_as_they_would_in_processes_of_their_own(tmp_path):
    done = subprocess.run([sys.executable, "-c", FORKED, tmp_path], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["0", "2", "traceback", "hang", "-9 None ['one']", "['kept']"], done.stderr


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        (Ended(0, "done", False, 1.0), None),
        (Ended(2, "segkd train: a paragraph", False, 1.0), None),
        (Ended(1, "Traceback (most recent call last):\n  x", False, 1.0), "traceback"),
        (Ended(130, "Exception ignored\nTraceback (most recent call last):", False, 1.0), "traceback"),
        (Ended(-11, "", False, 1.0), "traceback"),
        (Ended(-9, "", True, 1.0), "hang"),
        (Ended(-15, "", False, 1.0), None),
    ],
)
def test_how_a_command_ended(ended, verdict):
    trial = broken(ended, "the recipe")
    assert (trial.verdict if trial else None) == verdict
    assert trial is None or "the recipe" in trial.recipe


def test_the_table_counts_every_verdict_and_keeps_what_stands_around_it(tmp_path):
    trials = [HELD, HELD, Trial("hang", "a recipe"), Trial("skipped", "no right"), Trial("skipped", "no right")]
    tallies = [Tally("one", trials, 3.4), Tally("two", [Trial("silent", "another")], 1.0)]
    assert table(tallies).splitlines()[2:] == [
        "| one | 3 | 2 | 0 | 1 | 0 | 0 | 2 | 3 |",
        "| two | 1 | 0 | 0 | 0 | 1 | 0 | 0 | 1 |",
        "| all | 4 | 2 | 0 | 1 | 1 | 0 | 2 | 4 |",
    ]
    assert notes(tallies).splitlines() == [
        "one: 2 skipped: no right", "one: hang: a recipe", "two: silent: another",
    ]  # fmt: skip
    page = tmp_path / "page.md"
    page.write_text((REPOSITORY / "docs" / "results" / "siege.md").read_text())
    for _ in range(2):
        keep(page, tallies, "the command", "abc")
    text = page.read_text()
    assert text.startswith("# The siege") and text.count("| all | 4 |") == 1 and "## What is not covered" in text


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", bytes(range(200))),
        ("a.json", b'{"a": [1, 2, {"b": 0.5}]}'),
        ("a.jsonl", b'{"kind": "val", "step": 1}\n{"kind": "val", "step": 2}\n'),
        ("a.yaml", b"a: {b: 1, c: [2, 3]}\n"),
        ("a.csv", b"a,b\n1,2\n3,4\n"),
    ],
)
def test_damage_is_damage_and_the_same_every_time(name, data):
    found = [mutated(name, data, random.Random(f"seed {i}")) for i in range(200)]
    assert all(content != data for content, _ in found)
    assert len({content for content, _ in found}) > 60 and len({said for _, said in found}) > 4
    assert found == [mutated(name, data, random.Random(f"seed {i}")) for i in range(200)]


def test_runs_are_compared_to_the_last_bit():
    one = flatten({"a": [torch.tensor([1.0, 2.0]), 3], "b": {"c": float("nan")}})
    assert set(one) == {".a.len", ".a.0", ".a.1", ".b.c"}
    assert equal(one[".b.c"], float("nan")) and not equal(3, 3.0) and not equal(1, 2)
    assert equal(torch.tensor([1.0]), torch.tensor([1.0]))
    assert not equal(torch.tensor([1.0]), torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0])))
    assert not equal(torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64))
