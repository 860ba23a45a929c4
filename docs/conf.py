"""The site of the docs: `make docs` builds it into build/docs, with warnings as errors."""

from pathlib import Path

from segkd.experiment.methods import card, recipes

project = "segkd"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "segkd"
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3
exclude_patterns = ["results/*/*"]
suppress_warnings = ["misc.highlighting_failure", "myst.xref_missing"]  # links to files: tests/test_docs.py


def write_cards() -> None:
    """A page with the card of every recipe, from its YAML header and the docstrings of its parts."""
    parts = ["# Cards of the recipes\n\n`segkd methods NAME` prints the same.\n"]
    parts += [f"## {one.name}\n\n```text\n{card(one)}\n```\n" for one in recipes()]
    Path(__file__).with_name("cards.md").write_text("\n".join(parts), encoding="utf-8")


write_cards()
