"""The optimiser, its parameter groups, and the learning-rate schedule."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from segkd.engine.learner import Learner
from segkd.models.decoder import Head
from segkd.models.network import Network
from segkd.types import InputError

LARGEST = 1e34
"""A learning rate whose thousandfold is still a number in float32."""


@dataclass
class Optim:
    """How parameters move.

    Args:
        name: the optimiser.
        lr: peak learning rate.
        encoder_lr: peak learning rate of the pretrained encoder, as a multiple of `lr`; of a teacher's
            that learns too.
        disturbance_lr: peak learning rate of a disturbance that learns, as a multiple of `lr`; a quantisation table
            is learned in octaves.
        weight_decay: on weights of convolutions and matrices (which are named so); never on biases, normalisation,
            scales of layers, tokens and disturbances.
        momentum: of SGD.
        schedule: how the rate falls after warm-up: "poly" (1 - t)^power, "cosine", "linear", or "constant".
        power: of "poly".
        warmup: share of all steps in which the rate rises linearly from 0.
        cycles: how often the rate falls, each time from its peak, in equal parts of all steps; warm-up is in the first.
        freeze: layer paths of the network that do not learn, e.g. [encoder.body.conv_stem], or [~head] for all but the
            head; {progress 0..1 of the training: paths} for those that do not from then on until the next, e.g.
            {0.0: [~head], 0.1: []}.
        average: decay of the moving average of the weights that is evaluated and kept; null for none.
        clip: largest gradient norm; larger gradients are scaled down.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = 2e-3
    encoder_lr: float = 0.25
    disturbance_lr: float = 10.0
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: Literal["poly", "cosine", "linear", "constant"] = "poly"
    power: float = 0.9
    warmup: float = 0.05
    cycles: int = 1
    freeze: list[str] | dict[float, list[str]] = field(default_factory=list)
    average: float | None = 0.99
    clip: float = 5.0

    def __post_init__(self) -> None:
        faults = [
            (0 < self.lr <= LARGEST, f"optim.lr must be above 0 (and up to {LARGEST:g}), found {self.lr}"),
            (
                0 <= self.encoder_lr <= 1000,
                f"optim.encoder_lr is a multiple of optim.lr, 0..1000, found {self.encoder_lr}",
            ),
            (
                0 < self.disturbance_lr <= 1000,
                f"optim.disturbance_lr must be above 0, a multiple of optim.lr up to 1000, found {self.disturbance_lr}",
            ),
            (0 <= self.power <= 100, f"optim.power is an exponent, 0..100, found {self.power}"),
            (self.cycles >= 1, f"optim.cycles must be at least 1, found {self.cycles}"),
            (0 <= self.warmup < 1, f"optim.warmup is a share of all steps, 0 <= warmup < 1, found {self.warmup}"),
            (self.average is None or 0 < self.average < 1, f"optim.average is a decay in 0..1, found {self.average}"),
            (
                0 <= self.weight_decay < math.inf,
                f"optim.weight_decay must be finite, 0 or more, found {self.weight_decay}",
            ),
            (0 <= self.momentum < 1, f"optim.momentum must be in 0 <= momentum < 1, found {self.momentum}"),
            (self.clip > 0, f"optim.clip must be above 0, found {self.clip}"),
        ]
        faults += [
            (0 <= at <= 1, f"optim.freeze: expected {{progress in 0..1: layer paths}}, found the progress {at}")
            for at in self.resting
        ]
        for fine, fault in faults:
            if not fine:
                raise InputError(fault)

    @property
    def frozen(self) -> list[str]:
        """Paths of the layers that never learn."""
        return [] if isinstance(self.freeze, dict) else self.freeze

    @property
    def resting(self) -> dict[float, list[str]]:
        """Progress -> paths of the layers that do not learn from then on."""
        return self.freeze if isinstance(self.freeze, dict) else {}


def build_optimizer(optim: Optim, learner: Learner, fused: bool = True) -> torch.optim.Optimizer:
    """The optimiser over everything in `learner` that learns, in groups of one rate and one decay: {encoders of the
    student and of teachers that learn, rest} x {decay, no decay}, the disturbance, and for AdamW heads by their width
    (`Head.speed`).

    Args:
        optim: the settings.
        learner: what learns.
        fused: AdamW as one kernel, a third of the time of a loop on a CPU (`benchmarks/step.py`); not for a gradient
            scaler, which it would keep from telling that a step was skipped. An older checkpoint keeps its loop.

    Raises:
        InputError: all of the student is frozen.
    """
    networks = [part for part in learner.modules() if isinstance(part, Network) and part.encoder_path]
    encoder = {id(p) for one in networks for p in one.layer(str(one.encoder_path)).parameters()}
    disturbing = set() if learner.disturbance is None else set(map(id, learner.disturbance.parameters()))
    heads = [part for part in learner.modules() if isinstance(part, Head)] if optim.name == "adamw" else []
    speeds = {id(head.weight): head.speed for head in heads}
    groups: dict[tuple[float, float, float], list[nn.Parameter]] = {}
    for name, parameter in learner.named_parameters():
        if not parameter.requires_grad:
            continue
        share, disturbs = optim.encoder_lr if id(parameter) in encoder else 1.0, id(parameter) in disturbing
        speed = optim.disturbance_lr if disturbs else speeds.get(id(parameter), 1.0)
        # decay would pull a table towards its start; scales of layers and biases of positions have axes too
        matrix = parameter.ndim > 1 and "weight" in name.rpartition(".")[2]
        decay = optim.weight_decay if matrix and not disturbs else 0.0
        groups.setdefault((optim.lr * share * speed, decay / speed, speed), []).append(parameter)
    if not any(parameter.requires_grad for parameter in learner.student.parameters()):
        raise InputError("nothing learns: optim.freeze holds every parameter of the student. Freeze less.")
    settings = [
        {"params": members, "lr": rate, "weight_decay": decay, "speed": speed}
        for (rate, decay, speed), members in groups.items()
    ]
    if optim.name == "sgd":
        return torch.optim.SGD(settings, momentum=optim.momentum, nesterov=optim.momentum > 0)
    return torch.optim.AdamW(settings, fused=fused and all(_dense(p) for p in learner.parameters()))


def _dense(parameter: nn.Parameter) -> bool:
    """Whether a gradient lies in memory as its parameter does, for the fused kernel looks at no strides."""
    return torch.empty_like(parameter, device="meta").stride() == parameter.stride()


def build_schedule(optim: Optim, optimizer: torch.optim.Optimizer, total: int) -> LambdaLR:
    """Warm-up, then the fall, over `total` optimiser steps."""
    return LambdaLR(optimizer, lambda step: rate_at(optim, step / max(total, 1)))


def rate_at(optim: Optim, progress: float) -> float:
    """The learning rate as a share of its peak, at `progress` 0..1 of the training."""
    if progress < optim.warmup:
        return max(progress, 1e-3 * optim.warmup) / optim.warmup
    # 25 / 50 * 22 may end just below 11: a new cycle begins there all the same
    cycle = min(int(progress * optim.cycles + 1e-9), optim.cycles - 1)
    begin, end = max(cycle / optim.cycles, optim.warmup), (cycle + 1) / optim.cycles
    rest = min(max((progress - begin) / (end - begin), 0.0), 1.0)
    if optim.schedule == "poly":
        return (1 - rest) ** optim.power
    if optim.schedule == "cosine":
        return (1 + math.cos(math.pi * rest)) / 2
    return 1 - rest if optim.schedule == "linear" else 1.0
