"""S-measure from the histograms of four quadrants: no array of floating-point numbers is made."""

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from segkd.metrics.protocol import EPS


def quadrant_plane(
    truth: UInt8[np.ndarray, "h w"], label: UInt8[np.ndarray, "h w"]
) -> tuple[UInt8[np.ndarray, "h w"], Float64[np.ndarray, "4"]]:
    """For each pixel 2 quadrant + class (IGNORE where ignored), and the share of valid pixels in each quadrant.

    The quadrants (left above, right above, left below, right below) meet at the foreground's centroid, rounded;
    its row and column belong to the upper and left ones, as in the authors' code.
    """
    height, width = truth.shape
    rows, columns = truth.sum(axis=1, dtype=np.int64), truth.sum(axis=0, dtype=np.int64)
    total = max(int(rows.sum()), 1)
    # round() takes halves to the even neighbour, as numpy does
    y = round(int((rows * np.arange(height)).sum()) / total) + 1
    x = round(int((columns * np.arange(width)).sum()) / total) + 1
    offset = np.zeros((height, width), np.uint8)
    offset[:y, x:], offset[y:, :x], offset[y:, x:] = 2, 4, 6
    plane = label | offset  # 255, the ignored, has all bits already
    valid = plane < 8
    if valid.all():
        area = height * width
        left_above, right_above, left_below = x * y / area, y * (width - x) / area, (height - y) * x / area
    else:
        counts = np.bincount(plane[valid] >> 1, minlength=4) / max(int(valid.sum()), 1)
        left_above, right_above, left_below = (float(share) for share in counts[:3])
    return plane, np.array([left_above, right_above, left_below, 1 - left_above - right_above - left_below])


def s_measure(
    quadrants: Int64[np.ndarray, "4 2 256"],
    weights: Float64[np.ndarray, "4"],
    values: Float64[np.ndarray, "256"],
    pixels: tuple[np.ndarray, np.ndarray] | None = None,
) -> float:
    """Structure measure, half object-aware and half region-aware (Fan et al., ICCV 2017, eq. 7; alpha = .5).

    max(0, .5 S_object + .5 S_region). Without foreground 1 - mean(p); all foreground mean(p). An empty quadrant
    adds nothing (in the authors' code and in PySODMetrics 1.6.2 it makes the score NaN). NaN without a valid pixel.

    Args:
        quadrants: pixels by quadrant, class and level.
        weights: share of the pixels in each quadrant.
        values: what each level stands for, in 0..1.
        pixels: levels and mask [h w] of the image, to settle as PySODMetrics does whether a constant quadrant
            is constant: there, rounding decides. None takes it for what it is.
    """
    whole = quadrants.sum(axis=0)
    ground, figure = int(whole[0].sum()), int(whole[1].sum())
    if ground + figure == 0:
        return float("nan")
    if figure == 0:
        return 1 - float((whole[0] * values).sum() / ground)
    if ground == 0:
        return float((whole[1] * values).sum() / figure)
    share = figure / (ground + figure)
    objects = _object_score(whole[1], values) * share + _object_score(whole[0], 1 - values) * (1 - share)
    regions = 0.0
    for number in range(4):
        if quadrants[number].any():
            regions += _similarity(quadrants[number], values, pixels, number) * float(weights[number])
    return max(0.0, 0.5 * objects + 0.5 * regions)


def _object_score(histogram: np.ndarray, values: np.ndarray) -> float:
    """2 m / (m^2 + 1 + s) of the values' mean and standard deviation (eq. 4 with lambda = .5)."""
    n = int(histogram.sum())
    mean = float((histogram * values).sum() / n)
    deviation = float(np.sqrt((histogram * (values - mean) ** 2).sum() / (n - 1))) if n > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + deviation + EPS)


def _similarity(
    histogram: np.ndarray, values: np.ndarray, pixels: tuple[np.ndarray, np.ndarray] | None, number: int
) -> float:
    """SSIM without constants between prediction and mask of one quadrant (eq. 5)."""
    ground, figure = int(histogram[0].sum()), int(histogram[1].sum())
    n = ground + figure
    both = histogram.sum(axis=0)
    x, y = float((both * values).sum() / n), figure / n
    below = n - 1 + EPS
    variance = float((both * (values - x) ** 2).sum()) / below
    occurring = np.flatnonzero(both)
    if len(occurring) == 1:
        variance = 0.0
        if pixels is not None and 0 < values[occurring[0]] < 1:
            x, variance = _as_rounded(pixels, values, number)
    covariance = float((histogram[1] * (values - x)).sum() * (1 - y) - (histogram[0] * (values - x)).sum() * y) / below
    if len(occurring) == 1 or ground == 0 or figure == 0:
        covariance = 0.0  # of a constant; the sum above would leave a rounding error
    alpha = 4 * x * y * covariance
    beta = (x**2 + y**2) * (variance + (figure * (1 - y) ** 2 + ground * y**2) / below)
    if alpha != 0:
        return alpha / (beta + EPS)
    return 1.0 if beta == 0 else 0.0


def _as_rounded(pixels: tuple[np.ndarray, np.ndarray], values: np.ndarray, number: int) -> tuple[float, float]:
    """Mean and variance of a constant quadrant with the rounding of numpy's own mean over its pixels."""
    levels, truth = pixels
    y, x = np.argwhere(truth).mean(axis=0).round().astype(int) + 1
    rows, columns = (
        (slice(0, y) if number < 2 else slice(y, None)),
        (slice(0, x) if number % 2 == 0 else slice(x, None)),
    )
    part = values[levels][rows, columns]
    mean = part.mean()
    return float(mean), float(((part - mean) ** 2).sum() / (part.size - 1 + EPS))
