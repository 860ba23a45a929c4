"""The siege: what kills, cuts, floods, lies and damages, and what segkd makes of it.

    python -m benchmarks.siege [--more N] [--only CLASS ...] [--write]

Prints one table and the recipe of every trial that did not hold; ends with status 1 when there is one.
"""

import argparse
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks.siege import changed, crash, hostile, mutation, outage, signals, strangers
from benchmarks.siege.stand import prepare, run, scratch
from benchmarks.siege.table import Tally, Trial, keep, notes, table
from benchmarks.siege.tiny import Unbroken, training

PAGE = Path(__file__).parents[2] / "docs" / "results" / "siege.md"
CLASSES = {
    "crash": crash.jobs,
    "power cut": outage.power_jobs,
    "full disk": outage.disk_jobs,
    "signals": signals.jobs,
    "changed data": changed.jobs,
    "hostile": hostile.jobs,
    "mutation": mutation.jobs,
    "strangers": strangers.jobs,
}


def main() -> int:
    """Lays the siege; 1 when something did not hold."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.siege", description=str(__doc__).split("\n")[0])
    arguments.add_argument("--more", type=float, nargs="?", const=5.0, default=1.0, help="times as many trials (5)")
    arguments.add_argument("--only", nargs="+", choices=list(CLASSES), default=list(CLASSES), metavar="CLASS",
                           help=", ".join(CLASSES))  # fmt: skip
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--processes", type=int, default=os.cpu_count())
    arguments.add_argument("--write", action="store_true", help=f"keep the table in {PAGE.name}")
    options = arguments.parse_args()
    # a shell hides these from what it starts in the background, and the commands under siege would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: what lies about is removed
    prepare()
    with scratch() as folder:
        unbroken = lay(folder)
        tallies = list(besiege(unbroken, options))
    print(f"\n{table(tallies)}\n\n{notes(tallies)}")
    if options.write:
        from segkd.experiment.folder import commit

        keep(PAGE, tallies, " ".join(["python -m benchmarks.siege", *sys.argv[1:]]), commit())
    return int(any(tally.failures for tally in tallies))


def lay(folder: Path) -> Unbroken:
    """The run that all others are compared with."""
    counted = folder / "operations"
    ended = run(training(Path("run")), folder)
    once = run(training(Path("counted")), folder, before=partial(crash.count_operations, folder / "counted", counted))
    if ended.status or once.status:
        raise SystemExit(f"the tiny training does not end by itself: {ended.words}")
    run(training(Path("half")), folder, before=partial(crash.die_at, folder / "half", int(counted.read_text()) // 2))
    size = sum(path.stat().st_size for path in (folder / "run").rglob("*") if path.is_file())
    return Unbroken(folder / "run", folder / "half", ended.seconds, int(counted.read_text()), size)


def besiege(unbroken: Unbroken, options: argparse.Namespace) -> Iterator[Tally]:
    """The tally of each class."""
    pool = partial(ProcessPoolExecutor, options.processes, get_context("fork"), outage.own_namespace)
    for name in options.only:
        tally, since = Tally(name), time.monotonic()
        found = CLASSES[name](unbroken, options.seed, options.more)
        random.Random(0).shuffle(found)
        with pool() as workers:
            for number, trials in enumerate(workers.map(attempt, found), 1):
                tally.trials += trials
                for trial in Tally(name, trials).failures:  # at once: the whole takes long
                    print(f"\r{name}: {trial.verdict}: {trial.recipe[:150]}", file=sys.stderr, flush=True)
                if sys.stderr.isatty():
                    print(f"\r{name}: {number}/{len(found)}", end="\033[K", file=sys.stderr, flush=True)
        tally.seconds = time.monotonic() - since
        held = f"{tally.count('held')} of {len(tally.trials) - tally.count('skipped')} held"
        print(f"\r{name}: {held}, {tally.seconds:.0f} s", file=sys.stderr, flush=True)
        yield tally


def attempt(job: tuple) -> list[Trial]:
    """The trials of one job; a fault of the stand's own costs no other trial."""
    function, *arguments = job
    try:
        return function(*arguments)
    except Exception:
        return [
            Trial("other", f"the stand itself failed in {function.__name__}{arguments[:2]}: {traceback.format_exc()}")
        ]


if __name__ == "__main__":
    sys.exit(main())
