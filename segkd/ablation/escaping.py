"""Text that LaTeX and Markdown print as it is, for every table that segkd writes."""

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


def escape_markdown(text: str) -> str:
    """Text that Markdown prints as it is, in one line; an underscore within a word is no markup."""
    marks = r"[\\`*|<>\[\]~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
    return re.sub(marks, r"\\\g<0>", " ".join(printable(text).split()))
