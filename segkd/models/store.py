"""The student alone on disk: `student.safetensors` and `model.json`, reloadable with no training code."""

import importlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8

from segkd.models.enlarge import enlarge
from segkd.models.network import Network
from segkd.types import InputError


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
    """

    class_path: str
    init_args: dict[str, Any]
    classes: list[str]
    size: tuple[int, int]
    threshold: float = 0.5
    scores: dict[str, float | None] = field(default_factory=dict)
    step: int = 0


@final
class Model:
    """A trained student: the network, its card, and `predict`."""

    def __init__(self, network: Network, card: ModelCard) -> None:
        self.network, self.card = network.eval(), card

    @torch.inference_mode()
    def predict(self, image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "k h w"]:
        """Class probabilities at the image's own size, for an RGB image in 0..255."""
        logits = self._logits(image)[None]
        full = F.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False)
        return full.softmax(dim=1)[0].cpu().numpy()

    @torch.inference_mode()
    def decide(self, image: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"]:
        """As `predict`, in memory that does not grow with the classes: of two, the probability of class 1; of more,
        the class numbers."""
        return enlarge(self._logits(image), (image.shape[0], image.shape[1]))

    def _logits(self, image: np.ndarray) -> torch.Tensor:
        """Logits float32 [k h w] at the size of the network."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"predict: expected an RGB image uint8 [h w 3], found {image.dtype} {image.shape}.")
        device = next(self.network.parameters()).device
        height, width = self.card.size
        # as in training: bilinear where a side grows, then by area where one shrinks
        larger = (max(width, image.shape[1]), max(height, image.shape[0]))
        grown = cv2.resize(image, larger, interpolation=cv2.INTER_LINEAR)
        small = cv2.resize(grown, (width, height), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(small).to(device).permute(2, 0, 1)[None].float() / 255
        return self.network(pixels).logits.float()[0]


def save_student(folder: Path, network: Network, card: ModelCard) -> None:
    """Writes `student.safetensors` and `model.json` below `folder`, each whole or not at all."""
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    weights = folder / "student.safetensors"
    save_file(tensors, f"{weights}.part", metadata={"step": str(card.step)})
    os.replace(f"{weights}.part", weights)
    text = json.dumps(asdict(card), indent=2)
    Path(f"{folder}/model.json.part").write_text(text, encoding="utf-8")
    os.replace(f"{folder}/model.json.part", folder / "model.json")


def load_model(folder: str | Path, device: str = "cpu") -> Model:
    """The best student of a run folder, ready to predict.

    Raises:
        InputError: the folder holds no student, or its network's class cannot be imported.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / "model.json").is_file() or not (folder / "student.safetensors").is_file():
        raise InputError(
            f"{folder}: expected a run folder with model.json and student.safetensors, found none. "
            "They are written after the first validation; has the run got that far?"
        )
    try:
        fields = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        card = ModelCard(**{**fields, "size": tuple(fields["size"])})
        module, _, name = card.class_path.rpartition(".")
        network_class: type[Network] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{folder}/model.json names the network {card.class_path}, which cannot be imported ({error}). "
            "Run where its file is, or put its folder on PYTHONPATH."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder}/model.json: expected a segkd model card, found a fault: {error!r}.") from error
    try:
        network = network_class(**network_class.without_weights(card.init_args))
        network.load_state_dict(load_file(folder / "student.safetensors"))
    except (SafetensorError, RuntimeError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{folder}/student.safetensors: expected the weights of {card.class_path} as model.json describes it, "
            f"found: {reason}. Restore both files of the run, or undo the change of the class."
        ) from error
    # the layout it was trained in: faster on most devices, and the same sums to the last bit
    return Model(network.to(device).to(memory_format=torch.channels_last), card)
