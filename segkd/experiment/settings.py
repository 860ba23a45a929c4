"""The configuration tree: YAML layers and command-line overrides read into typed classes."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings
from jsonargparse.typing import register_type

from segkd.datasets.data import Data, height_and_width
from segkd.datasets.sampler import Draw
from segkd.distill.distiller import Distiller
from segkd.engine.compiling import Compile
from segkd.engine.loop import Pace
from segkd.engine.optim import Optim
from segkd.experiment.classes import BRANCHES, named_in, seek_classes
from segkd.experiment.layers import check_keys, layers_of, place_of
from segkd.experiment.mistakes import explain, glued, refuse_null
from segkd.models.network import Network
from segkd.types import Disturbance, InputError, LayerPath

set_parsing_settings(instantiate_subclass_spec_in_any=False)  # the arguments of a wrapped network are plain data
register_type(LayerPath, serializer=str, deserializer=LayerPath)


@dataclass
class EngineSettings:
    """How training runs.

    Args:
        epochs: passes over the training split; when null, planned so that there are about 1000 steps or more.
        precision: "bf16" or "fp16" autocast where the device has it; "no" is float32.
        accumulate: micro-batches per optimiser step.
        device: "auto" takes an accelerator if there is one; CUDA_VISIBLE_DEVICES=1 before the command chooses a card.
        compile: compile the student (torch.compile) in the first step: true, or max-autotune, which tries more kernels
            for longer. For GPUs: on a CPU it took minutes and the steps were slower.
        recompute: of each block of the student's encoder keep its input alone, and compute the rest again in the
            backward pass (activation checkpointing): less memory, the same numbers, slower steps.
        threads: CPU threads of torch; null leaves torch's choice. The last bits of a result depend on it. Where other
            programs keep a core busy, give one less than there are cores: threads wait for each other at every layer.
        log_every: optimiser steps between two lines of metrics.jsonl.
        save_every: optimiser steps between two checkpoints within an epoch. Every validation ends with one too, and
            every epoch, but those of fewer than 50 micro-steps that are not validated.
        patience: validations (not epochs: see `evaluation.every`) without a better score after which training stops;
            null never stops early.
    """

    epochs: int | None = None
    precision: Literal["no", "bf16", "fp16"] = "no"
    accumulate: int = 1
    device: Literal["auto", "cpu"] = "auto"
    compile: Compile = False
    recompute: bool = False
    threads: int | None = None
    log_every: int = 10
    save_every: int = 500
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulate", "log_every", "save_every"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 10**9:
                raise InputError(f"engine.{name} must be at least 1 (and up to 1e9), found {value}.")
        if self.recompute and self.compile:
            raise InputError("engine.recompute and engine.compile: expected one of them. torch.compile plans by itself "
                             "what it keeps.")  # fmt: skip
        if self.patience is not None and self.patience < 1:
            raise InputError(f"engine.patience must be at least 1, or null to never stop early, found {self.patience}.")


@dataclass
class Evaluation:
    """How validation runs.

    Args:
        every: epochs between two validations; .25 validates four times per epoch, each at the end of an optimiser
            step. {0: .25, 4: 2} validates four times per epoch up to the fourth and after every other one from there
            on. The training always ends with one. When null, 1; more where many epochs are planned.
        select: the score on val that decides which weights are kept; null is miou_image for two classes and
            miou_dataset for more. Of several domains it is the mean over them, `worst_miou_image` that of the worst.
        threshold: for two classes, foreground is p >= threshold in all IoU scores.
        band_errors: before the first step and at every validation, the relative error of the probabilities in each
            band of spatial frequency on val, as lines of kind "spectrum" in metrics.jsonl and in TensorBoard.
    """

    every: Pace | None = None
    select: str | None = None
    threshold: float = 0.5
    band_errors: bool = True

    def __post_init__(self) -> None:
        refuse_pace(self.every)
        if not 0 < self.threshold < 1:
            raise InputError(f"evaluation.threshold is a probability in 0..1, found {self.threshold}.")


def refuse_pace(every: Any) -> None:
    """Raises InputError unless `every` is None, a number of epochs, or a mapping of epochs from 0 to such numbers."""
    paces = every if isinstance(every, dict) else {0.0: every}
    if any(isinstance(start, str) for start in paces):  # the parser looks at the values of a mapping alone
        raise InputError(
            f"evaluation.every: expected epochs as numbers, as in {{0: .25, 4: 2}}, found {every}: write them without "
            "quotes, and the whole mapping at once."
        )
    if any(one is not None and not one >= 1e-6 for one in paces.values()):
        raise InputError(f"evaluation.every is a number of epochs above 0 (at least 1e-6), found {every}.")
    if not paces or min(paces) != 0 or not all(math.isfinite(start) for start in paces):
        raise InputError(
            f"evaluation.every: expected a mapping to begin at epoch 0, as {{0: .25, 4: 2}}, found {every}."
        )


def training_parser() -> ArgumentParser:
    """The parser of `segkd train`, whose tree is the whole configuration."""
    parser = _parser("Train a segmentation network; with a distiller, against its teacher too.", "segkd train")
    parser.add_argument("--seed", type=int, default=0, help="of weights, data order and augmentation")
    parser.add_argument(
        "--init",
        type=LayerPath | None,
        default=None,
        metavar="RUN|FILE",
        help="start from these weights: a run folder's student, a .safetensors or a .pth file; what fits by name and "
        "shape is taken, the rest (the head of other classes) starts anew",
    )
    parser.add_class_arguments(Data, "data")
    parser.add_subclass_arguments(Network, "model", required=False, help="the network to train; FusionNet if not said")
    parser.add_subclass_arguments(Disturbance, "disturbance", required=False, help="changes images while training")
    parser.add_class_arguments(Distiller, "distiller")
    parser.add_subclass_arguments(Draw, "draw", required=False, help="which images an epoch holds; all if not said")
    parser.add_class_arguments(Optim, "optim")
    parser.add_class_arguments(EngineSettings, "engine")
    parser.add_class_arguments(Evaluation, "evaluation")
    parser.add_argument(
        "--overfit-one-batch",
        action="store_true",
        help="overfit one batch, to see whether labels, loss and network fit together",
    )
    parser.link_arguments("data.size", "disturbance.init_args.size", compute_fn=height_and_width)
    parser.link_arguments("data.classes", "model.init_args.classes", compute_fn=len)
    return parser


def data_parser(description: str, command: str) -> ArgumentParser:
    """A parser with the `data` tree alone, for commands that read a data layer (`--data FILE`)."""
    parser = _parser(description, command)
    parser.add_class_arguments(Data, "data")
    return parser


def _parser(description: str, command: str) -> ArgumentParser:
    parser = ArgumentParser(prog=command, description=description, exit_on_error=False)
    parser.add_argument(
        "--config",
        action="config",
        metavar="LAYER.yaml",
        help="a layer of the configuration; may be repeated, later layers win. A layer that comes with segkd "
        "is found by its name, e.g. methods/virtual_teacher.yaml",
    )
    return parser


def parse(parser: ArgumentParser, arguments: list[str]) -> Namespace:
    """The configuration of a command line, paths absolute; a mistake becomes an InputError of one paragraph."""
    layers, arguments = layers_of(arguments)
    for where, layer in layers:
        check_keys(where, layer, parser)
        seek_classes(named_in(layer))
    seek_classes(_classes_said(arguments))
    whole = arguments
    if any(action.dest == "model" for action in parser._actions):
        # said first, not a default: a default's own arguments would survive the change to another class
        whole = ["--model", "FusionNet", *arguments]
    try:
        config = parser.parse_args(whole)
        _with_nulls(config)
        refuse_null(parser, config)
        return config
    except (ArgumentError, TypeError, ValueError, OSError, AttributeError, RecursionError) as error:
        raise InputError(place_of(explain(error, parser), layers, arguments) + glued(arguments)) from error


def instantiate(parser: ArgumentParser, config: Namespace) -> Namespace:
    """The objects that a configuration describes; a mistake becomes an InputError of one paragraph."""
    try:
        return parser.instantiate(config)
    except (ArgumentError, TypeError, ValueError, OverflowError) as error:
        raise InputError(explain(error, parser)) from error


def _with_nulls(config: Namespace) -> None:
    """jsonargparse makes the text "None" of a `--model.arguments.KEY null`."""
    inner = config.get("model.init_args.arguments")
    if isinstance(inner, dict):
        inner.update({key: None for key, value in inner.items() if value == "None"})


def _classes_said(arguments: list[str]) -> list[str]:
    """What the command line says where it may name classes."""
    marks = tuple(f"--{branch}" for branch in BRANCHES)
    return [b for a, b in zip(["", *arguments], arguments) if a.startswith(marks) or b.startswith(marks)]
