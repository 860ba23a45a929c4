import ast
import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

ORDER = (
    "types disk device datasets frequency models losses structure distill metrics "
    "engine experiment analysis ablation report cli"
).split()
ALONE = ("frequency", "models", "metrics")
SOURCES = sorted((REPOSITORY / "segkd").rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(REPOSITORY / "segkd").parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: one way for imports, and that is absolute"
            found.add(node.module or "")
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name.split(".")[1] for name in found if name.startswith("segkd.")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_imports_run_one_way_and_files_stay_short(path):
    room = room_of(path)
    if room != "__init__":
        assert room in ORDER, f"{path}: no room {room}"
        for other in imported_rooms(path):
            assert ORDER.index(other) <= ORDER.index(room), f"{path} walks back through a door: {other}"
            assert room not in ALONE or other in (room, "types", "disk", "device"), (
                f"{path}: {room} must be usable alone"
            )
    assert path.read_text().count("\n") <= 300, f"{path} is longer than 300 lines"


def test_files_of_tests_and_benchmarks_stay_short():
    for folder in ("tests", "benchmarks", "tools", "docs"):
        long = [path for path in (REPOSITORY / folder).rglob("*.py") if path.read_text().count("\n") > 300]
        assert not long, f"longer than 300 lines: {long}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_functions_stay_short(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            document = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1 - (document.count("\n") + 1 if document else 0)
            assert lines <= 40, f"{path}:{node.lineno} {node.name} has {lines} lines"


def test_no_room_hides_what_it_holds():
    names = {part for path in SOURCES for part in path.relative_to(REPOSITORY).with_suffix("").parts}
    assert not names & {"utils", "common", "helpers", "misc"}


def test_house_rules_of_style():
    for path in SOURCES:
        text = path.read_text()
        assert not re.search(r"\bhasattr\(", text), f"{path}: no hasattr"


def test_three_files_from_the_door_to_backward():
    """experiment/training.py -> engine/loop.py -> engine/step.py: each calls the next."""
    training = (REPOSITORY / "segkd/experiment/training.py").read_text()
    loop = (REPOSITORY / "segkd/engine/loop.py").read_text()
    step = (REPOSITORY / "segkd/engine/step.py").read_text()
    assert "from segkd.engine.loop import" in training and " train(engine" in training
    assert "from segkd.engine.step import" in loop and " train_step(engine" in loop
    assert "accelerator.backward(loss)" in step
