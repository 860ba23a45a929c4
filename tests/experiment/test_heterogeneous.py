"""A teacher and a student of different families: a convolutional run teaches a transformer, and a slim encoder."""

import pytest
import torch

from segkd.distill.base import Scene
from segkd.engine.learner import Learner
from segkd.experiment.meeting import rehearse
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.types import InputError
from tests.conftest import REPOSITORY, TINY
from tests.contract.recipes import finished_run

TRANSFORMER = ["--model", "SmpNet", "--model.architecture", "Segformer", "--model.encoder", "pvt_v2_b0",
               "--model.weights", "null"]  # fmt: skip
CNN = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "8"]
EPSILON = "--distiller.terms.one_for_all.knowledge.epsilon"


def objects(*said: str):
    parser = training_parser()
    recipe = ["--config", str(REPOSITORY / "configs" / "methods" / "ofa_kd.yaml"), "--data.size", "32"]
    run = ["--distiller.teachers.before.sources", f"[{finished_run()}]", "--data.embedded", "{}"]
    return instantiate(parser, parse(parser, [*recipe, *run, *said]))


@pytest.mark.parametrize(("student", "exits"), [(TRANSFORMER, 4), (CNN, 5)], ids=["transformer", "cnn"])
def test_one_for_all_teaches_a_student_of_another_family_at_every_level(student, exits, make_batch):
    found, batch = objects(*student), make_batch(2)
    before = list(found.model.state_dict())
    with torch.no_grad():
        scene = Scene(found.model, batch, found.model.eval()(batch.clean), 2, lambda: found.model)
    found.distiller.meet(scene)
    learner = Learner(found.model.train(), found.distiller)
    learner(batch)["one_for_all"].backward()
    assert len(found.distiller.exits.heads) == exits
    assert all(p.grad.norm() > 0 for p in found.distiller.exits.parameters())
    encoder = [p for p in found.model.layer("encoder").parameters() if p.requires_grad]
    assert all(p.grad is not None for p in encoder)
    assert list(found.model.state_dict()) == before  # the exits are not in its file


def test_as_many_epsilons_as_exits_and_the_output_are_asked_for_before_any_file_is_read():
    with pytest.raises(InputError, match=r"expected 5 numbers in epsilon, one for each of the student's 4 exits"):
        rehearse(objects(*TRANSFORMER, EPSILON, "[1.5, 1.5]"))
    rehearse(objects(*TRANSFORMER, EPSILON, "[1.0, 1.2, 1.4, 1.6, 1.5]"))
