"""The student alone on disk: `student.safetensors`, and `model.json` to read; reloadable with no training code."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from segkd.disk import dump_json, parse_json, read_text, write_whole
from segkd.models.enlarge import bands, decided
from segkd.models.network import Network, device_of
from segkd.models.pixels import Picture, as_rgb, shrunk
from segkd.models.strangers import ROUTES, said_of_stranger
from segkd.models.trust import imported, refuse_foreign_network
from segkd.models.weights import packed, student_of, unpacked
from segkd.models.windows import slide
from segkd.types import InputError, reason_of

MOST_PIXELS = 1 << 15
"""No network is trained on images with a longer side."""


@dataclass(frozen=True)
class ModelCard:
    """What a saved student needs to be rebuilt and used.

    Attributes:
        class_path: import path of the network's class.
        init_args: its constructor arguments.
        classes: names of the classes in the order of the logits.
        size: height and width it was trained at.
        threshold: for two classes, the foreground threshold with the best IoU on val.
        scores: its scores on val when it was saved.
        step: the optimiser step it was saved at.
        range: the values of its training images that became black and white; None for those of 8 or 16 bits.
        exif: they were turned as their EXIF orientation says.
    """

    class_path: str
    init_args: dict[str, Any]
    classes: list[str]
    size: tuple[int, int]
    threshold: float = 0.5
    scores: dict[str, float | None] = field(default_factory=dict)
    step: int = 0
    range: tuple[float, float] | None = None
    exif: bool = True


class Model:
    """A trained student: the network, its card, `predict`, and `note`: what is odd about its folder, or ""."""

    def __init__(self, network: Network, card: ModelCard, note: str = "") -> None:
        self.network, self.card, self.note = network.eval(), card, note

    def predict(self, image: Picture | Sequence[Picture], stride: float | None = None) -> Any:
        """Class probabilities float32 [k h w] at the picture's own size; of a list, a list of them.

        Args:
            image: the path of a file or a PIL image, which are read as those of the training were; an array that was
                (RGB, grey or RGBA in 0..255); or a list of these.
            stride: None shrinks the whole picture to the size of the training; a share of that size, above 0 and up
                to 1, moves a window of it over the picture instead (`windows.slide`).

        Raises:
            InputError: a picture that cannot be read; names it.
        """
        return self._each(image, stride, lambda rows: np.concatenate([shares_of(band) for band in rows], axis=1))

    def decide(self, image: Picture | Sequence[Picture], stride: float | None = None) -> Any:
        """As `predict`, in memory that does not grow with the classes: of two, the probability of class 1, float32
        [h w]; of more, the class numbers, uint8 [h w]."""
        return self._each(image, stride, decided)

    @torch.inference_mode()
    def rows(
        self, images: Sequence[UInt8[np.ndarray, "_h _w 3"]], stride: float | None = None
    ) -> list[Iterator[torch.Tensor]]:
        """For each image its logits [k r w] at its own size, from top to bottom, a few rows at a time."""
        size = self.card.size
        if stride is not None:
            return [slide(self.network, image, size, stride) for image in images]
        pixels = torch.from_numpy(np.stack([shrunk(image, size) for image in images]))
        pixels = pixels.to(device_of(self.network)).permute(0, 3, 1, 2).float() / 255
        logits = self.network(pixels).logits.float()
        return [bands(one, (image.shape[0], image.shape[1])) for one, image in zip(logits, images)]

    def _each(self, image: Any, stride: float | None, become: Callable[[Iterator[torch.Tensor]], np.ndarray]) -> Any:
        if isinstance(image, list | tuple):
            return [self._each(one, stride, become) for one in image]
        (rows,) = self.rows([as_rgb(image, self.card.range, self.card.exif)], stride)
        return become(rows)


def shares_of(band: torch.Tensor) -> Float32[np.ndarray, "k r w"]:
    """Probabilities of the classes, of logits."""
    return band.softmax(dim=0).cpu().numpy()


def save_student(folder: Path, network: Network, card: ModelCard) -> None:
    """Writes `student.safetensors`, which holds tensors and card, then `model.json`, a copy of the card to read.

    Each is written whole or not at all. What reads the first alone always gets weights and card of one moment.
    """
    write_whole(folder / "student.safetensors", packed(network.state_dict(), asdict(card)))
    write_whole(folder / "model.json", dump_json(asdict(card)))


def read_card(folder: str | Path) -> ModelCard:
    """The card of the best student of a run folder; no network is built.

    Raises:
        InputError: the folder holds no student, or one that is damaged.
    """
    return _read(Path(folder))[1]


def restore_card(folder: Path) -> None:
    """Writes `model.json` anew where it does not say what `student.safetensors` says (a kill or a cut between them)."""
    _, card, note = _read(folder)
    if note:
        write_whole(folder / "model.json", dump_json(asdict(card)))


def load_model(folder: str | Path, device: str = "cpu", trust: bool = False) -> Model:
    """The best student of a run folder, ready to predict.

    Args:
        folder: the run folder, or its student.safetensors.
        device: where the network goes.
        trust: whether the folder may name classes that are not segkd's own; building them runs their code. Without
            it, opening a stranger's folder runs none.

    Raises:
        InputError: the folder holds no student, it is damaged, or its network is not one that may be built.
    """
    folder = Path(folder)
    tensors, card, note = _read(folder)
    where = str(student_of(folder))
    if not trust:
        refuse_foreign_network(card.class_path, card.init_args, where)
    try:
        network_class: type[Network] = imported(card.class_path)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"{where} names the network {card.class_path}, which cannot be imported ({error}). "
            "Run where its file is, or put its folder on PYTHONPATH."
        ) from error
    try:
        network = network_class(**network_class.without_weights(card.init_args))
        network.load_state_dict(tensors)
        # the layout it was trained in: faster on most devices, and the same sums to the last bit
        return Model(network.to(device).to(memory_format=torch.channels_last), card, note)
    except InputError:
        raise
    except Exception as error:  # constructors of four libraries, given what a damaged file holds, raise anything
        reason = reason_of(error)
        raise InputError(
            f"{where}: expected the weights of {card.class_path} as its card describes it, "
            f"found: {reason}. Restore the run's own file, or undo the change of the class."
        ) from error


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], ModelCard, str]:
    """Tensors, card, and a sentence when `model.json` says something else than the card beside the tensors."""
    weights = student_of(folder)
    copy = weights.with_name("model.json")
    foreign = None if weights.is_file() and folder.is_dir() else said_of_stranger(folder)
    if foreign is not None:
        raise InputError(f"{folder}: expected a run folder or its student.safetensors, {foreign}")
    if folder.suffix == ".onnx" and folder.is_file():
        raise InputError(f"{folder}: expected a run folder, found an ONNX file: segkd evaluate --onnx {folder}.")
    if not folder.exists():
        raise InputError(f"{folder}: expected a run folder, found nothing there. Say where it is, or bring it back.")
    if not weights.is_file():
        raise InputError(
            f"{folder}: expected a run folder with student.safetensors, found none. "
            "It is written after the first validation; has the run got that far?"
        )
    tensors, inside, metadata = unpacked(weights)
    if inside is None and not copy.is_file() and not metadata:
        raise InputError(f"{weights}: expected a student that segkd trained, found weights without its card. {ROUTES}")
    if inside is None:
        card = _card(read_text(copy, "a segkd model card"), copy)
        if metadata.get("step", str(card.step)) != str(card.step):
            raise InputError(
                f"{folder}: student.safetensors holds the weights of step {metadata['step']}, model.json the card of "
                f"step {card.step}: the writing of one was cut short. Go on with the run (segkd train --resume "
                f"{folder}) until a validation writes both, or restore both files."
            )
        return tensors, card, ""
    card = _card(dump_json(inside), weights)
    try:
        same = _card(read_text(copy, "a segkd model card"), copy) == card
    except InputError:
        same = False
    note = f"{copy} differs from the card inside student.safetensors, which belongs to the weights and is used"
    return tensors, card, "" if same else note


def _card(text: str, where: Path) -> ModelCard:
    """The card that JSON text describes, its types and ranges checked."""
    card: ModelCard = parse_json(text, ModelCard, f"{where}: expected a segkd model card")
    faults = []
    if not 0 < card.threshold < 1:
        faults.append(f"threshold {card.threshold}, no probability between 0 and 1")
    if not all(1 <= side <= MOST_PIXELS for side in card.size):
        faults.append(f"size {list(card.size)}, no height and width in pixels")
    if len(card.classes) < 2 or len(set(card.classes)) != len(card.classes):
        faults.append(f"classes {card.classes}, not two or more different names")
    if card.init_args.get("classes", len(card.classes)) != len(card.classes):
        faults.append(f"{len(card.classes)} names for the network's {card.init_args['classes']} classes")
    if card.range is not None and not -math.inf < card.range[0] < card.range[1] < math.inf:
        faults.append(f"range {list(card.range)}, no black below a white")
    if card.step < 0:
        faults.append(f"step {card.step}")
    if faults:
        raise InputError(f"{where}: expected a segkd model card, found {'; '.join(faults)}.")
    return card
