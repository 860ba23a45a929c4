"""How much of each domain a training sees: by size, by a fixed share, or by what the student has yet to learn."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Float64

from segkd.datasets.groups import groups_by_hash
from segkd.datasets.sampler import Draw, permuted
from segkd.types import InputError

Kind = Literal["proportional", "uniform", "sqrt", "fixed", "student_loss", "ddk"]

GUIDED = ("student_loss", "ddk")
"""Kinds that listen to losses."""

EVERY, PROBE = 100, 32
"""Optimiser steps of a round, and images of the probe of a domain, where nobody says them."""

HIGHEST = 50.0
"""Difference of losses beyond which perplexities are not told apart: e^50 is 10^21."""


def updated(
    weights: Float64[np.ndarray, " n"],
    student: Float64[np.ndarray, " n"],
    teacher: Float64[np.ndarray, " n"],
    alpha: float,
) -> Float64[np.ndarray, " n"]:
    """r' = alpha psi / sum psi + (1 - alpha) / n with psi_i = r_i exp(l_i), l_i = exp(student_i) / exp(teacher_i), of
    the mean cross-entropies of n domains: DDK (Liu et al., NeurIPS 2024), eq. 2.

    In logarithms: for losses of 5 and .05 the ratio l is 141, and early in a training exp(l) would overflow.
    """
    ratio = np.exp(np.minimum(student - teacher, HIGHEST))
    logarithm = np.log(np.maximum(weights, np.finfo(float).tiny)) + ratio
    psi = np.exp(logarithm - logarithm.max())
    smoothed: Float64[np.ndarray, " n"] = alpha * psi / psi.sum() + (1 - alpha) / len(weights)
    return smoothed


def quotas(weights: Float64[np.ndarray, " n"], total: int) -> list[int]:
    """`total` in whole numbers in proportion to `weights`, which sum to 1: none is off by 1 or more."""
    exact = weights * total
    counts = np.floor(exact).astype(np.int64)
    rest = np.argsort(counts - exact, kind="stable")[: total - counts.sum()]
    counts[rest] += 1
    return [int(count) for count in counts]


@final
class DomainSampler(Draw):
    """Draws from each domain its weight's share of the images, as domain-guided sampling does (`updated`; DDK, Liu et
    al., NeurIPS 2024, eq. 1-2, there for language models).

    A round (an epoch, for kinds that do not listen) holds every domain's share to the image, shuffled; within it, each
    image of a domain is drawn once before any is drawn again. An epoch is as long as any other.

    Args:
        kind: "proportional" to the number of images, "uniform", "sqrt" (of that number), "fixed" (`weights`), or by
            losses on a probe: "ddk" compares the student's with a teacher's, "student_loss" with those of a teacher
            that makes no mistake, which is what ddk becomes with a teacher made from the label.
        weights: of "fixed": {domain: weight}, all of them; they are scaled to sum 1.
        alpha: how much losses count, 0..1: no weight is below (1 - alpha) / domains. 1 does not smooth.
        every: optimiser steps between two updates of the weights by losses.
        probe: images of each domain, whole groups of them, that are left out of the training to measure losses on; 32
            by losses, else none. A number holds for any kind, so that several train on the same images.
        teacher: name of the teacher that ddk listens to; the only one when null.
    """

    by_domain = True

    def __init__(
        self,
        kind: Kind = "ddk",
        weights: dict[str, float] | None = None,
        alpha: float = 0.5,
        every: int = EVERY,
        probe: int | None = None,
        teacher: str | None = None,
    ) -> None:
        self.kind, self.given, self.alpha, self.teacher = kind, weights, alpha, teacher
        self.guided = kind in GUIDED
        self.every = every if self.guided else None
        self.number = probe if probe is not None else PROBE if self.guided else 0
        self.names: tuple[str, ...] = ()
        self.members: list[np.ndarray] = []
        self.probes: dict[str, tuple[int, ...]] = {}
        self.weights = np.zeros(0)
        self._refuse_settings()

    def rehearse(self, domains: Sequence[str] | None, batch: int) -> None:
        """Refuses names that do not fit."""
        if domains is not None:
            self._refuse_names(sorted(set(domains)))

    def meet(self, domains: Sequence[str], groups: Sequence[str], batch: int) -> None:
        """Takes the probe out of each domain and settles the first weights: uniform where losses come to decide."""
        self.names = tuple(dict.fromkeys(domains))
        self._refuse_names(sorted(self.names))
        of, least = np.array(domains), max(1, -(-batch // len(self.names)))
        self.members, self.probes = [], {}
        for name in self.names:
            here = np.flatnonzero(of == name)
            probe = held_out(here, [groups[i] for i in here.tolist()], self.number)
            left = np.setdiff1d(here, probe)
            if len(left) < least:
                raise InputError(
                    f"draw: domain {name} has {len(here)} training images, {len(probe)} of which are its probe: "
                    f"expected at least {least} more to train on (its part of a batch). Lower draw.probe "
                    f"({self.number}) or data.batch_size, or leave the domain out."
                )
            self.members.append(left)
            self.probes[name] = tuple(probe)
        self.held = tuple(sorted(i for probe in self.probes.values() for i in probe))
        self.weights = self._first(np.array([len(one) for one in self.members], float))
        self.seen = dict.fromkeys(self.names, 0)
        begins = f", updated every {self.every} steps, from" if self.guided else ":"
        held = f"; {len(self.held)} images are a probe of their losses and not trained on" if self.held else ""
        self.said = (
            f"{self.kind}{begins} {', '.join(f'{name} {share:.3f}' for name, share in self.shares.items())}{held}"
        )

    def asks(self, teachers: Mapping[str, Collection[str]]) -> str | None:
        """The name of the teacher of ddk."""
        if self.kind != "ddk":
            return None
        if not teachers:
            raise InputError(
                "draw: ddk compares the student's loss with a teacher's, and distiller.teachers names none. Name one "
                "with a term (methods/ddk.yaml), or write draw.kind: student_loss."
            )
        names = ", ".join(teachers)
        if self.teacher is None and len(teachers) > 1:
            raise InputError(f"draw.teacher names none, and there are {names}: name the one that ddk listens to.")
        name = self.teacher or next(iter(teachers))
        if name not in teachers:
            raise InputError(f"draw.teacher: expected one of distiller.teachers ({names}), found {name!r}.")
        if "logits" not in teachers[name]:
            raise InputError(
                f"draw: ddk needs the teacher's logits, and {name} gives none. Name another: draw.teacher."
            )
        return name

    def epoch(self, n: int, shape: tuple[int, int, int], draw: np.random.Generator) -> np.ndarray:
        """Indices in the shape [micro-steps, processes, batch]: a function of the weights and of `draw` alone."""
        counts = quotas(self.weights, int(np.prod(shape)))
        chosen = [one[permuted(len(one), count, draw)] for one, count in zip(self.members, counts)]
        return draw.permutation(np.concatenate(chosen)).reshape(shape)

    def tell(self, losses: Mapping[str, tuple[float, float]], drawn: int) -> None:
        """A round of `drawn` images is over: the mean cross-entropy of student and teacher on each domain's probe."""
        counts = quotas(self.weights, drawn)
        self.seen = {name: self.seen[name] + count for name, count in zip(self.names, counts)}
        student, teacher = np.array([losses[name] for name in self.names]).T
        self.weights, self.round = updated(self.weights, student, teacher, self.alpha), self.round + 1

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: numbers by name."""
        return {"round": self.round, "weights": self.shares, "seen": dict(self.seen)} if self.guided else {}

    def recall(self, state: Mapping[str, Any]) -> None:
        """Takes the state of a checkpoint back."""
        if state:
            self.round, self.seen = state["round"], dict(state["seen"])
            self.weights = np.array([state["weights"][name] for name in self.names])

    @property
    def shares(self) -> dict[str, float]:
        """The weight of each domain."""
        return dict(zip(self.names, self.weights.tolist()))

    def _first(self, sizes: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        if self.given is not None:
            sizes = np.array([self.given[name] for name in self.names], float)
        elif self.kind == "sqrt":
            sizes = np.sqrt(sizes)
        elif self.kind != "proportional":
            sizes = np.ones(len(sizes))
        return sizes / sizes.sum()

    def _refuse_settings(self) -> None:
        if not 0 < self.alpha <= 1:
            raise InputError(f"draw.alpha is a share above 0 and up to 1 (no smoothing), found {self.alpha}.")
        if (self.every is not None and self.every < 1) or self.number < (1 if self.guided else 0):
            raise InputError(f"draw: expected 1 or more for every and probe, found {self.every} and {self.number}.")
        if (self.kind == "fixed") != (self.given is not None):
            raise InputError(f"draw.weights are those of kind: fixed, found {self.given} with kind: {self.kind}.")
        values = list((self.given or {"": 1.0}).values())
        if not values or not all(np.isfinite(v) and v >= 0 for v in values) or not sum(values) > 0:
            raise InputError(f"draw.weights: expected {{domain: 0 or more}}, not all 0, found {self.given}.")
        if self.teacher is not None and self.kind != "ddk":
            raise InputError(f"draw.teacher is for kind: ddk; {self.kind} asks none. Leave it out.")

    def _refuse_names(self, names: Sequence[str]) -> None:
        if len(names) < 2:
            found = f"only {names[0]}" if names else "none"
            raise InputError(
                f"draw: DomainSampler weighs domains against each other, found {found}. "
                "Name two data sets or more, data.domains: {NAME: {root: FOLDER}, ...}, or the groups of one, "
                "data.domain_group; or leave draw out."
            )
        given = set(names if self.given is None else self.given)
        if given != set(names):
            unknown, lacking = sorted(given - set(names)), sorted(set(names) - given)
            parts = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [f"missing: {', '.join(lacking)}"] * bool(
                lacking
            )
            raise InputError(f"draw.weights: expected a weight for each of {', '.join(names)}; {'; '.join(parts)}.")


def held_out(indices: np.ndarray, groups: Sequence[str], number: int) -> list[int]:
    """About `number` of the indices, whole groups in the order of their names' hashes; sorted."""
    group_of = dict(zip(indices.tolist(), groups))
    taken: list[int] = []
    for members in groups_by_hash(group_of, lambda index: group_of[index]):
        if len(taken) < number:
            taken += members
    return sorted(taken)
