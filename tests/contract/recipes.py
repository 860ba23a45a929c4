"""Every recipe of `configs/methods`, small: its options, its learner, and steps of it."""

import atexit
import copy
import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from segkd.distill.base import Scene
from segkd.engine.learner import Learner
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.models.store import ModelCard, save_student
from segkd.models.trained_on import note_trained_on
from segkd.types import Batch
from tests.conftest import REPOSITORY, TINY

RECIPES = sorted((REPOSITORY / "configs" / "methods").glob("*.yaml"))
CLASSES = {"uskd": 3, "specialists": 3}
"""Recipes that need more than two classes."""
SAID = {
    "snapshot": ["--distiller.teachers.before.cycles", "5"],
    "omgd": [f"--distiller.teachers.{name}.network.{key}={value}" for name in ("wide", "deep")
             for key, value in (("encoder", TINY), ("weights", "null"), ("width", 16))],
}  # fmt: skip
"""What a recipe needs so that all of it happens within three short epochs."""
ADDED = {"dk_kd": ("adapters.",)}
"""Layers that a recipe adds to the network for good: it names a model of its own."""
QUICK = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16", "--data.size", "32",
         "--data.embedded", "{}"]  # fmt: skip
INSIDE = {"simkd": "arguments."}
"""Recipes whose student holds the network that `QUICK` describes, and where."""
ROUNDING = {"omgd": 0.15}
"""Structural similarity divides by the variance in a window: the rounding of a teacher's own logits weighs more."""
TOTAL, EPOCH = 10, 2
SIZE = (32, 32)

every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)


@functools.cache
def finished_run(classes: int = 2) -> str:
    """The folder of a student, for recipes that need one."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, True)
    torch.manual_seed(11)
    arguments = {"classes": classes, "encoder": TINY, "weights": None, "width": 16}
    card = ModelCard("segkd.models.network.FusionNet", arguments, [f"class{i}" for i in range(classes)], SIZE)
    save_student(folder, FusionNet(**arguments), card)
    note_trained_on(folder, ["of another fold"])
    return str(folder)


def classes_of(recipe: Path) -> int:
    return CLASSES.get(recipe.stem, 2)


def options(recipe: Path | None) -> list[str]:
    """What the command line of a recipe says beside the quick settings."""
    if recipe is None:
        return []
    said = ["--config", str(recipe), *SAID.get(recipe.stem, [])]
    if classes_of(recipe) > 2:
        said += ["--data.classes", json.dumps([f"class{i}" for i in range(classes_of(recipe))])]
    if "sources: []" in recipe.read_text():
        said += ["--distiller.teachers.before.sources", json.dumps([finished_run(classes_of(recipe))])]
    if "run: null" in recipe.read_text():
        said += ["--model.run", finished_run()]
    if "source: null" in recipe.read_text():
        said += ["--distiller.teachers.neighbours.source", finished_run()]
    if "DomainSampler" in recipe.read_text():
        said += ["--data.domains", json.dumps({f"set{i}": {} for i in range(5)})]
    return said


def quick(recipe: Path | None) -> list[str]:
    """`QUICK`, for the network inside that of the recipe too."""
    inside = INSIDE.get(recipe.stem, "") if recipe else ""
    return [part.replace("--model.", f"--model.{inside}") for part in QUICK]


def batch_of(recipe: Path, make_batch, **settings) -> Batch:
    return make_batch(classes_of(recipe), b=4, size=SIZE, **settings)


@functools.cache
def configuration(recipe: Path | None, classes: int):
    """The parser and the configuration of a recipe, read once: objects are made of it anew for every test."""
    parser = training_parser()
    few = ["--data.classes", json.dumps([f"class{i}" for i in range(classes)])] if recipe is None else []
    return parser, parse(parser, [*options(recipe), *few, *quick(recipe)])


def prepared(recipe: Path | None, seed: int = 3, classes: int = 2) -> tuple[Learner, Callable[[], Network]]:
    """The learner of a recipe before it has met anybody, and what makes one more network."""
    parser, config = configuration(recipe, classes)
    torch.manual_seed(seed)
    objects = instantiate(parser, config)
    learner = Learner(objects.model, objects.distiller, objects.disturbance, average=0.9, total=TOTAL,
                      resting=objects.optim.resting)  # fmt: skip
    return learner, lambda: instantiate(parser, config).model


def built(recipe: Path, batch: Batch, seed: int = 3) -> Learner:
    learner, another = prepared(recipe, seed)
    introduce(learner, batch, another)
    return learner


@functools.cache
def met(recipe: Path, make_batch) -> Learner:
    """A learner that has met its student and did nothing else, to be looked at and left as it is."""
    return built(recipe, batch_of(recipe, make_batch))


def fresh(recipe: Path, make_batch) -> tuple[Learner, Batch]:
    """As `met`, with its batch, a copy for one test."""
    learner = copy.deepcopy(met(recipe, make_batch))
    torch.manual_seed(9)
    return learner, batch_of(recipe, make_batch)


def introduce(learner: Learner, batch: Batch, another: Callable[[], Network]) -> None:
    with torch.no_grad():
        seen = learner.student.eval()(batch.clean)
    learner.student.train()
    if learner.distiller.meets:
        learner.distiller.meet(Scene(learner.student, batch, seen, EPOCH, another, steps=TOTAL))


def descend(learner: Learner, batches: list[Batch], first: int = 1, at: float | None = None) -> list[float]:
    """The losses of a step of gradient descent on each batch, all at one progress if `at` says so."""
    optimizer = torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for step, batch in enumerate(batches, first):
        torch.manual_seed(step)
        loss = torch.stack(list(learner(batch).values())).sum()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learner.follow(step)
        if at is not None:
            learner.arrive(at)
    return losses


@functools.cache
def walked(recipe: Path, make_batch) -> Learner:
    batches = [batch_of(recipe, make_batch, ignored=0.3, seed=seed) for seed in range(2)]
    learner = built(recipe, batches[0])
    descend(learner, batches * 3)
    learner.arrive(0.8)
    return learner


def far(recipe: Path, make_batch) -> tuple[Learner, Batch]:
    """A learner after three epochs, at .8 of its training: late terms count, slow copies differ from the student. Each
    test has a copy of its own."""
    learner = copy.deepcopy(walked(recipe, make_batch))
    torch.manual_seed(9)
    return learner, batch_of(recipe, make_batch, ignored=0.3, seed=0)
