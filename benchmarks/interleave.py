"""Arms measured side by side in one process, so that another program on the machine matters little."""

import time
from collections.abc import Callable, Mapping


def interleaved(arms: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each arm in each round; the order turns, so that no arm always comes first."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for arm in arms.values():
        arm()
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.process_time()
            arms[name]()
            seconds[name].append(time.process_time() - start)
    return seconds
