import pytest
import yaml

from segkd.datasets.data import Data
from segkd.distill.distiller import Distiller
from segkd.experiment.layers import packaged_layers
from segkd.experiment.settings import instantiate, parse, refuse_pace, training_parser
from segkd.models.fusion import FusionNet
from segkd.types import InputError
from tests.conftest import TINY

QUICK = ["--model.encoder", TINY, "--model.weights", "null", "--model.width", "16"]


def layer(path, **content) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_later_layers_win_and_the_command_line_wins_over_all(tmp_path):
    one = layer(tmp_path / "one.yaml", optim={"lr": 0.1, "momentum": 0.5}, seed=1)
    two = layer(tmp_path / "two.yaml", optim={"lr": 0.2}, seed=2)
    config = parse(training_parser(), ["--config", one, "--config", two, "--seed", "3"])
    assert (config.optim.lr, config.optim.momentum, config.seed) == (0.2, 0.5, 3)


def test_a_layer_that_mentions_terms_lists_every_term(tmp_path):
    term = {"knowledge": {"class_path": "Response", "init_args": {"temperature": 3.0}}}
    teachers = {"label": {"class_path": "LabelTeacher"}}
    one = layer(tmp_path / "one.yaml", distiller={"teachers": teachers, "terms": {"a": term}})
    two = layer(tmp_path / "two.yaml", distiller={"terms": {"b": term}})
    config = parse(training_parser(), ["--config", one, "--config", two])
    assert list(config.distiller.terms) == ["b"] and list(config.distiller.teachers) == ["label"]


def test_paths_are_relative_to_their_layer_and_stored_absolute(tmp_path):
    path = layer(tmp_path / "deep" / "data.yaml", data={"root": "../photos"}, model={"weights": "w.pth"})
    config = parse(training_parser(), ["--config", path])
    assert config.data.root == str(tmp_path / "photos")
    assert config.model.init_args.weights == str(tmp_path / "deep" / "w.pth")


def test_named_weights_are_not_taken_for_paths():
    assert parse(training_parser(), []).model.init_args.weights == "packaged"
    assert parse(training_parser(), ["--model.weights", "hub"]).model.init_args.weights == "hub"


def test_layers_of_the_package_are_found_by_name():
    names = ["methods/virtual_teacher.yaml", "configs/methods/virtual_teacher.yaml", "quickstart.yaml"]
    for name in names:
        assert (packaged_layers() / name.removeprefix("configs/")).is_file()
        parse(training_parser(), ["--config", name])
        parse(training_parser(), [f"--config={name}"])


def test_yaml_as_text_may_be_longer_than_the_name_of_a_file():
    names = [f"class_number_{i}" for i in range(40)]
    assert parse(training_parser(), ["--config", f"data: {{classes: [{', '.join(names)}]}}"]).data.classes == names


def test_the_tree_becomes_typed_objects():
    parser = training_parser()
    objects = instantiate(parser, parse(parser, ["--config", "methods/virtual_teacher.yaml", *QUICK]))
    assert isinstance(objects.model, FusionNet) and isinstance(objects.distiller, Distiller)
    assert isinstance(objects.data, Data) and objects.disturbance is None
    assert objects.model.head.out_channels == 2


def test_the_number_of_classes_comes_from_their_names():
    parser = training_parser()
    objects = instantiate(parser, parse(parser, ["--data.classes", "[a,b,c,d,e]", *QUICK]))
    assert objects.model.head.out_channels == 5


def test_a_dumped_configuration_parses_to_itself(tmp_path):
    parser = training_parser()
    arguments = ["--config", "methods/virtual_teacher.yaml", "--config", "quickstart.yaml"]
    label_map = layer(tmp_path / "map.yaml", data={"label_map": {0: 0, 255: 1}})
    config = parse(parser, [*arguments, "--config", label_map])
    (tmp_path / "all.yaml").write_text(parser.dump(config, skip_unset=False))
    again = parse(training_parser(), ["--config", str(tmp_path / "all.yaml")])
    config.pop("config")
    again.pop("config")
    assert again == config


