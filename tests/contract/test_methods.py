"""What every recipe of `configs/methods` must keep: a new one is under this contract without a line."""

import copy
import functools

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import Tensor, nn

from segkd.distill.base import learning
from segkd.distill.distiller import Distiller
from segkd.engine.checkpoint import Progress, load_checkpoint, save_checkpoint
from segkd.engine.learner import Learner
from segkd.engine.optim import Optim, build_optimizer, build_schedule
from segkd.engine.step import Engine, train_step
from segkd.models.network import Network
from segkd.models.taps import tapped
from segkd.types import Prediction
from tests.contract.recipes import (
    ADDED,
    EPOCH,
    INSIDE,
    ROUNDING,
    TOTAL,
    batch_of,
    built,
    classes_of,
    descend,
    every_recipe,
    far,
    fresh,
    met,
    prepared,
)


@every_recipe
def test_the_student_starts_with_the_baseline_s_tensors(recipe, make_batch):
    student = met(recipe, make_batch).student.state_dict()
    baseline = prepared(None, classes=classes_of(recipe))[0].student.state_dict()
    if recipe.stem in INSIDE:  # a network of its own holds more, and the rest of the baseline's
        student = {name.removeprefix("network."): part for name, part in student.items()}
        baseline = {name: part for name, part in baseline.items() if name in student}
        assert {name.split(".")[0] for name in student.keys() - baseline.keys()} == {"head"} and len(baseline) > 50
        student = {name: student[name] for name in baseline}
    names = [name for name in student if not name.startswith(ADDED.get(recipe.stem, ()))]
    assert names == list(baseline)  # and nothing for training alone is in its file
    assert all(torch.equal(student[name], baseline[name]) for name in baseline)


@every_recipe
def test_the_loss_falls_on_one_batch(recipe, make_batch):
    learner, batch = fresh(recipe, make_batch)
    learner.arrive(0.8)
    losses = descend(learner, [batch] * 8, at=0.8)
    assert torch.tensor(losses).isfinite().all()
    assert min(losses[-2:]) < losses[0]


@every_recipe
def test_each_term_by_itself_moves_the_student_or_what_it_is_for(recipe, make_batch):
    learner, batch = far(recipe, make_batch)
    terms = learner(batch)
    first = next(p for p in learner.student.parameters() if p.requires_grad)
    beside = [p for p in learner.distiller.parameters() if p.requires_grad]
    for name, term in terms.items():
        own = torch.autograd.grad(term, beside, retain_graph=True, allow_unused=True) if beside else ()
        (grad,) = torch.autograd.grad(term, [first], retain_graph=True, allow_unused=True)
        size = 0.0 if grad is None else float(grad.norm())
        if name in learner.distiller.knowledge:
            assert size > 0 or learner.distiller.weight(name) == 0, name
        elif name == "exits":
            assert size > 0 or learner.distiller.exits.weight == 0
        elif name == "task":
            assert size > 0 or learner.distiller.task_weight == 0
        else:  # what a teacher learns may stop short of the student, but not of itself
            assert size > 0 or any(one is not None and one.norm() > 0 for one in own), name


@every_recipe
def test_everything_that_learns_gets_a_gradient_in_every_step(recipe, make_batch):
    """In data-parallel training, processes wait for the gradient of every parameter."""
    learner, batch = far(recipe, make_batch)
    for progress in (0.0, 0.8):
        learner.arrive(progress)
        learner.zero_grad()
        torch.stack(list(learner(batch).values())).sum().backward()
        for part in (learner.student, learner.distiller):
            unread = [name for name, p in part.named_parameters() if p.requires_grad and p.grad is None]
            assert not unread, unread


@every_recipe
def test_in_evaluation_mode_lessons_repeat_and_nothing_changes_or_waits(recipe, make_batch, monkeypatch):
    learner, batch = far(recipe, make_batch)
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    learner.eval()

    def waits(*_: object, **__: object) -> None:
        raise AssertionError("a lesson in evaluation mode waits for another process")

    for name in ("all_reduce", "all_gather", "all_gather_object", "broadcast", "barrier"):
        monkeypatch.setattr(dist, name, waits)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    once, again = (learner.distiller.lessons(batch, learner.student)[1] for _ in range(2))
    for name, lesson in once.items():
        assert torch.equal(lesson.target.logits, again[name].target.logits), name
    after = learner.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


class Given(Network):
    """Gives a prediction that was made before, so that gradients end at its maps."""

    def __init__(self, network: Network, seen: Prediction) -> None:
        super().__init__()
        self.inner, self.seen = [network], seen

    def forward(self, image: Tensor) -> Prediction:
        return self.seen if torch.is_grad_enabled() else self.inner[0].eval()(image)


