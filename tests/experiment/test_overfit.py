from unittest.mock import Mock

import numpy as np
import pytest
from jsonargparse import Namespace

from segkd.datasets.data import Data, Records
from segkd.datasets.draws.domains import DomainSampler
from segkd.datasets.sampler import Overlap
from segkd.experiment import overfit
from segkd.experiment.commands import train
from segkd.experiment.overfit import Learned, one_batch
from segkd.experiment.settings import EngineSettings, Evaluation
from segkd.experiment.training import Outcome
from segkd.metrics.meter import Meter
from segkd.models.store import ModelCard


def learned(confusion):
    meter = Meter([f"c{i}" for i in range(len(confusion))])
    meter.confusion[:] = confusion
    return Learned.of(meter)


def test_a_rare_class_does_not_decide_and_is_named():
    """Ten pixels of 10,000 are missed, and one never occurs: the mean of IoU is .66, and says nothing of the rest."""
    found = learned([[7000, 0, 0, 0], [0, 2990, 0, 0], [5, 5, 0, 0], [0, 0, 0, 0]])
    assert found.enough and found.kappa > 0.99
    assert "is overfitted" in found.said and "Not learned: c2 (0.1 % of the pixels, IoU 0.000)" in found.said


def test_a_constant_prediction_is_not_enough_however_large_the_background_is():
    found = learned([[9900, 0], [100, 0]])
    assert not found.enough and found.kappa == 0
    assert "could not be overfitted" in found.said and "c1 (1 % of the pixels" in found.said
    assert learned([[9900, 0], [0, 100]]).kappa == 1
    one = learned([[100, 0], [0, 0]])  # nothing but background, and that is what is predicted
    assert one.kappa == 1 and not one.enough and "holds c0 alone" in one.said.replace("hold ", "holds ")


@pytest.mark.parametrize(("best", "said"), [(0.81, True), (0.5, False), (None, False)])
def test_a_batch_that_was_known_better_earlier_is_told(best, said):
    meter = Mock(
        score=lambda name: 0.5, confusion=np.array([[9900, 0], [100, 0]]), per_class=lambda: {"a": 0.9, "b": 0.0}
    )
    found = overfit.learned(Mock(judged=lambda network: meter), "miou_dataset", best)
    assert ("miou_dataset was 0.810 earlier and is 0.500 now: lower optim.lr." in found.said) == said, found.said


def test_kappa_is_what_drawing_labels_at_random_leaves_over():
    draw = np.random.default_rng(0)
    label = draw.integers(0, 3, 400)
    guess = np.where(draw.random(400) < 0.7, label, draw.integers(0, 3, 400))
    confusion = np.zeros((3, 3), np.int64)
    np.add.at(confusion, (label, guess), 1)
    chance = np.mean([[a == b for a in label] for b in guess])  # every label with every guess
    assert learned(confusion).kappa == pytest.approx(((label == guess).mean() - chance) / (1 - chance))


@pytest.mark.parametrize(("draw", "stays"), [(Overlap(), True), (DomainSampler("uniform"), False)])
def test_a_draw_that_a_recipe_needs_stays_and_domains_are_not_weighed(draw, stays):
    objects = Namespace(data=Data(batch_size=4), draw=draw, engine=EngineSettings(), evaluation=Evaluation())
    whole = Records("train", tuple("abcdef"), lambda i: None)
    assert len(one_batch(objects, {"train": whole})["val"]) == 4
    assert objects.draw is (draw if stays else None)
    assert objects.data.augment is None and objects.data.batch_size == 4


@pytest.mark.parametrize(("rank", "verdicts"), [("0", 1), ("1", 0)])
def test_the_verdict_is_said_by_the_first_process_alone(monkeypatch, capsys, tmp_path, rank, verdicts):
    outcome = Outcome("done", "miou_image", 0.5, ModelCard("a.B", {}, ["a", "b"], (32, 32)), 1.0, Learned(0.5))
    monkeypatch.setattr("segkd.experiment.training.run_training", lambda *_, **__: outcome)
    monkeypatch.setenv("RANK", rank)
    assert train(["--config", "quickstart.yaml", "--out", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().out.count("could not be overfitted") == verdicts
