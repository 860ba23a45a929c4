"""What of a training a student in shards (torch's FSDP2, `fully_shard`) can do, and what not: two processes on a CPU.

    torchrun --nproc_per_node 2 benchmarks/sharded.py

docs/scale.md quotes what it prints; when a line changes, so may the refusal in segkd/experiment/processes.py.
"""

import copy
import datetime
import time
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from segkd.models.average import Average
from segkd.models.fusion import FusionNet

PATIENCE = 20
"""Seconds after which a process that waits for the other gives up."""


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=PATIENCE))
    plain, sharded = network(), network()
    mesh = init_device_mesh("cpu", (2,))
    for stage in sharded.encoder.body.blocks:
        fully_shard(stage, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    tried("a step has the gradient of the whole network", lambda: difference(plain, sharded, images))
    tried("its file is put together again", lambda: together(plain, sharded))
    tried("a copy (Snapshot, MeanTeacher, Peer)", lambda: copy.deepcopy(sharded))
    tried("an average of the weights (optim.average)", lambda: Average(sharded, 0.9))
    tried("a part of it alone (exits, necks, guided teachers)", lambda: sharded.encoder(images))
    dist.barrier()
    if dist.get_rank() == 0:
        with torch.no_grad():
            tried("one process alone (panels; unequal shares of val)", lambda: sharded(images))
    else:
        time.sleep(PATIENCE + 5)


def network() -> FusionNet:
    """The same on both processes."""
    torch.manual_seed(0)
    return FusionNet(2, "test_efficientnet", None, 16).train()


def difference(plain: FusionNet, sharded: FusionNet, images: Tensor) -> str:
    """The largest difference of a gradient."""
    for one in (plain, sharded):
        one(images).logits.square().mean().backward()
    return f"difference {float((plain.head.weight.grad - sharded.head.weight.grad.full_tensor()).abs().max())}"


def together(plain: FusionNet, sharded: FusionNet) -> str:
    """Whether all tensors are those of the whole network."""
    whole = get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True))
    return f"equal: {all(torch.equal(value, whole[name]) for name, value in plain.state_dict().items())}"


def tried(what: str, act: Callable[[], object]) -> None:
    """Says how it ended."""
    try:
        found = act()
        said = f"works {found if isinstance(found, str) else ''}"
    except Exception as error:  # that it ends in one is what is looked for
        said = f"fails: {' '.join(str(error).split())[:110]}"
    if dist.get_rank() == 0:
        print(f"{what:<55} {said}", flush=True)


if __name__ == "__main__":
    main()