@every_recipe
def test_ignored_pixels_have_no_gradient_in_the_logits(recipe, make_batch):
    learner, batch = far(recipe, make_batch)
    with torch.no_grad():
        seen = tapped(learner.student.eval(), batch.image, learner.distiller.features)
    learner.distiller.features = None
    logits = seen.logits.clone().requires_grad_()
    given = Given(learner.student, Prediction(logits, seen.features))
    for name, term in learner.distiller(batch, given).items():
        (grad,) = (
            torch.autograd.grad(term, logits, retain_graph=True, allow_unused=True) if term.requires_grad else (None,)
        )
        if grad is not None:
            hidden = ~batch.valid.unsqueeze(1).expand_as(grad)
            assert (grad[hidden] == 0).all(), name


@functools.cache
def accelerator() -> Accelerator:
    AcceleratorState._reset_state()
    GradientState._reset_state()
    return Accelerator(cpu=True, step_scheduler_with_optimizer=False)


def engine_of(learner: Learner) -> Engine:
    """All of a run that a checkpoint holds."""
    optim = Optim(lr=0.01, warmup=0.0)
    optimizer = build_optimizer(optim, learner)
    wrapped, prepared_ = accelerator().prepare(learner, optimizer)
    return Engine(accelerator(), wrapped, learner, prepared_, build_schedule(optim, optimizer, TOTAL), clip=1.0, seed=7)


@every_recipe
def test_a_run_that_stops_within_an_epoch_goes_on_from_its_file_bit_for_bit(recipe, make_batch, tmp_path):
    batches = [batch_of(recipe, make_batch, seed=seed) for seed in range(3)]
    engine = engine_of(fresh(recipe, make_batch)[0])
    for batch in batches:
        train_step(engine, batch)
    assert engine.step % EPOCH  # what is counted or copied at the end of an epoch is under way
    save_checkpoint(tmp_path / "last.pt", engine, Progress())
    twin = engine_of(built(recipe, batches[0], seed=5))  # other draws: all that matters must be in the file
    load_checkpoint(tmp_path / "last.pt", twin)
    for batch in batches[:2]:
        terms, same = train_step(engine, batch), train_step(twin, batch)
        assert all(torch.equal(terms[name], same[name]) for name in terms) and len(terms) == len(same)
    assert all(torch.equal(a, b) for a, b in zip(engine.bare.state_dict().values(), twin.bare.state_dict().values()))


@every_recipe
def test_teaching_changes_no_batch(recipe, make_batch):
    batch, untouched = batch_of(recipe, make_batch), batch_of(recipe, make_batch)
    learner = built(recipe, batch)
    learner.arrive(0.8)
    learner(batch)
    for name in ("image", "clean", "label", "soft"):
        assert torch.equal(getattr(batch, name), getattr(untouched, name)), name


@every_recipe
def test_bfloat16_changes_no_more_than_its_rounding(recipe, make_batch):
    """The terms of a whole step, and what they ask of logits that are given, where all states are the same."""
    learner, batch = far(recipe, make_batch)
    with torch.no_grad():
        seen = tapped(copy.deepcopy(learner.student).eval(), batch.image, learner.distiller.features)
    terms, asked = [], []
    for one, half in ((copy.deepcopy(learner), False), (learner, True)):
        given = copy.deepcopy(one.distiller)
        given.features, logits = None, seen.logits.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            torch.manual_seed(1)
            terms.append({name: term.float() for name, term in one(batch).items()})
            torch.manual_seed(1)
            lone = given(batch, Given(copy.deepcopy(one.student), Prediction(logits, seen.features)))
        asked.append(torch.autograd.grad(torch.stack([term.float() for term in lone.values()]).sum(), logits)[0])
    for name, term in terms[0].items():
        torch.testing.assert_close(terms[1][name], term, rtol=0.05, atol=2e-3, msg=lambda said, name=name: name + said)
    share = ROUNDING.get(recipe.stem, 0.02)
    assert (asked[1] - asked[0]).norm() <= share * asked[0].norm()  # 0 where features alone are compared
    torch.stack(list(terms[1].values())).sum().backward()
    grads = [p.grad for p in learner.parameters() if p.grad is not None]
    assert grads and all(grad.isfinite().all() for grad in grads)


@every_recipe
def test_a_copy_of_a_distiller_shares_nothing(recipe, make_batch):
    """Averages and grids copy learners; a part held twice would be trained twice."""
    learner = met(recipe, make_batch)
    ids = [id(p) for _, p in learner.named_parameters(remove_duplicate=False)]
    assert len(ids) == len(set(ids))
    twin: nn.Module = copy.deepcopy(learner.distiller)
    assert isinstance(twin, Distiller) and learning(twin) == learning(learner.distiller)
    assert not set(ids) & {id(p) for p in twin.parameters()}
