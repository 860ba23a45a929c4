"""`segkd push` and `segkd pull`: a run's student with its card, on the Hugging Face hub or in a folder."""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from segkd.disk import dump_json, read_bytes, write_whole
from segkd.experiment.about import facts_of, settings_of
from segkd.experiment.arguments import ExampleHelp
from segkd.experiment.classes import refuse_foreign
from segkd.experiment.console import make_console, warn
from segkd.experiment.settings import parse
from segkd.models.store import ModelCard, read_card
from segkd.models.trust import refuse_foreign_network
from segkd.models.weights import packed, unpacked
from segkd.types import InputError, printable

FILES = ("student.safetensors", "model.json", "config.yaml", "README.md")
"""What is pushed, and all that is ever pulled."""

OWN_PATH = re.compile(r"/|~|\\\\|file:|[A-Za-z]:[/\\]|(.*[/\\])?\.\.([/\\]|$)")
"""How paths of a machine begin: absolute ones, of Windows too, addresses of files, and those that climb with `..`."""

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")

PUSH = """Put the student of a run, its configuration and a card that says its scores, data and recipe where others find
it: on the Hugging Face hub, or in a folder. Paths of this machine are cut to their last names. For example:

  segkd push runs/first someone/leaf-spots --license cc-by-4.0
  segkd push runs/first ./to-review"""

PULL = """Fetch what segkd push put on the Hugging Face hub, or in a folder, into a run folder. It is opened as any
stranger's run is: without --trust it runs no code of theirs. For example:

  segkd pull someone/leaf-spots --out runs/leaf-spots
  segkd predict --run runs/leaf-spots --images photos --out masks"""


def push(arguments: list[str]) -> int:
    """`segkd push RUN REPO`: weights, configuration and card, on the hub or in a folder."""
    parser = ArgumentParser(prog="segkd push", description=PUSH, exit_on_error=False, formatter_class=ExampleHelp)
    add = parser.add_argument
    add("run", type=str, metavar="RUN", help="the run folder")
    add("repo", type=str, metavar="REPO", help="owner/name on the hub, or a folder: ./name, new or empty")
    add("--license", type=str | None, default=None, metavar="ID", help="yours to choose, such as cc-by-4.0; no default")
    add("--private", action="store_true", help="a new repository of the hub that others cannot see")
    add("--message", type=str, default="A student of segkd", help="of the hub's commit")
    config = parse(parser, arguments)
    config.repo = at_home(config.repo)
    run, console, card = Path(config.run), make_console(True), read_card(config.run)
    if not is_folder(config.repo):
        with TemporaryDirectory() as folder:
            _stage(run, card, Path(folder), config)
            where = _uploaded(config, folder)
    else:
        refuse_in_use(Path(config.repo), config.repo)
        _stage(run, card, Path(config.repo), config)
        where = config.repo
    to = " --out DIR" if where == config.repo else ""
    console.print(f"pushed: {where}. Others fetch it with: segkd pull {config.repo}{to}")
    if config.license is None:
        warn(console, "the card names no license: choose one, in its README.md or with --license ID.", "note")
    return 0


def pull(arguments: list[str]) -> int:
    """`segkd pull REPO`: a run folder that predicts, evaluates and starts other trainings."""
    parser = ArgumentParser(prog="segkd pull", description=PULL, exit_on_error=False, formatter_class=ExampleHelp)
    add = parser.add_argument
    add("repo", type=str, metavar="REPO", help="owner/name on the hub, or a folder that segkd push wrote")
    add("--out", type=str | None, default=None, metavar="DIR", help="new or empty; by default the repository's name")
    add("--revision", type=str | None, default=None, metavar="REV", help="a commit of the hub, which stays what it is")
    config = parse(parser, arguments)
    config.repo = at_home(config.repo)
    out, console = Path(config.out or Path(config.repo).resolve().name), make_console(True)
    refuse_in_use(out, f"--out {out}")
    with TemporaryDirectory() as folder:
        if is_folder(config.repo):
            if config.revision is not None:
                raise InputError(f"--revision is for the hub, {config.repo} is a folder: leave it out.")
            source = Path(config.repo)
        else:
            source = Path(_downloaded(config, folder))
        content = contents_of(source)
        card = read_card(source)  # its digest holds, and it is a card
        for name, bytes_ in content.items():
            write_whole(out / name, bytes_)
    console.print(f"pulled: {out} ({', '.join(content)}), {_short(card)}. Try: segkd info {out}")
    for sentence in needs_trust(out, card):
        warn(console, sentence)
    return 0


def at_home(repo: str) -> str:
    """REPO with the home folder for its `~`, which a shell leaves alone in quotes."""
    found = os.path.expanduser(repo)
    if found.startswith("~"):
        raise InputError(f"REPO: {repo} begins with the home folder of nobody who is known here. Write ./{repo}.")
    return found


def is_folder(repo: str) -> bool:
    """Whether REPO means a folder: it is one, or is written as a path. A name on the hub is owner/name.

    Raises:
        InputError: neither.
    """
    if (repo and Path(repo).is_dir()) or repo.startswith(("./", "../", "/")):
        return True
    if not REPOSITORY.fullmatch(repo):
        raise InputError(
            f"REPO: expected owner/name on the hub, or a folder such as ./{repo.strip('/')}, found {repo}."
        )
    return False


