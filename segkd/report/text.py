"""What all pages write alike: text of anyone's, and tables that scroll."""

import html
from collections.abc import Iterable

from segkd.types import printable


def escape(text: str) -> str:
    """`text` as HTML that shows it: no markup in it acts, and what no UTF-8 file can hold becomes an escape."""
    return html.escape(printable(text))


def table(name: str, heads: Iterable[str], rows: Iterable[str], kind: str = "") -> str:
    """A table called `name` of finished `rows` (`<tr>...</tr>`), which scrolls on its own; `kind` is its class, and its
    frame's."""
    cells = "".join(f'<th scope="col">{head}</th>' for head in heads)
    opened = f'<table class="{kind}">' if kind else "<table>"
    frame = f"scroll of-{kind}" if kind else "scroll"
    return (
        f'<div class="{frame}" tabindex="0" role="region" aria-label="{name}">{opened}<thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
