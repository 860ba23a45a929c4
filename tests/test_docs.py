"""The docs point at what is there, quote what is said, and their notebook runs."""

import ast
import importlib
import importlib.util
import json
import re

import pytest

from docs.draw_league import PAGES as LEAGUE
from docs.draw_league import TABLES, drawn
from tests.conftest import REPOSITORY

LAYER = r"(?<![\w/.-])(?:configs/)?((?:methods|data|ablations)/[a-z0-9_]+\.yaml)"
PAGES = sorted([*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = link.partition("#")
        if not re.match(r"[a-z]+:", link):
            assert not place or (page.parent / place).exists() or place == "cards.md", f"{page}: {link}"


CODE = sorted(path for room in ("docs", "benchmarks", "examples") for path in (REPOSITORY / room).rglob("*.py"))


def _sources(page):
    """The Python of a file: its own, or the blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [text] if page.suffix == ".py" else re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [*PAGES, *CODE], ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_what_is_imported_and_which_layers_are_named_is_there(page):
    for node in (node for source in _sources(page) for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            for name in node.names:
                assert not name.name.startswith("segkd") or importlib.util.find_spec(name.name), name.name
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "segkd":
            for name in node.names:
                found = hasattr(importlib.import_module(node.module), name.name)
                assert found or importlib.util.find_spec(f"{node.module}.{name.name}"), f"{node.module}.{name.name}"
    for layer in re.findall(LAYER, page.read_text(encoding="utf-8")):
        assert (REPOSITORY / "configs" / layer).is_file(), layer


def test_messages_that_are_explained_are_said_somewhere():
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "segkd").rglob("*.py")))
    said = re.sub(r'"\s*f?"', "", sources)
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", (REPOSITORY / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(rows) > 10
    for row in rows:
        for words in re.split(r"\.\.\.|\b[NM]\b", row):
            assert words.strip(" ,") in said, words


def test_every_page_is_on_the_site():
    index = (REPOSITORY / "docs" / "index.md").read_text()
    for page in (REPOSITORY / "docs").glob("*.md"):
        assert page.stem == "index" or f"\n{page.stem}\n" in index, page.name


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads((REPOSITORY / "examples" / "first_steps.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["status"] == 0 and names["shares"].shape == (2, 72, 96) and names["picture"].shape == (72, 96, 3)


def test_the_tables_of_the_league_are_those_of_its_cells():
    pages = [page.read_text(encoding="utf-8") for page in LEAGUE]
    assert set(re.findall(r"<!-- (\w+) -->", "".join(pages))) - {"end"} == TABLES.keys()
    assert [drawn(page) for page in pages] == pages, "python -m docs.draw_league"
