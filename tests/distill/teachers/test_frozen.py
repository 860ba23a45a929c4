from dataclasses import replace

import pytest
import torch

from segkd.distill.base import Scene
from segkd.distill.teachers.frozen import Frozen
from segkd.models.fusion import FusionNet
from segkd.models.store import ModelCard, load_model, save_student
from segkd.types import InputError, LayerPath
from tests.conftest import TINY
from tests.distill.teachers.stage import Tiny, met


@pytest.fixture
def run(tmp_path):
    def make(name: str, classes: int = 3) -> LayerPath:
        arguments = {"classes": classes, "encoder": TINY, "weights": None, "width": 16}
        names = [f"c{i}" for i in range(classes)]
        scores = {"miou_image": 0.75, "f_mean": None}
        card = ModelCard("segkd.models.network.FusionNet", arguments, names, (32, 32), scores=scores, step=9)
        (tmp_path / name).mkdir()
        save_student(tmp_path / name, FusionNet(**arguments), card)
        return LayerPath(str(tmp_path / name))

    return make


def test_one_run_teaches_what_it_predicts_of_the_clean_image(run, make_batch):
    batch, student, source = make_batch(3), Tiny(), run("a")
    teacher = met(Frozen([source]), student, batch)
    target = teacher(batch, student(batch.image), student).target
    expected = load_model(source).network(batch.clean)
    assert torch.equal(target.logits, expected.logits) and not target.logits.requires_grad
    assert len(target.features) == len(expected.features)
    assert not teacher.state_dict() and not list(teacher.parameters())  # in no checkpoint, in no optimiser
    assert teacher.said == (f"{source}: FusionNet, val miou_image 0.7500 at step 9",)


def test_several_runs_are_the_mean_of_their_probabilities(run, make_batch):
    batch, student, sources = make_batch(3), Tiny(), [run("a"), run("b")]
    teacher = met(Frozen(sources), student, batch)
    target = teacher(batch, student(batch.image), student).target
    shares = [load_model(source).network(batch.clean).logits.softmax(dim=1) for source in sources]
    torch.testing.assert_close(target.logits.exp(), (shares[0] + shares[1]) / 2)
    assert teacher.gives == {"logits"}


def test_layers_of_the_run_may_be_its_features(run, make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(Frozen([run("a")], features=["sharpen"]), student, batch)
    assert len(teacher(batch, student(batch.image), student).target.features) == 1


def test_a_teacher_that_is_none_or_knows_other_classes_is_refused(run, tmp_path, make_batch):
    with pytest.raises(InputError, match="names no run folder"):
        Frozen([])
    with pytest.raises(InputError, match="expected a run folder"):
        met(Frozen([LayerPath(str(tmp_path / "none"))]), Tiny(), make_batch(3))
    with pytest.raises(InputError, match=r"knows 5 classes \(c0, c1, c2, c3, c4\), the student 3"):
        met(Frozen([run("five", 5)]), Tiny(), make_batch(3))
    with pytest.raises(InputError, match="features are those of one network"):
        Frozen([run("x"), run("y")], features=["sharpen"])


def test_a_teacher_that_knows_the_classes_in_another_order_is_refused(run, make_batch):
    batch, student = make_batch(3), Tiny()
    with torch.no_grad():
        scene = Scene(student, batch, student(batch.clean), 4, Tiny, ["c0", "c2", "c1"])
    with pytest.raises(InputError, match=r"another order \(c0, c1, c2\) than the student \(c0, c2, c1\)"):
        Frozen([run("a")]).meet(scene)
    Frozen([run("b")]).meet(replace(scene, names=["x", "y", "z"]))  # other names may mean the same
