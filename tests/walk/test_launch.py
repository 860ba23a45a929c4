"""Two processes train as one: the same steps, the same scores."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.conftest import TINY
from tests.warm import end_well, segkd


def test_two_processes_take_the_steps_of_one(tmp_path, warm):
    """Without BatchNorm's batch statistics (frozen encoder and a linear head) the two differ by rounding alone."""
    (tmp_path / "plain.py").write_text(
        "from torch import nn\n"
        "from segkd.models.network import Network\n"
        "from segkd.types import Prediction\n"
        "class Plain(Network):\n"
        "    def __init__(self, classes: int):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, classes, 1))\n"
        "    def forward(self, image):\n"
        "        return Prediction(self.body(image))\n"
    )
    shared = ["--config", "quickstart.yaml", "--config", "methods/virtual_teacher.yaml", "--model", "plain.Plain",
              "--data.embedded.train", 16, "--data.embedded.val", 3, "--data.embedded.side", 48, "--data.size", 32,
              "--engine.epochs", 2, "--engine.log_every", 1, "--data.workers", 0, "--optim.lr", 0.05,
              "--data.augment", "null", "--engine.device", "cpu"]  # fmt: skip
    end_well(warm.segkd("train", *shared, "--data.batch_size", 8, "--out", tmp_path / "one", cwd=tmp_path))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    two = ["-m", "segkd.cli", "train", *shared, "--data.batch_size", 4, "--out", tmp_path / "two"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, *map(str, two)], env=environment, capture_output=True, text=True, timeout=240, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = (torch.load(tmp_path / r / "checkpoints/last.pt", weights_only=True) for r in ("one", "two"))
    assert one["step"] == two["step"] == 4 and two["circumstances"]["processes"] == 2
    for name, tensor in one["learner"].items():
        torch.testing.assert_close(two["learner"][name], tensor, rtol=1e-4, atol=1e-5)
    one, two = (
        [json.loads(line) for line in (tmp_path / r / "metrics.jsonl").read_text().splitlines()] for r in ("one", "two")
    )
    assert one[-1]["miou_image"] == pytest.approx(two[-1]["miou_image"], abs=1e-3)
    losses = [[line["loss"] for line in lines if line["kind"] == "train"] for lines in (one, two)]
    assert len(losses[0]) == 4 and losses[0] == pytest.approx(losses[1], rel=1e-4), "means over both, not one's share"
    spectra = [[line for line in lines if line["kind"] == "spectrum"] for lines in (one, two)]
    assert [line["step"] for line in spectra[0]] == [line["step"] for line in spectra[1]] == [0, 2, 4]
    for alone, together in zip(*spectra):  # three images: an unequal share for each process
        pairs = list(zip(alone["errors"], together["errors"]))
        assert all((a is None) == (b is None) for a, b in pairs) and sum(a is not None for a, _ in pairs) >= 5
        assert [a for a, _ in pairs if a is not None] == pytest.approx([b for _, b in pairs if b is not None], rel=1e-4)


EVERYBODY = """
distiller:
  exits: {weight: 0.5}
  teachers:
    neck: {class_path: Refined}
    guide: {class_path: Guided}
    slow: {class_path: MeanTeacher}
    before: {class_path: Snapshot}
    last: {class_path: LastBatch}
    peer: {class_path: Peer}
    twin: {class_path: Twin, init_args: {disturbance: {class_path: RandomJpeg}}}
  terms:
    neck: {knowledge: {class_path: Attention}, teacher: neck, weight: {0.6: 0.0, 1.0: 1.0}}
    guide: {knowledge: {class_path: Hint}, teacher: guide, weight: 0.1}
    slow: {knowledge: {class_path: Response}, teacher: slow, weight: 0.1}
    before: {knowledge: {class_path: Response}, teacher: before, weight: 0.1}
    last: {knowledge: {class_path: Response}, teacher: last, weight: 0.1}
    peer: {knowledge: {class_path: Response}, teacher: peer, weight: 0.1}
    twin: {knowledge: {class_path: MeanFeatures}, teacher: twin, weight: 0.1}
draw: {class_path: Overlap}
"""


def test_every_teacher_that_learns_or_remembers_trains_on_two_processes(tmp_path, warm):
    """Every learning parameter gets a gradient, or DDP would complain; nobody waits at a validation; what is remembered
    is equal on both, which every checkpoint checks."""
    (tmp_path / "everybody.yaml").write_text(EVERYBODY)
    arguments = ["--config", "quickstart.yaml", "--config", tmp_path / "everybody.yaml",
                 "--data.embedded.train", 8, "--data.embedded.val", 2, "--data.embedded.side", 48, "--data.size", 32,
                 "--data.batch_size", 2, "--model.encoder", TINY, "--model.weights", "null", "--model.width", 16,
                 "--engine.epochs", 2, "--data.workers", 0, "--engine.device", "cpu"]  # fmt: skip
    end_well(*warm.ranks(segkd, "train", *map(str, arguments), "--out", str(tmp_path / "run")))
    assert (tmp_path / "run" / "student.safetensors").is_file()
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.pt", weights_only=True)
    assert state["step"] == 4 and len(state["learner"]["distiller.teachers.last.logits"]) == 4


def test_one_process_killed_ends_the_other_with_a_sentence(tmp_path, warm):
    """No launcher that would end it: the connection that the system closes is enough."""
    arguments = ["--config", "quickstart.yaml", "--data.embedded.train", 8, "--data.embedded.val", 2,
                 "--data.embedded.side", 48, "--data.size", 32, "--data.batch_size", 2, "--model.encoder", TINY,
                 "--model.weights", "null", "--model.width", 16, "--engine.epochs", 100000, "--engine.log_every", 1,
                 "--data.workers", 0, "--engine.device", "cpu", "--out", tmp_path / "run"]  # fmt: skip
    ranks = warm.ranks(segkd, "train", *map(str, arguments))
    while not (tmp_path / "run" / "checkpoints" / "last.pt").is_file():
        assert ranks[0].poll() is None and ranks[1].poll() is None, [one.text() for one in ranks]
        time.sleep(0.1)
    ranks[1].send(signal.SIGKILL)
    status, said = ranks[0].end(240)  # a minute, on a machine that does nothing else
    assert status == 2 and "Traceback" not in said, said
    assert "segkd train: process 0 waited for another one" in said and "--resume" in said
