import json
import re

import pytest
import torch
from jsonargparse import Namespace
from torch import nn

from segkd.distill.base import Teacher, Term
from segkd.distill.distiller import Distiller
from segkd.distill.knowledge.response import Response
from segkd.experiment.meeting import how_sure, rehearse
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.models.network import Network
from segkd.types import InputError, Lesson, Prediction
from tests.conftest import REPOSITORY, TINY

METHODS = REPOSITORY / "configs" / "methods"
TAUGHT = sorted(path.stem for path in METHODS.glob("*.yaml") if re.search("teachers:|terms:|exits:", path.read_text()))
THREE = ["--data.classes", json.dumps(["a", "b", "c"])]
NO_PYRAMID = ["--model", "tests.experiment.test_meeting.Flat"]
SMALL = ["--model", "FusionNet", "--model.encoder", TINY, "--model.weights", "null", "--model.width", "8"]


class Flat(Network):
    """Logits and no features."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, classes, 1))

    def forward(self, image: torch.Tensor) -> Prediction:
        return Prediction(self.mix(image))


def rehearsed(recipe: str, *said: str, network: list[str] = SMALL) -> None:
    """The rehearsal of a recipe with no data at all: nothing of what it says has read a file."""
    given = ["--config", str(METHODS / f"{recipe}.yaml")] if recipe else []
    parser = training_parser()
    config = parse(parser, [*given, "--data.root", "nowhere", "--data.size", "64", *network, *said])
    rehearse(instantiate(parser, config))


@pytest.mark.parametrize("recipe", TAUGHT)
def test_every_recipe_fits_a_network_without_features_or_says_what_to_write(recipe):
    more = THREE if recipe in ("uskd", "specialists") else []
    try:
        rehearsed(recipe, *more, network=NO_PYRAMID)
    except InputError as error:
        sentence = str(error)
        if recipe in ("tf_kd_self", "self_training", "cross_fit", "specialists", "structured_attention"):
            assert "sources: [runs/teacher]" in sentence and "distiller.teachers.before (" in sentence
        elif recipe == "ddk":
            assert "Name two data sets or more, data.domains" in sentence
        elif recipe in ("knn_kd", "dk_kd"):
            assert "source RUN" in sentence
        elif recipe in ("rocket", "simkd", "ofa_kd"):  # whose features are a layer's
            assert re.search("no layer '(encoder|head)'", sentence) and "mix" in sentence
        else:
            assert "distiller.features: [" in sentence and "\n" not in sentence


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            ["--distiller.task", "CrossEntropy", "--distiller.task.class_weights", "[1, 2, 3]"],
            "expected 2 class_weights",
        ),
        (["--optim.freeze", "[encodr]"], "no layer 'encodr'"),
        (["--optim.freeze", "{0.0: [], 0.5: [~haed]}"], "no layer 'haed'"),
    ],
)
def test_losses_and_layers_that_do_not_fit_speak_before_any_file_is_read(said, sentence):
    with pytest.raises(InputError, match=sentence):
        rehearsed("", *said, network=NO_PYRAMID)


TERM = "--distiller.terms"
MISFITS = [
    ("dlb", ["--data.batch_size", "5"], "data.batch_size must be even, found 5. Write"),
    *(
        (recipe, ["--data.batch_size", "1"], "data.batch_size must be at least 2, found 1")
        for recipe in ("cutmix", "swap_patches", "patch_swap", "mean_teacher", "ampmix", "apr_p", "fda")
    ),
    ("cs_kd", ["--data.batch_size", "1"], "set data.batch_size to 2 or more"),
    ("uskd", [], "three classes or more"),
    ("label_smoothing", ["--distiller.teachers.label.confidence", "0.5"], "above 1 / 2"),
    ("virtual_teacher", [*THREE, "--distiller.teachers.label.confidence", "0.3"], "above 1 / 3"),
    ("virtual_teacher", [f"{TERM}.response.knowledge", "Decoupled"], "Write Response instead"),
    ("virtual_teacher", [f"{TERM}.response.knowledge", "Correlation"], "Write between: 0"),
    ("virtual_teacher", [f"{TERM}.response.knowledge", "Hint"], "gives only ['logits']. Choose a teacher that gives"),
    ("virtual_teacher", [f"{TERM}.response.teacher", "slow"], "expected one of distiller.teachers (label), found"),
    ("byot", ["--distiller.exits", "null"], "distiller.exits: {}"),
    ("byot", ["--distiller.features", "[encoder.nothing]"], "no layer 'encoder.nothing'"),
    ("frskd", ["--distiller.features", "[decoder.up.0]"], "Name two or more"),
    ("tf_kd_self", [], "--distiller.teachers.before.sources '[runs/teacher]'"),
    ("specialists", [], "methods/tf_kd_self.yaml"),
    ("dlb", ["--draw", "Shuffle"], "distiller.teachers.last (LastBatch): remembers one step"),
    ("simkd", [], "ReusedHead, model.run: runs/teacher"),
    ("tf_kd_self", ["--distiller.teachers.before.sources", "[nowhere]"], "expected a run folder"),
    ("deep_mutual_learning", ["--distiller.teachers.peer.network", "tests.experiment.test_meeting.Flat",
                              f"{TERM}.response.knowledge", "Attention"], "Frozen: features"),
    ("deep_mutual_learning", ["--distiller.teachers.peer.network", "FusionNet",
                              "--distiller.teachers.peer.network.encoder", TINY,
                              "--distiller.teachers.peer.network.weights", "null",
                              "--distiller.teachers.peer.network.width", "16",
                              f"{TERM}.response.knowledge", "MeanFeatures"], "MeanFeatures: the student's levels have"),
    *(
        ("", ["--distiller", json.dumps({
            "teachers": {teacher: {"class_path": "LabelTeacher"}},
            "terms": {term: {"knowledge": {"class_path": "Response"}}}})], said)
        for teacher, term, said in (("label", "task", "may not be named task"), ("label", "exits", "Choose another"),
                                    ("label", "keys", "found 'keys'. Choose"), ("forward", "kl", "found 'forward'"),
                                    ("", "kl", "distiller.teachers: expected names of letters"))
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "sentence"),
    [([], "Give the teacher's: --model.run runs/teacher"), (["--model.run", "nowhere"], "expected a run folder")],
)
def test_a_student_without_the_run_that_gives_its_head_is_refused(said, sentence):
    with pytest.raises(InputError, match=sentence):
        rehearsed("simkd", *said, "--model.arguments.encoder", TINY, "--model.arguments.weights", "null", network=[])


@pytest.mark.parametrize(("recipe", "said", "sentence"), MISFITS, ids=lambda part: str(part)[:40])
def test_what_does_not_fit_is_refused_before_any_file_is_read(recipe, said, sentence):
    with pytest.raises(InputError) as found:
        rehearsed(recipe, *said)
    assert sentence in str(found.value) and "\n" not in str(found.value)


def test_a_rehearsal_leaves_no_trace():
    parser = training_parser()
    said = ["--config", str(METHODS / "mean_teacher.yaml"), "--data.root", "nowhere", "--data.size", "32", *SMALL]
    objects = instantiate(parser, parse(parser, said))
    before = {name: value.clone() for name, value in objects.model.state_dict().items()}
    draws = torch.get_rng_state()
    rehearse(objects)
    assert torch.equal(torch.get_rng_state(), draws)
    assert all(torch.equal(before[name], value) for name, value in objects.model.state_dict().items())
    assert objects.model.training and not list(objects.distiller.parameters())  # nobody has met anybody


class Left(Teacher):
    """A finished network that is sure of the left half of every image, at p = .95."""

    gives, everywhere = frozenset({"logits"}), True

    def forward(self, batch, student, look):
        return Lesson(student)

    def alone(self):
        def seen(image):
            left = torch.arange(image.shape[3]) < image.shape[3] // 2
            logits = torch.where(left, 2.944, 0.0).expand(len(image), 1, *image.shape[2:])
            return Prediction(torch.cat([logits, torch.zeros_like(logits)], dim=1))

        return seen


def test_how_sure_a_finished_teacher_is_of_images_without_a_label_is_told_and_warned_of_where_it_is_not():
    scene = Namespace(size=(4, 8), whole=lambda size, numbers: [Namespace(clean=torch.zeros(len(numbers), 3, *size))])
    for sure, told in ((0.9, "teacher left: sure (p >= 0.9, distiller.sure) at 50.0 % of the pixels of 3 images"),
                       (0.99, "warning: teacher left: sure (p >= 0.99, distiller.sure) at 0.0 %")):  # fmt: skip
        distiller = Distiller(teachers={"left": Left()}, terms={"t": Term(Response(1.0))}, sure=sure)
        (line,) = how_sure(distiller, scene, [7, 8, 9])
        assert line.startswith(told) and ("lower distiller.sure" in line) == (sure > 0.9)
        assert how_sure(distiller, scene, []) == []
