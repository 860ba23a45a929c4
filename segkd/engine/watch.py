"""Warnings a user needs: a network that gave up on the foreground, or on a class."""

import math
from typing import final

from segkd.metrics.meter import Meter


@final
class Watch:
    """Looks at every validation and speaks once per trouble, when it has lasted `patience` validations.

    Of `classes` it is silent where a verdict at the end names those that were not learned.
    """

    def __init__(self, patience: int = 3, classes: bool = True) -> None:
        self.patience, self.classes = patience, classes
        self.silent: dict[str, int] = {}
        self.undefined = False

    def judge(self, select: str, score: float) -> list[str]:
        """A warning, once, if the score that decides which weights are kept is not defined."""
        if self.undefined or not math.isnan(score):
            return []
        self.undefined = True
        return [f"{select} is not defined on val, so the last weights are kept: no label there has foreground."]

    def look(self, meter: Meter, last: bool = False) -> list[str]:
        """The warnings that this validation gives rise to, one for all classes that were silent as long; the `last` one
        does not wait for more."""
        if not self.classes:
            return []
        predicted, real = meter.confusion.sum(axis=0), meter.confusion.sum(axis=1)
        found: dict[int, list[int]] = {}
        for number, name in enumerate(meter.classes):
            # of a class that fills less than a thousandth of the labels, few pixels are all there are to find
            gone = real[number] > 0 and predicted[number] < min(1e-4 * real.sum(), 0.1 * real[number])
            self.silent[name] = self.silent.get(name, 0) + 1 if gone else 0
            lasted = self.silent[name]
            if lasted == self.patience or (last and 0 < lasted < self.patience):
                found.setdefault(lasted, []).append(number)
        shares = real / max(real.sum(), 1)
        return [_sentence({n: (meter.classes[n], shares[n]) for n in gone}, len(meter.classes), lasted)
                for lasted, gone in found.items()]  # fmt: skip


def _sentence(gone: dict[int, tuple[str, float]], classes: int, lasted: int) -> str:
    """On classes, number -> name and share of the labels, that were never predicted in so many validations."""
    each = [f"{number} ({name}, {100 * share:.2f} % of the labels)" for number, (name, share) in gone.items()]
    what = f"class {each[0]} is" if len(each) == 1 else f"classes {', '.join(each)} are"
    said = f"{what} never predicted"
    if classes == 2 and 1 in gone:
        said = f"nothing is predicted as foreground {each[-1].split(' ', 1)[1]}"
    when = "the last validation" if lasted == 1 else f"{lasted} validations running"
    return (
        f"{said} in {when}. Try --overfit-one-batch: if that fails, look at the labels (segkd sheet) and the learning "
        "rate; if it succeeds, train longer, or give more weight to what is rare (distiller.task: SoftIoU beside the "
        "cross-entropy, as the recipes have it; CrossEntropy with class_weights)."
    )
