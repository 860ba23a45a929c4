import multiprocessing
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from jsonargparse import Namespace
from torch import nn

from segkd.distill.distiller import Distiller
from segkd.engine.agreement import apart, averaged, checksum, checksums
from segkd.engine.learner import Learner
from segkd.engine.optim import Optim, build_optimizer, build_schedule
from segkd.engine.step import Engine, train_step
from segkd.experiment.processes import make_accelerator
from segkd.models.network import Network
from segkd.types import Batch, Prediction
from tests.warm import end_well


def twins() -> tuple[nn.Module, nn.Module]:
    pair = [nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)) for _ in range(2)]
    pair[1].load_state_dict(pair[0].state_dict())
    return pair[0], pair[1]


def found(*processes: nn.Module) -> list[str]:
    sums = [checksums(one) for one in processes]
    return apart(torch.stack([torch.stack(list(one.values())) for one in sums]), list(sums[0]))


def test_what_differs_is_noticed_in_statistics_too():
    ours, theirs = twins()
    assert found(ours, theirs, ours) == []
    theirs[1].running_mean.add_(1.0)
    assert found(ours, theirs, ours) == ["1.running_mean"]


def test_one_bit_of_one_parameter_is_noticed_by_name():
    ours, theirs = twins()
    with torch.no_grad():
        theirs[0].weight.view(torch.int32)[0, 0] ^= 1
    assert found(ours, ours, theirs) == ["0.weight"]


def test_a_sign_is_noticed():
    x = torch.arange(1.0, 4.0)
    assert checksum(-x) != checksum(x)


KINDS = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", KINDS)
def test_every_kind_of_number_has_a_checksum(dtype):
    x = (torch.arange(8) % 2).to(dtype)
    y = x.clone()
    y[0] = 1
    assert checksum(x) == checksum(x.clone()) != checksum(y)


class Normed(Network):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))

    def forward(self, image):
        return Prediction(self.body(image))


def process(folder: Path) -> None:
    """One of two processes: what differs between them after each optimiser step of two micro-steps."""
    accelerator = make_accelerator(Namespace(device="cpu", threads=1, precision="no", accumulate=2))
    rank, optim = accelerator.process_index, Optim(name="sgd", lr=0.1)
    torch.manual_seed(0)
    learner = Learner(Normed(), Distiller(), average=0.9, total=3)
    start = checksums(learner)
    optimizer = build_optimizer(optim, learner)
    wrapped, prepared = accelerator.prepare(learner, optimizer)
    engine = Engine(accelerator, wrapped, learner, prepared, build_schedule(optim, optimizer, 3), clip=5.0, seed=1)
    label, differing = torch.zeros(2, 8, 8, dtype=torch.int64), set()
    for micro in range(6):
        image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(10 * micro + rank))
        train_step(engine, Batch(image, image, label, None, ("a", "b")))
        if engine.micro % 2 == 0:
            sums = torch.stack(list(checksums(learner).values()))
            differing |= set(apart(accelerator.gather(sums.unsqueeze(0)), list(start)))
    moved = [name for name, now in checksums(learner).items() if now != start[name]]
    torch.save((sorted(differing), moved), folder / f"{rank}.pt")


def test_processes_hold_the_same_statistics_and_averages_after_every_step(warm, tmp_path):
    """Each process sees images of its own, half of them in a micro-step that exchanges nothing."""
    end_well(*warm.ranks(process, tmp_path))
    for rank in range(2):
        differing, moved = torch.load(tmp_path / f"{rank}.pt")
        assert differing == []
        assert {"student.body.1.running_var", "average.network.body.1.running_mean"} <= set(moved)


def meeting(rank: int, folder: Path) -> None:
    """One of two processes: the mean of their ranks."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    (folder / str(rank)).write_text(str(averaged({"rank": torch.tensor(float(rank))})["rank"].item()))
    dist.destroy_process_group()


def test_numbers_are_told_as_their_mean_over_the_processes(tmp_path):
    forked = multiprocessing.get_context("fork")
    workers = [forked.Process(target=meeting, args=(rank, tmp_path)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == ["0.5", "0.5"]
