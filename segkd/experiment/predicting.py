"""`segkd predict`: a PNG for every image; an image that is damaged or too large loses only its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jsonargparse import Namespace
from PIL import Image
from rich.console import Console

from segkd.datasets.notes import notes_on_images
from segkd.datasets.pictures import How, Seen, view_image
from segkd.datasets.unfit import no_room
from segkd.datasets.walk import walk
from segkd.disk import write_whole
from segkd.engine.memory import out_of_memory
from segkd.engine.panels import class_colours
from segkd.experiment.console import make_console, ticking, warn
from segkd.experiment.scoring import opened, threshold_of
from segkd.models.store import Model
from segkd.types import IGNORE, InputError, listed


@dataclass(frozen=True)
class Painter:
    """What becomes of an image: a mask, or with `probability` the foreground's probability in 0..255.

    A mask of two classes holds 0 and 255, cut at `threshold`; one of more holds class numbers, shown in colours.
    """

    model: Model
    threshold: float
    probability: bool

    def __call__(self, image: np.ndarray) -> Image.Image:
        """The prediction for an RGB image uint8 [h w 3], at its size."""
        found = self.model.decide(image)
        if found.dtype == np.uint8:
            return in_colours(found, len(self.model.card.classes))
        if self.probability:
            return Image.fromarray((found * 255).round().astype(np.uint8))
        return Image.fromarray((found >= self.threshold).astype(np.uint8) * np.uint8(255))

    @property
    def said(self) -> str:
        """What the files hold, in words."""
        if self.probability:
            return "probabilities of the foreground, 0..255"
        names = self.model.card.classes
        if len(names) == 2:
            return f"0 and 255, foreground is p >= {self.threshold:.3f}"
        shown = ", ".join(f"{number} {name}" for number, name in enumerate(names[:6]))
        return f"class numbers ({shown}{', ...' if len(names) > 6 else ''}), each in a colour of its own"


def in_colours(classes: np.ndarray, number: int) -> Image.Image:
    """A map of class numbers uint8 [h w] as a palette picture: the same numbers, visible in any viewer.

    Class 0 is black, the others have hues of their own, `IGNORE` and numbers that are no class are grey.
    """
    palette = np.full((256, 3), 110, np.uint8)
    palette[: min(number, IGNORE)] = class_colours(number)[:IGNORE]
    picture = Image.fromarray(classes)
    picture.putpalette(palette.tobytes())
    return picture


def predict_images(config: Namespace, how: How) -> int:
    """Writes one PNG per image of `config.images` into `config.out`; a bad file loses only its own result.

    Args:
        config: run, images, out, kind and threshold.
        how: how image files are read: as those of the training were.

    Raises:
        InputError: nothing can be predicted or written, or, after all others are done, some images were not.
    """
    model = opened(config.run, "cuda" if torch.cuda.is_available() else "cpu", config.trust, make_console(True))
    paint = Painter(model, threshold_of(config.threshold, model.card), config.kind == "probability")
    if paint.probability and len(model.card.classes) != 2:
        raise InputError(f"--kind probability is for two classes; {config.run} has {len(model.card.classes)}.")
    console = make_console(True)
    targets = targets_of([Path(given) for given in config.images], Path(config.out), console)
    seen: dict[str, Seen] = {}
    faults = []
    with ticking(console, "predicting") as ticker:
        ticker(len(targets))
        for path, target in targets.items():
            try:
                picture, seen[str(path)] = _predicted(path, paint, how)
            except InputError as error:
                faults.append(str(error))
            else:
                write_whole(target, partial(picture.save, format="PNG"))
            ticker.move(1)
    for note in notes_on_images(seen):
        warn(console, note)
    done = len(targets) - len(faults)
    console.print(f"{done} prediction{'' if done == 1 else 's'} in {config.out}: {paint.said}")
    if faults:
        raise InputError(
            f"{len(faults)} of {len(targets)} images have no prediction; the others are done:\n{listed(faults)}"
        )
    return 0


def targets_of(given: Sequence[Path], out: Path, console: Console) -> dict[Path, Path]:
    """The file to write for each image of the folders and files `given`; says what is passed over.

    Raises:
        InputError: there is no image, a result would lie among the images, or two would be one file.
    """
    targets: dict[Path, Path] = {}
    for place in given:
        folder = place if place.is_dir() else place.parent
        if out.resolve() == folder.resolve() or (place.is_dir() and folder.resolve() in out.resolve().parents):
            raise InputError(
                f"--out {out}: expected a folder outside --images {folder}, or predictions would mix with images."
            )
        found = walk(place)
        if found.sentence:
            warn(console, f"--images {place}: {found.sentence}")
        if not found.files:
            raise InputError(f"--images {place}: expected a folder with images, found none.")
        targets |= {path: out / path.relative_to(folder).with_suffix(".png") for path in found.files}
    first = {target: path for path, target in reversed(targets.items())}
    double = [f"{first[target].name} and {path.name}" for path, target in targets.items() if first[target] != path]
    if double:
        raise InputError(f"--images: these would give the same result file; rename one of each:\n{listed(double)}")
    return targets


def _predicted(path: Path, paint: Painter, how: How) -> tuple[Image.Image, Seen]:
    try:
        image, seen = view_image(path, how)
        return paint(image), seen
    except InputError:
        raise
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise no_room(path) from error
