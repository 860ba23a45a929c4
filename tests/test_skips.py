"""The hooks of tests/skips.py in a pytest of their own: what it prints and how it ends."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

TESTS = """
import pytest

def test_passes():
    assert FINE

@pytest.mark.parametrize("number", range(3))
def test_is_skipped(number):
    pytest.skip(REASON)
"""


@pytest.fixture
def run_pytest(tmp_path):
    """A function that runs the tests of `tmp_path`: (workers, ci) -> (status, what it printed)."""

    def run(workers: int, ci: str = "true") -> tuple[int, str]:
        quick = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(REPOSITORY)}
        environment = {**os.environ, "CI": ci, **quick}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "tests.skips", "-n", str(workers)]
        command += ["-c", os.devnull, "--rootdir", ".", "."]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("ci", "reason", "status"),
    [("true", "needs CUDA: 2 GPUs", 0), ("true", "no Chromium", 1), ("", "no Chromium", 0)],
)
def test_a_skip_fails_only_where_ci_does_not_expect_it(run_pytest, tmp_path, workers, ci, reason, status):
    (tmp_path / "test_it.py").write_text(TESTS.replace("REASON", repr(reason)).replace("FINE", "True"))
    found, text = run_pytest(workers, ci)
    assert found == status, text
    assert f"  3 x {reason}" in text
    assert ("CI does not expect this" in text) == (reason == "no Chromium")
    assert text.splitlines()[-1].startswith("1 passed, 3 skipped in")


def test_a_file_that_is_skipped_as_a_whole_counts_and_a_failure_stays_one(run_pytest, tmp_path):
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    (tmp_path / "test_it.py").write_text(TESTS.replace("REASON", "'needs CUDA'").replace("FINE", "True"))
    status, text = run_pytest(2)
    assert status == 1 and "1 x could not import 'no_such_module'" in text
    (tmp_path / "test_whole.py").unlink()
    (tmp_path / "test_it.py").write_text(TESTS.replace("REASON", "'needs CUDA'").replace("FINE", "False"))
    status, text = run_pytest(2)
    assert status == 1 and text.splitlines()[-1].startswith("1 failed, 3 skipped in")
