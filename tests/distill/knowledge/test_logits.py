from dataclasses import replace

import numpy as np
import pytest

from segkd.distill.knowledge.logits import LogitHint, logit_hint
from segkd.types import Prediction
from tests.distill.knowledge.maps import maps, over_pixels


def test_the_hint_is_the_squared_distance_of_centred_logits(make_batch):
    student, teacher, label, valid = maps(3)
    naive = over_pixels(lambda s, t, y: (((s - s.mean()) - (t - t.mean())) ** 2).mean(), student, teacher, label, valid)
    batch = replace(make_batch(3, size=(6, 5)), label=label)
    assert float(LogitHint()(Prediction(student), Prediction(teacher), batch)) == pytest.approx(naive, rel=1e-5)
    halves = [Prediction(one.bfloat16()) for one in (student, teacher)]
    exact = LogitHint()(*(Prediction(one.logits.float()) for one in halves), batch)
    assert float(LogitHint()(*halves, batch)) == pytest.approx(float(exact), rel=1e-6)


def test_a_constant_added_to_all_classes_changes_nothing():
    student, teacher, _, valid = maps(3)
    assert float(logit_hint(student + 5, teacher, valid)) == pytest.approx(
        float(logit_hint(student, teacher, valid)), rel=1e-4
    )
    assert np.isclose(float(logit_hint(student, student - 2, valid)), 0, atol=1e-10)
