"""What is measured of a network against its formulas: derivatives by differences, transforms by sums over the full
plane, at odd sizes and beside ignored pixels."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from segkd.analysis.evidence import Learning
from segkd.analysis.examine import Examination, _Look
from segkd.analysis.features import aliasing
from segkd.analysis.heatmap import WaveProbe
from segkd.analysis.learning import half_epochs
from segkd.analysis.reliance import by_ring, sensitivity
from segkd.models.network import Network
from segkd.models.store import Model, ModelCard
from segkd.types import IGNORE, Batch, Prediction
from tests.distill.knowledge.slowly import bilinear, cell

EDGES = (1 / 64, 1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8)


class Bent(Network):
    """Neither linear nor the same at every place."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(classes)
        self.mix = nn.Conv2d(3, classes, 3, padding=1)

    def forward(self, image: torch.Tensor) -> Prediction:
        place = torch.linspace(0.2, 1.5, image.shape[3], dtype=image.dtype)
        return Prediction(torch.tanh(3 * self.mix(image)) * place)


def waves(h, w):
    """exp(-2 pi i (k y / h + m x / w)), as [h w (place) h w (pixel)]."""
    y, x = (np.outer(np.arange(n), np.arange(n)) / n for n in (h, w))
    return np.exp(-2j * np.pi * (y[:, None, :, None] + x[None, :, None, :]))


def powers(field):
    """|F|^2 of a plane at every frequency of the full plane, F unitary."""
    h, w = field.shape
    return np.abs((waves(h, w) * field).sum(axis=(2, 3))) ** 2 / (h * w)


def bands(h, w):
    """The band of every frequency of the full plane, -1 for the mean."""
    found = np.full((h, w), -1)
    for k, m in np.ndindex(h, w):
        rho = math.hypot(min(k, h - k) / h, min(m, w - m) / w)
        if (k, m) != (0, 0):
            found[k, m] = sum(rho >= edge for edge in EDGES)
    return found


def margins(network, image, pair):
    """The logit of one class less that of another, in double precision."""
    logits = network.double()(torch.from_numpy(image)).logits.detach().numpy()
    network.float()
    return logits[:, pair[1]] - logits[:, pair[0]]


