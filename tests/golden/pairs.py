"""Pairs of prediction and mask (uint8, 0..255 and 0/255) made from seeds: likely ones and adversarial ones.

Used by the script that makes the golden values and by the tests that read them, so it needs numpy alone.
"""

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


def blurred(plane: np.ndarray, radius: int) -> np.ndarray:
    """Box blur with edges repeated, by sums alone: the same bits everywhere."""
    for axis in (0, 1):
        padded = np.pad(plane, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        parts = [np.take(padded, range(i, i + plane.shape[axis]), axis=axis) for i in range(2 * radius + 1)]
        plane = sum(parts) / len(parts)
    return plane


def likely(seed: int) -> Pair:
    """A blob or a few, and a prediction that knows it roughly."""
    draw = np.random.default_rng(seed)
    size = tuple(int(n) for n in draw.integers(40, 120, 2))
    y, x = np.mgrid[: size[0], : size[1]]
    mask = np.zeros(size, bool)
    for _ in range(int(draw.integers(1, 4))):
        cy, cx = draw.random(2) * size
        ry, rx = (0.05 + 0.3 * draw.random(2)) * size
        mask |= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    mask[size[0] // 2, size[1] // 2] = True
    noise = blurred(draw.random(size), 3) - 0.5
    soft = blurred(np.roll(mask, tuple(draw.integers(-3, 4, 2)), (0, 1)).astype(float), int(draw.integers(1, 5)))
    return (np.clip(soft + noise * draw.random(), 0, 1) * 255).astype(np.uint8), mask.astype(np.uint8) * 255


def adversarial() -> dict[str, Pair]:
    """Empty, full, constant, tiny, thin, touching every edge, tied at thresholds, of low contrast."""
    draw = np.random.default_rng(7)
    n = (33, 47)
    noise = draw.integers(0, 256, n).astype(np.uint8)
    disc = (np.hypot(*(np.mgrid[:33, :47] - np.array([15, 20])[:, None, None])) < 9).astype(np.uint8) * 255
    empty, full = np.zeros(n, np.uint8), np.full(n, 255, np.uint8)
    half = empty.copy()
    half[:, :23] = 255
    first, checker, line = empty.copy(), empty.copy(), empty.copy()
    first[0, 0] = 255
    checker[::2, ::2] = 255
    checker[1::2, 1::2] = 255
    line[16, 3:40] = 255
    frame = full.copy()
    frame[1:-1, 1:-1] = 0
    hole = full.copy()
    hole[10, 30] = 0
    masks = {"empty": empty, "full": full, "disc": disc, "half": half, "first": first, "checker": checker,
             "line": line, "frame": frame, "hole": hole}  # fmt: skip
    predictions = {"zero": empty, "one": full, "noise": noise, "constant": np.full(n, 128, np.uint8),
                   "faint": np.where(disc > 0, 101, 100).astype(np.uint8), "disc": disc, "inverted": 255 - disc,
                   "ramp": np.tile(np.arange(47, dtype=np.uint8) * 5, (33, 1)),
                   "two": np.where(noise > 127, 51, 0).astype(np.uint8),
                   "narrow": (disc // 4 + noise // 8 + 60).astype(np.uint8)}  # fmt: skip
    pairs = {f"{p}-on-{m}": (predictions[p], masks[m]) for p in predictions for m in masks}
    pairs |= {f"scattered{i}": _scattered(i) for i in range(12)}
    one = np.array([[200]], np.uint8)
    pairs |= {"pixel-full": (one, np.array([[255]], np.uint8)), "row": (noise[:1], disc[15:16]),
              "column": (noise[:, :1], disc[:, 20:21]), "square": (noise[:2, :2], disc[14:16, 11:13])}  # fmt: skip
    return pairs


def _scattered(seed: int) -> Pair:
    """Many small objects of every density: the nearest object pixel is tied everywhere."""
    draw = np.random.default_rng(100 + seed)
    mask = draw.random((60, 71)) < 10 ** draw.uniform(-3, -0.2)
    mask[30, 40] = True
    return draw.integers(0, 256, mask.shape).astype(np.uint8), mask.astype(np.uint8) * 255


def all_pairs() -> dict[str, Pair]:
    """Every pair by name."""
    return {f"likely{seed}": likely(seed) for seed in range(16)} | adversarial()
