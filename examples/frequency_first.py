"""The frequency stage before a network of your own, learning with it. `python examples/frequency_first.py`"""

import torch
import torch.nn.functional as F
from torch import nn

from segkd import Batch
from segkd.frequency.disturb import DctQuantization


def train(steps: int = 30) -> tuple[DctQuantization, list[float]]:
    """The stage, whose table `theta` (in octaves of its steps) has learned, and the losses."""
    network = nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 2, 5, padding=2))
    stage = DctQuantization(objective="cooperative")  # a torch.nn.Module; takes RGB in 0..1
    table = {"params": stage.parameters(), "lr": 0.02, "weight_decay": 0}
    optimizer = torch.optim.AdamW([{"params": network.parameters(), "lr": 1e-2}, table])
    losses = []
    for step in range(1, steps + 1):
        image = torch.rand(8, 3, 32, 32)
        label = (F.avg_pool2d(image, 5, 1, 2).mean(dim=1) > 0.5).long()
        seen = stage(Batch(image, image, label, None, ids=("",) * len(image))).image
        loss = F.cross_entropy(network(seen), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stage.follow(step / steps)  # moves the schedules, puts the table back on its budget
        losses.append(loss.item())
    return stage, losses


if __name__ == "__main__":
    torch.manual_seed(0)
    learned, found = train()
    print(f"loss {found[0]:.4f} at the first step, {found[-1]:.4f} at the last")
    print(f"steps of the table moved by up to {learned.theta.abs().max():.2f} octaves")
