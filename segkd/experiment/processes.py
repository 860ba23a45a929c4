"""The processes of a command: one, or several that a launcher started."""

import os
import signal

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from jsonargparse import Namespace

from segkd.datasets.feed import end_with_parent
from segkd.types import InputError

OF_CONNECTIONS = ("gloo/transport", "Connection closed by peer", "Connection reset by peer")
"""What gloo's errors say, which have no class of their own."""

IN_PARTS = ("FSDP", "DEEPSPEED", "MEGATRON_LM", "PARALLELISM_CONFIG")
"""What spreads one network over processes, as accelerate's launcher names it in the environment."""


def make_accelerator(settings: Namespace) -> Accelerator:
    """The accelerator of this process, as `EngineSettings` say; its precision is checked against the device."""
    if settings.threads is not None:
        if not 1 <= settings.threads <= 1024:
            raise InputError(f"engine.threads is 1 to 1024, or null for torch's choice, found {settings.threads}.")
        torch.set_num_threads(settings.threads)
    if settings.precision == "fp16" and (settings.device == "cpu" or not torch.cuda.is_available()):
        raise InputError("engine.precision fp16 needs a GPU: a CPU has no use for it. Choose bf16 or no.")
    return join_processes(
        settings.device == "cpu",
        mixed_precision=settings.precision,
        gradient_accumulation_steps=settings.accumulate,
        step_scheduler_with_optimizer=False,
    )


def lost_process(error: RuntimeError) -> str:
    """The sentence for an error that says that another process of this command is gone; "" for any other error.

    When a process dies the system closes its connections, which those that wait for it learn at once.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ""
    reason = " ".join(str(error).split())
    if not isinstance(error, dist.DistError) and not any(sign in reason for sign in OF_CONNECTIONS):
        return ""
    return (
        f"process {os.environ.get('RANK', '?')} waited for another one of this command, which ended or does not answer "
        f"({reason[:200]}): what that one said last is the cause. What was saved is kept; start all of them again, a "
        "training with --resume."
    )


def join_processes(cpu: bool, **settings: object) -> Accelerator:
    """An `Accelerator` that has found the other processes of the launcher, if there is one; `cpu` leaves GPUs alone.

    Raises:
        InputError: the launcher spoke of more processes than there are, or of weights in parts.
    """
    sharded = [name for name in IN_PARTS if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true"]
    if sharded:
        raise InputError(
            f"accelerate was told to use {sharded[0]}, but each process needs the whole network: its averages, "
            "checkpoints and norms read whole tensors. Choose plain multi-GPU in `accelerate config`; docs/scale.md "
            "says what else makes room."
        )
    # Accelerate keeps its state for the life of the process, which may train more than once
    AcceleratorState._reset_state()
    GradientState._reset_state()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        # a launcher that is killed cannot tell its processes to leave: they would train on for nobody
        end_with_parent(signal.SIGTERM)
        cpu = cpu or not (torch.cuda.is_available() or torch.xpu.is_available())  # else each would think itself alone
    try:
        accelerator = Accelerator(cpu=cpu, **settings)
        found = accelerator.num_processes
    except ValueError as error:  # a launcher's variables are there, but not all of them
        if world == 1:
            raise InputError(f"engine: {error}") from error
        found = 1
    if world != found:
        raise InputError(
            f"WORLD_SIZE says {world} processes, but {found} found each other. "
            "Start several with `accelerate launch` or `torchrun`: torchrun --nproc_per_node N -m -- segkd.cli train"
        )
    return accelerator
