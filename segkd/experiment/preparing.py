"""`segkd prepare`: from a folder as it was downloaded to a data layer, every decision a printed line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from PIL import Image
from rich.console import Console

from segkd.datasets.audit import Audit, Reading, read_all, read_pair
from segkd.datasets.data import Data, Records, label_code, splits_of
from segkd.datasets.faults import refuse_faults
from segkd.datasets.labels import LabelCode, resize_label
from segkd.datasets.notes import notes_on
from segkd.datasets.packing import write_shards
from segkd.datasets.pairing import Pair
from segkd.datasets.pictures import open_picture, read_mask
from segkd.datasets.prepare.draft import Draft, names_of, new_draft
from segkd.datasets.prepare.layouts import find_layout
from segkd.datasets.prepare.objects import find_objects, joined
from segkd.datasets.prepare.proposal import SIDE_ACCELERATOR, SIDE_CPU, lost_share, propose_size, propose_turns
from segkd.datasets.prepare.splitting import split_lists
from segkd.datasets.prepare.values import meaning_of
from segkd.datasets.prepare.written import at_size, smaller, write_masks
from segkd.datasets.sheet import contact_sheet
from segkd.datasets.split_folders import Where, pair_all
from segkd.datasets.splits import SPLITS, Splits
from segkd.disk import write_whole
from segkd.experiment.console import make_console, ticking, warn
from segkd.experiment.settings import parse
from segkd.types import IGNORE, InputError

SHOWN = 24
"""Pairs on the contact sheet."""

KEPT = 400
"""Masks that are kept, small, to try sizes on."""


def prepare(arguments: list[str]) -> int:
    """`segkd prepare`: writes the data layer of a folder as it was downloaded, and a contact sheet."""
    config = parse(_parser(), arguments)
    console = make_console(True)
    draft = new_draft(Path(config.source).expanduser(), Path(config.out).expanduser())
    _lay_out(draft, config, console)
    seen = _look(draft, console)
    meaning = meaning_of(seen.audit, config.classes, config["as"])
    console.print(f"masks: {meaning.said}")
    for name in ("classes", "label_map", "ignore", "threshold", "colours"):
        if getattr(meaning, name) not in (None, []):
            draft.take(name, getattr(meaning, name))
    if meaning.colours is not None:
        seen = _look(draft, console)
    if few := smaller(seen.audit, lambda path: open_picture(path).size[::-1], seen.pairs):
        _enlarge(draft, seen, len(few), console)
        seen = _look(draft, console)
    code = _code_of(draft.data(), seen)
    _fit(draft, seen, code, console)
    if config.to == "parquet":
        _pack(draft, seen, console)
    draft.write(f"Written by `segkd prepare {config.source}`: change what is not as it was meant.")
    _draw(draft, seen, code, console)
    console.print(f"written: {config.out}. Train: segkd train --config {config.out} --out RUN")
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="segkd prepare",
        description="Find out how a folder as it was downloaded holds images and masks, and write the data layer that "
        "`segkd train --config` takes. The folder is never changed.",
        exit_on_error=False,
    )
    add = parser.add_argument
    add("source", type=str, metavar="SOURCE", help="the folder")
    add("--out", type=str, required=True, metavar="DATA.yaml", help="the layer to write; what is made lies beside it")
    add("--images", type=str, default=None, metavar="PATTERN", help="where the images are, if it is not found")
    add("--masks", type=str, default=None, metavar="PATTERN", help="where the masks are, if it is not found")
    add(
        "--to",
        choices=["layer", "parquet"],
        default="layer",
        help="parquet: images and masks go into Parquet shards, too, and the layer reads these",
    )
    add("--classes", type=str, nargs="+", default=None, metavar="NAME", help="names of the classes, background first")
    add(
        "--as",
        choices=["auto", "classes", "objects", "grey"],
        default="auto",
        help="what mask values are: class numbers, numbers of objects of one class, grey levels",
    )
    return parser


@dataclass
class _Seen:
    """What reading all pairs told: the audit, the images' shapes, and the raw values of some masks."""

    splits: Splits
    audit: Audit = field(default_factory=Audit)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    masks: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of all splits."""
        return [pair for members in self.splits.members.values() for pair in members]

    def keep(self, reading: Reading) -> None:
        """Notes one pair."""
        assert reading.image is not None and reading.raw is not None
        self.shapes.append(reading.image.shape[:2])
        if len(self.masks) < KEPT:
            self.masks[reading.pair.stem] = _shrunk(reading.raw)


def _shrunk(raw: np.ndarray) -> np.ndarray:
    scale = min(1.0, 1024 / max(raw.shape))
    return resize_label(raw, (max(1, round(raw.shape[0] * scale)), max(1, round(raw.shape[1] * scale))))


def _lay_out(draft: Draft, config: Namespace, console: Console) -> None:
    """Which image belongs to which mask, and which are for what."""
    objects = None if config.images or config.masks else find_objects(draft.root)
    if objects is not None:
        console.print(f"found: {objects.said}; they are joined to one class in {draft.beside / 'masks'}")
        write_masks(draft.beside / "masks", ((name, joined(some)) for name, some in objects.masks.items()))
        draft.take("images", objects.images)
        draft.take("masks", draft.beside / "masks")
    else:
        layout = find_layout(draft.root, config.images, config.masks)
        if layout is None:
            raise InputError(
                f"{draft.root}: found no images with masks whose names belong together. Say where they are: --images "
                "'photos/{}.jpg' --masks 'masks/{}_mask.png', where {} is the name that both share."
            )
        console.print(f"found: {layout.said}")
        for rival in layout.rivals:
            warn(console, f"{rival} would fit as well: to take it, say --images and --masks.")
        draft.take("images", layout.images)
        draft.take("masks", layout.masks)
    data = draft.data()
    paired = pair_all(Where(draft.root, data.images, data.masks))
    lists, said = split_lists(draft.root, paired, draft.beside)
    if said:
        console.print(f"splits by {said}")
    for name, path in lists.items():
        draft.take(name, path)


def _look(draft: Draft, console: Console) -> _Seen:
    """Reads every pair of every split."""
    data = draft.data()
    seen = _Seen(splits_of(data))
    with ticking(console, "reading the pairs") as ticker:
        ticker(len(seen.pairs))
        read_all(seen.pairs, seen.keep, seen.audit, partial(ticker, 0), data.how)
    return seen


def _enlarge(draft: Draft, seen: _Seen, number: int, console: Console) -> None:
    """Writes all masks as class numbers at their images' sizes, where some are smaller."""
    data = draft.data()
    code = label_code(data, np.flatnonzero(seen.audit.total).tolist())
    names = names_of(draft, [pair.paths[0] for pair in seen.pairs])
    made = (
        (names[pair.paths[0]], at_size(code(read_mask(pair.mask, data.how)), open_picture(pair.image).size[::-1]))
        for pair in seen.pairs
    )
    write_masks(draft.beside / "masks", made)
    console.print(
        f"{number} masks have another size than their images, but the same proportions: all are written at the images' "
        f"sizes, as class numbers, to {draft.beside / 'masks'}"
    )
    draft.take("masks", draft.beside / "masks")
    for name in ("label_map", "threshold", "colours"):
        draft.settings.pop(name, None)
    draft.take("ignore", [IGNORE])


