"""The virtual teacher's targets at exits, a neck, a donor and an ensemble against sums over their positions."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from segkd.distill.base import Scene
from segkd.distill.teachers.frozen import Frozen
from segkd.distill.teachers.label import LabelTeacher
from segkd.distill.teachers.refined import Refined
from segkd.models.member import Member
from segkd.models.network import Network
from segkd.types import IGNORE, Batch, Prediction
from tests.distill.knowledge.slowly import bilinear, cell, log_softmax

SIZE = (11, 9)


def labelled(classes, soft, b=3, holes=0.4):
    """Labels with holes, a class that is nowhere, an image that is ignored whole; shares where there is a label."""
    draw = torch.Generator().manual_seed(classes)
    label = torch.randint(0, max(classes - 1, 2), (b, *SIZE), generator=draw)
    label[torch.rand(label.shape, generator=draw) < holes] = IGNORE
    label[-1] = IGNORE
    shares = torch.rand(b, classes, *SIZE, generator=draw)
    shares = shares / shares.sum(dim=1, keepdim=True)
    image = torch.rand(b, 3, *SIZE, generator=draw)
    return Batch(image, image, label, shares if soft else None, tuple(f"i{n}" for n in range(b)))


@pytest.mark.parametrize("soften", ["power", "softmax_prob"])
@pytest.mark.parametrize(("classes", "kind", "soft"), [
    (2, "constant", False), (5, "smoothed", True), (5, "antialiased", True), (3, "boundary", False),
    (3, "window", True),
])  # fmt: skip
def test_at_every_exit_the_shares_of_its_cells(classes, kind, soft, soften):
    batch, sizes, a = labelled(classes, soft), [SIZE, (6, 5), (4, 9), (1, 2)], 0.9
    student = Prediction(torch.zeros(3, classes, *SIZE), exits=tuple(torch.zeros(3, classes, *size) for size in sizes))
    exits = LabelTeacher(kind, a, soften=soften, levels=True)(batch, student, lambda image: student).target.exits
    label, cells = batch.label.numpy(), 0
    for found, (h, w) in zip(exits, sizes):
        for n, i, j in np.ndindex(3, h, w):
            inside = [(y, x) for y in cell(i, SIZE[0], h) for x in cell(j, SIZE[1], w) if label[n, y, x] != IGNORE]
            if not inside:
                assert found[n, :, i, j].isfinite().all()
                continue
            counts, cells = np.zeros(classes), cells + 1
            for y, x in inside:
                counts += batch.soft[n, :, y, x].numpy() if soft else np.arange(classes) == label[n, y, x]
            p = a * counts / len(inside) + (1 - a) / classes
            np.testing.assert_allclose(found[n, :, i, j], np.log(p) if soften == "power" else p, rtol=1e-5, atol=1e-6)
    assert cells > 100


class Three(Network):
    """Levels of sizes that are no half of each other, and logits."""

    def __init__(self, classes):
        super().__init__()
        self.sizes = ((6, 5), (3, 3), (2, 1))
        self.mix = nn.ModuleList(nn.Conv2d(3, c, 1) for c in (4, 3, 5))
        self.head = nn.Conv2d(4, classes, 1)

    def forward(self, image):
        levels = [mix(nn.functional.interpolate(image, size)) for mix, size in zip(self.mix, self.sizes)]
        return Prediction(nn.functional.interpolate(self.head(levels[0]), image.shape[2:]), tuple(levels))


def convolved(x, weight, bias=None, stride=1, pad=0, each=False):
    """Sums of products, position by position; `each` where a channel reads itself alone."""
    b, c, h, w = x.shape
    out, k = len(weight), weight.shape[2]
    wide = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    found = np.zeros((b, out, (h + 2 * pad - k) // stride + 1, (w + 2 * pad - k) // stride + 1))
    for n, o, i, j in np.ndindex(*found.shape):
        part = wide[n, :, i * stride : i * stride + k, j * stride : j * stride + k]
        found[n, o, i, j] = (part[o] * weight[o, 0]).sum() if each else (part * weight[o]).sum()
    return found + (0 if bias is None else bias[:, None, None])


class Weights:
    """The numbers of a module by their names, and the steps that are built of them."""

    def __init__(self, module, training):
        self.of = {name: one.detach().double().numpy().copy() for name, one in module.state_dict().items()}
        self.training = training

    def conv(self, name, x, **how):
        return convolved(x, self.of[f"{name}.weight"], self.of.get(f"{name}.bias"), **how)

    def norm(self, name, x):
        mean, var = (self.of[f"{name}.running_{what}"] for what in ("mean", "var"))
        if self.training:
            mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        x = (x - mean[:, None, None]) / np.sqrt(var[:, None, None] + 1e-5)
        return x * self.of[f"{name}.weight"][:, None, None] + self.of[f"{name}.bias"][:, None, None]

    def separable(self, name, x, stride=1):
        x = self.norm(f"{name}.1", self.conv(f"{name}.0", x, stride=stride, pad=1, each=True))
        return np.maximum(self.norm(f"{name}.3", self.conv(f"{name}.2", x)), 0)

    def merged(self, name, a, b):
        gate = 1 / (1 + np.exp(-self.conv(f"{name}.gate", np.concatenate([a, b], axis=1))))
        return self.separable(f"{name}.mix", gate * a + (1 - gate) * b)


def pooled(x, cells):
    b, c, h, w = x.shape
    found = np.zeros((b, c, cells, cells))
    for i, j in np.ndindex(cells, cells):
        found[:, :, i, j] = np.mean([x[:, :, u, v] for u in cell(i, h, cells) for v in cell(j, w, cells)], axis=0)
    return found


@pytest.mark.parametrize("training", [True, False])
def test_a_neck_refines_the_pyramid_both_ways(training):
    torch.manual_seed(5)
    batch, student = labelled(3, False, b=2), Three(3)
    seen, teacher = student(batch.image), Refined(width=4)
    teacher.meet(Scene(student, batch, seen, 4, lambda: student))
    with torch.no_grad():
        for one in teacher.parameters():
            one.add_(0.3 * torch.randn_like(one))
        for one in teacher.buffers():
            if one.is_floating_point():
                one.add_(torch.rand_like(one))
    slow = Weights(teacher, training)
    target = teacher.train(training)(batch, seen, student).target
    x = [one.detach().double().numpy() for one in seen.features]
    coarse = x[2]
    own = np.maximum(slow.norm("neck.context.own.1", slow.conv("neck.context.own.0", coarse)), 0)
    for number, cells in enumerate((1, 2, 4)):
        own = own + bilinear(slow.conv(f"neck.context.pooled.{number}", pooled(coarse, cells)), own.shape[2:])
    fused = [None, None, slow.separable("neck.context.mix", own)]
    for i in (1, 0):  # semantics travel down
        lateral = slow.norm(f"neck.lateral.{i}.1", slow.conv(f"neck.lateral.{i}.0", x[i]))
        fused[i] = slow.merged(f"neck.down.{i}", lateral, bilinear(fused[i + 1], lateral.shape[2:]))
    for i in (0, 1):  # detail travels up
        detail = bilinear(slow.separable(f"neck.shrink.{i}", fused[i], stride=2), fused[i + 1].shape[2:])
        fused[i + 1] = slow.merged(f"neck.up.{i}", fused[i + 1], detail)
    for found, expected in zip(target.features, fused):
        np.testing.assert_allclose(found.detach(), expected, rtol=1e-3, atol=1e-4)
    whole = sum(bilinear(one, fused[0].shape[2:]) for one in fused)
    head = np.maximum(slow.norm("head.1", slow.conv("head.0", whole, pad=1)), 0)
    np.testing.assert_allclose(target.logits.detach(), bilinear(slow.conv("head.3", head), SIZE), rtol=1e-3, atol=1e-4)


class Said(Network):
    """Says of each image what its first pixel and its class say: logits at a size of its own."""

    def __init__(self, classes, size):
        super().__init__()
        torch.manual_seed(classes)
        self.mix, self.size = nn.Conv2d(3, classes, 1), size

    def forward(self, image):
        return Prediction(4 * self.mix(nn.functional.interpolate(image, self.size, mode="nearest-exact")))


def test_an_ensemble_of_other_classes_of_which_some_saw_an_image_and_a_disturbance_moved_it():
    """Pixel by pixel: shares of the classes that stand for one, of those members that never saw the image, of the
    pixel that was moved here."""
    batch = labelled(3, False)
    source = torch.randperm(3 * SIZE[0] * SIZE[1], generator=torch.Generator().manual_seed(8)).view(3, *SIZE)
    batch = replace(batch, source=source, image=torch.zeros_like(batch.image))
    networks = [Said(4, (5, 4)), Said(4, SIZE), Said(5, (1, 1))]
    seen = [{"i0"}, {"i2"}, {"i0", "i1"}]
    maps = [{0: 0, 1: 1, 2: 2, 3: 1}, {0: 0, 1: 1, 2: 2, 3: 1}, {0: 2, 1: 0, 4: 1}]
    teacher = Frozen([], unseen=True)
    for network, known, given in zip(networks, seen, maps):
        classes = len(network.mix.weight)
        table = torch.zeros(classes, 3)
        for its, ours in given.items():
            table[its, ours] = 1
        teacher.members.append(Member("m", network, tuple(map(str, range(classes))), None, frozenset(known)))
        teacher.tables.append(table)
    lesson = teacher(batch, Prediction(torch.zeros(3, 3, *SIZE)), lambda image: None)
    said = [bilinear(network(batch.clean).logits.detach().double().numpy(), SIZE) for network in networks]
    for n, y, x in np.ndindex(3, *SIZE):
        i, v, u = np.unravel_index(int(source[n, y, x]), source.shape)
        total, asked = np.zeros(3), 0
        for logits, known, given in zip(said, seen, maps):
            if f"i{i}" not in known:
                shares = {
                    its: math.exp(value) for its, value in enumerate(log_softmax(logits[i, :, v, u])) if its in given
                }
                asked += 1
                for its, share in shares.items():
                    total[given[its]] += share / sum(shares.values())
        np.testing.assert_allclose(lesson.target.logits[n, :, y, x], np.log(total / asked), rtol=1e-4, atol=1e-5)
