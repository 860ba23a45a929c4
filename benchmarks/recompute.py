"""What engine.recompute saves and costs: memory that a loss keeps for the backward pass, and time.

    python benchmarks/recompute.py [--size 256] [--batch 4] [--encoders tf_efficientnet_lite0 resnet50 convnext_tiny]

One thread; seconds are CPU time of a forward and a backward pass, the smaller of two.
"""

import argparse
import time

import torch
from torch import Tensor

from segkd.engine.recomputing import recompute_encoder
from segkd.models.fusion import FusionNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="pixels a side")
    parser.add_argument("--batch", type=int, default=4, help="images")
    parser.add_argument("--encoders", nargs="+", default=["tf_efficientnet_lite0", "resnet50", "convnext_tiny"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.encoders:
        for again in (False, True):
            torch.manual_seed(0)
            network = FusionNet(2, name, None).train().to(memory_format=torch.channels_last)
            if again:
                recompute_encoder(network)
            images = torch.rand(options.batch, 3, options.size, options.size)
            spent = min(seconds(network, images) for _ in range(2))
            print(
                f"{name:<24} recompute {again!s:<5} {megabytes(network, images):6.0f} MB kept, {spent:.2f} s",
                flush=True,
            )


def megabytes(network: FusionNet, images: Tensor) -> float:
    """What the graph of one output keeps, parameters left out."""
    own = {parameter.data_ptr() for parameter in network.parameters()}
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            held[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = network(images).logits
    assert logits.requires_grad
    return sum(held.values()) / 1e6


def seconds(network: FusionNet, images: Tensor) -> float:
    """CPU time of one look and its gradient."""
    start = time.process_time()
    network(images).logits.square().mean().backward()
    return time.process_time() - start


if __name__ == "__main__":
    main()
