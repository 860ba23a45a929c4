"""How many tests were skipped and why, at the end of every run; in CI a skip that is not expected fails the run."""

import os
from collections import Counter

import pytest

EXPECTED = ("needs CUDA", "needs the right to mount")
"""How the reasons begin that CI accepts: its machine has no GPU, and need not let a test mount a file system."""


def is_expected(reason: str) -> bool:
    return reason.startswith(EXPECTED)


def skips(config: pytest.Config) -> Counter[str]:
    """Reason -> number of tests (or whole files) skipped for it, those of all worker processes together."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    reports = terminal.stats.get("skipped", []) if terminal else []  # a worker process has no terminal
    return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK:
        unexpected = [reason for reason in skips(session.config) if not is_expected(reason)]
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if unexpected else session.exitstatus


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = skips(config)
    terminalreporter.section("skipped", sep="-")
    terminalreporter.line(f"{found.total()} skipped")
    for reason, number in found.most_common():
        verdict = "" if is_expected(reason) else "  (CI does not expect this and fails: see tests/skips.py)"
        terminalreporter.line(f"  {number} x {reason}{verdict}")
