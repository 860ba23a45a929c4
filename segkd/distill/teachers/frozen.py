"""A teacher that was trained before and never changes: one network or several."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from segkd.distill.base import Look, Scene, Teacher, moved
from segkd.models.store import Model, load_model
from segkd.models.taps import tapped
from segkd.types import Batch, InputError, LayerPath, Lesson, Prediction


@final
class Frozen(Teacher):
    """The students of finished runs as teachers, of any architecture, which see the undisturbed images: Tf-KD_self
    (Yuan et al., CVPR 2020, eq. 7) with a run of the same network; several are an ensemble, the mean of their
    probabilities (Hinton et al., 2015).

    They are read anew from their runs at every start and lie in no checkpoint.

    Args:
        sources: run folders.
        features: layer paths of the only source whose outputs are its features; its own when null.
    """

    gives = frozenset({"logits", "features"})

    def __init__(self, sources: list[LayerPath], features: list[str] | None = None) -> None:
        super().__init__()
        if not sources:
            raise InputError("Frozen: sources names no run folder. Give one: sources: [runs/teacher].")
        if features and len(sources) > 1:
            raise InputError(f"Frozen: features are those of one network, and there are {len(sources)} sources.")
        self.sources, self.features = list(sources), features
        self.gives = frozenset({"logits", "features"} if len(sources) == 1 else {"logits"})
        self.models: list[Model] = []  # a plain list: neither optimised nor saved

    def meet(self, scene: Scene) -> None:
        """Reads the runs. Raises InputError where one is none, or knows other classes or another order of them."""
        self.models = [load_model(source) for source in self.sources]
        for source, model in zip(self.sources, self.models):
            if len(model.card.classes) != scene.classes:
                raise InputError(
                    f"Frozen: {source} knows {len(model.card.classes)} classes ({', '.join(model.card.classes)}), the "
                    f"student {scene.classes}. Choose a teacher with the same classes."
                )
            _refuse_another_order(source, model.card.classes, scene.names or ())
            model.network.requires_grad_(False)
            scores = [f"{name} {value:.4f}" for name, value in model.card.scores.items() if value is not None]
            known = f"val {', '.join(scores[:3])} at step {model.card.step}" if scores else "no scores of its own"
            self.said += (f"{source}: {type(model.network).__name__}, {known}",)

    @torch.no_grad()
    def forward(self, batch: Batch, student: Prediction, look: Look) -> Lesson:
        """What the run predicts; of several, the log of the mean of their probabilities."""
        seen = [self._seen(model, batch.clean) for model in self.models]
        if len(seen) == 1:
            return Lesson(moved(seen[0], batch))
        shares = torch.stack([one.logits.float().softmax(dim=1) for one in seen]).mean(dim=0)
        return Lesson(moved(Prediction(shares.clamp_min(1e-12).log()), batch))

    def _seen(self, model: Model, image: Tensor) -> Prediction:
        network = model.network.to(image.device)  # it does not travel with what is registered
        return tapped(network, image, self.features)


def _refuse_another_order(source: str, theirs: Sequence[str], ours: Sequence[str]) -> None:
    if list(theirs) != list(ours) and sorted(theirs) == sorted(ours):
        raise InputError(
            f"Frozen: {source} knows the classes in another order ({', '.join(theirs)}) than the student "
            f"({', '.join(ours)}), and would teach one for the other. Write data.classes in the teacher's order."
        )
