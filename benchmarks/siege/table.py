"""What the trials came to: one table, and the page that keeps it."""

import platform
import shutil
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.siege.stand import Ended

VERDICTS = ("held", "traceback", "hang", "silent", "other", "skipped")
"""How a trial can end. "silent": status 0, another result, and not a word; "other": anything else that is not right
(a run that is refused for ever, foreign code that ran, work that was lost); "skipped": this machine cannot try it."""


@dataclass(frozen=True)
class Trial:
    """One trial: how it ended, and when it did not hold, the recipe and what was seen."""

    verdict: str
    recipe: str = ""


HELD = Trial("held")
CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV)


def times(number: int, more: float) -> int:
    """`more` times so many trials, but one at least."""
    return max(1, round(number * more))


def broken(ended: Ended, recipe: str) -> Trial | None:
    """The verdict on a command that hung, died, or printed a traceback; None when it ended as a command should."""
    if ended.hung:
        return Trial("hang", f"{recipe}: no end; said: {ended.words}")
    said = f"{recipe}: status {ended.status}; said: {ended.words}"
    if "Traceback (most recent call last)" in ended.text or -ended.status in CRASHES:
        return Trial("traceback", said)
    if ended.status == 1:
        return Trial("other", said)
    return None


@dataclass
class Tally:
    """The trials of one class."""

    name: str
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, verdict: str) -> int:
        """Trials that ended so."""
        return sum(trial.verdict == verdict for trial in self.trials)

    @property
    def failures(self) -> list[Trial]:
        """The trials that did not hold."""
        return [trial for trial in self.trials if trial.verdict not in ("held", "skipped")]


def table(tallies: Iterable[Tally]) -> str:
    """The table as Markdown, a row for each class and one for all."""
    tallies = list(tallies)
    whole = Tally("all", [t for tally in tallies for t in tally.trials], sum(tally.seconds for tally in tallies))
    lines = [f"| class | tried | {' | '.join(VERDICTS)} | seconds |", "|---|" + "---:|" * (len(VERDICTS) + 2)]
    for one in [*tallies, whole]:
        cells = [len(one.trials) - one.count("skipped"), *map(one.count, VERDICTS), round(one.seconds)]
        lines.append(f"| {one.name} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def notes(tallies: Iterable[Tally]) -> str:
    """Why classes were skipped, and the recipe of every trial that did not hold."""
    reasons = Counter((one.name, t.recipe) for one in tallies for t in one.trials if t.verdict == "skipped")
    lines = [f"{name}: {number} skipped: {why}" for (name, why), number in reasons.items()]
    lines += [f"{one.name}: {trial.verdict}: {trial.recipe}" for one in tallies for trial in one.failures]
    return "\n".join(lines)


MARKS = ("<!-- table: written by make siege -->", "<!-- end of the table -->")


def keep(page: Path, tallies: list[Tally], command: str, commit: str) -> None:
    """Puts the table of a run between the marks of the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    about = f"`{command}` on commit {commit}, Python {platform.python_version()}, {platform.system()}:"
    said = notes(tallies)
    listed = f"\n\nWhat did not hold:\n\n```\n{said}\n```" if said else ""
    text = f"{before}{MARKS[0]}\n{about}\n\n{table(tallies)}{listed}\n{MARKS[1]}{after}"
    part = page.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    shutil.move(part, page)
