"""`segkd train --resume` after all that may happen to a run folder and its data in between."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segkd.cli import main
from segkd.disk import part_of
from segkd.engine.record import read_lines
from segkd.models.store import load_model, read_card, save_student
from tests.conftest import TINY

SETTINGS = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16", "--data.size", "32",
            "--data.batch_size", "4", "--data.workers", "0", "--engine.epochs", "2", "--engine.log_every", "1",
            "--engine.device", "cpu"]  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A folder with data `d` and a finished run `run`."""
    root = tmp_path_factory.mktemp("original")
    draw = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / "d" / part).mkdir(parents=True)
    for i in range(10):
        mask = np.zeros((40, 40), np.uint8)
        mask[i : i + 20, 8:30] = 255
        Image.fromarray((draw.uniform(0, 90, (40, 40, 3)) + 0.5 * mask[..., None]).astype(np.uint8)).save(
            root / "d" / "images" / f"{i}.png"
        )
        Image.fromarray(mask).save(root / "d" / "masks" / f"{i}.png")
    assert main(["train", "--data.root", str(root / "d"), *SETTINGS, "--out", str(root / "run")]) == 0
    return root


@pytest.fixture
def run(original, tmp_path) -> Path:
    """A copy of the finished run; its data are in place."""
    return Path(shutil.copytree(original / "run", tmp_path / "run"))


@pytest.fixture
def data(original):
    """The data, put back afterwards."""
    shutil.copytree(original / "d", original / "kept")
    yield original / "d"
    shutil.rmtree(original / "d")
    (original / "kept").rename(original / "d")


def refused(run_cli, *arguments: object) -> str:
    status, out, err = run_cli(*arguments)
    assert status == 2 and "Traceback" not in out + err, out + err
    return err


def invert(data: Path) -> str:
    for path in (data / "masks").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    return "with another mask"


def remove(data: Path) -> str:
    for part in ("images", "masks"):
        (data / part / "0.png").unlink()
    return "1 removed (0)"


def add(data: Path) -> str:
    for part in ("images", "masks"):
        shutil.copy(data / part / "1.png", data / part / "new.png")
    return "1 added (new)"


def replace(data: Path) -> str:
    shutil.copy(data / "images" / "2.png", data / "images" / "3.png")
    return "1 with another image (3)"


@pytest.mark.parametrize("change", [invert, remove, add, replace])
def test_data_that_changed_are_refused_with_what_changed(run, data, run_cli, change):
    said = change(data)
    before = (run / "checkpoints" / "last.pt").read_bytes()
    err = refused(run_cli, "train", "--resume", run, "--engine.epochs", "3")
    assert said in err and "--data-changed" in err and "epochs: 2" in (run / "config.yaml").read_text()
    assert (run / "checkpoints" / "last.pt").read_bytes() == before


def test_data_that_changed_may_be_agreed_to_once(run, data, run_cli):
    said = replace(data)
    status, out, err = run_cli("train", "--resume", run, "--engine.epochs", "3", "--data-changed")
    assert status == 0 and said in out and "done" in out, out + err
    status, out, err = run_cli("train", "--resume", run)
    assert status == 0 and said not in out, out + err
    assert "data_changed" not in (run / "config.yaml").read_text()


@pytest.mark.parametrize("content", [None, b"torn"])
def test_a_lost_list_of_digests_is_no_change_of_the_data_and_written_again(run, run_cli, content):
    whole = (run / "data.json").read_bytes()
    (run / "data.json").unlink()
    if content is not None:
        (run / "data.json").write_bytes(content)
    status, out, err = run_cli("train", "--resume", run, "--engine.epochs", "3")
    assert status == 0 and (run / "data.json").read_bytes() == whole, out + err


