import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY


def test_help_names_every_command_and_imports_no_torch():
    code = "import sys; from segkd.cli import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("train", "evaluate", "predict", "sheet"))


def test_unknown_command_names_the_choices(run_cli):
    status, _, err = run_cli("trian")
    assert status == 2 and "train" in err and "trian" in err


@pytest.mark.parametrize("command", ["train", "evaluate", "sheet", "predict", "info"])
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
        (["--data.size", "0"], ["data.size is [0, 0]", "32 pixels"]),
        (["--model", "WrappedNet"], ["model: WrappedNet needs network,", "init_args"]),
        (["--config", "nope.yaml"], ["nope.yaml"]),
        (["--config", "~nobody-of-that-name/nope.yaml"], ["~nobody-of-that-name/nope.yaml"]),
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


def test_the_home_of_nobody_holds_no_folder(run_cli, tmp_path):
    status, _, err = run_cli("prepare", "~nobody-of-that-name/photos", "--out", tmp_path / "data.yaml")
    assert status == 2 and "Traceback" not in err and "~nobody-of-that-name/photos" in err


def test_train_needs_a_place(run_cli):
    status, _, err = run_cli("train", "--config", "quickstart.yaml")
    assert status == 2 and "--out" in err


TRAPS = ("yaml", "queue", "cv2", "json", "typing", "statistics", "apex", "timm")


@pytest.fixture
def trapped(tmp_path):
    """A data set with modules that leave a marker when they are imported."""
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'a').write('{name} ')\n")
    return tmp_path


@pytest.mark.parametrize("start", ["-c", "-m"])
def test_what_lies_in_the_working_directory_is_not_taken_for_a_library(trapped, start):
    """Both doors: the installed command (the folder of the script is first), and `python -m segkd.cli`."""
    code = "import sys; sys.path[0] = '/bin'; sys.argv = ['segkd', *sys.argv[1:]]\n"
    code += "from segkd.cli import main; sys.exit(main())"
    door = ["-c", code] if start == "-c" else ["-m", "segkd.cli"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for arguments in (["train", "--help"], ["sheet", "--data.root", "."]):
        done = subprocess.run(
            [sys.executable, *door, *arguments], cwd=trapped, env=environment, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr and "segkd" in done.stdout + done.stderr, done.stderr
    assert not (trapped / "marker").exists()


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(28, "No space left on device", "/runs/a"), 2, "segkd sheet: /runs/a: No space left on device."),
        (FileNotFoundError(2, "No such file or directory"), 2, "segkd sheet: No such file or directory."),
        (MemoryError(), 2, "segkd sheet: the memory does not suffice"),
        (KeyboardInterrupt(), 130, "segkd sheet: interrupted"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_what_no_room_foresaw_is_a_paragraph(run_cli, monkeypatch, error, status, said):
    def fail(_arguments):
        raise error

    monkeypatch.setattr("segkd.experiment.commands.sheet", fail)
    found, _, err = run_cli("sheet")
    assert found == status and err.startswith(said) and "Traceback" not in err


class Interrupted:
    """An importer that is interrupted at segkd's first own module, which imports torch."""

    def find_spec(self, name, path=None, target=None):
        if name == "segkd.types":
            raise KeyboardInterrupt


def test_an_interruption_while_torch_is_imported_is_one_line(run_cli, monkeypatch):
    monkeypatch.delitem(sys.modules, "segkd.types")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    status, _, err = run_cli("train")
    assert (status, err) == (130, "segkd train: interrupted\n")
