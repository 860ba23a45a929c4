"""Text as LaTeX prints it, for every table that segkd writes."""

import re

from segkd.types import printable

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "†": r"\dag{}", "[": "{[}", "]": "{]}", "*": "{*}",
}  # fmt: skip
"""What LaTeX would not print as it is; "[" or "*" at the start of a row would be an option of the row before."""


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is; "--" stays two hyphens, not a dash."""
    return re.sub("-(?=-)", "-{}", "".join(LATEX.get(letter, letter) for letter in " ".join(printable(text).split())))
