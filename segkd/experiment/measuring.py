"""The batch that fits into this machine, measured: training steps of the default network on made images."""

import time

import torch

from segkd.engine.memory import out_of_memory
from segkd.models.fusion import FusionNet
from segkd.types import InputError

MEASURED = 3
"""Steps that are timed, after one that is not."""


def measure_batch(wanted: int, size: tuple[int, int], classes: int) -> tuple[int, str]:
    """The largest batch, `wanted` or a half of it, a quarter, ..., whose training steps fit into the memory; and the
    sentence on what was measured.

    Raises:
        InputError: not even two images fit.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = wanted
    while batch >= 2:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()  # else it is that of a batch which did not fit
        try:
            seconds = _seconds(batch, size, classes, device)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            batch //= 2
            continue
        where = (
            torch.cuda.get_device_name() if device.type == "cuda" else f"the CPU, threads: {torch.get_num_threads()}"
        )
        memory = f", {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if device.type == "cuda" else ""
        smaller = f" ({wanted} do not fit)" if batch < wanted else ""
        return batch, f"batch: {batch}{smaller}, {1000 * seconds:.0f} ms a step of FusionNet on {where}{memory}"
    raise InputError(f"not even two images of {size[0]}x{size[1]} pixels fit into the memory. Lower data.size.")


def _seconds(batch: int, size: tuple[int, int], classes: int, device: torch.device) -> float:
    """Seconds of one training step."""
    with torch.random.fork_rng():
        network = FusionNet(classes, weights=None).to(device).to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(network.parameters())
        image, label = torch.rand(batch, 3, *size, device=device), torch.zeros(batch, *size, dtype=torch.long)
        start = 0.0
        for step in range(MEASURED + 1):
            if step == 1:
                start = time.perf_counter()
            loss = torch.nn.functional.cross_entropy(network(image).logits, label.to(device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()  # waits for the device
    return (time.perf_counter() - start) / MEASURED
