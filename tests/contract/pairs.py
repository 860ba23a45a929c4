"""Teachers with knowledge, where one of them holds parameters or state, trained a few steps, alone or as one of
two processes: `python -m tests.contract.pairs RANK FOLDER` is such a process."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from segkd.distill.base import Knowledge, Scene, Teacher, Term
from segkd.distill.distiller import Distiller
from segkd.distill.exits import Exits
from segkd.distill.knowledge.exits import AtExits
from segkd.distill.knowledge.graph import GraphEdges
from segkd.distill.knowledge.response import Response
from segkd.distill.teachers.copies import Snapshot
from segkd.distill.teachers.frozen import Frozen
from segkd.distill.teachers.guided import Guided
from segkd.distill.teachers.partner import Twin
from segkd.distill.teachers.retrieval import Retrieval, Stage
from segkd.distill.teachers.specialists import Specialists
from segkd.engine.agreement import apart, checksums
from segkd.engine.learner import Learner
from segkd.experiment.classes import subclasses
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.models.store import ModelCard, save_student
from segkd.types import IGNORE, Batch, Disturbance, InputError, LayerPath, Prediction

STEPS, CLASSES, SIDE = 2, 3, 16


class Small(Network):
    """Two levels of features and logits; no BatchNorm, whose statistics are each process's own."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.levels = nn.ModuleList([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)])
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, image: torch.Tensor) -> Prediction:
        fine = torch.tanh(self.levels[0](image))
        coarse = torch.tanh(self.levels[1](fine))
        both = fine + nn.functional.interpolate(coarse, size=fine.shape[2:], mode="bilinear")
        logits = nn.functional.interpolate(self.head(both), size=image.shape[2:], mode="bilinear")
        return Prediction(logits, (fine, coarse))


class Darker(Disturbance):
    """The same change every time."""

    def forward(self, batch: Batch) -> Batch:
        return replace(batch, image=batch.image * 0.8)


@functools.cache
def finished_run() -> LayerPath:
    """The folder of a run, the same in every process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, True)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        arguments = {"classes": CLASSES, "encoder": "test_efficientnet", "weights": None, "width": 8}
        card = ModelCard("segkd.models.network.FusionNet", arguments, ["0", "1", "2"], (32, 32))
        save_student(folder, FusionNet(**arguments), card)
    return LayerPath(str(folder))


BUILT = {
    AtExits: lambda: AtExits(Response()),
    Snapshot: lambda: Snapshot(1),
    Guided: lambda: Guided(hide=0.0),  # what is hidden is drawn for the images of a process
    GraphEdges: lambda: GraphEdges(edges=210, negatives="cross_boundary"),  # all there are: nothing is drawn
    Twin: lambda: Twin(Darker()),
    # every cell is asked: nothing is drawn
    Retrieval: lambda: Retrieval(finished_run(), threshold=0.0, queries=10**6, then=Stage(at=1.0)),
    Specialists: lambda: Specialists([finished_run()], whole=True),  # whose groups depend on no process's images
}
"""How classes are built that need to be told something."""

HOLDS_NONE = (Frozen,)
"""Teachers whose state is a file and never changes."""


def union() -> Batch:
    """Four images; the first two have far fewer pixels with a label."""
    draw = torch.Generator().manual_seed(5)
    image = torch.rand(4, 3, SIDE, SIDE, generator=draw)
    label = torch.randint(0, CLASSES, (4, SIDE, SIDE), generator=draw)
    soft = torch.nn.functional.one_hot(label, CLASSES).permute(0, 3, 1, 2).float()
    label[:2, 3:] = IGNORE
    warp = torch.eye(2, 3).repeat(4, 1, 1)
    return Batch(image, image, label, soft, tuple("abcd"), warp=warp)


def part(batch: Batch, rows: list[int]) -> Batch:
    image, ids = batch.image[rows], tuple(batch.ids[row] for row in rows)
    return Batch(image, image, batch.label[rows], batch.soft[rows], ids, warp=batch.warp[rows])


def learner_of(teacher: type[Teacher] | None, knowledge: type[Knowledge], batch: Batch) -> Learner:
    """The two have met a student. Raises InputError where they do not fit each other."""
    torch.manual_seed(1)
    student = Small()
    compare = BUILT.get(knowledge, knowledge)()
    exits = Exits(weight=0.5) if "exits" in compare.reads | compare.needs else None
    distiller = Distiller(
        teachers={} if teacher is None else {"who": BUILT.get(teacher, teacher)()},
        terms={"what": Term(compare, weight=0.5)},
        exits=exits,
    )
    scene = Scene(student, batch, student(batch.clean), 1, Small)
    if teacher is Retrieval:  # whose store is of all images, in every process
        scene = replace(scene, ids=union().ids, images=lambda size, numbers: [union()])
    distiller.meet(scene)
    learner = Learner(student, distiller, average=0.9, total=2 * STEPS)
    for module in learner.modules():
        if isinstance(module, nn.BatchNorm2d):  # its statistics over two images and over four are not the same
            module.forward = without_statistics(module)
    return learner


def without_statistics(norm: nn.BatchNorm2d) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: x * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)


def holds(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None or next(module.buffers(), None) is not None


def own(base: type) -> list[type]:
    """The package's own classes, in an order that does not depend on what was imported first."""
    return sorted((c for c in subclasses(base) if c.__module__.startswith("segkd.")), key=lambda c: c.__name__)


def pairs() -> dict[str, tuple[type[Teacher] | None, type[Knowledge]]]:
    """All that fit and hold something: a knowledge that holds something with every teacher, one that holds nothing at
    least once, and with every teacher one for each set of fields that are read."""
    found, seen = {}, set()
    teachers = [one for one in own(Teacher) if one not in HOLDS_NONE]
    knowledges = own(Knowledge)
    for teacher in (None, *teachers):
        for knowledge in knowledges:
            try:
                distiller = learner_of(teacher, knowledge, union()).distiller
            except InputError:
                continue
            compared = distiller.knowledge["what"]
            alike = {knowledge, (teacher, compared.reads, compared.needs)}
            if holds(compared) or (holds(distiller) and not alike <= seen):
                seen |= alike
                found[f"{teacher and teacher.__name__} {knowledge.__name__}"] = (teacher, knowledge)
    return found


def trained(learner: Learner, rank: int | None) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The state after some steps, and what was not the same on both processes after one of them."""
    wrapped = learner if rank is None else nn.parallel.DistributedDataParallel(learner)
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.05)
    differing = []
    for step in range(1, STEPS + 1):
        torch.manual_seed(step)
        halves = [[0, 1], [2, 3]][:: (-1) ** step]  # what one process saw, the other sees next
        batch = part(union(), [*halves[0], *halves[1]] if rank is None else halves[rank])
        sum(wrapped(batch).values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        learner.follow(step)
        if rank is not None:
            named = checksums(learner)
            sums = torch.stack(list(named.values()))
            everyone = [torch.empty_like(sums) for _ in range(2)]
            dist.all_gather(everyone, sums)
            differing += apart(torch.stack(everyone), list(named))
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}, differing


def main(rank: int, folder: Path) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {}
    for name, pair in pairs().items():
        found[name] = trained(learner_of(*pair, part(union(), [0, 1])), rank)
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()
