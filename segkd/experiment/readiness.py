"""What can be known to fail before the first step, and what fails outside the program, in words."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from segkd.datasets.checks import refuse_size
from segkd.datasets.data import Data
from segkd.engine.compiling import failed_to_compile
from segkd.engine.memory import out_of_memory
from segkd.models.network import Network
from segkd.models.taps import evaluating
from segkd.types import InputError, Prediction, reason_of


def refuse_unready(network: Network, data: Data) -> str:
    """Asks the network for a prediction before any file is read; leaves no trace in weights, statistics or draws.

    Returns:
        What looks wrong in it, a sentence, or "".

    Raises:
        InputError: no network is shown such a size, or its output is of another shape, or it cannot train on a batch of
            one at this size.
    """
    refuse_size(data.shape)
    doubt = _refuse_wrong_output(network, data)
    if data.batch == 1:  # two images have two values per channel at any size
        _refuse_lone_values(network, data)
    return doubt


@torch.no_grad()
def _refuse_wrong_output(network: Network, data: Data) -> str:
    shape = (1, len(data.classes), *data.shape)
    with evaluating(network):
        out = network(torch.zeros(1, 3, *data.shape))
    found = tuple(out.logits.shape) if isinstance(out, Prediction) else type(out).__name__
    if found != shape:
        raise InputError(
            f"{type(network).__name__}.forward: expected segkd.Prediction(logits) with logits {shape} for one image, "
            f"found {found}. Enlarge the logits to the image's size; `classes` is the first argument of the network."
        )
    if out.logits.min() >= 0 and (out.logits.sum(dim=1) - 1).abs().max() < 1e-3:
        return (
            f"what {type(network).__name__} gives adds up to 1 over the classes, as probabilities do, but it is read "
            "as logits, of which the softmax is taken: leave out the softmax at its end."
        )
    return ""


@torch.no_grad()
def _refuse_lone_values(network: Network, data: Data) -> None:
    """Batch normalisation refuses to train on one value per channel, and says so in the first step alone."""
    height, width = data.shape
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        with torch.random.fork_rng():
            network(torch.zeros(1, 3, height, width))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            f"{type(network).__name__} normalises over one value per channel at data.batch_size 1 and data.size "
            f"[{height}, {width}], of which there is no variance. Raise data.batch_size to 2 or more, or data.size."
        ) from error
    finally:
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])


@contextmanager
def in_words(data: Data) -> Iterator[None]:
    """Turns what the machine lacks while a run trains (memory, a disk) into a paragraph (InputError)."""
    try:
        yield
    except InputError:
        raise
    except (MemoryError, RuntimeError, OSError, ValueError) as error:
        reason = reason_of(error, 200)
        if out_of_memory(error):
            height, width = data.shape
            raise InputError(
                f"out of memory: {data.batch} images of {height} x {width} pixels at a time do not fit "
                f"({reason}). Lower data.batch_size (engine.accumulate makes up for it, but for BatchNorm, which sees "
                "fewer images, and losses, which become means of means), data.size or data.cache_gb. What was saved is "
                "kept."
            ) from error
        if failed_to_compile(error):
            raise InputError(
                f"engine.compile: torch could not compile the network ({reason}). It needs a C++ compiler, and Triton "
                "for a GPU. Go on without: engine.compile: false."
            ) from error
        if not isinstance(error, OSError):
            raise
        raise InputError(
            f"{error.filename or 'the system'}: {error.strerror or reason}. What was saved is kept; set that right, "
            "then go on with --resume."
        ) from error