def _code_of(data: Data, seen: _Seen) -> LabelCode:
    """How masks are read, once nothing is wrong with any file."""
    code = label_code(data, np.flatnonzero(seen.audit.total).tolist())
    refuse_faults(seen.audit, seen.pairs, code, data.classes)
    return code


def _fit(draft: Draft, seen: _Seen, code: LabelCode, console: Console) -> None:
    """Proposes the input size and says what else fits."""
    import torch

    side = SIDE_ACCELERATOR if torch.cuda.is_available() else SIDE_CPU
    masks = {stem: code(raw) for stem, raw in seen.masks.items()}
    size, why = propose_size(seen.shapes, side, partial(lost_share, masks))
    draft.take("size", size[0] if size[0] == size[1] else size)
    console.print(f"size: {size[0]}x{size[1]}, as {why}")
    for name in SPLITS:
        members = seen.splits.members.get(name, [])
        seen.audit.small |= {
            pair.stem: np.unique(resize_label(seen.masks[pair.stem], size))
            for pair in members
            if pair.stem in seen.masks
        }
    console.print(f"splits: {seen.splits.said} images")
    for sentence in [
        *seen.splits.warnings,
        *notes_on(seen.audit, code, draft.data().classes, seen.splits.members, size),
    ]:
        warn(console, sentence)
    turns = propose_turns([str(draft.root), draft.settings["images"]], size)
    if turns:
        console.print(turns)


def _pack(draft: Draft, seen: _Seen, console: Console) -> None:
    """Writes all pairs into shards beside the layer, which reads these from then on."""
    with ticking(console, "writing the shards") as ticker:
        ticker(len(seen.pairs))
        written = write_shards(seen.splits.members, draft.beside / "shards", partial(ticker, 0))
    console.print(f"shards: {len(written)} in {draft.beside / 'shards'}")
    draft.into_shards(draft.beside / "shards")


def _draw(draft: Draft, seen: _Seen, code: LabelCode, console: Console) -> None:
    """The contact sheet, beside the layer."""
    data, pairs = draft.data(), seen.pairs
    how = data.how
    load: Callable[[int], tuple[np.ndarray, np.ndarray]] = partial(_loaded, pairs, code, how)
    sheet = contact_sheet(Records("all", tuple(pair.stem for pair in pairs), load), SHOWN, data.classes)
    path = draft.beside / "sheet.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, partial(Image.fromarray(sheet).save, format="PNG"))
    console.print(f"look at it: {path}")


def _loaded(pairs: list[Pair], code: LabelCode, how: object, i: int) -> tuple[np.ndarray, np.ndarray]:
    reading = read_pair(pairs[i], how)  # type: ignore[arg-type]
    if reading.image is None or reading.raw is None:
        raise InputError(f"the data changed since this command began: {reading.fault}")
    return reading.image, code(reading.raw)
