import subprocess
import sys

import pytest


def test_help_names_every_command_and_imports_no_torch():
    code = "import sys; from segkd.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("train", "evaluate", "predict", "sheet"))


def test_unknown_command_names_the_choices(run_cli):
    status, _, err = run_cli("trian")
    assert status == 2 and "train" in err and "trian" in err


@pytest.mark.parametrize("command", ["train", "evaluate", "sheet", "predict"])
def test_every_command_explains_its_options(run_cli, command):
    with pytest.raises(SystemExit) as stop:
        run_cli(command, "--help")
    assert stop.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data.sze", "3"], ["data.sze", "data.size"]),
        (["--model", "Foo"], ["model", "FusionNet", "'Foo'"]),
        (["--model.widht", "3"], ["model.widht", "model.width"]),
        (["--data.size", "x"], ["data.size", "int", "'x'"]),
        (["--config", "nope.yaml"], ["nope.yaml"]),
        (["--distiller.teachers", '{"a": {"class_path": "LabelTecher"}}'], ["distiller.teachers", "LabelTeacher"]),
        (["--distiller.teachers", '{"a": {"class_path": "LabelTeacher"}}'], ["LabelTeacher", "distiller.terms"]),
        (["--model.encoder", "resnet19"], ["resnet19", "resnet18"]),
        (["--optim.lr", "-1"], ["optim.lr", "-1"]),
        (["--engine.precision", "fp16"], ["fp16", "GPU"]),
        (["--evaluation.select", "foo"], ["evaluation.select", "miou_image"]),
        (["--data.root", "/no/such/folder"], ["/no/such/folder", "data.root"]),
        (["--optim.freeze", "[encoder.foo]"], ["encoder.foo", "body"]),
    ],
)
def test_a_mistake_is_one_paragraph_that_names_the_remedy(run_cli, tmp_path, arguments, said):
    quick = ["--config", "quickstart.yaml", "--data.embedded.train", "4", "--data.embedded.val", "1"]
    base = quick if "--data.root" not in arguments else []
    status, _, err = run_cli("train", *base, *arguments, "--out", tmp_path / "run")
    assert status == 2 and "Traceback" not in err and len(err) < 700
    for words in said:
        assert words in err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_train_needs_a_place(run_cli):
    status, _, err = run_cli("train", "--config", "quickstart.yaml")
    assert status == 2 and "--out" in err
