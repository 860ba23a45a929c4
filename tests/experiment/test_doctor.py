import ast
import subprocess
import sys
from pathlib import Path

import segkd
from segkd.experiment.doctor import (
    LITTLE_SHARED,
    NEEDED,
    OPTIONAL,
    Sign,
    examine,
    of_files,
    of_module,
    of_opencv,
    of_shared,
    of_temporary,
)


def test_a_sound_installation_is_said_to_be_well_and_every_cure_has_its_arrow(run_cli):
    status, out, _ = run_cli("doctor")
    lines = out.splitlines()
    assert (status == 0) == (lines[-1] == "all is well") == (not any("->" in line[:33] for line in lines))
    for said in ("torch ", "cv2 ", "threads ", "shared memory ", "open files "):
        assert any(line.startswith(said) for line in lines), said


def test_every_library_that_is_imported_anywhere_is_looked_at():
    lines = [
        line for path in Path(segkd.__file__).parent.rglob("*.py") for line in ast.walk(ast.parse(path.read_bytes()))
    ]
    names = [one.name for line in lines if isinstance(line, ast.Import) for one in line.names]
    names += [str(line.module) for line in lines if isinstance(line, ast.ImportFrom)]
    roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"segkd"}
    assert roots <= NEEDED.keys() | OPTIONAL.keys()


def test_help_is_no_examination(run_cli):
    assert "usage: segkd doctor" in run_cli("doctor", "--help")[1]
    assert run_cli("doctor", "--fix")[0] == 2


def test_a_module_that_cannot_be_imported_is_named_with_its_cure(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "no_gl.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
    sign = of_module("no_gl", "opencv-python", "pip install x")
    assert "cannot be imported: ImportError: libGL" in sign.found and "opencv-python-headless" in sign.cure
    assert of_module("leaves", "leaves", "pip install leaves").cure == "pip install leaves"
    assert of_module("no_such_module", "no-such", "pip install no-such").found.startswith("not installed, cannot")
    assert of_module("numpy", "numpy", "never").cure == ""


def test_an_empty_tmpdir_is_none_and_a_file_is_no_folder(monkeypatch, tmp_path):
    place = tmp_path / "file"
    place.touch()
    said = []
    for value in ("", str(place)):
        monkeypatch.setenv("TMPDIR", value)
        said += [sign for sign in examine() if sign.name == "temporary files"]
    assert said[0].cure == "" and said[0].found.endswith("GB free in /tmp")
    assert said[1].found == f"no folder {place}"


def test_two_packages_of_opencv_are_one_too_many():
    assert of_opencv({"opencv-python-headless": "4.9", "numpy": "2"}).cure == ""
    sign = of_opencv({"opencv-python": "4.9", "opencv-python-headless": "5.0"})
    assert "2 packages" in sign.found and sign.cure.startswith("pip uninstall -y opencv-python opencv-python-headless")


def test_little_room_is_cured():
    assert of_shared(LITTLE_SHARED).cure == "" == of_shared(None).cure and "--shm-size" in of_shared(64 << 20).cure
    assert of_temporary("/tmp", 1 << 30) == Sign("temporary files", "1.0 GB free in /tmp")
    gone = of_temporary("/no/such", None)
    assert gone.found == "no folder /no/such" and gone.cure.startswith("mkdir -p /no/such, or")
    assert of_files(9, 1024).cure == "" == of_files(None, None).cure and "ulimit -n" in of_files(9, 256).cure


def test_it_works_where_torch_cannot_be_imported_and_other_commands_point_to_it(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12: cannot open shared object file')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from segkd.cli import main; "
    done = [
        subprocess.run([sys.executable, "-c", code + f"sys.exit(main([{name!r}]))"], capture_output=True, text=True)
        for name in ("doctor", "train")
    ]
    assert done[0].returncode == 1 and "libcudart.so.12" in done[0].stdout and "Traceback" not in done[0].stderr
    assert done[1].returncode == 2 and "segkd doctor" in done[1].stderr and "Traceback" not in done[1].stderr
