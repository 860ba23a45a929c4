"""A training that starts from trained weights: what fits by name and shape is taken, the rest is named."""

import struct
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from segkd.models.weights import student_of, unpacked
from segkd.types import InputError, reason_of, some

INSIDE = ("state_dict", "model", "model_state_dict", "network", "net", "weights", "learner")
"""Where a checkpoint of someone's training keeps the tensors of its network."""

NOT_ONE = (LookupError, EOFError, struct.error)
"""What an unpickler raises for other bytes than of a file of weights."""

SHOWN = 6
"""As many names of tensors are said."""


def start_from(network: nn.Module, source: str | Path, classes: Sequence[str] = ()) -> str:
    """Puts the tensors of `source` that fit by name and shape into `network`; says which did not.

    Args:
        network: what is to be trained; the file's names may begin with what their owner added (`module.` of a
            parallel network, `model.` of a trainer's object), and lack the `network.` of a wrapped one.
        source: a run folder (its best student), a .safetensors file, or a torch file of plain tensors.
        classes: the names that are to be learned; a student of as many others is taken, and that is said.

    Raises:
        InputError: it cannot be read, or nothing in it fits.
    """
    given, own = tensors_of(Path(source)), network.state_dict()
    taken, named = _fitting(network, given, f"--init {source}", "--model")
    network.load_state_dict(taken, strict=False)
    other = [f"{n} {tuple(named[n].shape)} for {tuple(own[n].shape)}" for n in own if n in named and n not in taken]
    missing, surplus = [n for n in own if n not in named], [n for n in named if n not in own]
    rest = [(other, "new, of another shape"), (missing, "new, not there"), (surplus, "not used")]
    left = "; ".join(f"{what}: {some(names, SHOWN)}" for names, what in rest if names)
    theirs = _classes_of(Path(source))
    if classes and len(theirs) == len(classes) and theirs != list(classes):
        ours = some(classes, SHOWN)
        head = f"its classes ({some(theirs, SHOWN)}) are others than yours ({ours}): taken by their numbers"
        left = f"{left}; {head}" if left else head
    return f"starts from {source}: {len(taken)} of {len(own)} tensors taken{f'; {left}' if left else ''}"


def filled_from(network: nn.Module, source: str | Path, owner: str) -> None:
    """As `start_from`, for a network that is used as it is: every tensor of it must be there.

    Raises:
        InputError: the file cannot be read, or a tensor is missing or of another shape; `owner` names the setting.
    """
    own = network.state_dict()
    taken, _ = _fitting(network, tensors_of(Path(source), owner), f"{owner}: {source}", "network")
    lost = [name for name in own if name not in taken and not name.endswith("num_batches_tracked")]
    if lost:
        raise InputError(
            f"{owner}: expected all {len(own)} tensors of {type(network).__name__} in {source}, missed "
            f"{some(lost, SHOWN)}. Describe the network with the settings that the weights come from."
        )
    network.load_state_dict(taken, strict=False)


def _fitting(
    network: nn.Module, given: Mapping[str, Tensor], where: str, cure: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The given tensors that fit by name and shape, under the network's names, and all that are given, renamed."""
    own = network.state_dict()
    # a checkpoint may hold teachers and averages beside its network, so that the commonest names are tried always
    begins = dict.fromkeys(["", "module.", "network.", "student.", *_beginnings(given)])
    renamed = [
        {new + name.removeprefix(begin): part for name, part in given.items()}
        for begin in begins
        for new in ("", "network.")
    ]
    fitting = [{n: t for n, t in some.items() if n in own and own[n].shape == t.shape} for some in renamed]
    taken = max(fitting, key=len)
    if not any(part.is_floating_point() for part in taken.values()):
        raise InputError(
            f"{where}: expected weights of {type(network).__name__}, found none of its {len(own)} tensors "
            f"there by name and shape: it has {some(list(own), SHOWN)}; the file has {some(list(given), SHOWN)}. Train "
            f"the same {cure} with the same settings as the weights come from."
        )
    return taken, renamed[fitting.index(taken)]


def _beginnings(names: Collection[str]) -> list[str]:
    """What half of the names or more begin with, up to a dot."""
    of = [name[: i + 1] for name in names for i, letter in enumerate(name) if letter == "."]
    return [begin for begin, n in Counter(of).items() if 2 * n >= len(names)]


def tensors_of(path: Path, owner: str = "--init") -> dict[str, Tensor]:
    """Tensors by name of a run folder, a .safetensors file or a torch file; never unpickles code.

    Raises:
        InputError: it cannot be read, or holds no tensors by name.
    """
    path = student_of(path)
    if not path.is_file():
        raise InputError(f"{owner}: expected a run folder with a student, or a file of weights, found none at {path}.")
    if path.suffix == ".safetensors":
        return unpacked(path)[0]
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise anything
        reason = reason_of_weights(error, 200)
        if isinstance(error, UnpicklingError) and "Weights only load failed" in reason:
            reason = "Python objects (a whole network, or settings), which are not opened since they can run code"
        raise InputError(
            f"{owner} {path}: expected a torch file of plain tensors, found: {reason}. Save the state_dict alone: "
            "torch.save(network.state_dict(), FILE)."
        ) from error
    found = max(_inside(state), key=len, default={})  # a checkpoint may hold its loss, a tensor, at the root
    if not found:
        raise InputError(f"{owner} {path}: expected tensors by name, found {type(state).__name__} without any.")
    return found


def reason_of_weights(error: Exception, most: int = 300) -> str:
    """As `reason_of`, of reading weights: of other bytes an unpickler says but a number or a letter."""
    return "the file is not one of weights" if isinstance(error, NOT_ONE) else reason_of(error, most)


def _classes_of(path: Path) -> list[str]:
    """The names of the classes of a student; [] of another file."""
    path = student_of(path)
    card = unpacked(path)[1] if path.suffix == ".safetensors" else None
    return list(card.get("classes", [])) if isinstance(card, dict) else []


def _inside(state: Any) -> list[dict[str, Tensor]]:
    """The tensors of a checkpoint, wherever it keeps them: at its root, or under one of `INSIDE`."""
    if not isinstance(state, Mapping):
        return []
    parts = [state, *(state[name] for name in INSIDE if isinstance(state.get(name), Mapping))]
    return [{str(n): t for n, t in part.items() if isinstance(t, Tensor)} for part in parts]
