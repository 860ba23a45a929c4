import json
import math
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from accelerate import PartialState

from segkd.datasets.data import Records
from segkd.datasets.draws.domains import DomainSampler
from segkd.datasets.loader import SegmentationDataset, collate
from segkd.datasets.sampler import EpochBatches
from segkd.datasets.transforms import Transform
from segkd.distill.base import Scene, Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.copies import MeanTeacher
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.checkpoint import Progress
from segkd.engine.learner import Learner
from segkd.engine.record import Recorder, read_lines
from segkd.engine.rounds import Rounds
from segkd.models.fusion import FusionNet
from segkd.types import IGNORE, InputError, Lesson
from tests.conftest import TINY
from tests.engine.test_step import engine_of

SIDE = 32


def sample(i: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of the first domain are the brighter ones; some pixels have no label."""
    draw = np.random.default_rng(i)
    label = (draw.random((SIDE, SIDE)) < 0.3).astype(np.uint8)
    image = draw.integers(0, 120, (SIDE, SIDE, 3)) + (100 if i < 10 else 0) * label[..., None]
    label[: i % 5] = IGNORE
    return image.astype(np.uint8), label


def rounds_of(teacher: str | None, rank: int = 0, world: int = 1, kind: str = "ddk") -> Rounds:
    """The rounds of a student that never learned, on a process of several."""
    records = Records("train", tuple(f"{i}" for i in range(20)), sample, domains=("one",) * 10 + ("two",) * 10)
    dataset = SegmentationDataset(records, Transform((SIDE, SIDE), None, 2, soft=False), seed=0)
    draw = DomainSampler(kind=kind, every=2, probe=3)
    draw.meet(records.domains, records.ids, 2)
    torch.manual_seed(1)
    made = {"slow": MeanTeacher(0.9), "label": LabelTeacher()}
    teachers = {name: made[name] for name in made if name == teacher}
    distiller = Distiller(teachers=teachers, terms={"response": Term(Response())} if teachers else {})
    student, batch = FusionNet(2, TINY, None, width=16), collate([dataset[0, i] for i in range(2)])
    if teachers:
        distiller.meet(Scene(student, batch, student.eval()(batch.clean), 1, lambda: student))
    engine = engine_of(Learner(student, distiller))
    engine.accelerator = SimpleNamespace(process_index=rank, num_processes=world, device=torch.device("cpu"))
    batches = EpochBatches(20, 2, 0, rank=rank, world=world, draw=draw)
    return Rounds(engine, draw, batches, dataset, 2, teacher)


def witness(logits: torch.Tensor, label: torch.Tensor) -> tuple[float, int]:
    total, number = 0.0, 0
    for first, second, truth in zip(*logits.flatten(1).tolist(), label.flatten().tolist()):
        if truth != IGNORE:
            total += math.log(math.exp(first) + math.exp(second)) - (first, second)[truth]
            number += 1
    return total, number


def test_losses_are_means_over_the_labelled_pixels_of_each_probe_of_which_the_teacher_says_anything(monkeypatch):
    rounds = rounds_of("slow")
    heard = torch.arange(SIDE).expand(SIDE, SIDE) >= 8
    lessons_of = rounds.engine.bare.distiller.lessons

    def some(batch, student):
        seen, lessons = lessons_of(batch, student)
        assert not rounds.engine.bare.distiller.training
        return seen, {"slow": Lesson(lessons["slow"].target, heard.expand(batch.label.shape))}

    monkeypatch.setattr(rounds.engine.bare.distiller, "lessons", some)
    with torch.no_grad():  # another network than the student
        for parameter in rounds.engine.bare.distiller.teachers["slow"].parameters():
            parameter.mul_(1.1)
    before = {name: tensor.clone() for name, tensor in rounds.engine.bare.state_dict().items()}
    found = rounds.losses()
    after = rounds.engine.bare.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()) and rounds.engine.bare.training
    bare = rounds.engine.bare.eval()
    for name, probe in rounds.draw.probes.items():
        batch = collate([rounds.dataset[0, i] for i in probe])
        with torch.no_grad():
            student, lessons = bare.distiller.lessons(batch, bare.student)
        labels = (batch.label, batch.label.masked_fill(~heard, IGNORE))
        for logits, label, value in zip((student.logits, lessons["slow"].target.logits), labels, found[name]):
            sums = [witness(*pair) for pair in zip(logits, label)]
            assert value == pytest.approx(sum(s for s, _ in sums) / sum(n for _, n in sums), rel=1e-5)
    assert found["one"][0] != pytest.approx(found["one"][1], rel=1e-3)


def test_a_teacher_made_from_the_label_leaves_the_student_s_loss_to_decide():
    label, perfect = rounds_of("label"), rounds_of(None, kind="student_loss")
    with_label, without = label.losses(), perfect.losses()
    assert with_label["one"][1] == pytest.approx(with_label["two"][1], rel=1e-4) and with_label["one"][1] > 0
    for name in ("one", "two"):
        assert with_label[name][0] == pytest.approx(without[name][0], rel=1e-6) and without[name][1] == 0
    for rounds, losses in ((label, with_label), (perfect, without)):
        rounds.draw.tell(losses, 4)
    first, second = label.draw.weights, perfect.draw.weights
    assert (first[0] > first[1]) == (second[0] > second[1])


def test_a_turn_updates_weights_state_and_stream_and_writes_a_line(tmp_path):
    rounds, progress = rounds_of("slow"), Progress()
    assert not rounds.due()
    rounds.engine.micro = rounds.engine.step = 2
    assert rounds.due()
    with Recorder(tmp_path, 0, writes=True) as recorder:
        rounds.turn(progress, recorder)
    assert not rounds.due() and rounds.batches.start == 2 and rounds.draw.round == 1
    assert progress.draw == rounds.draw.state() and sum(progress.draw["weights"].values()) == pytest.approx(1)
    (line,) = read_lines(tmp_path / "metrics.jsonl")
    assert line["kind"] == "domains" and line["step"] == 2
    assert {name: one["weight"] for name, one in line["domains"].items()} == progress.draw["weights"]
    assert {name: one["seen"] for name, one in line["domains"].items()} == {"one": 2.0, "two": 2.0}


def test_a_turn_counts_what_all_processes_drew(tmp_path, monkeypatch):
    rounds = rounds_of(None, 0, 2, kind="student_loss")
    monkeypatch.setattr(rounds, "losses", lambda: {"one": (1.0, 0.0), "two": (0.5, 0.0)})
    rounds.engine.micro = rounds.engine.step = 2
    with Recorder(tmp_path, 0, writes=True) as recorder:
        rounds.turn(Progress(), recorder)
    assert sum(rounds.draw.seen.values()) == 2 * 2 * 2


def test_a_probe_without_a_label_is_refused():
    rounds = rounds_of(None, kind="student_loss")
    load = rounds.dataset.records.load
    rounds.dataset.records = replace(rounds.dataset.records, load=lambda i: (load(i)[0], load(i)[1] * 0 + IGNORE))
    with pytest.raises(InputError, match=r"the probe of domain one \(3 images\) has no labelled pixel to measure"):
        rounds.losses()


def process(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    # by the rank Accelerate knows that there are several, and where nobody says how many threads, it warns
    os.environ |= {"LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
    PartialState._reset_state()
    assert PartialState(cpu=True).num_processes == 2
    rounds = rounds_of("slow", rank, 2)
    rounds.draw.tell(rounds.losses(), 8)
    (folder / f"{rank}.json").write_text(json.dumps(rounds.draw.state()))
    dist.destroy_process_group()


def test_two_processes_find_the_weights_that_one_finds(tmp_path):
    workers = [multiprocessing.get_context("fork").Process(target=process, args=(rank, tmp_path)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    first, second = ((tmp_path / f"{rank}.json").read_text() for rank in range(2))
    assert first == second  # to the last bit
    alone = rounds_of("slow")
    alone.draw.tell(alone.losses(), 8)
    assert json.loads(first)["seen"] == alone.draw.state()["seen"]
    assert json.loads(first)["weights"] == pytest.approx(alone.draw.shares, rel=1e-6)
