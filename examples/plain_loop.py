"""The virtual teacher in a plain PyTorch loop: one line changes. `python examples/plain_loop.py`"""

import torch
from torch import nn

from segkd import virtual_teacher_loss


def squares(number: int, size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images [n 3 size size] with a brighter square each, and labels [n size size]: 1 in the square."""
    label = torch.zeros(number, size, size, dtype=torch.long)
    for one, (top, left) in zip(label, torch.randint(0, size // 2, (number, 2))):
        one[top : top + size // 2, left : left + size // 2] = 1
    return 0.5 * torch.rand(number, 3, size, size) + 0.3 * label[:, None], label


def train(steps: int = 60) -> list[float]:
    """The losses of a small network of your own."""
    network = nn.Sequential(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 2, 5, padding=2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        image, label = squares(8)
        loss = virtual_teacher_loss(network(image), label)  # was: F.cross_entropy(network(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    torch.manual_seed(0)
    found = train()
    print(f"loss {found[0]:.4f} at the first step, {found[-1]:.4f} at the last")
