from pathlib import Path

import torch
import torch.distributed as dist

from segkd.distill.knowledge.response import response
from segkd.distill.knowledge.universal import universal
from segkd.losses import cross_entropy, focal, one_hot, soft_iou
from segkd.types import IGNORE
from tests.contract.pairs import learner_of, main, pairs, trained
from tests.contract.pairs import union as union_of_pairs
from tests.warm import end_well

WITHIN_A_BATCH = ("SameClass",)
"""Teachers that look for a partner among the images of their own process: two processes have other pairs than one."""


def union() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two images, one for each process; nearly all of the second is ignored, and it lacks a class."""
    torch.manual_seed(3)
    label = torch.randint(0, 3, (2, 12, 12))
    label[1] = label[1].clamp_max(1)
    label[1, :10] = IGNORE
    return torch.randn(2, 3, 12, 12).double(), label, torch.randn(2, 3, 12, 12).double()


def gradients(logits: torch.Tensor, label: torch.Tensor, teacher: torch.Tensor) -> dict[str, torch.Tensor]:
    logits = logits.clone().requires_grad_()
    valid, hard = label != IGNORE, one_hot(label, 3)
    weights = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
    losses = {
        "ce": cross_entropy(logits, label, valid),
        "ce_weighted": cross_entropy(logits, label, valid, weights),
        "focal": focal(logits, hard, valid, 2.0),
        "iou": soft_iou(logits, hard, valid, "l1"),
        "response": response(logits, teacher, valid, 3.0, True),
        "universal": universal(logits, teacher, label, valid, 1.0, 0.1),
    }
    return {name: torch.autograd.grad(loss, logits)[0] for name, loss in losses.items()}


def one_of_two(rank: int, folder: Path) -> None:
    """A process with one of the two images."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    own = (part[rank : rank + 1] for part in union())
    torch.save(gradients(*own), folder / f"{rank}.pt")
    dist.destroy_process_group()


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_two_processes_with_unequal_ignored_pixels_descend_as_one(warm, tmp_path):
    """The network is the same on both, so averaging gradients over processes means averaging these over images."""
    end_well(*(warm.start(one_of_two, rank, tmp_path) for rank in range(2)))
    alone = gradients(*union())
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name, expected in alone.items():
        averaged = torch.cat([ranks[0][name], ranks[1][name]]) / 2
        assert relative(averaged, expected) < 1e-6, name


def test_a_mean_of_the_processes_own_means_would_descend_elsewhere():
    """What the test above would not see if both processes held equally many pixels."""
    parts = union()
    own = [gradients(*(part[rank : rank + 1] for part in parts)) for rank in range(2)]
    for name, expected in gradients(*parts).items():
        assert relative(torch.cat([own[0][name], own[1][name]]) / 2, expected) > 0.01, name


def test_whatever_holds_parameters_or_state_ends_as_in_one_process(warm, tmp_path):
    """Teacher by teacher and knowledge by knowledge: what is held is equal on both processes after every step, and at
    the end what one process with all images holds. A parameter without a gradient would stop DDP."""
    workers = [warm.start(main, rank, tmp_path) for rank in range(2)]
    alone = {name: trained(learner_of(*pair, union_of_pairs()), None)[0] for name, pair in pairs().items()}
    end_well(*workers)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    taught = {name.split()[0] for name in alone}
    assert (
        len(alone) > 40
        and {"MeanTeacher", "Snapshot", "Guided", "LastBatch", "OnlineLabels", "Peer", "Retrieval"} <= taught
    )
    assert {name: differing for name, (_, differing) in one.items() if differing} == {}
    for name, expected in alone.items():
        (state, _), (other, _) = one[name], two[name]
        assert state.keys() == other.keys() == expected.keys()
        for key, tensor in expected.items() if name.split()[0] not in WITHIN_A_BATCH else ():
            apart = float((state[key].float() - tensor.float()).norm())
            assert apart < 1e-4 * max(1.0, float(tensor.float().norm())), (name, key)
