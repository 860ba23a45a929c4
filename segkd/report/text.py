"""Text of anyone's as text of a page."""

import html

from segkd.types import printable


def escape(text: str) -> str:
    """`text` as HTML that shows it: no markup in it acts, and what no UTF-8 file can hold becomes an escape."""
    return html.escape(printable(text))
