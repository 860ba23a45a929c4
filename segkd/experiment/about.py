"""What a run says of itself, for `segkd info` and for the card of `segkd push`: files are read, nothing is built."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segkd.experiment.folder import read_environment
from segkd.experiment.layers import read_layer
from segkd.models.store import ModelCard


def settings_of(run: Path) -> dict[str, Any]:
    """The configuration of a run as plain data; {} where only its student was kept."""
    path = run / "config.yaml"
    return read_layer(path) if path.is_file() else {}


def facts_of(run: Path, card: ModelCard, settings: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What a run is, a line each: classes, training, data, recipe, threshold, and what it was made with.

    `settings` are its own, but for what a publisher would rather not say.
    """
    settings = settings_of(run) if settings is None else settings
    data, session = at(settings, "data"), (read_environment(run) or [{}])[-1]
    names = ", ".join(f"{number} {name}" for number, name in enumerate(card.classes))
    batch, epochs = at(data, "batch_size"), at(settings, "engine", "epochs")
    sizes = f"at {card.size[0]}x{card.size[1]}, step {card.step}"
    plan = f" of {epochs} epochs, batch size {batch}, seed {at(settings, 'seed')}" if settings else ""
    packages = at(session, "packages")
    versions = ", ".join(f"{name} {at(packages, name)}" for name in ("segkd", "torch", "timm") if at(packages, name))
    commit = at(session, "commit")
    # of that machine, and no fact of the run
    seen = re.sub(r"[;,] (cached in memory|read from disk)[^;\n]*", "", str(at(session, "data") or ""))
    facts = {
        "classes": names,
        "trained": f"{sizes}{plan}",
        "data": " ".join(str(part) for part in (at(data, "root"), seen) if part),
        "recipe": recipe_of(settings) if settings else "",
        "threshold": f"foreground is p >= {card.threshold:.3f} (the best on val)" if len(card.classes) == 2 else "",
        "made with": f"{versions}{f' (commit {commit})' if commit else ''}" if versions else "",
    }
    return {name: text for name, text in facts.items() if text}


def recipe_of(settings: Mapping[str, Any]) -> str:
    """Teachers, terms with their weights, disturbance and draw of a configuration, in one line."""
    distiller = at(settings, "distiller")
    teachers = at(distiller, "teachers")
    parts = [f"teacher {name}: {_short(one)}" for name, one in _items(teachers)]
    for name, term in _items(at(distiller, "terms")):
        of = f" of {at(term, 'teacher')}" if at(term, "teacher") else ""
        parts.append(f"term {name}: {_short(at(term, 'knowledge'))}{of}, weight {at(term, 'weight')}")
    for key in ("disturbance", "draw"):
        if at(settings, key):
            parts.append(f"{key} {_short(at(settings, key))}")
    return "; ".join(parts) or "none: the task loss alone"


def at(tree: Any, *keys: str) -> Any:
    """What lies at a path of keys in plain data that anyone may have written; None where it ends."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _items(tree: Any) -> list[tuple[Any, Any]]:
    return list(tree.items()) if isinstance(tree, Mapping) else []


def _short(tree: Any) -> str:
    """The name of a class, without the path to it."""
    return str(at(tree, "class_path")).rpartition(".")[2]
