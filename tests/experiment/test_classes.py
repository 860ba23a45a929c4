"""What a stranger's configuration may name: each hostile one would import or call what leaves a marker."""

import sys

import pytest
import yaml

from segkd.ablation.identity import config_today
from segkd.disk import load_yaml
from segkd.experiment.classes import BASES, choices, refuse_foreign, refuse_unsaid
from segkd.experiment.folder import changes, resolved_text
from segkd.experiment.settings import parse, training_parser
from segkd.models.network import Network
from segkd.types import InputError

PLANTED = "planted_here.Net"
SMP = "segmentation_models_pytorch"

HOSTILE = {
    "a model": "model: {class_path: planted_here.Net}",
    "a model as a text": "model: planted_here.Net",
    "a model in a text": "model: '{class_path: planted_here.Net}'",
    "a model in an escaped text": "model: '{\"cla\\u0073s_path\": planted_here.Net}'",
    "a wrapped network": "model: {class_path: WrappedNet, init_args: {network: planted_here.Net}}",
    "a wrapped function": "model: {class_path: segkd.models.network.WrappedNet, init_args: {network: os.system}}",
    "no map of arguments": "model: {class_path: WrappedNet, init_args: '{network: os.system}'}",
    "unpickling through smp": f"model: {{class_path: WrappedNet, init_args: {{network: {SMP}.Unet, arguments: "
    "{encoder_name: tu-resnet18, checkpoint_path: evil.pth}}}",
    "a class in the arguments": f"model: {{class_path: WrappedNet, init_args: {{network: {SMP}.Unet, arguments: "
    "{activation: {class_path: planted_here.Net}}}}",
    "a function of segkd": "model: {class_path: segkd.models.trust.imported, init_args: {path: planted_here.Net}}",
    "a disturbance": "disturbance: {class_path: planted_here.Net}",
    "a table": "disturbance: {class_path: DctQuantization, init_args: {table: {class_path: planted_here.Net}}}",
    "a table as a text": "disturbance: {class_path: DctQuantization, init_args: {table: planted_here.Net}}",
    "a task": "distiller: {task: planted_here.Net}",
    "a teacher": "distiller: {teachers: {a: {class_path: planted_here.Net}}}",
    "teachers in a text": "distiller: {teachers: '{a: {class_path: planted_here.Net}}'}",
    "knowledge": "distiller: {terms: {a: {knowledge: {class_path: planted_here.Net}}}}",
    "another file": "distiller: other.yaml",
    "data as a class": "data: {embedded: planted_here.Net}",
    "a class for the data": "data: {class_path: planted_here.Net}",
    "a class for the optimiser": "optim: {class_path: planted_here.Net}",
    "a data set as a class": "data: {domains: {a: planted_here.Net}}",
    "a data set with a dot in its name": "data: {domains: {a.b: planted_here.Net}}",
    "a data set of another file": "data: {domains: {a.b: other.yaml}}",
    "a list for a class": "model: {class_path: [planted_here, Net]}",
    "a configuration inside": "config: other.yaml",
    "a dot at the root": "model.init_args.network: planted_here.Net",
    "a dot beside a class": "model: {class_path: WrappedNet, init_args: {network: torchvision.models.segmentation."
    "fcn_resnet50}, init_args.network: planted_here.Net}",
    "a dot beside arguments": f"model: {{class_path: WrappedNet, init_args: {{network: {SMP}.Unet}}, "
    "init_args.arguments: {checkpoint_path: evil.pth}}",
    "a dot among teachers": "distiller: {teachers: {a.init_args.trust: true}}",
    "arguments of a default": "model: {init_args: {encoder: 'hf-hub:a/b'}}",
    "settings of a default": "model: {encoder: 'hf-hub:a/b'}",
    "settings of a default in a text": "model: '{width: 8}'",
    "arguments beside the declared ones": f"model: {{class_path: WrappedNet, init_args: {{network: {SMP}.Unet}}, "
    "dict_kwargs: {checkpoint_path: evil.pth}}",
    "a teacher that trusts": "distiller: {teachers: {a: {class_path: Frozen, init_args: {sources: [b], trust: true}}}}",
    "a teacher that trusts in words": "distiller: {teachers: {a: {class_path: Frozen, init_args: {trust: 'yes'}}}}",
    "a head that trusts": "model: {class_path: ReusedHead, init_args: {run: b, trust: true}}",
    "a fetched encoder in a teacher": "distiller: {teachers: {a: {class_path: Peer, init_args: {network: {encoder: "
    "'hf-hub:a/b'}}}}}",
    "a key twice in a text": "distiller: {task: '{class_path: planted_here.T, class_path: planted_here.T}'}",
    "a date that is none in a text": "distiller: {teachers: '{a: {class_path: planted_here.T, b: 2001-99-99}}'}",
    "escapes and a key twice": "distiller: {task: '{\"class\\x5fpath\": planted_here.T, b: 1, b: 1}'}",
    "a teacher called classes": "distiller: {teachers: {classes: {class_path: Frozen, init_args: {sources: [b]}, "
    "init_args.trust: true}}}",
    "trust among names of classes": "distiller: {teachers: {a: {class_path: Frozen, init_args: {classes: "
    "{init_args.trust: 'true'}}}}}",
    "a host of its own": "data: {parquet: 's3://bucket/data?scheme=http&endpoint_override=evil.example'}",
    "a host for a domain": "data: {domains: {a: {parquet: 'hdfs://evil.example:80/data'}}}",
    "a user at a host": "data: {parquet: 's3://key:secret@evil.example/data'}",
}


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A module in the working directory, and on the path, that touches the marker when it is imported."""
    (tmp_path / "planted_here.py").write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'marker')!r}).touch()\nclass Net: pass\n"
    )
    (tmp_path / "other.yaml").write_text("task: planted_here.Net\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "planted_here", raising=False)
    return tmp_path / "marker"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_configuration_is_refused_before_anything_is_imported(name, marker):
    with pytest.raises(InputError, match="RUN/config"):
        refuse_foreign(load_yaml(HOSTILE[name], ""), "RUN/config.yaml")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["a table as a text", "a model", "a wrapped network"])
def test_what_lies_in_the_working_directory_alone_is_refused_too(name, marker, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(tmp_path)])
    with pytest.raises(InputError, match=r"planted_here\.Net"):
        refuse_foreign(load_yaml(HOSTILE[name], ""), "RUN/config.yaml")
    assert not marker.exists() and str(tmp_path) not in sys.path


def test_the_same_would_be_imported_if_it_were_parsed(marker):
    with pytest.raises(InputError):
        parse(training_parser(), ["--config", HOSTILE["a model"]])
    assert marker.exists()


def test_all_that_segkd_writes_itself_is_let_through():
    parser = training_parser()
    arguments = ["--config", "quickstart.yaml", "--config", "methods/virtual_teacher.yaml", "--disturbance", "FDA"]
    text = parser.dump(parse(parser, arguments), skip_validation=True, skip_unset=False)
    refuse_foreign(yaml.safe_load(text), "config.yaml")
    refuse_foreign({"model": {"class_path": "SmpNet", "init_args": {"architecture": "FPN"}}}, "config.yaml")
    refuse_foreign({"data": {"parquet": "s3://bucket/data"}, "init": "runs/a"}, "config.yaml")
    refuse_foreign(
        {"disturbance": {"class_path": "FDA", "init_args": {"strength": {0.0: 0.5, 1.0: 2.0}}}}, "config.yaml"
    )
    names = {"vehicle.car": "car", "*": "@road", "a": "%b"}
    of_names = {"class_path": "Frozen", "init_args": {"classes": names, "trust": False, "features": ["model.head"]}}
    refuse_foreign({"distiller": {"teachers": {"dinov2.small": of_names}}}, "config.yaml")
    refuse_foreign({"data": {"parquet": "hf://datasets/me/set@v1"}}, "data.yaml")
    refuse_foreign({"data": {"images": "{}_x.png", "test": "test.txt", "classes": ["os.path", "b"]}}, "data.yaml")
    assert all(choices(base) for base in BASES.values())
    assert "FusionNet" in choices(Network) and not {"TorchFile", "OnnxNetwork", "Ensemble"} & {*choices(Network)}


@pytest.mark.parametrize("arguments", [["--resume", "run"], ["--resume", "run", "--engine.epochs", "9"]])
def test_going_on_with_a_hostile_run_runs_nothing_and_says_what_to_type(arguments, marker, run_cli, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("model: {class_path: planted_here.Net}\n")
    status, _, err = run_cli("train", *arguments)
    assert status == 2 and "planted_here.Net" in err and "--trust" in err and not marker.exists()
    run_cli("train", *arguments, "--trust")
    assert marker.exists()


def test_a_folder_without_code_is_no_module(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tree = {"distiller": {"teachers": {"a": {"class_path": "Frozen", "init_args": {"features": ["model_of.layer"]}}}}}
    (tmp_path / "model_of").mkdir()
    (tmp_path / "model_of" / "student.safetensors").touch()
    refuse_foreign(tree, "config.yaml")
    (tmp_path / "model_of" / "layer.py").touch()
    with pytest.raises(InputError, match=r"model_of\.layer"):
        refuse_foreign(tree, "config.yaml")


def test_what_the_user_s_own_configuration_says_word_for_word_is_theirs(marker):
    theirs = {"model": {"class_path": "planted_here.Net"}, "seed": 1}
    refuse_unsaid(theirs, theirs | {"seed": 2}, "RUN/config.yaml")
    for said in ({}, {"model": {"class_path": "another.Net"}}, {"model": theirs["model"] | {"init_args": {}}}):
        with pytest.raises(InputError, match=r"planted_here\.Net"):
            refuse_unsaid(theirs, said, "RUN/config.yaml")
    assert not marker.exists()


def test_a_cell_of_a_foreign_grid_names_nothing_that_the_plan_does_not(marker, tmp_path):
    parser = training_parser()
    config = parse(parser, ["--config", "quickstart.yaml"])
    planned = resolved_text(parser, config)
    hostile = yaml.safe_load(planned) | {"model": {"class_path": "planted_here.Net"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(hostile))
    with pytest.raises(InputError, match=r"planted_here\.Net"):
        changes(tmp_path, parser, planned)
    with pytest.raises(InputError, match=r"planted_here\.Net"):
        config_today(tmp_path / "config.yaml", planned)
    assert not marker.exists()
    with pytest.raises(InputError):
        changes(tmp_path, parser, planned, known=True)  # and is imported, as whoever says so wants
    assert marker.exists()
    (tmp_path / "config.yaml").write_text(planned)
    assert changes(tmp_path, parser, planned) == {} and config_today(tmp_path / "config.yaml", planned)


def test_a_run_whose_folders_lead_elsewhere_is_not_gone_on_with(run_cli, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "run" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    status, _, err = run_cli("train", "--resume", tmp_path / "run")
    assert status == 2 and "found a link" in err and "--trust" in err and not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("command", [["evaluate", "--run"], ["predict", "--images", ".", "--out", "o", "--run"]])
def test_the_data_of_a_run_names_no_class(command, marker, run_cli, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("data: {embedded: {class_path: planted_here.Net}}\n")
    status, _, err = run_cli(*command, "run")
    assert status == 2 and not marker.exists() and "Traceback" not in err
