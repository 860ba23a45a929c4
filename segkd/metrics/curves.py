"""Curves over 256 thresholds of many images at once, from their histograms."""

import numpy as np
from jaxtyping import Float64, Int64

from segkd.metrics.protocol import BETA2, EPS, PLAIN, Protocol

Curves = dict[str, Float64[np.ndarray, "n 256"]]


def curves(histograms: Int64[np.ndarray, "n 2 256"], protocol: Protocol = PLAIN) -> Curves:
    """Precision, recall, F-beta (beta^2 = .3) and E-measure of "p >= t / 255" for t = 0..255, by image.

    NaN where an image leaves a score undefined: precision, recall and F without foreground (0 where the protocol
    counts those as 0), all of them without a valid pixel.
    """
    above = histograms[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
    alarms, hits = above[:, 0], above[:, 1]
    ground, figure = histograms[:, 0].sum(axis=1, keepdims=True), histograms[:, 1].sum(axis=1, keepdims=True)
    found: Curves = dict(zip(("precision", "recall", "f"), f_of(hits, alarms, figure, protocol)))
    found["e"] = e_of(hits, alarms, figure, ground, protocol)
    for values in found.values():
        values[(ground + figure)[:, 0] == 0] = np.nan
    return found


class SumOfCurves:
    """Sums curves of images, leaving out those where a curve is not defined.

    Images are added one after the other, so that a sum does not depend on how many come at once.
    """

    def __init__(self) -> None:
        self._sums = {name: np.zeros(256) for name in ("precision", "recall", "f", "e")}
        self._numbers = {name: np.zeros(256, np.int64) for name in self._sums}

    def add(self, found: Curves) -> None:
        """Takes in the curves of some images."""
        for name, values in found.items():
            defined = ~np.isnan(values)
            self._numbers[name] += defined.sum(axis=0)
            self._sums[name] = np.vstack([self._sums[name], np.where(defined, values, 0)]).sum(axis=0)

    def means(self) -> dict[str, np.ndarray]:
        """The mean of each curve [256]; NaN where it is defined for no image."""
        return {
            name: np.where(number > 0, self._sums[name] / np.maximum(number, 1), np.nan)
            for name, number in self._numbers.items()
        }


def f_of(
    hits: np.ndarray, alarms: np.ndarray, figure: np.ndarray, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision (0 where nothing is predicted), recall and F-beta of numbers of pixels."""
    precision = hits / np.maximum(hits + alarms, 1)
    recall = hits / np.maximum(figure, 1)
    above = (1 + BETA2) * precision * recall
    f = above / np.where(above == 0, 1, BETA2 * precision + recall)
    if not protocol.zero_when_empty:
        for values in (precision, recall, f):
            values[np.broadcast_to(figure == 0, values.shape)] = np.nan
    return precision, recall, f


def e_of(
    hits: np.ndarray, alarms: np.ndarray, figure: np.ndarray, ground: np.ndarray, protocol: Protocol
) -> np.ndarray:
    """E-measure of binary maps (Fan et al., IJCAI 2018, eq. 4) from numbers of pixels.

    With prediction and mask less their means, a and b, the mean over pixels of (2ab / (a^2 + b^2) + 1)^2 / 4.
    Without foreground the share of pixels predicted background; all foreground, that of pixels predicted foreground.
    `plain` divides by N; the authors' code and `pysod` by N - 1, which is above 1 for a perfect map.
    """
    size = figure + ground
    predicted = hits + alarms
    whole = np.maximum(size, 1)
    mean_p, mean_y = predicted / whole, figure / whole
    parts = (
        (hits, 1 - mean_p, 1 - mean_y),
        (alarms, 1 - mean_p, 0 - mean_y),
        (figure - hits, 0 - mean_p, 1 - mean_y),
        ((size - predicted) - (figure - hits), 0 - mean_p, 0 - mean_y),
    )
    total = np.zeros(predicted.shape)
    for pixels, a, b in parts:
        aligned = 2 * (a * b) / (a**2 + b**2 + EPS)
        total += (aligned + 1) ** 2 / 4 * pixels
    total = np.where(figure == 0, size - predicted, np.where(ground == 0, predicted, total))
    return total / (size - 1 + EPS if protocol.unbiased else whole)
