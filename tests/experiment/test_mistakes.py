import pytest
from jsonargparse import ArgumentError

from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.types import InputError

TEACH = "distiller: {teachers: {a: {class_path: LabelTeacher, init_args: {%s}}}}"


@pytest.fixture(scope="module")
def parser():
    return training_parser()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("optim: {schedulex: 3}", "unknown key optim.schedulex. Did you mean optim.schedule"),
        ("optim: {learning_rate: 3}", "unknown key optim.learning_rate. Did you mean optim.lr?"),
        ("engine: {lr: 3}", "unknown key engine.lr. Did you mean optim.lr?"),
        (
            "model: {class_path: WrappedNet, init_args: {network: a.b, features: [c]}}",
            "unknown key model.features of WrappedNet. Did you mean distiller.features",
        ),
        ("optim: {lr: 0.01}\noptim: {clip: 2.0}", "'optim' twice in one map, in lines 1 and 2"),
        ("a: &a [x]\n" + "\n".join(f"b{i}: &b{i} [*a, *a, *a, *a, *a, *a, *a, *a]" for i in range(3)), "unknown key a"),
        ("[" * 3000, "nest"),
        ("optim: cosine", "optim: expected keys and values, found 'cosine'"),
        ("optim:", "optim: expected keys and values, found None"),
        ("optim: {lr: null}", "optim.lr: expected a value, found null"),
        ("data: {embedded: {seed: null}}", "data.embedded.seed: expected a value, found null"),
        ("data: {classes: null}", "data.classes: expected a value, found null"),
        ("data: {embedded: {side: 1.0e20}}", "data.embedded.side: expected int, found '1e+20'"),
        ("model: {class_path: FusionNet, init_args: {width: {a: 3}}}", "model.width: expected int, found \"{'a': 3}\""),
        ("model: [3]", "model: expected {class_path: NAME, init_args: {...}} with NAME one of AdaptedNet, FusionNet"),
        (TEACH % "confidence: x", "distiller.teachers.confidence: expected float, found 'x'"),
        (TEACH % "confidence: null", "confidence: expected a value, found null"),
        ("evaluation: {every: 1.0e-320}", "evaluation.every"),
        ("1: 2", "unknown key 1"),
        ("overfit_one_batch: [0, 0, 0]", "overfit_one_batch: expected true or false, found [0, 0, 0]"),
    ],
)
def test_a_mistake_names_file_key_and_the_wrong_value_alone(content, said, parser, tmp_path):
    path = tmp_path / "layer.yaml"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        instantiate(parser, parse(parser, ["--config", str(path)]))
    text = str(caught.value)
    assert said in text and len(text) < 600 and "\n" not in text
    assert "layer.yaml" in text or "evaluation.every" in text


@pytest.mark.parametrize(
    "term",
    [
        "{class_path: Response}",
        "Response",
        "{}",
        "{weight: 2}",
        "{knowledge: null}",
        "{temperature: 3}",
        "null",
        "[Response]",
    ],
)
def test_a_term_without_a_knowledge_is_answered_with_what_a_term_is(term, parser, tmp_path):
    path = tmp_path / "layer.yaml"
    fine = "fine: {knowledge: {class_path: Response, init_args: {temperature: 3}}}"
    path.write_text(f"distiller: {{teachers: {{a: {{class_path: LabelTeacher}}}}, terms: {{{fine}, mine: {term}}}}}")
    with pytest.raises(InputError) as caught:
        parse(parser, ["--config", str(path)])
    said = "distiller.terms.mine: expected {knowledge: {class_path: NAME, init_args: {...}}, teacher: NAME, weight: 1}"
    assert said in str(caught.value) and "found no knowledge" in str(caught.value) and "Response" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "found", "cure"),
    [
        ("[no, yes]", "'False'", 'write them in quotes: ["no", "yes"]'),
        ("[0, 1]", "'0'", "write them in quotes"),
        ("[null, a]", "'None'", "write them in quotes"),
        ("{0: a, 1: b}", "\"{0: 'a', 1: 'b'}\"", 'Write ["a", "b"].'),
        ("no,yes", "'no,yes'", 'Write ["no", "yes"].'),
        ("sky", "'sky'", 'Write ["sky"].'),
    ],
)
def test_class_names_that_yaml_reads_otherwise_are_answered_with_quotes(written, found, cure, parser):
    with pytest.raises(InputError) as caught:
        parse(parser, ["--data.classes", written])
    text = str(caught.value)
    assert text.startswith(f"data.classes: expected a list of names, found {found}. ") and cure in text
    if "Write " in cure:
        config = parse(parser, ["--data.classes", cure.removeprefix("Write ").removesuffix(".")])
        assert all(isinstance(name, str) for name in config.data.classes)


def test_a_layer_is_found_without_its_extension_and_one_that_is_not_there_gets_what_looks_like_it(parser, tmp_path):
    assert parse(parser, ["--config", "methods/virtual_teacher"]) == parse(
        parser, ["--config", "methods/virtual_teacher.yaml"]
    )
    with pytest.raises(InputError, match=r"methods/virtual_techer: .* Did you mean methods/virtual_teacher\.yaml"):
        parse(parser, ["--config", "methods/virtual_techer"])
    with pytest.raises(InputError, match=r"data: expected keys and values, found '.*'. A folder of images is --data"):
        parse(parser, ["--data", str(tmp_path)])
    with pytest.raises(InputError, match=r"engine\.device: .* CUDA_VISIBLE_DEVICES=1"):
        parse(parser, ["--engine.device", "cuda:1"])