@pytest.mark.parametrize(("classes", "size"), [(2, (17, 9)), (4, (11, 8))])
def test_sensitivity_is_the_spectrum_of_differences(classes, size):
    network, (h, w), seeds, pair = Bent(classes), size, (1, 6), (0, 1) if classes == 2 else (1, 3)
    image = torch.rand(2, 3, h, w, generator=torch.Generator().manual_seed(1))
    label = torch.full((2, h, w), pair[0])
    label[:, 3:, 2:], label[:, :, 0] = pair[1], IGNORE
    found = sensitivity(network, image, label, seeds)
    rings = by_ring(found.power, w)
    for n, seed in enumerate(seeds):
        white = torch.randn(h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
        spectrum = (waves(h, w) * white).sum(axis=(2, 3))
        probe = (waves(h, w).conj() * (spectrum / np.abs(spectrum))[:, :, None, None]).sum(axis=(0, 1)).real
        probe /= math.sqrt(h * w)
        one, step = image[n : n + 1].double().numpy(), 1e-4
        moved = np.concatenate([one + s * step * np.eye(3 * h * w).reshape(-1, 3, h, w) for s in (1, -1)])
        up, down = np.split((margins(network, moved, pair) * probe).sum(axis=(1, 2)), 2)
        slope = ((up - down) / (2 * step)).reshape(3, h, w)
        full = sum(powers(channel) for channel in slope)
        np.testing.assert_allclose(found.power[n], full[:, : w // 2 + 1], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.margin[n], (margins(network, one, pair) ** 2).mean(), rtol=1e-5)
        for number in range(8):
            here = full[bands(h, w) == number]
            np.testing.assert_allclose(rings[n, number], here.mean() if len(here) else 0, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found.dct[n], block_squares(slope), rtol=1e-3, atol=1e-5)


def block_squares(slope):
    """Mean square of each coefficient of the whole 8 x 8 blocks, summed over channels."""
    total, blocks = np.zeros((8, 8)), 0
    line = [[math.cos(math.pi * (2 * i + 1) * u / 16) * math.sqrt((1 if u == 0 else 2) / 8) for i in range(8)]
            for u in range(8)]  # fmt: skip
    for top in range(0, slope.shape[1] - 7, 8):
        for left in range(0, slope.shape[2] - 7, 8):
            blocks += 1
            for c, u, v in np.ndindex(3, 8, 8):
                part = slope[c, top : top + 8, left : left + 8]
                total[u, v] += (np.outer(line[u], line[v]) * part).sum() ** 2
    return total / blocks


@pytest.mark.parametrize("size", [(8, 10), (7, 9)])
def test_single_waves_move_the_margin_as_far_as_it_is_said(size):
    network, (h, w), amplitude = Bent(2), size, 0.1
    draw = torch.Generator().manual_seed(2)
    image, label = torch.rand(3, 3, h, w, generator=draw), torch.randint(0, 2, (3, h, w), generator=draw)
    given = torch.rand(3, h, w // 2 + 1, generator=draw)
    probe = WaveProbe(size, 8, amplitude, lambda logits, batch: logits[:, 1].mean(dim=(1, 2)).numpy())
    logits = network(image).logits.detach()
    for part in ([0, 1], [2]):  # in two batches
        batch = Batch(image[part], image[part], label[part], None, tuple(map(str, part)))
        probe.measure(network, batch, logits[part], given[part], [10 + n for n in part])
    heat = probe.result()
    assert len(heat.places) >= 5 and heat.images == 3
    rows, columns = (sorted({int(one[axis]) for one in heat.places}) for axis in (0, 1))
    before = margins(network, image.double().numpy(), (0, 1))
    for number, (k, m) in enumerate(heat.places.tolist()):
        changes, drops, around = [], [], []
        for n in range(3):
            random = np.random.default_rng([10 + n, k, m])
            signs, phase = random.choice([-1.0, 1.0], 3), random.uniform(0, 2 * math.pi)
            field = np.array([[math.cos(2 * math.pi * (k * y / h + m * x / w) + phase) for x in range(w)]
                              for y in range(h)])  # fmt: skip
            field *= amplitude / math.sqrt((field**2).mean())
            seen = image[n].double().numpy() + signs[:, None, None] * field
            changes.append(((margins(network, seen[None], (0, 1))[0] - before[n]) ** 2).mean() / amplitude**2)
            after = network(torch.from_numpy(seen[None]).float()).logits[0, 1].mean().item()
            drops.append(logits[n, 1].mean().item() - after)
            for i, j in np.ndindex(h, w // 2 + 1):
                nearest = [min(axis, key=lambda one: abs(one - at)) for axis, at in ((rows, i), (columns, j))]
                around += [given[n, i, j].item()] if nearest == [k, m] else []
        assert heat.gain[number] == pytest.approx(math.sqrt(np.mean(changes)), rel=1e-3)
        assert heat.drop[number] == pytest.approx(np.mean(drops), abs=1e-5)
        assert heat.gradient[number] == pytest.approx(math.sqrt(np.mean(around)), rel=1e-5)
        assert heat.radii[number] == pytest.approx(math.hypot(min(k, h - k) / h, m / w))


@pytest.mark.parametrize(
    ("classes", "stride", "size"), [(2, 4, (40, 70)), (3, 3, (13, 35)), (3, 8, (3, 33)), (2, 1, (33, 20))]
)
def test_energies_of_a_batch_with_ignored_pixels(classes, stride, size):
    (h, w), draw = size, torch.Generator().manual_seed(3)
    label = torch.randint(0, classes, (3, h // 4 + 1, w // 4 + 1), generator=draw).repeat_interleave(4, 1)
    label = label.repeat_interleave(4, 2)[:, :h, :w].contiguous()
    label[torch.rand(label.shape, generator=draw) < 0.2], label[2] = IGNORE, IGNORE
    image = torch.rand(3, 3, h, w, generator=draw)
    logits, blank = (2 * torch.randn(3, classes, h, w, generator=draw) for _ in range(2))
    network = Bent(classes)
    card = ModelCard("tests.analysis.test_slowly.Bent", {"classes": classes}, ["a", "b", "c"][:classes], size)
    look = _Look(Model(network, card), network, Examination())
    look.stride = stride
    look._compare(Batch(image, image, label, None, ("a", "b", "c")), logits, blank)
    which, sums = (
        bands(h, w),
        {key: np.zeros((3, 8)) for key in ("label", "prediction", "error", "ceiling", "untrained")},
    )
    for n in range(3):
        inside = label[n].numpy() != IGNORE
        p, q = (np.exp(one[n].double().numpy()) for one in (logits, blank))
        p, q = p / p.sum(axis=0), q / q.sum(axis=0)
        asked = [1] if classes == 2 else list(range(classes))
        truth = np.stack([(label[n].numpy() == c).astype(float) for c in asked])
        drawn = drawn_at(truth, stride) if stride > 1 else truth
        for g, d, c in zip(truth, drawn, asked):
            fields = {"label": g, "prediction": p[c], "error": p[c] - g, "ceiling": d - g, "untrained": q[c] - g}
            for key, field in fields.items():
                if inside.any():
                    spectrum = np.abs(np.fft.fft2(np.where(inside, field - field[inside].mean(), 0))) ** 2 / (h * w)
                    for number in range(8):
                        sums[key][n, number] += spectrum[which == number].sum()
    for key, expected in sums.items():
        np.testing.assert_allclose(look.columns[f"energy/{key}"][0], expected, rtol=1e-4, atol=1e-4, err_msg=key)
    whole = np.abs(np.fft.fft2(image.double().numpy())) ** 2 / (h * w)
    for number in range(8):
        expected = whole[:, :, which == number].sum(axis=(1, 2))
        np.testing.assert_allclose(look.columns["energy/image"][0][:, number], expected, rtol=1e-4, atol=1e-4)


def drawn_at(truth, stride):
    """The shares of cells, ten times as logits, enlarged, as probabilities."""
    k, h, w = truth.shape
    rows, columns = max(1, round(h / stride)), max(1, round(w / stride))
    small = np.zeros((1, k, rows, columns))
    for c, i, j in np.ndindex(k, rows, columns):
        small[0, c, i, j] = np.mean([truth[c, y, x] for y in cell(i, h, rows) for x in cell(j, w, columns)])
    if k == 1:  # the other class has the rest
        small = np.concatenate([1 - small, small], axis=1)
    large = np.exp(10 * bilinear(small, (h, w))[0])
    return (large / large.sum(axis=0))[-k:]


@pytest.mark.parametrize(("size", "next_"), [((9, 14), (5, 7)), ((16, 9), (8, 4)), ((7, 12), (4, 3))])
def test_aliasing_is_the_share_of_the_full_plane_that_the_next_level_cannot_hold(size, next_):
    feature, (h, w) = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(4)) + 2, size
    ((stride, found),) = aliasing([feature, torch.zeros(2, 5, *next_)], (4 * h, 4 * w))
    assert stride == 4
    factor = w / next_[1]
    for n in range(2):
        high = whole = 0.0
        for channel in feature[n].double().numpy():
            spectrum = powers(channel)
            for k, m in np.ndindex(h, w):
                if (k, m) != (0, 0):
                    whole += spectrum[k, m]
                    high += spectrum[k, m] * (max(min(k, h - k) / h, min(m, w - m) / w) > 1 / (2 * factor))
        assert found[n].item() == pytest.approx(high / whole, rel=1e-4) and 0 < high < whole


def test_half_of_what_was_learned_is_where_a_walk_along_the_lines_first_meets_it():
    draw = np.random.default_rng(7)
    seen = set()
    for begin in (0.0, 0.5, 3.0):
        epochs = begin + np.concatenate([[0], np.cumsum(draw.uniform(0.2, 3, 6))])
        errors = np.clip(draw.uniform(0.3, 1.3, (7, 16)), 0, None)
        errors[:, :5] = draw.uniform(0.93, 1.2, (7, 5))  # hardly learned, or not
        errors[draw.random(errors.shape) < 0.05] = np.nan
        errors[:, 5] = np.nan
        found, when = half_epochs(Learning(epochs, errors))
        for band in range(16):
            course = [(float(e), 0.0 if math.isnan(v) else 1 - v) for e, v in zip(epochs, errors[:, band])]
            course = course if begin == 0 else [(0.0, 0.0), *course]
            most = max(known for _, known in course)
            if most < 0.05:
                assert math.isnan(found[band]) and math.isnan(when[band])
                seen.add("not learned")
                continue
            walk = [course[0]]
            for (e0, k0), (e1, k1) in zip(course, course[1:]):
                walk += [(e0 + (e1 - e0) * i / 200, k0 + (k1 - k0) * i / 200) for i in range(1, 201)]
            assert found[band] == pytest.approx(next(e for e, known in walk if known >= most / 2 - 1e-12), abs=0.016)
            assert when[band] == next(e for e, known in course if known >= most / 2)
            seen.add("at once" if when[band] == 0 else "later")
    assert seen == {"not learned", "at once", "later"}
