"""What makes two cells the same: the content of configuration, data lists and code, and how two differ."""

import ast
import functools
import hashlib
import importlib.util
import re
from pathlib import Path
from typing import Any

from segkd.datasets.data import Data
from segkd.datasets.domains import parts_of
from segkd.datasets.folds import numbers_of
from segkd.datasets.opening import splits_of
from segkd.datasets.packed import size_on_disk
from segkd.datasets.splits import SPLITS
from segkd.datasets.unlabelled import NAME, find_unlabelled
from segkd.disk import load_yaml
from segkd.experiment.classes import refuse_unsaid
from segkd.experiment.folder import flat, own_arguments, resolved_text
from segkd.experiment.layers import read_layer
from segkd.experiment.settings import parse, training_parser

WITHOUT_EFFECT = frozenset({
    "data.root", "data.parquet", "data.workers", "data.cache_gb", "engine.threads", "engine.log_every",
    "engine.save_every", "evaluation.band_errors",
})  # fmt: skip
"""Settings that change where and how fast a run goes, not its result; the data's files are looked at."""

TRAINED_BY = (
    "types", "disk", "device", "datasets", "frequency", "models", "losses", "structure", "distill", "metrics", "engine",
    "experiment",
)  # fmt: skip
"""Rooms whose code a training and its scores pass through."""


def plain_config(text: str) -> dict[str, Any]:
    """A resolved configuration as dotted key -> leaf, without what has no effect on the result."""
    return {
        key: leaf
        for key, leaf in flat(load_yaml(text, "expected a configuration as YAML")).items()
        if key not in WITHOUT_EFFECT and not re.fullmatch(r"data\.domains\.[^.]+\.(root|parquet)", key)
    }


def config_today(file: Path, planned: str) -> dict[str, Any]:
    """The plain configuration of a resolved file with the settings that came since at their defaults.

    Raises:
        InputError: it cannot be read, has settings that are gone, or names classes that the plan, `planned`, does not.
    """
    refuse_unsaid(read_layer(file), load_yaml(planned, ""), str(file))
    parser = training_parser()
    return plain_config(resolved_text(parser, parse(parser, own_arguments(file))))


def data_digests(data: Data) -> dict[str, dict[str, Any]]:
    """Split -> number of pairs and a digest of their names and file sizes, in order."""
    if data.domains:
        return _joined({name: data_digests(part) for name, part in parts_of(data).items()})
    if data.embedded is not None:
        sizes = {name: len(numbers_of(data.embedded, name, data.part)) for name in SPLITS}
        return {split: {"pairs": pairs, "digest": "generated"} for split, pairs in sizes.items()}
    found = {}
    splits = splits_of(data)
    of_each = {
        split: [f"{p.stem} {size_on_disk(p.image)} {size_on_disk(p.mask)}" for p in pairs]
        for split, pairs in splits.members.items()
    }
    if data.unlabelled is not None:
        of_each[NAME] = [f"{stem} {size_on_disk(path)}" for stem, path in find_unlabelled(data, splits).files.items()]
    for split, lines in of_each.items():
        found[split] = {"pairs": len(lines), "digest": digest_of("\n".join(lines).encode("utf-8", "surrogateescape"))}
    return found


def _joined(parts: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The digests of several data sets as those of one; a split is there where all have it."""
    found = {}
    for split in (name for name in SPLITS if all(name in part for part in parts.values())):
        lines = [f"{name} {part[split]['digest']}" for name, part in parts.items()]
        pairs = sum(part[split]["pairs"] for part in parts.values())
        found[split] = {"pairs": pairs, "digest": digest_of("\n".join(lines).encode("utf-8", "surrogateescape"))}
    return found


@functools.cache  # what was imported is what runs
def code_digests() -> dict[str, str]:
    """File -> digest of its code, for the rooms of segkd that a training passes through.

    Comments, docstrings and layout do not count: correcting a sentence must not cost a day of training.
    """
    package = Path(__file__).parent.parent
    files = [path for path in sorted(package.rglob("*.py")) if _room(path.relative_to(package)) in TRAINED_BY]
    return {f"segkd/{path.relative_to(package).as_posix()}": code_digest(path) for path in files}


def user_code(config: dict[str, Any]) -> dict[str, str]:
    """Module -> digest of its code, for the classes outside segkd that a configuration names by import path."""
    keys = [key for key in config if key.endswith(("class_path", "init_args.network"))]
    modules = {str(config[key]).rpartition(".")[0] for key in keys if config[key]}
    found = {}
    for module in sorted(modules - {""}):
        if module.split(".")[0] == "segkd":
            continue
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            spec = None
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            found[module] = code_digest(Path(spec.origin))
    return found


def code_digest(path: Path) -> str:
    """Digest of a Python file's syntax tree without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_text(s)]  # type: ignore[attr-defined]
    return digest_of(ast.dump(tree).encode())


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """One sentence for each thing that changed between two identities; [] when they are the same."""
    sentences = []
    for what in ("config", "data", "code"):
        a, b = then.get(what, {}), now.get(what, {})
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                sentences.append(_sentence(what, key, a.get(key), b.get(key)))
    return sentences


def _sentence(what: str, key: str, then: Any, now: Any) -> str:
    if what == "config":
        return f"{key}: {then} then, {now} now"
    if what == "data":
        return f"{key} split: {_pairs(then)} then, {_pairs(now)} now (names or sizes of files changed)"
    return f"the code of {key} {'is new' if then is None else 'is gone' if now is None else 'changed'}"


def _pairs(split: Any) -> str:
    return f"{split['pairs']} pairs" if isinstance(split, dict) and "pairs" in split else "none"


def _room(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def digest_of(content: bytes) -> str:
    """Sixteen digits that stand for a content."""
    return hashlib.sha256(content).hexdigest()[:16]