def test_the_last_layer_that_has_the_key_is_named(parser, tmp_path):
    for name, value in (("a", "0.1"), ("b", "fast"), ("c", "null")):
        key = "lr" if name != "c" else "clip"
        (tmp_path / f"{name}.yaml").write_text(f"optim: {{{key}: {value}}}\n")
    layers = [word for name in "abc" for word in ("--config", str(tmp_path / f"{name}.yaml"))]
    with pytest.raises(InputError, match=r"b\.yaml: optim\.lr: expected float, found 'fast'"):
        parse(parser, layers)


def test_a_run_without_brackets_in_the_place_of_a_list_is_answered_with_them_and_no_layer_is_blamed(parser, tmp_path):
    key, layer = "distiller.teachers.before.sources", ["--config", "methods/self_training.yaml"]
    with pytest.raises(InputError) as caught:
        parse(parser, [*layer, f"--{key}", "runs/first"])
    assert str(caught.value) == f"{key}: expected list, found 'runs/first'. Write [runs/first]."
    assert parse(parser, [*layer, f"--{key}", "[runs/first]"]).distiller.teachers["before"].init_args.sources


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--model.network=x.Y"],
            "unknown key model.network of FusionNet, which takes classes, encoder, .*of ReusedHead, WrappedNet\\.$",
        ),
        (
            ["--model=ReusedHead", "--model.run=x", "--model.encoder=y"],
            "ReusedHead, which takes classes, run,.*AdaptedNet, FusionNet, SmpNet",
        ),
    ],
)
def test_a_setting_of_another_class_is_not_proposed_for_itself(arguments, said, parser):
    with pytest.raises(InputError, match=said) as found:
        parse(parser, arguments)
    assert "Did you mean" not in str(found.value)


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        (["--evaluation.every", "{0:0.5,4:2}"], "'{0: 0.5,4: 2}'"),
        (["--data.label_map={7:0, 26: 1}"], "'{7: 0, 26: 1}'"),
        (["--data.label_map", "{7: 0, 26: x}"], None),
        (["--data.label_map", '{"7":0, "26":"x"}'], None),
    ],
)
def test_a_map_without_blanks_is_answered_with_them(said, cure, parser):
    with pytest.raises(InputError) as error:
        parse(parser, said)
    assert (f"YAML wants a blank after a colon: {cure}." in str(error.value)) == (cure is not None)
    assert cure is not None or "blank" not in str(error.value)
    assert "operand" not in str(error.value)


def test_null_stays_a_value_where_it_is_one(parser):
    text = "{disturbance: null, engine: {threads: null}, data: {root: null, augment: null}}"
    config = parse(parser, ["--config", text])
    assert config.engine.threads is None and config.data.augment is None


@pytest.mark.parametrize(
    ("arguments", "theirs", "ours"),
    [
        (["--optim.x=3"], "unrecognized arguments: --optim.x=3", "unknown key optim.x"),
        (["--config", "optim.x: 3"], "Group 'optim' does not accept option 'x'", "unknown key optim.x"),
        (["--model.widht=3"], "class_path 'segkd.models.network.FusionNet'", "unknown key model.widht of FusionNet"),
        (["--model.widht=3"], "Option 'widht' is not accepted", "Did you mean model.width"),
        (["--config", "model: {class_path: Net}"], "dot import path string: Net", "model: expected a class of segkd"),
        (["--model=no.Net"], "a path but no.Net either not accessible or invalid", "own subclass of segkd.models"),
        (["--model=no.Net"], 'key "model"', "found 'no.Net'"),
        (
            ["--optim.schedule=round"],
            "typing.Literal['poly', 'cosine', 'linear', 'constant']. Got value: round",
            "optim.schedule: expected one of 'poly', 'cosine', 'linear', 'constant', found 'round'",
        ),
        (["--optim.lr=fast"], "Expected a <class 'float'>. Got value: fast", "optim.lr: expected float, found 'fast'"),
        (["--engine.patience=x"], "Given value: x", "engine.patience: expected int, found 'x'"),
        (["--engine.patience=x"], "Expected a <class 'NoneType'>", "expected int, found 'x'"),
        (
            ["--config", "distiller: {teachers: {a: {clas_path: LabelTeacher}}}"],
            "Expected an instantiatable class",
            "distiller.teachers: expected {class_path: NAME, init_args: {...}} with NAME one of Clean, Donor, Frozen",
        ),
    ],
)
def test_every_sentence_that_is_read_is_still_said_so_by_jsonargparse(arguments, theirs, ours, parser):
    """Where jsonargparse words it otherwise, this tells which regular expression of ours reads nothing any more."""
    with pytest.raises((ArgumentError, TypeError, ValueError)) as raw:
        parser.parse_args(["--model", "FusionNet", *arguments])
    assert theirs in str(raw.value)
    with pytest.raises(InputError) as said:
        parse(parser, arguments)
    assert ours in str(said.value) and "\n" not in str(said.value)