def test_files_that_change_while_they_are_read_again_and_again(run, data, original, run_cli, monkeypatch, tmp_path):
    from segkd.experiment import training

    plain = training.introduce
    monkeypatch.setattr(training, "introduce", lambda *some: invert(data) and plain(*some))
    some = ["--data.root", data, *SETTINGS, "--data.cache_gb", "0", "--out", tmp_path / "new"]
    assert "the data changed" in refused(run_cli, "train", *some)


def test_more_epochs(run, run_cli):
    status, out, err = run_cli("train", "--resume", run, "--engine.epochs", "4", "--engine.save_every", "1")
    assert status == 0 and "engine.epochs: 2 until here, 4 from here on. The learning rate" in out, out + err
    epochs = [line["epoch"] for line in read_lines(run / "metrics.jsonl") if line["kind"] == "val"]
    assert epochs == [1, 2, 3, 4] and "epochs: 4" in (run / "config.yaml").read_text()
    sessions = json.loads((run / "environment.json").read_text())
    assert sessions[-1]["changed"] == {"engine.epochs": [2, 4], "engine.save_every": [500, 1]}
    assert "engine.epochs: 4 then, 3 now" in refused(run_cli, "train", "--resume", run, "--engine.epochs", "3")
    assert "optim.lr" in refused(run_cli, "train", "--resume", run, "--optim.lr", "0.5")


@pytest.mark.parametrize("content", [None, b"", b"\0" * 700])
def test_a_configuration_that_a_power_cut_took_comes_back(run, run_cli, content):
    whole = (run / "config.yaml").read_text()
    (run / "config.yaml").unlink()
    if content is not None:
        (run / "config.yaml").write_bytes(content)
    status, out, err = run_cli("train", "--resume", run)
    assert status == 0 and "restored from the checkpoint" in err and (run / "config.yaml").read_text() == whole, out


def test_a_run_killed_before_its_configuration_was_written_can_begin(original, run_cli, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.yaml.part", part_of(run / "metrics.jsonl").name, "lock", "config.yaml"):
        (run / name).write_text("")
    assert f"--out {run}" in refused(run_cli, "train", "--resume", run)
    status, out, err = run_cli("train", "--data.root", original / "d", *SETTINGS, "--out", run)
    assert status == 0, out + err


def test_a_lost_student_is_said_and_written_again(run, run_cli):
    (run / "student.safetensors").write_bytes((run / "student.safetensors").read_bytes()[:-9])
    status, out, err = run_cli("train", "--resume", run)
    assert status == 0 and "student.safetensors" in out and "missing or damaged" in out, out + err
    steps = [line["step"] for line in read_lines(run / "metrics.jsonl") if line["kind"] == "val"]
    assert steps == sorted(set(steps))
    assert run_cli("evaluate", "--run", run, "--split", "val", "--device", "cpu")[0] == 0
    status, out, err = run_cli("train", "--resume", run)
    assert status == 0 and "damaged" not in out, out + err


def test_a_student_younger_than_the_checkpoint_is_no_lost_one(run, run_cli):
    """A kill between a validation's student and its checkpoint: the validation comes again and writes the same."""
    path = run / "checkpoints" / "last.pt"
    state = torch.load(path, weights_only=True)
    state["promises"] |= {"student_sha256": "0" * 64, "student_step": 1}
    torch.save(state | {"owed": True, "best": None}, path)
    model = load_model(run)
    save_student(run, model.network, dataclasses.replace(model.card, step=state["step"]))
    (run / "model.json").write_text("")
    status, out, err = run_cli("train", "--resume", run)
    assert status == 0 and "damaged" not in out, out + err
    found = torch.load(path, weights_only=True)
    assert not found["owed"] and found["best"] is not None
    assert json.loads((run / "model.json").read_text())["step"] == found["step"] == found["promises"]["student_step"]


def test_the_student_of_a_longer_run_is_not_taken_for_this_one_s(run, run_cli):
    """A copy that went into the wrong folder: no validation that is to come writes it again."""
    model = load_model(run)
    save_student(run, model.network, dataclasses.replace(model.card, step=model.card.step + 1000))
    status, out, err = run_cli("train", "--resume", run)
    assert status == 0 and "missing or damaged" in out and "another run" in out, out + err
    assert read_card(run).step == 4
    assert "another run" not in run_cli("train", "--resume", run)[1]


def test_a_torn_copy_of_the_card_is_written_again(run, run_cli):
    whole = (run / "model.json").read_text()
    (run / "model.json").write_text("")
    assert run_cli("train", "--resume", run)[0] == 0 and (run / "model.json").read_text() == whole


def test_a_damaged_line_and_missing_ones_are_said(run, run_cli):
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"\xff" + lines[1], *lines[2:-2]]))
    status, out, err = run_cli("train", "--resume", run)
    assert status == 0 and "line 2 is damaged" in out and "2 of them are missing" in out, out + err
    assert len(read_lines(path)) == len(lines) - 3
    for command in (["evaluate", "--run", run, "--split", "val", "--device", "cpu"], ["compare", run, run]):
        assert "Traceback" not in "".join(run_cli(*command)[1:])


