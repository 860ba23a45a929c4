"""Activation checkpointing of the encoder: of each block its input alone is kept, the rest is computed again in the
backward pass (T. Chen, B. Xu, C. Zhang, C. Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from segkd.models.network import Network
from segkd.types import InputError

CHAINS = (nn.Sequential, nn.ModuleList)


def recompute_encoder(network: Network) -> None:
    """Has every block of the encoder (of the whole network where none is known) computed again in the backward pass.

    Losses, gradients and BatchNorm statistics stay what they are: random draws are repeated, statistics are followed
    once. Names of tensors stay. A forward pass without gradient is as before.

    Raises:
        InputError: nothing in it is a chain of blocks.
    """
    encoder = network.layer(network.encoder_path) if network.encoder_path else network
    blocks = list(blocks_of(encoder))
    if not blocks:
        raise InputError(
            f"engine.recompute: expected chains of blocks in {type(encoder).__name__}, found none. Leave it out; a "
            "smaller data.batch_size with engine.accumulate needs less memory as well."
        )
    for block in blocks:
        block.forward = partial(_kept_small, block, block.forward)


def blocks_of(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost chains (`CHAINS`) whose members all have parts of their own
    and are no chains again."""
    for child in module.children():
        parts = list(child.children()) if isinstance(child, CHAINS) else []
        chains = [isinstance(part, nn.Sequential) or type(part) is nn.ModuleList for part in parts]
        if parts and not any(chains) and all(any(part.children()) for part in parts):
            yield from parts
        else:
            yield from blocks_of(child)


def _kept_small(block: nn.Module, forward: Callable[..., Any], *args: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **named)
    again = partial(_statistics_kept, block)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), again()), **named)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """BatchNorm does what it did, but its running statistics take nothing of the batch: they have seen it already."""
    following = [part for part in block.modules() if isinstance(part, _BatchNorm)]
    before = [(part.momentum, part.num_batches_tracked) for part in following]
    try:
        for part in following:
            part.momentum, part.num_batches_tracked = 0.0, None
        yield
    finally:
        for part, (momentum, seen) in zip(following, before):
            part.momentum, part.num_batches_tracked = momentum, seen
