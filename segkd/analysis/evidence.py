"""What was measured on one run: arrays per image, from which every summary, interval, sentence and figure is made.

Letters: n images, rings bands of frequency (`frequency.rings`), h k the half plane of `torch.fft.rfft2`, t validations.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

Kind = Literal["clean", "stop", "low", "high", "noise"]
Verdict = Literal["supported", "not supported", "cannot be told", "measured"]


@dataclass(frozen=True, order=True)
class Condition:
    """How the images were changed before the network saw them; the mean of an image is always kept.

    `stop` leaves out the band, `low` keeps the bands up to it, `high` those from it on, `noise` adds equal energy in
    it; "clean" changes nothing (band 0).
    """

    kind: Kind
    band: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "clean" else f"{self.kind}/{self.band}"


@dataclass(frozen=True)
class Learning:
    """Relative output error by band at each validation of the training, from metrics.jsonl.

    Attributes:
        epochs: of each validation; 0 before the first step.
        errors: E_b in 0.., NaN in a band without label energy.
        tables: mean log2(step) of the quantisation table by band, or None without one.
        table_epochs: of each row of `tables`.
    """

    epochs: Float[np.ndarray, " t"]
    errors: Float[np.ndarray, "t rings"]
    tables: Float[np.ndarray, "u rings"] | None = None
    table_epochs: Float[np.ndarray, " u"] | None = None


@dataclass(frozen=True)
class HeatMap:
    """The optional check of the gradient: single Fourier waves added to the images.

    Attributes:
        places: (row, column) of each wave on the half plane.
        radii: its frequency in cycles per pixel.
        gain: change of the logit margin per unit of the wave, measured.
        gradient: the same from the gradient (square root of the sensitivity).
        drop: loss of the first score.
        images: how many images it was measured on.
    """

    places: np.ndarray
    radii: Float[np.ndarray, " m"]
    gain: Float[np.ndarray, " m"]
    gradient: Float[np.ndarray, " m"]
    drop: Float[np.ndarray, " m"]
    images: int


@dataclass(frozen=True)
class Spectra:
    """Mean power |F|^2 on the half plane, F unitary, rows in the order of fftfreq; sums over channels or classes;
    sensitivities relative to the mean square of the margin."""

    image: Float[np.ndarray, "h k"]
    label: Float[np.ndarray, "h k"]
    prediction: Float[np.ndarray, "h k"]
    error: Float[np.ndarray, "h k"]
    sensitivity: Float[np.ndarray, "h k"]
    untrained_sensitivity: Float[np.ndarray, "h k"]


@dataclass(frozen=True)
class Evidence:
    """One run on one split.

    Attributes:
        name: of the group that the run belongs to, e.g. "baseline".
        run: its folder.
        seed: of its training.
        classes: names of the classes.
        size: (h, w) in pixels that the network sees; frequencies are in cycles per pixel of it.
        stride: of the last convolution that gives the classes: the label passed through it is the ceiling.
        ids: of the n images, in the order of all arrays.
        energy: by name, energy of each image by band: "image", "label", "prediction", "error" (prediction - label),
            "ceiling" (label drawn at the stride - label), "untrained" (untrained prediction - label).
        sensitivity: mean power per coefficient of the gradient, by image and band.
        untrained_sensitivity: the same network's before any training.
        margin: mean square of the logit margin of each image: sensitivities are compared relative to it, because a
            network may scale its logits and decide the same.
        untrained_margin: the same network's before any training.
        dct: [n 8 8] mean square of the gradient's 8 x 8 block DCT, relative to the mean square of the margin.
        scores: by score ("f_mean" for two classes, "miou_image") and condition, each image's score; NaN: not defined.
        boundary: Boundary IoU of each image at three widths, in 0..1.
        interior: IoU of each image farther from the label's outline than each width.
        aliasing: by encoder level, finest first: (name, stride, share in 0..1 of each image's feature energy above
            the next level's Nyquist).
        spectra: two-dimensional means.
        learning: E_b(t), None where the run recorded none.
        heatmap: None unless asked for.
        noise: root mean square of the added noise, in image units 0..1.
        forwards: passes per image that all this took, a backward counted as two.
        seconds: it took.
        notes: sentences a reader should know (what could not be measured, and why).
    """

    name: str
    run: Path
    seed: int
    classes: tuple[str, ...]
    size: tuple[int, int]
    stride: int
    ids: tuple[str, ...]
    energy: Mapping[str, Float[np.ndarray, "n rings"]]
    sensitivity: Float[np.ndarray, "n rings"]
    untrained_sensitivity: Float[np.ndarray, "n rings"]
    margin: Float[np.ndarray, " n"]
    untrained_margin: Float[np.ndarray, " n"]
    dct: Float[np.ndarray, "n 8 8"]
    scores: Mapping[str, Mapping[Condition, Float[np.ndarray, " n"]]]
    boundary: Float[np.ndarray, "n widths"]
    interior: Float[np.ndarray, "n widths"]
    aliasing: tuple[tuple[str, int, Float[np.ndarray, " n"]], ...]
    spectra: Spectra
    learning: Learning | None = None
    heatmap: HeatMap | None = None
    noise: float = 0.15
    forwards: float = 0.0
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True)
class Sentence:
    """A statement about the evidence, with the numbers in its text, and whether they bear it out.

    "measured" is for a sentence that only reports a number and claims nothing.
    """

    text: str
    verdict: Verdict
