"""A network under images that are damaged at test: the same scores, corruption by corruption."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from accelerate import Accelerator
from rich.console import Console

from segkd.datasets.corruptions import CORRUPTIONS, JPEG, SETTINGS, Corruption, Damaged
from segkd.datasets.data import Records
from segkd.disk import dump_csv
from segkd.engine.record import jsonable
from segkd.experiment.console import make_console, numbers_table, ticking
from segkd.experiment.scoring import Sight
from segkd.metrics.meter import Meter
from segkd.metrics.rows import mean_defined
from segkd.models.network import Network

SCORE = "miou_image"
"""What is compared: defined for any number of classes, and each image counts alike."""


@final
@dataclass(frozen=True)
class Robustness:
    """`miou_image` on clean images and under every corruption, means over the images that were scored in all of them.

    Attributes:
        clean: of the images as they are.
        readings: corruption -> score.
        images: how many.
    """

    clean: float
    readings: Mapping[Corruption, float]
    images: int

    def mean(self, *names: str) -> float:
        """Mean over the severities of the corruptions `names`; of all but JPEG without a name."""
        wanted = names or tuple(name for name in SETTINGS if name != JPEG)
        return mean_defined(score for corruption, score in self.readings.items() if corruption.name in wanted)

    def content(self) -> dict[str, Any]:
        """What `scores.json` holds of it."""
        readings = [
            {"corruption": one.name, "severity": one.severity, "setting": one.setting, SCORE: score,
             "drop": self.clean - score} for one, score in self.readings.items()
        ]  # fmt: skip
        content = {
            "score": SCORE,
            "applied": "to the view that the network sees, at its size",
            "images": self.images,
            "clean": self.clean,
            "mean_corrupted": self.mean(),
            "mean_jpeg": self.mean(JPEG),
            "readings": readings,
        }
        return jsonable(content)

    def csv(self) -> str:
        """A row for the clean images, with severity 0, and for each corruption and severity."""
        rows: list[tuple[Any, ...]] = [
            ("corruption", "severity", "setting", SCORE, "drop", "images"),
            ("clean", 0, "", self.clean, 0.0, self.images),
        ]
        for one, score in self.readings.items():
            rows.append((one.name, one.severity, one.setting, score, self.clean - score, self.images))
        return dump_csv(rows)


def score_corrupted(
    network: Network, records: Records, accelerator: Accelerator, sight: Sight, clean: Meter
) -> Robustness:
    """Scores a network on `records` once for each corruption, with one progress bar.

    Args:
        network: the network.
        records: the images and labels.
        accelerator: shares the images among processes.
        sight: how the network sees; its views are damaged.
        clean: the scores of the same images as they are.
    """
    rows: dict[Corruption, dict[str, float]] = {}
    with ticking(make_console(accelerator.is_main_process), "scoring under corruptions") as ticker:
        ticker(len(records) * len(CORRUPTIONS))
        for corruption in CORRUPTIONS:
            damaged = Damaged(records, sight.transform, corruption)
            meter = sight.judge(network, damaged, accelerator, ticker.move, {}, "curves")
            rows[corruption] = {id: row[SCORE] for id, row in meter.rows.items()}
    ids = [id for id in clean.rows if all(id in scores for scores in rows.values())]
    readings = {one: mean_defined(scores[id] for id in ids) for one, scores in rows.items()}
    return Robustness(mean_defined(clean.rows[id][SCORE] for id in ids), readings, len(ids))


def print_robustness(console: Console, found: Robustness) -> None:
    """A table with a row per corruption and a column per severity, JPEG and the means below a line."""
    heads = ("corruption", "severity 1", "severity 2", "severity 3", "mean", "drop")
    table = numbers_table(heads, f"{SCORE} under corruptions, and the drop")
    for name in SETTINGS:
        scores = [score for one, score in found.readings.items() if one.name == name]
        table.add_row(name, *map(_short, scores), _short(found.mean(name)), _short(found.clean - found.mean(name)))
    console.print(table)
    console.print(
        f"clean {_short(found.clean)}; mean under corruptions {_short(found.mean())} (without JPEG), drop "
        f"{_short(found.clean - found.mean())}; under JPEG {_short(found.mean(JPEG))}"
    )


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:z.4f}"  # z: a drop that rounds to 0 has no sign
