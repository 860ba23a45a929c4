"""How the student runs while it trains: torch.compile, or with activations that are computed again."""

from typing import Literal

from segkd.engine.learner import Learner
from segkd.engine.recomputing import recompute_encoder
from segkd.types import InputError

Compile = bool | Literal["max-autotune"]

MODES = {True: "default", "max-autotune": "max-autotune-no-cudagraphs"}
"""Of torch.compile. A CUDA graph writes the student's next look over the last one, and a teacher may hold both."""

FAILS = ("torch._dynamo", "torch._inductor")
"""Where the classes of its errors are."""


def compile_student(learner: Learner, how: Compile, recompute: bool = False) -> None:
    """Has the student's forward compiled when it is first called; names of its tensors and copies of it stay plain.

    A graph is made for each of its modes (training, a look without gradient) and shapes, each once. What is evaluated
    is not compiled where it is the average. With `recompute`, its encoder is computed again in the backward pass.

    Raises:
        InputError: layers are tapped: a graph that is compiled once has no place for hooks that live for one step.
    """
    if recompute:
        recompute_encoder(learner.student)
    if not how:
        return
    if learner.distiller.features is not None:
        raise InputError(
            "engine.compile: distiller.features reads layers within the network, which a compiled one does not show. "
            "Leave out distiller.features where the recipe can do without, or say engine.compile: false."
        )
    learner.student.compile(mode=MODES[how])


def failed_to_compile(error: BaseException) -> bool:
    """Whether torch could not compile the network: no C++ compiler, no Triton, an operation it does not know."""
    return type(error).__module__.startswith(FAILS)
