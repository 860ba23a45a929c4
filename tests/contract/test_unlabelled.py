"""Every recipe takes an image that nobody has labelled; who needs no label teaches it, and nobody else does."""

from dataclasses import replace

import torch

from segkd.models.taps import tapped
from segkd.types import IGNORE, Prediction
from tests.contract.recipes import every_recipe, far
from tests.contract.test_methods import Given


@every_recipe
def test_an_image_without_a_label_is_taught_by_those_who_need_none(recipe, make_batch):
    learner, batch = far(recipe, make_batch)
    label, soft = batch.label.clone(), batch.soft.clone()
    label[-1], soft[-1] = IGNORE, 0.0
    batch = replace(batch, label=label, soft=soft, unlabelled=1)
    distiller = learner.distiller
    with torch.no_grad():
        seen = tapped(learner.student.eval(), batch.image, distiller.features)
    distiller.features, distiller.sure = None, 0.0
    logits = seen.logits.clone().requires_grad_()
    for name, term in distiller(batch, Given(learner.student, Prediction(logits, seen.features))).items():
        (grad,) = (
            torch.autograd.grad(term, logits, retain_graph=True, allow_unused=True) if term.requires_grad else (None,)
        )
        assert term.isfinite(), name
        if grad is None or not grad.any():
            continue
        teacher = distiller.teacher_of.get(name)
        taught = teacher is not None and distiller.asked[teacher].everywhere
        assert bool(grad[-1].any()) == taught, name
