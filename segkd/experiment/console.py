"""What the user sees: progress bars, one line per validation, the table of scores."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from segkd.datasets.data import Data, Findings, Records
from segkd.datasets.opening import open_data
from segkd.engine.step import Engine
from segkd.types import printable


def make_console(main: bool) -> Console:
    """The console of this process; only the first process speaks. No text of a user's is read as markup."""
    return PlainConsole(quiet=not main, highlight=False, soft_wrap=True, markup=False, emoji=False)


class PlainConsole(Console):
    """Prints strings as they are, but for control characters: colours come from `style`, never from the text.

    Attributes:
        deserted: nobody reads what it prints any more.
    """

    deserted = False

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, with every string made printable."""
        super().print(*(printable(one) if isinstance(one, str) else one for one in objects), **options)

    def on_broken_pipe(self) -> None:
        """Whoever read has left (`segkd train | head`): silence from here on, where rich would end the program."""
        self.quiet = self.deserted = True
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())


class Ticker:
    """A progress bar that is told its total once (n > 0) and then each item (n = 0)."""

    def __init__(self, console: Console, text: str) -> None:
        self.bar = _bar(console, "files")
        self.task = self.bar.add_task(text, total=None)

    def __call__(self, total: int) -> None:
        """Sets the total, or moves by one."""
        if total:
            self.bar.update(self.task, total=total)
        else:
            self.move(1)

    def move(self, items: int) -> None:
        """Moves by so many items."""
        self.bar.advance(self.task, items)


@contextmanager
def ticking(console: Console, text: str) -> Iterator[Ticker]:
    """A `Ticker` that vanishes when its work is done."""
    ticker = Ticker(console, text)
    with ticker.bar:
        yield ticker


@dataclass
class TrainingReporter:
    """The progress bar of training and a line for each validation."""

    console: Console
    bar: Progress
    task: TaskID
    select: str
    epochs: int

    def advance(self, engine: Engine, loss: float | None) -> None:
        """Moves the bar by one micro-step."""
        self.bar.advance(self.task)
        if loss is not None:
            self.bar.update(self.task, description=f"step {engine.step}  loss {loss:.4f}")

    def validated(self, epoch: int | float, scores: dict[str, float], best: bool) -> None:
        """Prints the scores of a validation."""
        chosen = [self.select, *(n for n in ("f_mean", "mae", "pixel_accuracy") if n in scores and n != self.select)]
        text = "  ".join(f"{name} {scores[name]:.4f}" for name in chosen[:3])
        self.console.print(f"epoch {round(epoch, 2):>3}/{self.epochs}  val {text}{'  (best so far)' if best else ''}")

    def warn(self, sentence: str) -> None:
        """Prints a warning."""
        warn(self.console, sentence)

    @property
    def deserted(self) -> bool:
        """Whether nobody reads the console any more."""
        return isinstance(self.console, PlainConsole) and self.console.deserted


def warn(console: Console, sentence: str, word: str = "warning") -> None:
    """Prints a sentence after a yellow word."""
    console.print(Text.assemble((f"{word}:", "yellow"), f" {printable(sentence)}"))


def checked_data(
    console: Console, data: Data, wanted: Sequence[str], **how: Any
) -> tuple[dict[str, Records], Findings]:
    """The records of the `wanted` splits, read behind a progress bar, and what was found, which is printed; `how` as
    `open_data` has it."""
    with ticking(console, "checking the data") as ticker:
        records, findings = open_data(data, wanted, ticker, **how)
    console.print(f"data: {findings.about}")
    for sentence in findings.warnings:
        warn(console, sentence)
    return records, findings


@contextmanager
def training_reporter(console: Console, select: str, epochs: int, done: int, total: int) -> Iterator[TrainingReporter]:
    """The reporter of a training of `total` micro-steps, `done` of which lie behind."""
    with _bar(console, "steps") as bar:
        task = bar.add_task("training", total=total, completed=done)
        yield TrainingReporter(console, bar, task, select, epochs)


def numbers_table(heads: Iterable[str], title: str | None = None) -> Table:
    """An empty table without a frame: words in its first column, numbers in the others."""
    named = None if title is None else Text(printable(title))
    table = Table(title=named, title_justify="left", show_edge=False, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left")
    return table


def print_scores(console: Console, title: str, scores: Mapping[str, float], per_class: Mapping[str, float]) -> None:
    """A table of scores."""
    table = numbers_table(("score", "value"), title)
    for name, value in scores.items():
        table.add_row(name, f"{value:.4f}")
    for name, value in per_class.items():
        table.add_row(Text(printable(f"IoU {name}")), f"{value:.4f}")
    console.print(table)


def print_domains(console: Console, rows: Mapping[str, tuple[int, Mapping[str, float]]]) -> None:
    """A table of images and some scores, a row for each domain; nothing where there are none."""
    if not rows:
        return
    table = numbers_table(("domain", "images", *next(iter(rows.values()))[1]))
    for domain, (number, scores) in rows.items():
        table.add_row(Text(printable(domain)), str(number), *(f"{value:.4f}" for value in scores.values()))
    console.print(table)
    console.print("scores above are means over the domains; the IoU of a class is of all images together")


def _bar(console: Console, unit: str) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit, markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
