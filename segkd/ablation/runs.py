"""Run folders as rows of a comparison: which of them are one arm, what they scored, and what is odd about them."""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from segkd.ablation.identity import plain_config
from segkd.ablation.rows import Row, refuse_wild, scores_of
from segkd.datasets.digest import Digests
from segkd.datasets.packed import name_of
from segkd.disk import read_json, read_text
from segkd.engine.record import read_lines
from segkd.experiment.classes import refuse_foreign
from segkd.experiment.folder import as_it_began, checkpoint_of, flat, read_environment
from segkd.experiment.layers import read_layer
from segkd.experiment.processes import make_accelerator
from segkd.experiment.same_data import FILE
from segkd.experiment.scoring import score_student
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.metrics.protocol import PLAIN, fingerprint
from segkd.models.store import load_model, read_card
from segkd.types import InputError


def arm_names(methods: Mapping[Path, dict[str, Any]], taken: Collection[str] = ()) -> dict[Path, str]:
    """Run -> name of its arm; runs with one configuration share a name. An arm whose name another has, or that is
    `taken` by what is no run, is called by its first run's path."""
    groups: list[list[Path]] = []
    for run, method in methods.items():
        group = next((g for g in groups if methods[g[0]] == method), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    names: dict[Path, str] = {}
    for group in groups:
        shared = _beginning([run.resolve().name for run in group]) if len(group) > 1 else ""
        name = shared.rstrip("-_. ").removesuffix("seed").rstrip("-_. ") or group[0].resolve().name
        name = name if name not in (*taken, *names.values()) else str(group[0])
        names |= dict.fromkeys(group, name)
    return names


def what_differs(methods: dict[str, dict[str, Any]], most: int = 8) -> list[str]:
    """A sentence for each setting in which arms differ."""
    keys = sorted({key for method in methods.values() for key in method})
    apart = [key for key in keys if len({repr(method.get(key)) for method in methods.values()}) > 1]
    lines = [
        f"{key}: " + ", ".join(f"{arm} {method.get(key, '-')}" for arm, method in methods.items()) for key in apart
    ]
    rest = len(lines) - most
    more = [f"... and {rest} more {'setting differs' if rest == 1 else 'settings differ'}"] if rest > 0 else []
    return lines[:most] + more


def _beginning(names: Sequence[str]) -> str:
    """The letters that all names begin with; of numbers that begin alike (10, 11) none."""
    shared = os.path.commonprefix(names)  # noqa: RUF071 - letters are meant, not folders
    within = any(name[len(shared) : len(shared) + 1].isdigit() for name in names)
    return shared.rstrip("0123456789") if within else shared


def method_of(run: Path) -> dict[str, Any]:
    """The configuration of a run without its seed and its data, but with what shapes the data's batches."""
    read_layer(run / "config.yaml")  # names the file when it is none
    config = plain_config(read_text(run / "config.yaml", "a configuration")) | as_it_began(run / "config.yaml")
    shaping = ("data.size", "data.batch_size", "data.augment")
    return {k: v for k, v in config.items() if k != "seed" and (not k.startswith("data.") or k.startswith(shaping))}


def row_of(run: Path, split: str, trust: bool) -> Row:
    """The row of one run; val as it was scored in training, other splits are scored now."""
    config = flat(read_layer(run / "config.yaml"))
    lines = read_lines(run / "metrics.jsonl")
    steps = max((line["step"] for line in lines), default=0)
    sessions = read_environment(run)
    processes = sessions[-1].get("processes", 1) if sessions else 1
    sizes = [config.get("data.batch_size"), config.get("engine.accumulate", 1), processes, config.get("seed", 0)]
    if not all(isinstance(size, int) for size in sizes):
        raise InputError(
            f"{run}: expected whole numbers for data.batch_size, engine.accumulate and seed in config.yaml, and for "
            f"processes in environment.json, found {sizes}. Restore the run's own files."
        )
    images = steps * sizes[0] * sizes[1] * sizes[2]
    given = _val_scores(run) if split == "val" else _scored_now(run, split, trust)
    scores = scores_of(given)
    refuse_wild(scores, str(run))
    return Row(
        arm="",
        dataset=_dataset_of(config),
        seed=sizes[3],
        split=split,
        scores=scores,
        steps=steps,
        images=images,
        seconds=_seconds(sessions),
        commit=str(sessions[-1].get("commit", "")) if sessions else "",
        record=run / "metrics.jsonl",
    )


def _seconds(sessions: Sequence[dict[str, Any]]) -> float:
    """Of all sessions together; 0, which is not known, where one of them was killed before it could write it down."""
    found = [session.get("seconds") for session in sessions]
    known = [one for one in found if isinstance(one, int | float)]
    return float(sum(known)) if len(known) == len(found) else 0.0


def _dataset_of(config: Mapping[str, Any]) -> str:
    """The name of the data set, or of its domains, of a flat configuration."""
    domains = dict.fromkeys(key.split(".")[2] for key in config if key.startswith("data.domains."))
    root = "+".join(domains) or config.get("data.root") or config.get("data.parquet")
    return name_of(root) if root else "embedded"


def _val_scores(run: Path) -> dict[str, Any]:
    if not (run / "student.safetensors").is_file():
        unfinished = " It has a checkpoint; go on with segkd train --resume." if checkpoint_of(run).is_file() else ""
        raise InputError(f"{run}: expected a run that was validated at least once, found no student.{unfinished}")
    return read_card(run).scores


def _scored_now(run: Path, split: str, trust: bool) -> dict[str, Any]:
    parser, own = training_parser(), run / "config.yaml"
    if not trust:
        refuse_foreign(read_layer(own), str(own))
    config = parse(parser, ["--config", str(own)])
    accelerator = make_accelerator(config.engine)
    data = instantiate(parser, Namespace(data=config.data)).data
    model = load_model(run, str(accelerator.device), trust)
    return score_student(model, data, split, accelerator, config.evaluation.threshold).scores()


def other_images(scored: dict[Path, Row]) -> list[str]:
    """A warning for each run that was validated on other images than the first one of its data set and seed."""
    first: dict[tuple[str, int], tuple[Path, dict[str, str]]] = {}
    sentences = []
    for run, row in scored.items():
        known = read_json(run / FILE, Digests, "the digests of a run's data") if (run / FILE).is_file() else {}
        if not known.get("val"):  # generated images, or a run of an older version
            continue
        other, theirs = first.setdefault(row.unit, (run, known["val"]))
        if theirs != known["val"]:
            sentences.append(f"warning: {other} and {run} have different val images of {row.dataset}, and are paired")
    return sentences


def other_students(runs: Sequence[Path]) -> list[str]:
    """A warning for each run whose student is none that its record tells of: another run's may lie in its place."""
    sentences = []
    for run in runs:
        looks = [line for line in read_lines(run / "metrics.jsonl") if line.get("kind") == "val"]
        if not looks:  # a run that was pulled, or whose record is lost
            continue
        card = read_card(run)
        known = [line for line in looks if line["step"] == card.step]
        told = {name: score for name, score in card.scores.items() if score is not None and math.isfinite(score)}
        if not any(all(line.get(name) == score for name, score in told.items()) for line in known):
            sentences.append(
                f"warning: {run}: the record of the training has no validation of step {card.step} with the scores of "
                "student.safetensors; another run's may lie in its place"
            )
    return sentences


def rules_of(run: Path) -> tuple[str, dict[str, Any]]:
    """The data set of a run, and the fingerprint of its scores."""
    layer = read_layer(run / "config.yaml")
    config, data = flat(layer), layer.get("data")
    try:
        several = len(config.get("data.classes", [])) > 2
        threshold = None if several else float(config.get("evaluation.threshold", 0.5))
        reading = data if isinstance(data, dict) else {}
        maps = {"scaled": "as logits"}
        found = fingerprint(PLAIN, threshold, config.get("data.ignore") or (), reading=reading, maps=maps)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{run / 'config.yaml'}: expected data.classes, data.ignore and evaluation.threshold as segkd train writes "
            f"them, found: {error}. Restore the file."
        ) from error
    return _dataset_of(config), found
