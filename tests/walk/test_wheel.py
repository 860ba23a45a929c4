"""The wheel, unpacked elsewhere, trains with its own layers: nothing of the repository is needed."""

import os
import subprocess
import sys
import zipfile

from tests.conftest import REPOSITORY, TINY


def test_the_wheel_carries_everything_and_trains_elsewhere(tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path,
        REPOSITORY,
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("segkd-*.whl")
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(installed)
    sources = {p.relative_to(REPOSITORY).as_posix() for p in (REPOSITORY / "segkd").rglob("*.py")}
    layers = {f"segkd/{p.relative_to(REPOSITORY).as_posix()}" for p in (REPOSITORY / "configs").rglob("*.yaml")}
    assert sources | layers <= names
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); from segkd.cli import main; sys.exit(main())"
    command = [
        sys.executable, "-P", "-c", code, "train", "--config", "quickstart.yaml",
        "--config", "methods/virtual_teacher.yaml", "--data.embedded.train", "8", "--data.embedded.val", "2",
        "--data.size", "32", "--data.batch_size", "4", "--model.encoder", TINY, "--model.weights", "null",
        "--engine.epochs", "1", "--data.workers", "0", "--out", "run",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "student.safetensors").is_file()
