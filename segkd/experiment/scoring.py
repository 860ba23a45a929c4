"""What is done with a trained network: scores, predictions, and a look at the data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from accelerate import Accelerator
from jsonargparse import Namespace
from PIL import Image
from rich.console import Console

from segkd.datasets.data import Data, Records
from segkd.datasets.loader import SegmentationDataset
from segkd.datasets.sheet import contact_sheet
from segkd.datasets.transforms import Transform, Viewing
from segkd.disk import write_whole
from segkd.engine.evaluate import evaluate
from segkd.engine.record import jsonable
from segkd.engine.views import Looking, Looks, untouched
from segkd.experiment.console import checked_data, make_console, ticking, warn
from segkd.experiment.painting import LONGEST
from segkd.metrics.counts import Depth
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import BETA2, PLAIN, Protocol
from segkd.models.ensemble import Ensemble
from segkd.models.network import Network
from segkd.models.store import Model, ModelCard, load_model
from segkd.types import InputError


def opened(run: str | Path, device: str, trust: bool, console: Console) -> Model:
    """The best student of a run folder; says what is odd about the folder."""
    model = load_model(run, device, trust)
    if model.note:
        warn(console, model.note)
    return model


def score_student(model: Model, data: Data, split: str, accelerator: Accelerator, threshold: float) -> Meter:
    """The meter of a student on a split of `data`, with a progress bar; any bad file is refused."""
    console = make_console(accelerator.is_main_process)
    records = open_split(data, split, console, model.card.classes)
    return score_network(model.network, records, accelerator, Sight(data, model.card, threshold))


def open_split(
    data: Data, split: str, console: Console, classes: Sequence[str], skipped: dict[str, str] | None = None
) -> Records:
    """The records of a split, checked against the classes of a network; bad files go to `skipped` if it is given."""
    return open_splits(data, [split], console, classes, skipped)[split]


def open_splits(
    data: Data, splits: Sequence[str], console: Console, classes: Sequence[str], skipped: dict[str, str] | None = None
) -> dict[str, Records]:
    """As `open_split`, of several."""
    if len(data.classes) != len(classes):
        raise InputError(
            f"data.classes names {len(data.classes)} classes ({', '.join(data.classes)}), but the student was trained "
            f"on {len(classes)} ({', '.join(classes)}). Score it on data with the same classes."
        )
    if moved := [name for name, own in zip(data.classes, classes) if name != own and name in classes]:
        raise InputError(
            f"data.classes are {', '.join(data.classes)}, but the student was trained on {', '.join(classes)}: "
            f"{moved[0]} is another number there. Write them in the student's order, and let data.label_map bring the "
            "values of the masks to it."
        )
    return checked_data(console, data, splits, skipped=skipped)[0]


@dataclass(frozen=True)
class Sight:
    """How a network sees and is judged."""

    data: Data
    card: ModelCard
    threshold: float
    protocol: Protocol = PLAIN
    looks: Looks = field(default_factory=Looks)

    @property
    def transform(self) -> Viewing:
        """What is done to an image before it is shown."""
        if self.looks.slide:
            return untouched
        return Transform(self.card.size, None, len(self.card.classes), False)

    @property
    def batch(self) -> int:
        """How many images are seen at once: those of a window that slides have sizes of their own."""
        return 1 if self.looks.slide else self.data.batch

    def through(self, network: Network) -> Network:
        """The network that looks as often as it should; the members of an ensemble do so themselves."""
        plain = self.looks == Looks() or isinstance(network, Ensemble)
        return network if plain else Looking(network, self.looks, self.card.size)

    def judge(
        self,
        network: Network,
        dataset: SegmentationDataset,
        accelerator: Accelerator,
        advance: Callable[[int], None],
        lost: dict[str, str] | None,
        depth: Depth = "all",
    ) -> Meter:
        """The meter of a network on the images of `dataset`; `advance`, `lost` and `depth` as `evaluate` has them."""
        return evaluate(
            self.through(network),
            dataset,
            self.card.classes,
            accelerator,
            batch_size=self.batch,
            workers=self.data.workers,
            threshold=self.threshold,
            protocol=self.protocol,
            advance=advance,
            lost=lost,
            depth=depth,
        )


def score_network(
    network: Network, records: Records, accelerator: Accelerator, sight: Sight, lost: dict[str, str] | None = None
) -> Meter:
    """The meter of a network on records, with a progress bar; images that do not fit into memory go to `lost`."""
    dataset = SegmentationDataset(records, sight.transform, 0)
    with ticking(make_console(accelerator.is_main_process), "scoring") as ticker:
        ticker(len(dataset))
        return sight.judge(network, dataset, accelerator, ticker.move, lost)


def describe(meter: Meter, about: dict) -> dict:
    """The scores with everything one must know to compare them with others'."""
    each = jsonable(meter.by_part())
    return {
        **jsonable(meter.scores()),
        "iou": jsonable(meter.per_class()),
        "confusion": meter.confusion.tolist(),
        "classes": list(meter.classes),
        "n_images": len(meter.rows),
        "n_without_foreground": len(meter.without_foreground),
        "beta2": BETA2,
        **({"domains": each} if each else {}),
        **about,
    }


def draw_sheet(config: Namespace, data: Data) -> int:
    """Writes the contact sheet of a split."""
    kind = Image.registered_extensions().get(Path(config.out).suffix.lower())
    if kind not in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        raise InputError(f"--out {config.out}: expected a picture file to write, such as sheet.png or sheet.jpg.")
    if config.number < 1:
        raise InputError(f"--number must be at least 1, found {config.number}.")
    console = make_console(True)
    records, _ = checked_data(console, data, [config.split])
    picture = contact_sheet(records[config.split], config.number, data.classes)
    most = {"JPEG": LONGEST, "WEBP": 16383}.get(kind, picture.shape[0])
    if picture.shape[0] > most:
        raise InputError(
            f"--out {config.out}: {kind} holds {most} pixels of a side, and the sheet has {picture.shape[0]}. Lower "
            "--number, or write a .png."
        )
    write_whole(Path(config.out), partial(Image.fromarray(picture).save, format=kind))
    console.print(f"contact sheet: {config.out}")
    return 0


def threshold_of(given: str, card: ModelCard | None = None) -> float:
    """The threshold that the command line names: a probability, or "val" for the run's own."""
    if given == "val" and card is not None:
        return card.threshold
    if given == "val":
        raise InputError("--threshold val is a run's own, and maps have none. Write a number in 0..1, or leave it out.")
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise InputError(f"--threshold: expected a probability in 0..1, or val (the run's own), found {given!r}.")
    return value
