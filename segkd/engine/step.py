"""The training step, on one screen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from segkd.device import Verdicts
from segkd.engine.agreement import share_statistics
from segkd.engine.learner import Learner
from segkd.types import Batch, InputError


class Diverged(InputError):
    """A loss or a gradient stopped being a number."""

    def __init__(self, what: str, images: Sequence[str] = ()) -> None:
        look = f", or look at the images {', '.join(images)} (segkd sheet)" if images else ""
        super().__init__(
            f"training diverged at {what}. The last checkpoint is kept. Lower optim.lr or optim.clip{look}."
        )


@dataclass
class Engine:
    """What one training step needs, and where it stands.

    `learner` may be wrapped (DDP, FSDP) and is only ever called; `bare` is the module inside. `schedule` is not
    prepared by Accelerate: a prepared one moves once per process. `clip` bounds the gradient norm of the student, of
    the disturbance, and of all that learns beside the student (exits, projectors, teachers), each by itself.
    `verdicts` are those on losses and gradients: to be settled before anything of a step is kept.
    """

    accelerator: Accelerator
    learner: nn.Module
    bare: Learner
    optimizer: Any
    schedule: LambdaLR
    clip: float
    seed: int
    micro: int = 0
    step: int = 0
    verdicts: Verdicts = field(default_factory=Verdicts)

    def moved(self) -> bool:
        """Whether this micro-step ended in an optimiser step."""
        return self.accelerator.sync_gradients and not self.optimizer.step_was_skipped

    def bound(self) -> None:
        """Drops the gradients of layers that rest, clips the others, and has it judged whether they are finite."""
        for module in self.bare.student.resting:
            for parameter in module.parameters():
                parameter.grad = None
        parts = (self.bare.student, self.bare.disturbance, self.bare.distiller)
        learning = [[p for p in part.parameters() if p.requires_grad] for part in parts if part is not None]
        self.accelerator.unscale_gradients()
        norms = [nn.utils.clip_grad_norm_(group, self.clip) for group in learning if group]
        # a gradient scaler's first norms are inf by design: it skips those steps itself
        if self.accelerator.scaler is None:
            self.verdicts.judge(torch.stack(norms), partial(_refuse_norms, self.step + 1))


def train_step(engine: Engine, batch: Batch) -> dict[str, Float[Tensor, ""]]:
    """One micro-step: disturb, predict, compare, descend, follow.

    Raises:
        Diverged: a loss or gradient is not finite; on a CPU before the weights move, on an accelerator steps later.
    """
    torch.manual_seed(seed_of(engine.seed, engine.micro, engine.accelerator.process_index))
    with engine.accelerator.accumulate(engine.learner):
        with engine.accelerator.autocast():
            terms = engine.learner(batch)
            loss = torch.stack(list(terms.values())).sum()
        judged = partial(_refuse_losses, engine.step + 1, tuple(terms), batch.ids)
        engine.verdicts.judge(torch.stack([loss, *terms.values()]), judged)
        engine.accelerator.backward(loss)
        if engine.accelerator.sync_gradients:
            engine.bound()
        engine.optimizer.step()
        engine.optimizer.zero_grad(set_to_none=True)
    if engine.accelerator.sync_gradients:
        share_statistics(engine.bare)
    if engine.moved():
        engine.schedule.step()
        engine.step += 1
        engine.bare.follow(engine.step)
    engine.micro += 1
    return terms


def seed_of(seed: int, micro: int, rank: int) -> int:
    """A seed for every (seed, micro-step, rank): splitmix64's finaliser, so that neighbours share nothing."""
    x = (seed * 0x9E3779B97F4A7C15 + micro * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) & (2**64 - 1)
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return (x ^ (x >> 31)) >> 1


def _refuse_losses(step: int, names: Sequence[str], images: Sequence[str], values: list[float]) -> None:
    """`values` are the sum and the terms."""
    if not math.isfinite(values[0]):
        bad = [f"{name} = {value}" for name, value in zip(names, values[1:]) if not math.isfinite(value)]
        raise Diverged(f"step {step}: {', '.join(bad) or 'the sum'}", images)


def _refuse_norms(step: int, norms: list[float]) -> None:
    if not all(map(math.isfinite, norms)):
        raise Diverged(f"step {step}: the gradient is not finite (norm {norms})")