def test_a_flipped_bit_in_the_checkpoint_is_refused(run, run_cli):
    path = run / "checkpoints" / "last.pt"
    content = bytearray(path.read_bytes())
    state = torch.load(path, weights_only=True)["learner"]
    # one dimension: its bytes lie in the file as they do in an array, whatever the layout of the others
    weight = max((t for t in state.values() if t.ndim == 1 and t.is_floating_point()), key=torch.numel)
    content[content.index(weight.numpy().tobytes()) + 3] ^= 1
    path.write_bytes(content)
    assert "last.pt" in refused(run_cli, "train", "--resume", run)


def test_a_second_training_in_one_folder_is_refused_in_a_sentence(run, run_cli, monkeypatch):
    monkeypatch.setattr("segkd.experiment.lock.PATIENCE", 0)
    code = (
        f"import sys, filelock\nlock = filelock.FileLock({str(run / 'lock')!r}).acquire()\n"
        "print('held', flush=True)\nsys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    err = refused(run_cli, "train", "--resume", run)
    assert "another training is at work there" in err and "process" in err
    other.communicate("")
    assert run_cli("train", "--resume", run)[0] == 0


def test_a_full_disk_is_a_paragraph_and_costs_nothing(run, run_cli, monkeypatch):
    from segkd.engine import checkpoint

    plain = torch.save

    def full(state, file):
        if state["step"] > 6:
            raise OSError(28, "No space left on device")
        plain(state, file)

    monkeypatch.setattr(checkpoint.torch, "save", full)
    before = (run / "checkpoints" / "last.pt").read_bytes()
    err = refused(run_cli, "train", "--resume", run, "--engine.epochs", "4")
    assert "No space left" in err and "Make room" in err
    monkeypatch.setattr(checkpoint.torch, "save", plain)
    assert (run / "checkpoints" / "last.pt").read_bytes() != before
    assert run_cli("train", "--resume", run)[0] == 0


def test_a_list_in_another_order_is_other_data(original, run_cli, tmp_path):
    """Epochs draw images by their place in the list."""
    data = Path(shutil.copytree(original / "d", tmp_path / "d"))
    names = [str(i) for i in range(8)]
    (data / "train.txt").write_text("\n".join(names))
    (data / "val.txt").write_text("8\n9")
    assert run_cli("train", "--data.root", data, *SETTINGS, "--out", tmp_path / "run")[0] == 0
    (data / "train.txt").write_text("\n".join(names[::-1]))
    further = ["train", "--resume", tmp_path / "run", "--engine.epochs", "3"]
    assert "train: the same images in another order" in refused(run_cli, *further)
    status, out, err = run_cli(*further, "--data-changed")
    assert status == 0 and "another order" in out, out + err
    status, out, err = run_cli("train", "--resume", tmp_path / "run", "--engine.epochs", "4")
    assert status == 0 and "another order" not in out, out + err
