"""Folders of strangers who mean harm: data that names code, bombs, pipes, loops, names that are markup."""

import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.siege import payloads
from benchmarks.siege.photos import folder as photos
from benchmarks.siege.photos import train, write_whole_name
from benchmarks.siege.signals import finish
from benchmarks.siege.stand import Ended, run, scratch
from benchmarks.siege.table import HELD, Trial, broken
from benchmarks.siege.tiny import Unbroken

MARK = "FOREIGN-CODE-RAN"
OPENERS = ("evaluate", "predict", "compare", "analyse", "resume", "load_model")


def foreign_code(name: str, opener: str, unbroken: Unbroken) -> list[Trial]:
    """A run folder that names or holds code, opened by a command: whatever else happens, the code does not run."""
    with scratch() as folder:
        shutil.copytree(unbroken.folder, folder / "run")
        shutil.copytree(unbroken.folder, folder / "other")
        photos(folder / "d", 2)
        payloads.PAYLOADS[name](folder / "run", folder / MARK)
        recipe = f"a run folder with {name}, opened by {opener}"
        commands: dict[str, list[object]] = {
            "evaluate": ["evaluate", "--run", "run", "--split", "val", "--device", "cpu", "--out", "s.json"],
            "predict": ["predict", "--run", "run", "--images", "d/images", "--out", "p"],
            "compare": ["compare", "run", "other"],
            "analyse": ["analyse", "spectra", "run", "--out", "a", "--split", "val", "--device", "cpu"],
            "resume": ["train", "--resume", "run"],
        }
        inside = name.startswith("inside")  # the working directory is the run's own
        if opener == "load_model":
            ended = run(["--version"], folder, before=_load_model)
        else:
            arguments = [a if not inside or a != "run" else "." for a in commands[opener]]
            ended = run(arguments, folder / "run" if inside else folder, said=folder)
        if any(folder.rglob(f"{MARK}*")):
            return [Trial("other", f"{recipe}: foreign code ran; status {ended.status}; said: {ended.words}")]
        return [broken(ended, recipe) or HELD]


def _load_model() -> None:
    from segkd.models.store import load_model
    from segkd.types import InputError

    try:
        load_model("run")
    except InputError as error:
        print(error)


def modules(name: str, arguments: list[object]) -> list[Trial]:
    """A data folder with files named as modules, as the working directory of the installed command."""
    with scratch() as folder:
        photos(folder, 4)
        for module in ("cv2", "yaml", "queue", "torch", "numpy", "rich", "segkd", "timm", "sitecustomize", "pydantic"):
            (folder / f"{module}.py").write_text(f"open({MARK + '-' + module!r}, 'w')\n")
        child = subprocess.Popen([Path(sys.executable).with_name("segkd"), *map(str, arguments)], cwd=folder,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
        ended = finish(child, 120)
        ran = sorted(path.name for path in folder.glob(f"{MARK}*"))
        recipe = f"segkd {name} in a folder with cv2.py, yaml.py, queue.py, ..."
        if ran:
            return [Trial("other", f"{recipe}: {', '.join(ran)}")]
        fault = broken(ended, recipe)
        return [fault or (HELD if ended.status == 0 else Trial("other", f"{recipe}: {ended.words}"))]


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij")
)
LAYERS = {
    "billion laughs": BOMB + "data: {classes: *j}\n",
    "20000 brackets": "data: " + "[" * 20000,
    "3000 nested maps": "{data: " * 3000 + "1" + "}" * 3000,
    "an alias of itself": "data: &a {classes: [*a]}\n",
    "a python tag": f"data: !!python/object/apply:os.system ['touch {MARK}']\n",
    "a key twice": "data: {root: d}\ndata: {size: 64}\n",
    "no text": "\x00\x01\x02",
    "a number": "5",
    "a date as a key": "2020-01-01: 3\n",
    "a list as a key": "? [1, 2]\n: 3\n",
}


def layer(name: str, command: str) -> list[Trial]:
    """A YAML file that is a bomb, as every kind of layer: refused in a paragraph."""
    with scratch() as folder:
        photos(folder / "d", 4)
        (folder / "bomb.yaml").write_text(LAYERS[name])
        commands: dict[str, list[object]] = {
            "train": [*train("d", "r"), "--config", "bomb.yaml"],
            "sheet": ["sheet", "--data", "bomb.yaml"],
            "evaluate": ["evaluate", "--predictions", "d/masks", "--labels", "d/masks", "--data", "bomb.yaml"],
            "ablate": ["ablate", "--config", "bomb.yaml", "--out", "grid", "--dry-run"],
        }
        return [_paragraph(run(commands[command], folder, limit=30), folder, f"{name} as a layer of {command}")]


def run_file(name: str, content: str, opener: str, unbroken: Unbroken) -> list[Trial]:
    """A file of a run that is a bomb."""
    with scratch() as folder:
        shutil.copytree(unbroken.folder, folder / "run")
        (folder / "run" / name).write_text(content)
        commands: dict[str, list[object]] = {
            "evaluate": ["evaluate", "--run", "run", "--split", "val", "--device", "cpu", "--out", "page"],
            "compare": ["compare", "run", unbroken.folder],
            "resume": ["train", "--resume", "run"],
        }
        recipe = f"{name} = {content[:20]!r}... ({len(content)} characters), opened by {opener}"
        return [broken(run(commands[opener], folder, limit=30), recipe) or HELD]


