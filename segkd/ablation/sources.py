"""Runs, grids, CSV files and scores.json as rows of a comparison; what was scored differently is refused."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace

from segkd.ablation.curves import kept_curves
from segkd.ablation.identity import plain_config
from segkd.ablation.rows import SCORES, Row, read_rows, refuse_wild
from segkd.datasets.digest import Digests
from segkd.datasets.packed import name_of
from segkd.disk import read_json, read_text
from segkd.engine.record import read_lines
from segkd.experiment.classes import refuse_foreign
from segkd.experiment.folder import checkpoint_of, flat, read_environment
from segkd.experiment.layers import read_layer
from segkd.experiment.processes import make_accelerator
from segkd.experiment.same_data import FILE
from segkd.experiment.scoring import score_student
from segkd.experiment.settings import instantiate, parse, training_parser
from segkd.metrics.protocol import PLAIN, differences, fingerprint, rules_apart
from segkd.models.store import load_model, read_card
from segkd.types import InputError


@dataclass(frozen=True)
class Scores:
    """What a comparison needs of a scores.json, by the names it has there; a score that is not defined is None."""

    fingerprint: dict[str, Any]
    dataset: str
    split: Literal["train", "val", "test"] | None = None
    n_images: int | None = None
    f_mean: float | None = None
    f_max: float | None = None
    f_adaptive: float | None = None
    miou_image: float | None = None
    miou_dataset: float | None = None
    iou_fg_image: float | None = None
    mae: float | None = None


def gather(sources: Sequence[str], split: str | None, trust: bool = False) -> tuple[list[Row], list[str]]:
    """Rows of all sources, and sentences on what tells the arms apart that are made of runs.

    A source is a CSV file of cells, the folder of a grid, a scores.json of `segkd evaluate`, or a run folder. Runs
    whose configurations agree but for seed and data are one arm, named after what their folders' names share.

    Args:
        sources: paths.
        split: the split to score runs on; if None, that of the first scores.json which states one, test where none
            does, or val where there is no scores.json.
        trust: whether runs that are scored now may name classes that are not segkd's own.

    Raises:
        InputError: a source is none of these, or scores were made by different rules.
    """
    rows: list[Row] = []
    runs: list[Path] = []
    judged: dict[Path, dict[str, Any]] = {}
    for source in map(_source, sources):
        if source.suffix == ".json" and source.is_file():
            judged[source] = _read_scores(source)
        elif source.is_file():
            rows += read_rows(source)
        elif (source / "cells.csv").is_file():
            rows += rows_of_grid(source)
        elif (source / "config.yaml").is_file():
            runs.append(source)
        else:
            raise InputError(
                f"{source}: expected a run folder, the folder of a grid, a CSV file of cells, or a scores.json."
            )
    other_maps = _refuse_other_rules(judged, runs)
    rows += [_row_of_scores(path, content) for path, content in judged.items()]
    stated = [one["split"] for one in judged.values() if one.get("split")]
    asked, split = split, split or (stated or ["test" if judged else "val"])[0]
    methods = {run: _method(run) for run in runs}
    names = arm_names(methods)
    scored = {run: replace(_row_of(run, split, trust), arm=names[run]) for run in runs}
    rows += scored.values()
    if not rows:
        raise InputError(f"{', '.join(sources)}: expected cells with scores, found none. Has a training ended yet?")
    odd = _other_images(scored) if split == "val" else []
    return _with_splits(rows, asked), [
        *other_maps,
        *_uneven(judged),
        *odd,
        *what_differs({names[run]: methods[run] for run in runs}),
    ]


def rows_of_grid(grid: Path) -> list[Row]:
    """The rows of a grid's folder, with the records of the trainings that are still there; or of what `segkd compare`
    wrote of some, with its `curves.csv`."""
    rows, table = [], kept_curves(grid)
    for row in read_rows(grid / "cells.csv"):
        arm = grid / "cells" / row.dataset / row.arm
        found = [path for place in ("", "option-*/") for path in arm.glob(f"{place}seed-{row.seed}/run/metrics.jsonl")]
        # of several options (`tune`) nothing says here which one the row is of
        rows.append(replace(row, record=found[0] if len(found) == 1 else None if found else table))
    return rows


def arm_names(methods: dict[Path, dict[str, Any]]) -> dict[Path, str]:
    """Run -> name of its arm; runs with one configuration share a name."""
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
        name = name if name not in names.values() else str(group[0])
        names |= dict.fromkeys(group, name)
    return names


def what_differs(methods: dict[str, dict[str, Any]], most: int = 8) -> list[str]:
    """A sentence for each setting in which arms differ."""
    keys = sorted({key for method in methods.values() for key in method})
    apart = [key for key in keys if len({repr(method.get(key)) for method in methods.values()}) > 1]
    lines = [
        f"{key}: " + ", ".join(f"{arm} {method.get(key, '-')}" for arm, method in methods.items()) for key in apart
    ]
    return lines[:most] + ([f"... and {len(lines) - most} more settings differ"] if len(lines) > most else [])


def _beginning(names: Sequence[str]) -> str:
    """The letters that all names begin with."""
    alike = [len(set(letters)) == 1 for letters in zip(*names)]
    return names[0][: alike.index(False) if False in alike else len(alike)]


def _method(run: Path) -> dict[str, Any]:
    """The configuration of a run without its seed and its data, but with what shapes the data's batches."""
    read_layer(run / "config.yaml")  # names the file when it is none
    config = plain_config(read_text(run / "config.yaml", "a configuration"))
    shaping = ("data.size", "data.batch_size", "data.augment")
    return {k: v for k, v in config.items() if k != "seed" and (not k.startswith("data.") or k.startswith(shaping))}


