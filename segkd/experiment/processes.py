"""The processes of a command: one, or several that a launcher started."""

import os
import signal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from jsonargparse import Namespace

from segkd.datasets.feed import end_with_parent
from segkd.types import InputError


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


def join_processes(cpu: bool, **settings: object) -> Accelerator:
    """An `Accelerator` that has found the other processes of the launcher, if there is one; `cpu` leaves GPUs alone.

    Raises:
        InputError: the launcher spoke of more processes than there are.
    """
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