def _paragraph(ended: Ended, folder: Path, recipe: str) -> Trial:
    if any(folder.rglob(f"{MARK}*")):
        return Trial("other", f"{recipe}: foreign code ran")
    fault = broken(ended, recipe)
    if fault or ended.status == 2:
        return fault or HELD
    return Trial("silent", f"{recipe}: status {ended.status}; said: {ended.words}")


def _odd(place: Path, name: str) -> None:
    """Puts something odd into a folder of pictures."""
    target = place / "photo9.png"
    if name == "a pipe":
        os.mkfifo(target)
    elif name == "a socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.path.relpath(target))
    elif name == "a folder named as a picture":
        target.mkdir()
    elif name == "a huge picture":
        Image.fromarray(np.zeros((13000, 13000), np.uint8)).save(target)
    elif name == "a header of 2^31 pixels":
        small = bytearray((place / "photo0.png").read_bytes())
        small[16:24] = (60000).to_bytes(4, "big") * 2
        target.write_bytes(small)
    elif name == "a sparse array of 14 GB":
        np.lib.format.open_memmap(place / "photo9.npy", "w+", np.float32, (60000, 60000)).flush()
    elif name in LINKS:
        target.symlink_to(LINKS[name])
    else:
        write_whole_name(place, NAMES[name], (place / "photo0.png").read_bytes())


LINKS = {"a link to itself": "photo9.png", "a link to /dev/zero": "/dev/zero", "a link to nowhere": "nowhere",
         "a loop of folders": ".", "a link to /dev/stdin": "/dev/stdin"}  # fmt: skip
NAMES = {
    "a name that is no text": b"caf\xe9\xff.png",
    "a name with a new line": b"a\nb.png",
    "a name that speaks to the terminal": b"\x1b]0;owned\x07\x1b[2J.png",
    "a name that is markup": b"[bold][link=http:x]x[#red]\\[.png",
    "a name that is HTML": b"<img src=x onerror=owned()><script>owned().png",
    "a long name": b"x" * 251 + b".png",
    "a name that is an option": b"--out.png",
    "a name that is a formula": b"=cmd|' !A0.png",
}
ODD = ("a pipe", "a socket", "a folder named as a picture", "a huge picture", "a header of 2^31 pixels",
       "a sparse array of 14 GB", *LINKS, *NAMES)  # fmt: skip


def odd_file(name: str, command: str, unbroken: Unbroken) -> list[Trial]:
    """Something odd among the pictures: no wait, no traceback, nothing of it acts in the terminal or on the page."""
    with scratch() as folder:
        os.chdir(folder)
        photos(folder / "d", 4)
        _odd(folder / "d" / "images", name)
        _odd(folder / "d" / "masks", name)
        commands: dict[str, list[object]] = {
            "sheet": ["sheet", "--data.root", "d"],
            "train": train("d", "r"),
            "evaluate": ["evaluate", "--predictions", "d/masks", "--labels", "d/masks", "--out", "page"],
            "predict": ["predict", "--run", unbroken.folder, "--images", "d/images", "--out", "p"],
        }
        recipe = f"{name} in a data folder, {command}"
        ended = run(commands[command], folder, limit=45)
        fault = broken(ended, recipe)
        if fault:
            return [fault]
        if "\x1b]0;" in ended.text or "\x1b[2J" in ended.text:
            return [Trial("other", f"{recipe}: speaks to the terminal")]
        pages = [path.read_text(encoding="utf-8", errors="replace") for path in folder.rglob("*.html")]
        if any("<img src=x" in page or "<script>owned" in page for page in pages):
            return [Trial("other", f"{recipe}: the page holds the name as HTML")]
        return [HELD]


def jobs(unbroken: Unbroken, seed: int, more: float) -> list[tuple]:
    """(function, arguments) of every trial; a random share of them where `more` is below 1."""
    deep: dict[str, str] = {
        "deep": "[" * 100000,
        "wide": '{"a":' * 5000 + "1" + "}" * 5000,
        "null": "null",
        "NaN": "NaN",
    }
    found: list[tuple] = [(foreign_code, name, opener, unbroken) for name in payloads.PAYLOADS for opener in OPENERS]
    found += [(layer, name, command) for name in LAYERS for command in ("train", "sheet", "evaluate", "ablate")]
    for name in ("model.json", "metrics.jsonl", "environment.json", "config.yaml"):
        openers = ("evaluate", "compare", "resume")
        found += [(run_file, name, content, opener, unbroken) for content in deep.values() for opener in openers]
    found += [(run_file, "config.yaml", BOMB, opener, unbroken) for opener in ("evaluate", "compare", "resume")]
    found += [(odd_file, n, c, unbroken) for n in ODD for c in ("sheet", "train", "evaluate", "predict")]
    commands: dict[str, list[object]] = {
        "sheet": ["sheet", "--data.root", "."],
        "train --help": ["train", "--help"],
        "train": [*train(".", "r")],
        "evaluate": ["evaluate", "--predictions", "masks", "--labels", "masks"],
        "--help": ["--help"],
    }
    found += [(modules, name, arguments) for name, arguments in commands.items()]
    return found if more >= 1 else random.Random(seed).sample(found, max(1, round(len(found) * more)))
