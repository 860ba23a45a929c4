"""Anyone's ONNX file as a network: it is asked what it takes and gives, and what was understood is said."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from segkd.models.network import Network
from segkd.models.readout import logits_of, meaning_of, planes_of
from segkd.models.signature import Port, entry_of, listed_ports, stated
from segkd.models.store import Model, ModelCard
from segkd.models.strangers import said_of_stranger
from segkd.types import InputError, Prediction, reason_of

if TYPE_CHECKING:
    import onnxruntime

MEANINGS = {
    "probability": "probabilities",
    "logits": "logits",
    "levels": "probabilities in levels of 0..255",
    "classes": "class numbers",
}


class OnnxNetwork(Network):
    """One output of an ONNX file, run by onnxruntime on the CPU.

    The file is asked for its signature and run once on three made images (black, white, noise), which settles which of
    its outputs is the map and what its values mean: the same for every data set and in every process.

    Args:
        path: the file; its one input takes images [n 3 h w] or [n h w 3], real numbers or uint8.
        classes: number of classes. For two, one map is the foreground.
        output: "probability", "logits", or "auto": what the file states, else probabilities if all values of the made
            images lie in 0..1.
        mean: subtracted from RGB in 0..1; ImageNet's by default, none if the file says that it normalises inside.
        std: divides after `mean`; likewise.
        name: the output to judge. By default the finest that can be a map; if that is not one, the user must say.
        shape: height and width of the made images where the file takes any.
        threads: of onnxruntime.
        channels: "rgb" or "bgr", the order of the input's channels; `mean` and `std` are in that of RGB.

    Attributes:
        statement: what segkd noted in the file, if it exported it.
        said: what goes in and how the output is read, in words.
        read_as: what the output is read as, in words.

    Raises:
        InputError: no ONNX file, or none that takes images and gives maps of `classes` classes.
    """

    def __init__(
        self,
        path: str,
        classes: int,
        output: str = "auto",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        name: str | None = None,
        shape: tuple[int, int] = (160, 160),
        threads: int = 1,
        channels: str = "rgb",
    ) -> None:
        super().__init__()
        self.where, self.classes = f"--onnx {path}", classes
        self.session = open_session(path, threads)
        self.outputs = [Port.of(node) for node in self.session.get_outputs()]
        inputs = [Port.of(node) for node in self.session.get_inputs()]
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.statement = stated(metadata, self.where)
        self._refuse_other_classes()
        self.entry = entry_of(inputs, metadata, mean, std, self.where, channels == "bgr")
        self.portion = self.entry.batch
        made = _made(self.size_for(shape))
        try:
            raw = self._tried(made)
        except MemoryError as error:
            raise InputError(f"{error}. Give it a smaller --data.size, or a machine with more memory.") from error
        self.chosen, planes, why = self._choose(raw, made, name)
        if output == "auto" and self.statement is not None and self.statement.output != "classes":
            output = self.statement.output
        self.meaning = meaning_of(planes, classes, output, f"{self.where}: output {self.chosen}")
        self.lowest, self.highest, self.single = float(planes.min()), float(planes.max()), planes.shape[1] == 1
        foreground = " of the foreground" if classes == 2 and self.single and self.meaning != "classes" else ""
        self.read_as = MEANINGS[self.meaning]
        self.said = (
            f"input {self.entry.port}, {self.entry.said}; output {self.chosen}{why} read as {self.read_as}{foreground}"
        )

    def _refuse_other_classes(self) -> None:
        if self.statement is not None and len(self.statement.classes) != self.classes:
            raise InputError(
                f"{self.where}: was exported for {len(self.statement.classes)} classes "
                f"({', '.join(self.statement.classes)}), but data.classes names {self.classes}. Name the same ones."
            )

    def size_for(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width to show images at: the file's own, or as it states; else `shape`."""
        height, width = self.entry.sides
        shape = self.statement.size if self.statement is not None else shape
        return height or shape[0], width or shape[1]

    def forward(self, image: Tensor) -> Prediction:
        """Logits [b k h w] for RGB in 0..1."""
        pixels = image.cpu().float().numpy()
        raw = self._run(pixels, [self.chosen])[self.chosen]
        planes = planes_of(raw, len(pixels), self.classes, pixels.shape[2:])
        where = f"{self.where}: output {self.chosen}"
        if planes is None:
            raise InputError(f"{where}: expected maps of {tuple(pixels.shape)}, found {_shape(raw)}.")
        self.lowest = min(self.lowest, float(planes.min()))
        self.highest = max(self.highest, float(planes.max()))
        return Prediction(logits_of(planes, self.meaning, self.classes, where))

    def doubts(self) -> list[str]:
        """What looks wrong in hindsight: logits that are probabilities, or never speak for the background."""
        if self.meaning != "logits" or self.lowest < 0:
            return []
        if self.highest <= 1:
            return [
                f"with --onnx-output logits, all outputs {self.chosen} lie in 0..1 ({self.lowest:.4g}.."
                f"{self.highest:.4g}): are these probabilities? If so, leave out --onnx-output."
            ]
        if not self.single:
            return []
        return [
            f"output {self.chosen} is read as logits, but none of its values is below 0 ({self.lowest:.4g}.."
            f"{self.highest:.4g}): are these levels, or is another output the map?"
        ]

    def _run(self, pixels: np.ndarray, names: list[str] | None = None) -> dict[str, np.ndarray]:
        """The outputs `names` (all by default) for RGB float32 [n 3 h w], in portions that the file can take."""
        names = names or [port.name for port in self.outputs]
        for given, side, word in zip(pixels.shape[2:], self.entry.sides, ("height", "width")):
            if side not in (None, given):
                raise InputError(
                    f"{self.where}: takes images of {word} {side} only, found {given}. Leave out --scales; --slide "
                    "keeps the size."
                )
        portion = self.portion or len(pixels)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for start in range(0, len(pixels), portion):
            part = pixels[start : start + portion]
            short = portion - len(part)
            full = np.concatenate([part, np.repeat(part[-1:], short, axis=0)]) if short else part
            for name, out in zip(names, self._called(full, names)):
                parts[name].append(out[: len(part)] if short and out.shape[:1] == (portion,) else out)
        return {name: _joined(outs, portion) for name, outs in parts.items()}

    def _tried(self, made: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs for the made images; a file that fails on three may yet take one at a time, whatever it says."""
        try:
            return self._run(made)
        except (InputError, MemoryError):
            if self.portion is not None:
                raise
            self.portion = 1
            return self._run(made)

    def _called(self, pixels: np.ndarray, names: list[str]) -> list[np.ndarray]:
        try:
            found = self.session.run(names, {self.entry.port.name: self.entry.fed(pixels)})
            return [out if isinstance(out, np.ndarray) else np.empty(0) for out in found]  # lists are no maps
        except Exception as error:  # onnxruntime has a class of its own for every trouble
            reason = reason_of(error)
            if "allocate" in reason.lower():
                raise MemoryError(f"{self.where}: {reason}") from error
            raise InputError(
                f"{self.where}: could not run on {len(pixels)} images of {pixels.shape[2]} x {pixels.shape[3]}. It "
                f"takes {self.entry.port} and gives {listed_ports(self.outputs)}; onnxruntime says: {reason}. Another "
                "--data.size may do (many networks ask for a multiple of 32)."
            ) from error

    def _choose(self, raw: dict[str, np.ndarray], made: np.ndarray, name: str | None) -> tuple[str, np.ndarray, str]:
        """The output to judge, its maps, and why it is this one where there are several."""
        of = f"of {len(raw)} outputs ({', '.join(f'{key} {_shape(value)}' for key, value in raw.items())})"
        if name is not None and name not in raw:
            raise InputError(f"--onnx-output-name {name}: {self.where} has no such output, it has: {', '.join(raw)}.")
        asked = raw if name is None else {name: raw[name]}
        maps = {key: planes_of(value, len(made), self.classes, made.shape[2:]) for key, value in asked.items()}
        fit = {key: planes for key, planes in maps.items() if planes is not None}
        if not fit:
            shown = ", ".join(f"{key} {_shape(value)}" for key, value in asked.items())
            kinds = f"[n {self.classes} h w]" + (", [n 1 h w]" if self.classes == 2 else "")
            raise InputError(
                f"{self.where}: expected an output of maps, {kinds} or class numbers [n h w], for images "
                f"{tuple(made.shape)}; found {shown}. Do data.classes ({self.classes}) fit the network?"
            )
        finest = max(planes.shape[2] * planes.shape[3] for planes in fit.values())
        best = [key for key, planes in fit.items() if planes.shape[2] * planes.shape[3] == finest]
        if len(best) > 1:
            shown = ", ".join(f"{key} {_shape(raw[key])}" for key in best)
            raise InputError(
                f"{self.where}: {len(best)} outputs can be the map: {shown}. "
                "Say which is to be judged: --onnx-output-name NAME, of a teacher onnx.output. (U2-Net gives its map "
                "first, PraNet and BiRefNet give it last, torchvision calls it out.)"
            )
        why = "" if len(raw) == 1 else f", as asked, {of}," if name else f", the finest {of},"
        return best[0], fit[best[0]], why


def load_exported(path: str, threads: int = 1) -> Model:
    """A file that `segkd export` wrote, ready to predict: its own notes say classes, size and threshold.

    Raises:
        InputError: it is no ONNX file, or nobody noted in it what its classes are.
    """
    told = stated(open_session(path, threads).get_modelmeta().custom_metadata_map, path)
    if told is None:
        raise InputError(
            f"{path}: expected an ONNX file that segkd export wrote, which says its classes, size and threshold; found "
            "another one. Use the run folder, or score it: segkd evaluate --onnx FILE --data LAYER."
        )
    threshold = 0.5 if told.output == "classes" else told.threshold  # where class numbers are, it is decided already
    card = ModelCard(
        "segkd.models.onnx.OnnxNetwork", {}, told.classes, told.size, threshold, step=told.step, range=told.range,
        exif=told.exif,
    )  # fmt: skip
    return Model(OnnxNetwork(path, len(told.classes), threads=threads), card)


def _shape(array: np.ndarray) -> str:
    return f"[{' '.join(map(str, array.shape))}]"


def _joined(outs: list[np.ndarray], portion: int) -> np.ndarray:
    """The outputs of portions as one; single images may come without an axis for their number.

    What cannot be joined (numbers of boxes that differ) is no map: an empty array stands for it.
    """
    if len(outs) == 1:
        return outs[0]
    bare = portion == 1 and outs[0].ndim < 4 and outs[0].shape[:1] != (1,)
    shapes = {out.shape if bare else out.shape[1:] for out in outs}
    if len(shapes) > 1 or min(out.ndim for out in outs) == 0:
        return np.empty(0)
    return np.stack(outs) if bare else np.concatenate(outs)


def _made(size: tuple[int, int]) -> np.ndarray:
    """A black, a white and a noisy image, float32 [3 3 h w]."""
    noise = np.random.default_rng(0).random((3, *size), np.float32)
    return np.stack([np.zeros_like(noise), np.ones_like(noise), noise])


def open_session(path: str, threads: int) -> "onnxruntime.InferenceSession":
    """An ONNX file, ready to run. Raises InputError where there is none, or onnxruntime cannot run it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("--onnx needs onnxruntime: pip install 'segkd[onnx]'.") from error
    if not Path(path).is_file():
        raise InputError(f"{path}: expected an ONNX file, {said_of_stranger(Path(path)) or 'found none there.'}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        foreign = said_of_stranger(Path(path))
        if foreign is not None:
            raise InputError(f"{path}: expected an ONNX file, {foreign}") from error
        reason = reason_of(error)
        cure = " Export it in float32." if "NOT_IMPLEMENTED" in reason or "double" in reason else ""
        raise InputError(f"{path}: expected an ONNX file that onnxruntime can run, found: {reason}{cure}") from error