def _row_of(run: Path, split: str, trust: bool) -> Row:
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
    scores = {name: math.nan if given.get(name) is None else float(given[name]) for name in SCORES}
    refuse_wild(scores, str(run))
    root = "+".join(domains_named(config)) or config.get("data.root") or config.get("data.parquet")
    return Row(
        arm="",
        dataset=name_of(root) if root else "embedded",
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


def domains_named(config: dict[str, Any]) -> list[str]:
    """The names of the domains of a flat configuration, in order."""
    return list(dict.fromkeys(key.split(".")[2] for key in config if key.startswith("data.domains.")))


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


def _source(name: str) -> Path:
    """The path of a source; of a folder that `segkd evaluate` wrote, its scores.json."""
    path = Path(name)
    written = (path / "scores.json").is_file() and not (path / "config.yaml").is_file()
    return path / "scores.json" if written else path


def _read_scores(path: Path) -> dict[str, Any]:
    content = asdict(read_json(path, Scores, "a scores.json of segkd evaluate"))
    refuse_wild({name: v for name in SCORES if (v := content.get(name)) is not None}, str(path))
    return content


def _uneven(judged: dict[Path, dict[str, Any]]) -> list[str]:
    """A warning for each data set of which not all scored the same number of images."""
    sentences = []
    for dataset in dict.fromkeys(content["dataset"] for content in judged.values()):
        counts = {path: c.get("n_images") for path, c in judged.items() if c["dataset"] == dataset}
        if len(set(counts.values())) > 1:
            texts = ", ".join(f"{path} {count}" for path, count in counts.items())
            sentences.append(f"warning: unequal numbers of images were scored of {dataset}: {texts}")
    return sentences


def _other_images(scored: dict[Path, Row]) -> list[str]:
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


def _refuse_other_rules(judged: dict[Path, dict[str, Any]], runs: Sequence[Path]) -> list[str]:
    """Refuses scores of different protocols, thresholds or looks at test, which do not compare; a warning for each
    source whose maps were scaled, or read, otherwise than the first one's: with a foreign model that has to be."""
    prints = {str(path): content["fingerprint"] for path, content in judged.items()}
    prints |= {str(run): _fingerprint(run) for run in runs}
    first, sentences = next(iter(prints), ""), []
    for source, given in prints.items():
        apart = rules_apart(prints[first], given)
        if apart:
            raise InputError(
                f"{first} and {source} were scored by different rules, so they do not compare: {'; '.join(apart)}. "
                "Score both with the same --protocol, --threshold, looks and reading of labels (segkd evaluate)."
            )
        if maps := differences(prints[first], given):
            sentences.append(f"warning: the maps of {first} and {source} came to be otherwise: {'; '.join(maps)}")
    return sentences


def _fingerprint(run: Path) -> dict[str, Any]:
    layer = read_layer(run / "config.yaml")
    config, data = flat(layer), layer.get("data")
    try:
        several = len(config.get("data.classes", [])) > 2
        threshold = None if several else float(config.get("evaluation.threshold", 0.5))
        reading = data if isinstance(data, dict) else {}
        maps = {"scaled": "as logits"}
        return fingerprint(PLAIN, threshold, config.get("data.ignore") or (), reading=reading, maps=maps)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{run / 'config.yaml'}: expected data.classes, data.ignore and evaluation.threshold as segkd train writes "
            f"them, found: {error}. Restore the file."
        ) from error


def _row_of_scores(path: Path, content: dict[str, Any]) -> Row:
    folder = path.resolve().parent
    # of several data sets, evaluate writes OUT/DATASET/scores.json
    folder = folder.parent if folder.name == content["dataset"] else folder
    name = folder.name if path.stem == "scores" else path.stem
    scores = {key: math.nan if content.get(key) is None else float(content[key]) for key in SCORES}
    images, split = path.with_name("per_image.csv"), content.get("split") or ""
    by_image = images if path.name == "scores.json" and images.is_file() else None
    return Row(name, content["dataset"], 0, split, scores, steps=0, images=0, seconds=0.0, commit="", by_image=by_image)


def _with_splits(rows: Sequence[Row], asked: str | None) -> list[Row]:
    """Scores of a folder of labels are of no split: they stand beside those that were asked for, or that all others
    are of; beside several splits they count as of test."""
    named = sorted({row.split for row in rows} - {""})
    taken = asked or (named[0] if len(named) == 1 else "test" if named else "")
    return [replace(row, split=row.split or taken) for row in rows]
