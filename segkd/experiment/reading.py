"""How the images to be predicted are read: as those of the training were."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from glob import escape, iglob
from pathlib import Path

import torch
from rich.console import Console

from segkd.datasets.data import Data
from segkd.datasets.domains import parts_of
from segkd.datasets.pictures import How
from segkd.experiment.arguments import data_layer
from segkd.experiment.console import warn
from segkd.experiment.settings import data_parser, instantiate, parse
from segkd.models.onnx import open_session
from segkd.models.signature import stated
from segkd.models.store import read_card
from segkd.models.weights import student_of


def how_of(runs: Sequence[str], console: Console, given: Sequence[str] = ()) -> How:
    """How image files are read for the networks `runs`: as those of the first one's training were.

    Says which of the others, or of the domains of its data, were read in another way, and where masks are among the
    images `given`.
    """
    hows, ways, told = list[How](), dict[str, str](), dict[str, None]()
    for run in runs:
        data = _data_of(Path(run))
        hows.append(_stated(Path(run)) if data is None else way_of(data))
        ways[run] = said(hows[-1])
        if data is not None:
            ways |= {f"{run}, domain {name}": said(_plain(part)) for name, part in parts_of(data).items()}
            told |= dict.fromkeys(_masks_among(given, data))
    for sentence in told:
        warn(console, sentence)
    first = hows[0]
    if set(ways.values()) != {said(first)}:
        all_ways = "; ".join(f"{name}: {way}" for name, way in ways.items())
        warn(
            console,
            f"the images of the training were read in different ways ({all_ways}). Here all are read with "
            f"{said(first)}: to those that learned otherwise they look darker, brighter or turned",
        )
    return first


def way_of(data: Data) -> How:
    """How the images of all domains of the data are read where these agree; else as `data` itself says."""
    ways = [_plain(part) for part in parts_of(data).values()]
    return ways[0] if ways and all(said(way) == said(ways[0]) for way in ways) else _plain(data)


def said(how: How) -> str:
    """The settings by which images are read."""
    span = "null" if how.range is None else "[{:g}, {:g}]".format(*how.range)
    return f"data.range {span}, data.exif {str(how.exif).lower()}"


def _plain(data: Data) -> How:
    return replace(data, colours=None).how  # these are of masks, and perhaps in a file that is not here


def _data_of(run: Path) -> Data | None:
    """The data settings of a run; None where there is but a student, or a file that was moved away from its run."""
    folder = run if run.is_dir() else run.parent
    own = run.is_dir() or (run.is_file() and (folder / "student.safetensors").is_file())
    if not own or not (folder / "config.yaml").is_file():
        return None
    parser = data_parser("", "segkd predict")
    return instantiate(parser, parse(parser, data_layer([], None, str(folder), opened=False))).data


def _stated(run: Path) -> How:
    """What a student, or a file that segkd exported, says itself."""
    if run.suffix.lower() == ".onnx" and run.is_file():
        told = stated(open_session(str(run), torch.get_num_threads()).get_modelmeta().custom_metadata_map, str(run))
        return How() if told is None else How(told.exif, told.range)
    student = student_of(run)
    if student.is_file() and student.suffix.lower() == ".safetensors":
        card = read_card(run)
        return How(card.exif, card.range)
    return How()


def _masks_among(given: Sequence[str], data: Data) -> Iterator[str]:
    """A sentence for each folder of the images `given` in which masks of the data lie, too."""
    for place in (one for one in given if Path(one).is_dir()):
        for part in [*parts_of(data).values()] or [data]:
            root = Path(part.root or place)
            above = Path(place).resolve() in [root.resolve(), *root.resolve().parents]
            if not above and "{" in part.masks.split("/")[0]:
                continue  # in a folder of one's own any file may be called so
            base = root if above else Path(place)
            if _any(base, part.masks) and _any(base, part.images):
                yield (
                    f"{place}: masks lie there, too ({base / part.masks}), and are predicted like images. Name the "
                    f"images alone: '{base / _wild(part.images)[-1]}'"
                )


def _any(folder: Path, pattern: str) -> bool:
    """Whether there is anything at a folder or pattern of the data settings."""
    return any(next(iglob(f"{escape(str(folder))}/{wild}", recursive=True), None) for wild in _wild(pattern))


def _wild(pattern: str) -> list[str]:
    """A pattern of the data settings as the shell's; one without an extension takes any picture, or is a folder."""
    if "*" not in pattern and "{}" not in pattern:
        return [escape(pattern)]
    wild = pattern.replace("{}", "*")
    return [wild] if Path(wild).suffix else [wild, f"{wild}.*"]
