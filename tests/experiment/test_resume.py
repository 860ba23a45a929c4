"""A run killed at any moment and resumed ends in the weights of a run that never was: real processes, real kills."""

import json
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import TINY
from tests.warm import Running

SETTINGS = {
    "data.embedded.train": 24,
    "data.embedded.val": 4,
    "data.embedded.side": 48,
    "data.size": 48,
    "data.batch_size": 4,
    "model.encoder": TINY,
    "model.weights": "null",
    "model.width": 16,
    "engine.epochs": 8,
    "engine.log_every": 1,
    "engine.save_every": 4,
    "engine.threads": 1,
    "engine.accumulate": 2,
    "evaluation.every": 2,
    "distiller.teachers.label.kind": "antialiased",
    "disturbance.granularity": "pixel",
    "disturbance.strength": "{0.0: 0.5, 1.0: 2.0}",
}
LAYERS = ["--config", "quickstart.yaml", "--config", "methods/virtual_teacher_frequency.yaml"]


def fresh(run: Path, workers: int) -> list[object]:
    overrides = [part for key, value in SETTINGS.items() for part in (f"--{key}", value)]
    return [*LAYERS, *overrides, "--data.workers", workers, "--out", run]


def last_step(run: Path) -> int:
    path = run / "metrics.jsonl"
    whole = path.read_text().split("\n")[:-1] if path.exists() else []
    return json.loads(whole[-1])["step"] if whole else 0


def wait_for_step(process: Running, run: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    while last_step(run) < step:
        assert process.poll() is None, f"ended before it could be stopped: {process.text()}"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def finish(process: Running) -> None:
    status, out = process.end(180)
    assert status == 0, out


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, warm) -> Path:
    run = tmp_path_factory.mktemp("runs") / "unbroken"
    finish(warm.segkd("train", *fresh(run, workers=0)))
    return run


def scores(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] in ("val", "spectrum")]


def assert_same(run: Path, other: Path) -> None:
    one, two = (torch.load(r / "checkpoints" / "last.pt", weights_only=True) for r in (run, other))
    assert one["step"] == two["step"] == 24 and one["micro"] == two["micro"] == 48
    for part in ("learner", "optimizer"):
        flat_one, flat_two = flatten(one[part]), flatten(two[part])
        assert flat_one.keys() == flat_two.keys()
        different = [name for name in flat_one if not equal(flat_one[name], flat_two[name])]
        assert not different
    assert (run / "student.safetensors").read_bytes() == (other / "student.safetensors").read_bytes()
    assert scores(run) == scores(other)


def flatten(tree: object, name: str = "") -> dict[str, object]:
    if isinstance(tree, dict):
        return {k: v for key, part in tree.items() for k, v in flatten(part, f"{name}.{key}").items()}
    if isinstance(tree, list):
        return {k: v for i, part in enumerate(tree) for k, v in flatten(part, f"{name}.{i}").items()}
    return {name: tree}


def equal(one: object, two: object) -> bool:
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


@pytest.mark.parametrize(("workers", "gentle"), [(0, signal.SIGTERM), (2, signal.SIGINT)])
def test_killed_and_resumed_equals_never_killed(unbroken, warm, tmp_path, workers, gentle):
    run, draw = tmp_path / "run", random.Random(workers)
    process = warm.segkd("train", *fresh(run, workers))
    wait_for_step(process, run, draw.randint(2, 12))
    process.send(signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
    process = warm.segkd("train", "--resume", run)
    wait_for_step(process, run, draw.randint(14, 18))
    process.send(gentle)  # as a terminal's Ctrl-C does, workers included
    status, out = process.end(120)
    assert status == 128 + gentle, out
    assert f"segkd train --resume {run}" in out and "Traceback" not in out
    stopped_at = torch.load(run / "checkpoints" / "last.pt", weights_only=True)["step"]
    assert stopped_at >= last_step(run) > 0
    finish(warm.segkd("train", "--resume", run))
    assert_same(run, unbroken)


def test_killed_before_the_first_checkpoint_starts_over(unbroken, warm, tmp_path):
    run = tmp_path / "run"
    process = warm.segkd("train", *fresh(run, workers=0))
    while not (run / "config.yaml").exists():
        time.sleep(0.002)
    process.send(signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
    assert not (run / "checkpoints" / "last.pt").exists()
    finish(warm.segkd("train", "--resume", run))
    assert_same(run, unbroken)


def test_a_used_folder_and_another_configuration_are_refused(unbroken, run_cli):
    before = (unbroken / "checkpoints" / "last.pt").stat().st_mtime_ns
    status, _, err = run_cli("train", *fresh(unbroken, workers=0))
    assert status == 2 and "--resume" in err
    status, _, err = run_cli("train", "--resume", unbroken, "--optim.lr", "0.5")
    assert status == 2 and "optim.lr" in err and "0.5" in err
    status, _, err = run_cli("train", "--resume", unbroken / "nowhere")
    assert status == 2 and "config.yaml" in err
    assert (unbroken / "checkpoints" / "last.pt").stat().st_mtime_ns == before


def test_a_damaged_checkpoint_is_named(unbroken, run_cli, tmp_path):
    run = tmp_path / "copy"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_bytes((unbroken / "config.yaml").read_bytes())
    (run / "checkpoints" / "last.pt").write_bytes((unbroken / "checkpoints" / "last.pt").read_bytes()[:1000])
    status, _, err = run_cli("train", "--resume", run)
    assert status == 2 and "last.pt" in err and "Traceback" not in err