def refuse_in_use(folder: Path, named: str) -> None:
    """Raises InputError unless a folder is new or empty, and can be made; leaves no new one behind, but for the folders
    above it."""
    new = not folder.exists()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{named}: expected a folder that is new or empty, found one in use. Give another.")
    write_whole(folder / ".segkd", b"")
    (folder / ".segkd").unlink()
    if new:
        folder.rmdir()


def contents_of(source: Path) -> dict[str, bytes]:
    """The files of `FILES` that a folder holds; no link is followed, nothing else is read.

    Raises:
        InputError: a file there is a link to elsewhere.
    """
    found = {}
    for name in FILES:
        path = source / name
        if path.is_symlink():
            raise InputError(f"{path}: expected a file, found a link, which may lead anywhere: nothing is pulled.")
        if path.exists():
            found[name] = read_bytes(path, "a file of a pushed run")
    return found


def needs_trust(run: Path, card: ModelCard) -> list[str]:
    """Why the commands that open this run will ask for --trust."""
    said = []
    for name, look in (
        ("student.safetensors", lambda: refuse_foreign_network(card.class_path, card.init_args, str(run))),
        ("config.yaml", lambda: refuse_foreign(settings_of(run), str(run))),
    ):
        try:
            look()
        except InputError as error:
            said.append(f"{name}: {error}")
    return said


def without_paths(tree: Any) -> Any:
    """Plain data in which paths of this machine are their last names: they tell others nothing but secrets."""
    if isinstance(tree, Mapping):
        return {key: without_paths(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [without_paths(value) for value in tree]
    if isinstance(tree, str) and OWN_PATH.match(tree):
        return PureWindowsPath(tree).name  # which takes both slashes
    return tree


def model_card(card: ModelCard, facts: Mapping[str, str], repo: str, license: str | None) -> str:
    """The text of README.md: what the hub reads, how to use it, what it is, how it scores."""
    name = Path(repo).resolve().name if is_folder(repo) else repo
    front = {"library_name": "segkd", "pipeline_tag": "image-segmentation", "tags": ["segkd", "self-distillation"]}
    named = yaml.safe_dump({"license": license}).strip() if license else (
        "# license: yours to choose, and to check against that of the training data"
    )  # fmt: skip
    scores = [f"| {key} | {value:.4f} |" for key, value in card.scores.items() if value is not None]
    return "\n".join([
        "---", yaml.safe_dump(front, sort_keys=False).strip(), named, "---", "", f"# {printable(name)}", "",
        f"A segmentation network ({_short(card)}), trained with segkd. RGB images of any size in, "
        f"{len(card.classes)} classes out.", "", "## Use", "", "```",
        f"segkd pull {name} --out model", "segkd predict --run model --images photos --out masks",
        "segkd export model --format onnx --data.root FOLDER", "```", "", "```python",
        'model = segkd.load_model("model")', "shares = model.predict(image)  # RGB uint8 [h w 3] -> float32 [k h w]",
        "```", "", "## What it is", "", "| | |", "|---|---|",
        *(f"| {key} | {_cell(text)} |" for key, text in facts.items()), "",
        f"## Scores on val{' (foreground is p >= 0.5)' if len(card.classes) == 2 else ''}", "",
        "| score | value |", "|---|---|", *scores, "",
        "Measured by segkd at the labels' own size, on the validation split that also chose the weights: expect less "
        "on new images. `config.yaml` holds every setting of the training.", "",
    ])  # fmt: skip


def _stage(run: Path, card: ModelCard, folder: Path, config: Any) -> None:
    """Writes what is pushed into a folder."""
    for name in (*FILES, "environment.json"):
        if (run / name).is_symlink():
            raise InputError(
                f"{run / name}: expected a file, found a link, which may lead anywhere: nothing is pushed."
            )
    tensors, _, _ = unpacked(run / "student.safetensors")
    card = replace(card, init_args=without_paths(card.init_args))
    settings = without_paths(settings_of(run))
    write_whole(folder / "student.safetensors", packed(tensors, asdict(card)))
    write_whole(folder / "model.json", dump_json(asdict(card)))
    if settings:
        write_whole(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
    write_whole(folder / "README.md", model_card(card, facts_of(run, card, settings), config.repo, config.license))


def _uploaded(config: Any, folder: str) -> str:
    api = _hub().HfApi()
    try:
        api.create_repo(config.repo, private=config.private or None, exist_ok=True)
        done = api.upload_folder(
            repo_id=config.repo, folder_path=folder, commit_message=config.message, allow_patterns=list(FILES)
        )
    except Exception as error:  # the hub's client raises what its own libraries do
        raise _trouble(config.repo, error) from error
    return str(getattr(done, "commit_url", config.repo))


def _downloaded(config: Any, folder: str) -> str:
    try:
        return _hub().snapshot_download(
            config.repo, revision=config.revision, local_dir=folder, allow_patterns=list(FILES)
        )
    except Exception as error:
        raise _trouble(config.repo, error) from error


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            "the hub needs its client: pip install huggingface_hub. A folder, ./name, does not."
        ) from error
    return huggingface_hub


def _trouble(repo: str, error: Exception) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return InputError(
        f"{repo}: the hub was asked, and found: {reason} See that the name is right, that this machine reaches the "
        "hub, and that you may read and write there (hf auth login)."
    )


def _short(card: ModelCard) -> str:
    return f"{card.class_path.rpartition('.')[2]}, classes: {', '.join(map(_cell, card.classes))}"


def _cell(text: str) -> str:
    """A text as Markdown shows it: no table cell, tag, link or heading begins in it."""
    return re.sub(r"([|\\`*\[\]<>!#])", r"\\\1", " ".join(printable(text).split()))
