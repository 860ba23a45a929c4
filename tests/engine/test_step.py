import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from torch import nn

from segkd.distill.distiller import Distiller
from segkd.engine.learner import Learner
from segkd.engine.optim import Optim, build_optimizer, build_schedule
from segkd.engine.step import Diverged, Engine, refuse_broken, seed_of, train_step
from segkd.models.network import Network
from segkd.types import Disturbance, Prediction


class Linear(Network):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Conv2d(3, classes, 1)

    def forward(self, image):
        return Prediction(self.head(image))


class Noise(Disturbance):
    def __init__(self):
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(0.1))

    def forward(self, batch):
        from dataclasses import replace

        return replace(batch, image=batch.image + self.strength * torch.randn_like(batch.image))


def make_engine(accumulate=1, clip=1e9, disturbance=None, lr=0.1) -> Engine:
    torch.manual_seed(0)
    optim = Optim(
        name="sgd",
        lr=lr,
        disturbance_lr=1.0,
        momentum=0.0,
        weight_decay=0.0,
        warmup=0.0,
        schedule="constant",
        average=None,
    )
    return engine_of(Learner(Linear(2), Distiller(), disturbance, total=10), optim, accumulate, clip)


def engine_of(learner: Learner, optim: Optim | None = None, accumulate=1, clip=1e9) -> Engine:
    optim = optim or Optim()
    optimizer = build_optimizer(optim, learner)
    AcceleratorState._reset_state()
    GradientState._reset_state()
    accelerator = Accelerator(
        cpu=True, gradient_accumulation_steps=accumulate, step_scheduler_with_optimizer=False, mixed_precision="no"
    )
    wrapped, prepared = accelerator.prepare(learner, optimizer)
    return Engine(accelerator, wrapped, learner, prepared, build_schedule(optim, optimizer, 10), clip=clip, seed=3)


def test_accumulation_equals_one_large_batch_without_ignored_pixels(make_batch):
    """Two micro-batches of two against one batch of four: the same mean, hence the same step."""
    whole = make_batch(b=4, ignored=0.0, soft=False)
    engine = make_engine()
    train_step(engine, whole)
    split = make_engine(accumulate=2)
    for part in (slice(0, 2), slice(2, 4)):
        piece = type(whole)(whole.image[part], whole.image[part], whole.label[part], None, whole.ids[part])
        train_step(split, piece)
    assert (engine.step, engine.micro, split.step, split.micro) == (1, 1, 1, 2)
    torch.testing.assert_close(split.bare.student.head.weight, engine.bare.student.head.weight)


def test_the_student_and_the_disturbance_are_clipped_each_by_itself(make_batch):
    engine = make_engine(clip=1e-3, disturbance=Noise(), lr=1.0)
    before = [p.detach().clone() for p in engine.bare.parameters()]
    train_step(engine, make_batch(soft=False))
    moves = [(p.detach() - q).norm() for p, q in zip(engine.bare.parameters(), before)]
    student = torch.stack(moves[:-1]).norm()
    torch.testing.assert_close(student, torch.tensor(1e-3), rtol=1e-3, atol=0)
    assert 0 < moves[-1] <= 1.001e-3
    engine.bare.distiller.scale = nn.Parameter(torch.ones(3))  # of an exit, a projector, a teacher
    engine.bare.distiller.scale.grad = torch.ones(3)
    engine.bound()
    torch.testing.assert_close(engine.bare.distiller.scale.grad.norm(), torch.tensor(1e-3), rtol=1e-3, atol=0)


def test_the_draws_of_a_step_depend_on_its_number_alone(make_batch):
    batch = make_batch(soft=False)
    one, two = make_engine(disturbance=Noise()), make_engine(disturbance=Noise())
    terms = train_step(one, batch)
    torch.rand(7)
    torch.testing.assert_close(train_step(two, batch)["task"], terms["task"], rtol=0, atol=0)


def test_a_loss_that_is_not_finite_stops_with_step_term_and_images(make_batch):
    engine, batch = make_engine(), make_batch(soft=False)
    before = engine.bare.student.head.weight.detach().clone()
    batch.image[0, 0, 0, 0] = float("nan")
    with pytest.raises(Diverged, match=r"step 1: task = nan\. .* at the images image0, image1 "):
        train_step(engine, batch)
    assert torch.equal(engine.bare.student.head.weight, before)


def test_a_statistic_that_is_not_finite_is_refused_but_not_a_mask():
    engine = make_engine()
    engine.bare.student.norm = norm = nn.BatchNorm2d(3)
    norm.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    refuse_broken(engine)
    norm.running_var[1] = torch.inf
    with pytest.raises(Diverged, match=r"step 0: numbers that are not finite in student\.norm\.running_var"):
        refuse_broken(engine)


def test_seeds_are_those_of_splitmix64():
    """Its published outputs of the state 0, without their last bit: a resumed run draws what the unbroken one would."""
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [seed_of(seed, 0, 0) for seed in (1, 2, 3)] == [one >> 1 for one in known]


def test_seeds_differ_between_neighbours():
    seeds = {seed_of(seed, micro, rank) for seed in range(6) for micro in range(60) for rank in range(4)}
    assert len(seeds) == 6 * 60 * 4 and all(0 <= s < 2**63 for s in seeds)
