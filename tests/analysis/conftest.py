"""Made-up evidence: plausible numbers that need no network."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from segkd.analysis.evidence import Condition, Evidence, HeatMap, Learning, Spectra
from segkd.frequency.rings import ring_of

RINGS = 8
CEILING = np.array([0.02, 0.06, 0.14, 0.3, 0.55, 0.8, 0.95, 1.0])
"""E_b of a label passed through a stride of 4: bands 0 to 3 are represented."""


@pytest.fixture
def make_evidence():
    """A function that makes the evidence of one run, see `synthetic`."""
    return synthetic


def synthetic(name="baseline", seed=0, n=12, classes=2, size=(72, 90), **parts) -> Evidence:
    """Random evidence of `n` images, the images alike for all names and seeds.

    Args:
        name: of the group; it shifts all numbers a little.
        seed: of the run; it shifts them less.
        n: images.
        classes: more than two have one score only.
        size: in pixels.
        parts: what there is: learning=True, tables=False, heatmap=False, aliasing=True, notes=().
    """
    shared = np.random.default_rng(n)
    draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
    shift = 0.15 * np.random.default_rng(zlib.crc32(name.encode())).uniform(-1, 1)
    band = np.arange(RINGS)
    reach = np.clip(0.18 + 0.12 * band + shift + 0.02 * draw.normal(size=RINGS), 0.05, 1.05)
    label = 300 * 0.4**band * shared.lognormal(0, 0.4, (n, RINGS))
    errors = label * reach**2 * draw.lognormal(0, 0.3, (n, RINGS))
    bump = np.exp(-((band - 2 - 6 * shift) ** 2) / 6)
    return Evidence(
        name=name,
        run=Path("runs") / name / f"seed{seed}",
        seed=seed,
        classes=("background", "object") if classes == 2 else tuple(f"class {k}" for k in range(classes)),
        size=size,
        stride=4,
        ids=tuple(f"image{i:02d}" for i in range(n)),
        energy={
            "image": 2000 / (1 + band) ** 2 * shared.lognormal(0, 0.3, (n, RINGS)),
            "label": label,
            "prediction": label * np.maximum(1.05 - reach, 0.02) * draw.lognormal(0, 0.1, (n, RINGS)),
            "error": errors,
            "ceiling": label * CEILING**2,
            "untrained": label * 1.02 * draw.lognormal(0, 0.05, (n, RINGS)),
        },
        sensitivity=1e-3 * (0.05 + bump) * draw.lognormal(0, 0.4, (n, RINGS)),
        untrained_sensitivity=2e-5 / (1 + band) * draw.lognormal(0, 0.3, (n, RINGS)),
        margin=4 * draw.lognormal(0, 0.2, n),
        untrained_margin=0.1 * draw.lognormal(0, 0.2, n),
        dct=1e-3 * draw.lognormal(0, 0.3, (n, 8, 8)) * np.exp(-np.add.outer(np.arange(8), np.arange(8)) / 4),
        scores={score: _scores(draw, bump, n) for score in (("f_mean",) if classes == 2 else ()) + ("miou_image",)},
        boundary=np.clip(np.array([0.4, 0.55, 0.68]) + shift + 0.1 * draw.normal(size=(n, 3)), 0, 1),
        interior=np.clip(np.array([0.86, 0.89, 0.92]) + 0.06 * draw.normal(size=(n, 3)), 0, 1),
        aliasing=_aliasing(draw, n) if parts.get("aliasing", True) else (),
        spectra=_spectra(size, reach, bump),
        learning=_learning(draw, reach, parts.get("tables", False)) if parts.get("learning", True) else None,
        heatmap=_heatmap(draw, size, bump) if parts.get("heatmap", False) else None,
        forwards=31.5,
        seconds=12.5,
        notes=tuple(parts.get("notes", ())),
    )


def _scores(draw, bump, n):
    clean = np.clip(0.85 + 0.07 * draw.normal(size=n), 0, 1)
    found = {Condition("clean"): clean}
    left = {
        "stop": 1 - 0.5 * bump,
        "noise": 1 - 0.35 * bump - 0.02,
        "low": np.cumsum(bump) / bump.sum(),
        "high": np.cumsum(bump[::-1])[::-1] / bump.sum(),
    }
    bands = {"stop": range(RINGS), "noise": range(RINGS), "low": range(RINGS - 1), "high": range(1, RINGS)}
    for kind, shares in left.items():
        for b in bands[kind]:
            found[Condition(kind, b)] = np.clip(clean * shares[b] + 0.03 * draw.normal(size=n), 0, 1)
    return found


def _aliasing(draw, n):
    levels = (("layer1", 2, 0.12), ("layer2", 4, 0.2), ("layer3", 8, 0.26), ("layer4", 16, 0.31))
    return tuple((name, stride, np.clip(share + 0.03 * draw.normal(size=n), 0, 1)) for name, stride, share in levels)


def _spectra(size, reach, bump):
    ring = np.maximum(ring_of(*size).numpy(), 0)
    fy, fx = np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])
    falling = 1 / (0.02 + np.hypot(fy, 2 * fx)) ** 2  # wider than high, so that a turned map shows
    label = 0.05 * falling
    return Spectra(
        image=falling,
        label=label,
        prediction=label * np.maximum(1.05 - reach[ring], 0.02),
        error=label * reach[ring] ** 2,
        sensitivity=1e-3 * (0.05 + bump[ring]),
        untrained_sensitivity=2e-5 / (1 + ring),
    )


def _learning(draw, reach, tables):
    epochs = np.array([0.0, 1, 2, 4, 6, 8, 10])
    fall = np.exp(-epochs[:, None] / (0.8 + 0.6 * np.arange(RINGS)))
    errors = np.minimum(reach, 0.99) + (1 - np.minimum(reach, 0.99)) * fall + 0.01 * draw.normal(size=fall.shape)
    errors[0] = 1.0
    if not tables:
        return Learning(epochs, errors)
    steps = -4 + 0.1 * epochs[1:, None] * np.linspace(-1, 2, RINGS) + 0.05 * draw.normal(size=(6, RINGS))
    return Learning(epochs, errors, steps, epochs[1:])


def _heatmap(draw, size, bump):
    places = np.stack([draw.integers(0, size[0], 60), draw.integers(0, size[1] // 2 + 1, 60)], axis=1)
    radii = np.hypot(np.fft.fftfreq(size[0])[places[:, 0]], np.fft.rfftfreq(size[1])[places[:, 1]])
    gradient = np.sqrt(1e-3 * (0.05 + np.interp(radii * 2 * RINGS - 0.5, np.arange(RINGS), bump)))
    gain = gradient * draw.lognormal(0, 0.25, 60)
    return HeatMap(places, radii, gain, gradient, 0.1 * gain, images=6)
