"""Mutated inputs: every command that reads a file, given that file with damage.

A trial holds when the command ends with status 2 and a paragraph, or with status 0. Where the file is segkd's own
record of a run (`Target.strict`), status 0 with another result than the undamaged file gives, and no line that begins
with "warning", is "silent". Pictures, lists, settings and tables of scores carry nothing that could tell damage from
another content: for them only tracebacks and waits count.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.siege.mutate import mutated
from benchmarks.siege.photos import folder as photos
from benchmarks.siege.photos import sample
from benchmarks.siege.stand import run, scratch
from benchmarks.siege.table import HELD, Trial, broken, times
from benchmarks.siege.tiny import Unbroken, differences

Result = Callable[[Path], Any]


@dataclass(frozen=True)
class Target:
    """A kind of file, the commands that read it, how many mutants it gets, and what its result is if it is strict;
    `half`: the run is one that was killed halfway."""

    files: str
    commands: tuple[tuple[object, ...], ...]
    number: int
    strict: Result | None = None
    half: bool = False


def _scores(folder: Path) -> Any:
    found = json.loads((folder / "s.json").read_text())
    return {key: found.get(key) for key in ("scores", "iou", "threshold", "step", "n_images")}


def _end(folder: Path) -> Any:
    return [line for line in differences(folder / "run", folder / "unbroken") if "metrics.jsonl" not in line]


def _record(folder: Path) -> Any:
    """Which lines the log has, by kind and step, and whether the weights are right. A number in a line may differ, and
    so may the order of lines, each of which names its step."""
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return sorted((line["kind"], line["step"]) for line in lines), _end(folder)


SHEET = ("sheet", "--data.root", "d", "--split", "train")
MAPS = ("evaluate", "--labels", "d/masks", "--out", "page", "--predictions")
JUDGE = ("evaluate", "--run", "run", "--split", "val", "--device", "cpu", "--threshold", "val", "--out", "s.json")
RESUME = ("train", "--resume", "run")
TARGETS = {
    "pictures": Target("d/images/*", (SHEET, ("predict", "--run", "run", "--images", "d/images", "--out", "p")), 150),
    "masks": Target("d/masks/*", (SHEET, (*MAPS, "maps/png")), 110),
    "maps": Target(
        "maps/*/*", ((*MAPS, "maps/png"), (*MAPS, "maps/tif"), (*MAPS, "maps/npy"), (*MAPS, "maps/npz")), 170
    ),
    "lists": Target("d/*.txt", (SHEET, (*MAPS, "maps/png", "--list", "d/train.txt")), 80),
    "layers": Target(
        "layer.yaml", (("train", "--config", "layer.yaml", "--print_config"), ("sheet", "--data", "layer.yaml")), 120
    ),
    "model.json": Target("run/model.json", (JUDGE,), 90, _scores),
    "student.safetensors": Target("run/student.safetensors", (JUDGE,), 90, _scores),
    "last.pt": Target("run/checkpoints/last.pt", (RESUME,), 80, _end, half=True),
    "metrics.jsonl": Target("run/metrics.jsonl", (RESUME,), 80, _record, half=True),
    "metrics.jsonl, read": Target("run/metrics.jsonl", ((*JUDGE[:-1], "page"), ("compare", "run", "unbroken")), 40),
    "config.yaml": Target("run/config.yaml", (JUDGE, RESUME, ("compare", "run", "unbroken")), 40),
    "scores.json": Target("a/scores.json", (("compare", "a/scores.json", "b/scores.json"),), 60),
    "cells.csv": Target("cells.csv", (("compare", "cells.csv"),), 60),
    "environment.json": Target(
        "run/environment.json", (("compare", "run", "unbroken"), (*JUDGE[:-1], "page"), RESUME), 40
    ),
}


def material(folder: Path, unbroken: Unbroken) -> None:
    """Everything that is mutated, whole: a run, a run at half its way, data, maps, lists, layers, scores."""
    hidden = shutil.ignore_patterns("tensorboard")
    shutil.copytree(unbroken.folder, folder / "run", ignore=hidden)
    shutil.copytree(unbroken.half, folder / "half", ignore=hidden)
    (folder / "unbroken").symlink_to(unbroken.folder)
    d = photos(folder / "d", 6)
    for number, kind in enumerate(("jpg", "bmp", "tif", "webp")):
        Image.open(d / "images" / f"photo{number}.png").save(d / "images" / f"photo{number}.{kind}")
        (d / "images" / f"photo{number}.png").unlink()
    for kind in ("png", "tif", "npy", "npz"):
        (folder / "maps" / kind).mkdir(parents=True)
        for number in range(6):
            _map(folder / "maps" / kind / f"photo{number}.{kind}", sample(number)[1])
    _tables(folder)


def _map(path: Path, label: np.ndarray) -> None:
    share = np.clip(0.9 * label + np.linspace(0, 0.1, label.size).reshape(label.shape), 0, 1).astype(np.float32)
    if path.suffix == ".npy":
        np.save(path, share)
    elif path.suffix == ".npz":
        np.savez(path, share)
    else:
        Image.fromarray((share * 255).astype(np.uint8)).save(path)


def _tables(folder: Path) -> None:
    source = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    (folder / "layer.yaml").write_text(source.read_text().replace("320", "6").replace("48", "3").replace("80", "3"))
    names = "f_mean,f_max,f_adaptive,miou_image,miou_dataset,iou_fg_image,mae"
    rows = [f"{arm},set,{seed},test,{','.join(['0.5'] * 6)},0.1,10,100,3.5,abc" for arm in "ab" for seed in range(3)]
    (folder / "cells.csv").write_text(
        "\n".join([f"arm,dataset,seed,split,{names},steps,images,seconds,commit", *rows, ""])
    )


@cache
def _whole(unbroken: Unbroken) -> Path:
    """The material of this process, undamaged."""
    folder = unbroken.folder.parent / f"material-{os.getpid()}"
    folder.mkdir()
    material(folder, unbroken)
    for name, maps in (("a", "maps/png"), ("b", "maps/npy")):
        ended = run(["evaluate", "--labels", "d/masks", "--out", f"{name}/scores.json", "--predictions", maps], folder)
        assert ended.status == 0, ended.text
    return folder


@contextmanager
def _copy(unbroken: Unbroken, name: str) -> Iterator[Path]:
    """A copy of the material; where a run at half its way is asked for, it is the run."""
    with scratch() as folder:
        shutil.copytree(_whole(unbroken), folder, symlinks=True, dirs_exist_ok=True)
        if TARGETS[name].half:
            shutil.rmtree(folder / "run")
            (folder / "half").rename(folder / "run")
        yield folder


@cache
def _reference(name: str, command: tuple[object, ...], unbroken: Unbroken) -> tuple[Any, frozenset[str]]:
    """The result of a command on undamaged files, and what it says."""
    with _copy(unbroken, name) as folder:
        ended, strict = run(command, folder), TARGETS[name].strict
        assert ended.status == 0, ended.text
        return strict(folder) if strict else None, frozenset(ended.text.splitlines())


def mutant(name: str, seed: str, unbroken: Unbroken) -> list[Trial]:
    """One damaged file, one command."""
    target, draw = TARGETS[name], random.Random(seed)
    with _copy(unbroken, name) as folder:
        path = draw.choice(sorted(folder.glob(target.files)))
        command = draw.choice(target.commands)
        if name == "maps":
            command = (*command[:-1], str(path.parent.relative_to(folder)))
        content, said = mutated(path.name, path.read_bytes(), draw)
        path.write_bytes(content)
        ended = run(command, folder)
        recipe = f"{path.relative_to(folder)}: {said}; segkd {' '.join(map(str, command))} ({seed})"
        fault = broken(ended, recipe)
        if fault or ended.status != 0 or target.strict is None:
            return [fault or HELD]
        result, usual = _reference(name, command, unbroken)
        new = [line for line in ended.text.splitlines() if line not in usual]
        if any(line.startswith("warning") or path.name in line for line in new):
            return [HELD]
        return [_compared(target.strict, folder, recipe, result)]


def _compared(result: Result, folder: Path, recipe: str, reference: Any) -> Trial:
    try:
        found = result(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Trial("silent", f"{recipe}: a result that cannot be read: {error!r}")
    return HELD if found == reference else Trial("silent", f"{recipe}: status 0, another result, not a word")


def jobs(unbroken: Unbroken, seed: int, more: float) -> list[tuple]:
    """(function, arguments) of every trial."""
    return [
        (mutant, name, f"{name} {seed} {i}", unbroken)
        for name, target in TARGETS.items()
        for i in range(times(target.number, more))
    ]