def test_a_users_own_class_needs_no_edit_in_the_package(tmp_path, monkeypatch):
    (tmp_path / "my_teachers.py").write_text(
        "import torch\n"
        "from segkd.distill.base import Teacher\n"
        "from segkd.types import Lesson, Prediction\n"
        "class Even(Teacher):\n"
        "    gives = frozenset({'logits'})\n"
        "    def __init__(self, height: float = 1.0):\n"
        "        super().__init__()\n"
        "        self.height = height\n"
        "    def forward(self, batch, student, look):\n"
        "        return Lesson(Prediction(torch.zeros_like(student.logits)))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    parser = training_parser()
    teach = ["--distiller.teachers", '{"mine": {"class_path": "my_teachers.Even"}}']
    terms = ["--distiller.terms", '{"response": {"knowledge": {"class_path": "Response"}}}']
    over = ["--distiller.teachers.mine.height", "2.5", "--distiller.terms.response.knowledge.temperature", "4"]
    over += ["--distiller.terms.response.weight", "0.1", "--distiller.exits.weight", "0.5"]
    distiller = instantiate(parser, parse(parser, [*teach, *terms, *over, *QUICK])).distiller
    assert distiller.teachers["mine"].height == 2.5 and distiller.exits.weight == 0.5
    assert distiller.knowledge["response"].temperature == 4 and distiller.weight("response") == 0.1


@pytest.mark.parametrize("every", ["2", "0.25"])
def test_epochs_between_validations_are_whole_or_fractions(every):
    parser = training_parser()
    evaluation = instantiate(parser, parse(parser, ["--evaluation.every", every, *QUICK])).evaluation
    assert isinstance(evaluation.every, float) and evaluation.every == float(every)
    assert evaluation.band_errors


def test_validations_may_come_often_at_first(tmp_path):
    path, parser = tmp_path / "often.yaml", training_parser()
    path.write_text("evaluation: {every: {0: 0.25, 4: 2}}")
    evaluation = instantiate(parser, parse(parser, ["--config", str(path), *QUICK])).evaluation
    assert evaluation.every == {0.0: 0.25, 4.0: 2.0}


@pytest.mark.parametrize("every", [{"0": 1.0, "4": 2.0}, {0: 1.0, "a": 2.0}])
def test_epochs_between_validations_that_are_no_numbers_are_named(every):
    with pytest.raises(InputError, match=r"evaluation\.every: expected epochs as numbers.*without quotes"):
        refuse_pace(every)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("data: [", "bad.yaml"),
        ("dota: {size: 3}", "dota"),
        ("optim: {lr: fast}", "optim.lr"),
        ("distiller: {terms: {r: {knowledge: {class_path: Respons}}}}", "Response"),
        ("distiller: {teachers: {a: {class_path: LabelTeacher, init_args: {kin: constant}}}}", "kin"),
        ("distiller: {teachers: {a: {class_path: LabelTeacher, init_args: {kind: constannt}}}}", "constannt"),
        ("engine: {epochs: 0}", "engine.epochs"),
        ("evaluation: {every: 0}", "evaluation.every is a number of epochs above 0 (at least 1e-6), found 0"),
        ("evaluation: {every: often}", "evaluation.every"),
        ("evaluation: {every: {0: 1, 4: -2}}", "evaluation.every is a number of epochs above 0 (at least 1e-6)"),
        ("evaluation: {every: {1: 1}}", "expected a mapping to begin at epoch 0"),
        ("evaluation: {every: {}}", "expected a mapping to begin at epoch 0"),
    ],
)
def test_mistakes_in_a_layer_are_named(tmp_path, content, said):
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    parser = training_parser()
    with pytest.raises(InputError) as caught:
        instantiate(parser, parse(parser, ["--config", str(path), *QUICK]))
    assert said in str(caught.value) and len(str(caught.value)) < 700
