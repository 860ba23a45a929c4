"""`--overfit-one-batch`: whether labels, loss and network fit together, seen on one batch that is overfitted."""

from dataclasses import dataclass, replace

from jsonargparse import Namespace

from segkd.datasets.data import Records
from segkd.experiment.validation import WORTH, Validation
from segkd.metrics.meter import Meter
from segkd.metrics.scores import kappa

EPOCHS = 120
"""Epochs in which a batch is to be overfitted."""

ENOUGH = 0.9
"""Cohen's kappa from which on it is."""

MISSED = 0.5
"""IoU of a class below which it is named."""


@dataclass(frozen=True)
class Learned:
    """What the network knows of the batch at the end.

    Attributes:
        kappa: agreement of prediction and label beyond chance. The mean of IoU over the classes would judge by a class
            of ten pixels as much as by the rest; the share of right pixels is high where all is called background.
        missed: the classes that it has not learned, with their shares of the pixels and their IoU.
        alone: the only class that the labels hold; "" of several.
        fell: a sentence where an earlier validation had more; "" else.
    """

    kappa: float
    missed: tuple[str, ...] = ()
    alone: str = ""
    fell: str = ""

    @classmethod
    def of(cls, meter: Meter) -> "Learned":
        """From the scores of the batch."""
        shares = (meter.confusion.sum(axis=1) / max(1, int(meter.confusion.sum()))).tolist()
        held = [(name, share, value) for (name, value), share in zip(meter.per_class().items(), shares) if share > 0]
        missed = tuple(
            f"{name} ({100 * share:.2g} % of the pixels, IoU {value:.3f})"
            for name, share, value in held
            if value < MISSED
        )
        return cls(kappa(meter.confusion), missed, held[0][0] if len(held) == 1 else "")

    @property
    def enough(self) -> bool:
        """Whether the batch is overfitted; one class alone shows nothing."""
        return self.kappa >= ENOUGH and not self.alone

    @property
    def said(self) -> str:
        """The verdict."""
        missed = f" Not learned: {', '.join(self.missed[:5])}." if self.missed else ""
        if self.alone:
            return (
                f"the batch shows nothing: its labels hold {self.alone} alone. Look at the labels (segkd sheet); a "
                "larger data.batch_size takes more of the first images of the training split."
            )
        value = f"Cohen's kappa of prediction and label {self.kappa:.3f}"
        if self.enough:
            return f"the batch is overfitted ({value}): network, labels and loss work together.{missed}"
        return (
            f"the batch could not be overfitted ({value}, expected {ENOUGH}): look at the labels (segkd sheet), "
            f"the learning rate (optim.lr) and what is frozen (optim.freeze).{self.fell}{missed}"
        )


def one_batch(objects: Namespace, records: dict[str, Records]) -> dict[str, Records]:
    """The first images of the training split to train and to validate on, and settings that suit: no augmentation."""
    whole = records["train"]
    few = Records("one batch", whole.ids[: objects.data.batch_size], whole.load)
    objects.data = replace(objects.data, batch_size=len(few), augment=None)
    if objects.draw is not None and objects.draw.by_domain:
        objects.draw = None
    objects.engine = replace(objects.engine, epochs=EPOCHS, patience=None)
    objects.evaluation = replace(objects.evaluation, every=EPOCHS / 4, band_errors=False)
    return {"train": few, "val": few}


def learned(validation: Validation, select: str, best: float | None) -> Learned:
    """What the network that is kept knows at the end; `best`, the largest `select` of any validation."""
    meter = validation.judged(validation.engine.bare.kept)
    last = meter.score(select)
    fell = (
        f" {select} was {best:.3f} earlier and is {last:.3f} now: lower optim.lr." if (best or 0) > last + WORTH else ""
    )
    return replace(Learned.of(meter), fell=fell)
