"""The docs point at what is there, quote what is said, and their notebook runs."""

import json
import re

import pytest

from docs.draw_league import PAGES as LEAGUE
from docs.draw_league import TABLES, drawn
from tests.conftest import REPOSITORY

PAGES = sorted([*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = link.partition("#")
        if not re.match(r"[a-z]+:", link):
            assert not place or (page.parent / place).exists() or place == "cards.md", f"{page}: {link}"


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
