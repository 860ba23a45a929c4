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
from segkd.engine.agreement import STATISTICS, share_statistics
from segkd.engine.learner import Learner
from segkd.types import Batch, InputError, some

PATIENCE = 50
"""Steps in a row that a gradient scaler may skip. It halves its scale each time, and 2^16 / 2^50 is nothing."""


class Diverged(InputError):
    """A loss, a gradient, a weight or what the network says stopped being a number."""

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
    `skipped` are the steps in a row that a gradient scaler left out. `verdicts` are those on losses and gradients: to
    be settled before anything of a step is kept.
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
    skipped: int = 0
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
    engine.micro += 1
    if engine.accelerator.sync_gradients:
        share_statistics(engine.bare)
        _descended(engine)
    return terms


def _descended(engine: Engine) -> None:
    """What follows an optimiser step; one that was skipped is counted."""
    if engine.moved():
        engine.schedule.step()
        engine.step, engine.skipped = engine.step + 1, 0
        engine.bare.follow(engine.step)
        return
    engine.skipped += 1
    if engine.skipped >= PATIENCE:
        raise Diverged(f"step {engine.step + 1}: the gradient was not finite {engine.skipped} times in a row")


def refuse_broken(engine: Engine) -> None:
    """Raises Diverged where a parameter or a running statistic is not finite; other buffers may hold a mask of -inf."""
    followed = [(name, buffer) for name, buffer in engine.bare.named_buffers() if name.endswith(STATISTICS)]
    held = [*engine.bare.named_parameters(), *followed]
    fine = torch.stack([tensor.detach().isfinite().all() for _, tensor in held]).tolist()
    if broken := [name for (name, _), whole in zip(held, fine) if not whole]:
        raise Diverged(f"step {engine.step}: numbers that are not finite in {some(broken)}")


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
