"""segkd: self-distillation of dense-prediction networks."""

TYPE_CHECKING = False  # as typing's, which is not imported here: `python -m segkd.cli` must not take it from the cwd

if TYPE_CHECKING:
    from typing import Any

    from segkd.distill.loss import virtual_teacher_loss
    from segkd.models.ensemble import load_ensemble
    from segkd.models.store import Model, ModelCard, load_model
    from segkd.types import IGNORE, Batch, Disturbance, InputError, Lesson, Prediction

_PLACES = {
    "load_model": "segkd.models.store",
    "load_ensemble": "segkd.models.ensemble",
    "Model": "segkd.models.store",
    "ModelCard": "segkd.models.store",
    "virtual_teacher_loss": "segkd.distill.loss",
    **dict.fromkeys(["IGNORE", "Batch", "Disturbance", "InputError", "Lesson", "Prediction"], "segkd.types"),
}

__all__ = ["IGNORE", "Batch", "Disturbance", "InputError", "Lesson", "Model", "ModelCard", "Prediction", "load_model"]
__all__ += ["load_ensemble", "virtual_teacher_loss"]


def __getattr__(name: str) -> "Any":
    """Imports on first use, so that `import segkd` and `segkd --help` stay quick."""
    if name not in _PLACES:
        raise AttributeError(f"module 'segkd' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """What there is, though nothing of it is imported yet."""
    return sorted(__all__)
