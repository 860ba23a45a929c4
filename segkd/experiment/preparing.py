"""`segkd prepare`: from a folder as it was downloaded to a data layer, every decision a printed line."""

from functools import partial

import torch
from jsonargparse import ArgumentParser, Namespace
from PIL import Image
from rich.console import Console

from segkd.datasets.labels import LabelCode, resize_label
from segkd.datasets.notes import notes_on
from segkd.datasets.packing import write_shards
from segkd.datasets.pictures import open_picture, read_mask
from segkd.datasets.prepare.draft import Draft, names_of, new_draft, removed_on_error
from segkd.datasets.prepare.proposal import SIDE_ACCELERATOR, SIDE_CPU, lost_share, propose_size, propose_turns
from segkd.datasets.prepare.seen import Seen, look
from segkd.datasets.prepare.sources import Told, lay_out
from segkd.datasets.prepare.splitting import fold_lists, keep_apart, kept_together
from segkd.datasets.prepare.values import Meaning, in_colours, meaning_of, meaning_of_made
from segkd.datasets.prepare.written import smaller, write_masks
from segkd.datasets.sheet import contact_sheet
from segkd.disk import write_whole
from segkd.experiment.arguments import ExampleHelp
from segkd.experiment.console import make_console, ticking, warn
from segkd.experiment.measuring import measure_batch
from segkd.experiment.planning import plan_length
from segkd.experiment.settings import parse
from segkd.types import IGNORE, InputError, expanded

ABOUT = """Find out how a folder as it was downloaded holds images and masks, and write the data layer that
`segkd train --config` takes. The folder is never changed. For example:

  segkd prepare my_data --out data.yaml
  segkd prepare my_data --out data.yaml --images 'photos/{}.jpg' --masks 'labels/{}_mask.png'
  segkd prepare my_data --out data.yaml --annotations my_data/coco.json --folds 5"""

SHOWN = 24
"""Pairs on the contact sheet."""


def prepare(arguments: list[str]) -> int:
    """`segkd prepare`: writes the data layer of a folder as it was downloaded, and a contact sheet."""
    config = parse(_parser(), arguments)
    if (config.folds is not None and config.folds < 2) or (config.folds and config.to == "parquet"):
        raise InputError("--folds: expected 2 or more, and no --to parquet, whose shards are of one split.")
    console = make_console(True)
    draft = new_draft(expanded(config.source), expanded(config.out))
    with removed_on_error(draft):
        _write(draft, config, console)
    return 0


def _write(draft: Draft, config: Namespace, console: Console) -> None:
    """Writes the layer, what is made beside it, and the folds."""
    seen = _read(draft, config, console)
    code = seen.code(draft.data())
    _fit(draft, seen, code, console)
    seen = _split(draft, seen, console)
    _warn(draft, seen, code, console)
    _plan(draft, seen, config.batch, console)
    if config.to == "parquet":
        _pack(draft, seen, console)
    head = f"Written by `segkd prepare {config.source}`: change what is not as it was meant."
    draft.write(head)
    _draw(draft, seen, code, console)
    recipe = "--config methods/virtual_teacher.yaml"  # without one the labels alone teach
    console.print(f"written: {config.out}. Train: segkd train {recipe} --config {config.out} --out RUN")
    if config.folds is not None:
        _fold(draft, seen, config.folds, head, console)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="segkd prepare",
        description=ABOUT,
        formatter_class=ExampleHelp,
        exit_on_error=False,
    )
    add = parser.add_argument
    add("source", type=str, metavar="SOURCE", help="the folder")
    add("--out", type=str, required=True, metavar="DATA.yaml", help="the layer to write; what is made lies beside it")
    add("--images", type=str, default=None, metavar="PATTERN", help="where the images are, if it is not found")
    about = "where the masks are, if it is not found; repeated: those of a class each, in the order of their numbers"
    add("--masks", type=str, action="append", default=None, metavar="PATTERN", help=about)
    add(
        "--to",
        choices=["layer", "parquet"],
        default="layer",
        help="parquet: images and masks go into Parquet shards, too, and the layer reads these",
    )
    about = "draw these as masks: COCO, CVAT, LabelMe, YOLO, VIA, Kaggle"
    add("--annotations", type=str, default=None, metavar="PATH", help=about)
    about = "how run lengths in a table (ImageId, EncodedPixels) count pixels: down the columns, or along the rows"
    add("--runs", choices=["auto", "columns", "rows"], default="auto", help=about)
    add("--classes", type=str, nargs="+", default=None, metavar="NAME", help="names of the classes, background first")
    add(
        "--as",
        choices=["auto", "classes", "objects", "grey"],
        default="auto",
        help="what mask values are: class numbers, numbers of objects of one class, grey levels",
    )
    add("--group", type=str, default=None, metavar="REGEX", help="data.group: what keeps patients or videos together")
    add("--folds", type=int, default=None, metavar="K", help="K layers more: DATA.fold0.yaml and so on")
    add("--batch", choices=["auto"], default=None, help="auto: measure on this machine which batch fits")
    return parser


def _read(draft: Draft, config: Namespace, console: Console) -> Seen:
    """Finds images and masks, says what the masks' values mean, and brings masks of another size to their images'."""
    annotations = expanded(config.annotations) if config.annotations else None
    told = Told(config.images, config.masks or (), annotations, config.classes, config.runs)
    classes = lay_out(draft, told, console.print)
    if classes and config["as"] not in ("auto", "classes"):
        raise InputError(
            f"--as {config['as']} has no effect here: masks that are drawn from annotations, or joined from a --masks "
            "for each class, hold numbers of classes. Leave it out, or name the masks that are there with one --masks."
        )
    if config.group is not None:
        draft.take("group", config.group)
    seen = _look(draft, console)
    mean = partial(
        meaning_of, named=config.classes, told=config["as"], root=draft.root, masks=str(draft.settings["masks"])
    )
    if classes:
        mean = partial(meaning_of_made, classes=classes)
    coloured = in_colours(seen.audit)
    if coloured:
        _mean(draft, mean(seen.audit), console)
        seen = _look(draft, console)
    if few := smaller(seen.audit, seen.pairs):
        _enlarge(draft, seen, len(few), console)
        seen = _look(draft, console)
    if not seen.audit.readings:
        seen.code(draft.data())  # names what is wrong with every file
    if not coloured:
        _mean(draft, mean(seen.audit), console)
    return seen


def _mean(draft: Draft, meaning: Meaning, console: Console) -> None:
    """Takes the settings that say how masks are read."""
    console.print(f"masks: {meaning.said}")
    for name in ("classes", "label_map", "ignore", "threshold", "colours"):
        if getattr(meaning, name) not in (None, []):
            draft.take(name, getattr(meaning, name))


def _look(draft: Draft, console: Console) -> Seen:
    with ticking(console, "reading the pairs") as ticker:
        return look(draft.data(), ticker)


def _enlarge(draft: Draft, seen: Seen, number: int, console: Console) -> None:
    """Writes all masks at their images' sizes, where some are smaller: with their values, of colours class numbers."""
    how = draft.data().how
    names = names_of(draft, [pair.paths[0] for pair in seen.pairs])
    made = (
        (names[pair.paths[0]], resize_label(read_mask(pair.mask, how), open_picture(pair.image).size[::-1]))
        for pair in seen.pairs
    )
    write_masks(draft.beside / "masks", made)
    console.print(
        f"{number} masks have another size than their images, but the same proportions: all are written at the images' "
        f"sizes to {draft.beside / 'masks'}"
    )
    draft.take("masks", draft.beside / "masks")
    if draft.settings.pop("colours", None) is not None:
        draft.take("ignore", [IGNORE])


def _fit(draft: Draft, seen: Seen, code: LabelCode, console: Console) -> None:
    """Proposes the input size and the turns that fit."""
    side = SIDE_ACCELERATOR if torch.cuda.is_available() else SIDE_CPU
    masks = {stem: code(raw) for stem, raw in seen.masks.items()}
    shapes = [one.shape for one in seen.audit.readings.values() if one.shape is not None]
    size, why = propose_size(shapes, side, partial(lost_share, masks))
    draft.take("size", size[0] if size[0] == size[1] else size)
    console.print(f"size: {size[0]}x{size[1]} (height x width), as {why}")
    if turns := propose_turns([draft.root.name, draft.settings["images"]], size):
        console.print(turns)


def _split(draft: Draft, seen: Seen, console: Console) -> Seen:
    """Says which images are for what, and keeps those that look alike in one split where segkd chose the splits."""
    console.print(f"splits: {seen.splits.said} images")
    lists, said = keep_apart(seen.splits, seen.prints, draft.beside)
    for sentence in said:
        warn(console, sentence)
    for name, path in lists.items():
        draft.take(name, path)
    return _look(draft, console) if lists else seen


def _warn(draft: Draft, seen: Seen, code: LabelCode, console: Console) -> None:
    data = draft.data()
    seen.look_at(data.shape)
    notes = notes_on(seen.audit, code, data.classes, seen.splits.members, data.shape)
    for sentence in [*seen.splits.warnings, *notes]:
        warn(console, sentence)


def _plan(draft: Draft, seen: Seen, batch: str | None, console: Console) -> None:
    """Says how long a training would be, and measures the batch when asked."""
    n = len(seen.splits.members["train"])
    length = plan_length(n, None, None)
    if batch is None:
        console.print(f"{length.said} (segkd train plans this; say others to change it)")
        return
    data = draft.data()
    fits, said = measure_batch(length.batch_size, data.shape, len(data.classes))
    console.print(said)
    console.print(plan_length(n, fits, None).said)
    draft.take("batch_size", fits)


def _fold(draft: Draft, seen: Seen, folds: int, head: str, console: Console) -> None:
    """A layer for each fold of what is for training and for validation."""
    stems = [pair.stem for name in ("train", "val") for pair in seen.splits.members.get(name, [])]
    group, written = draft.settings.get("group"), []
    alike, said = kept_together(stems, folds, group, seen.prints)
    if said:
        warn(console, said)
    for number, lists in enumerate(fold_lists(stems, folds, group, draft.beside, alike)):
        for name, path in lists.items():
            draft.take(name, path)
        written.append(draft.path.with_suffix(f".fold{number}{draft.path.suffix}"))
        draft.write(f"{head} Fold {number} of {folds}.", written[-1])
    console.print(f"folds: {', '.join(path.name for path in written)}; each validates on another part of the images")


def _pack(draft: Draft, seen: Seen, console: Console) -> None:
    """Writes all pairs into shards beside the layer, which reads these from then on."""
    with ticking(console, "writing the shards") as ticker:
        ticker(len(seen.pairs))
        written = write_shards(seen.splits.members, draft.beside / "shards", partial(ticker, 0))
    console.print(f"shards: {len(written)} in {draft.beside / 'shards'}")
    draft.into_shards(draft.beside / "shards")


def _draw(draft: Draft, seen: Seen, code: LabelCode, console: Console) -> None:
    """The contact sheet, beside the layer."""
    data = draft.data()
    splits = {pair.stem: name for name, pairs in seen.splits.members.items() for pair in pairs}
    sheet = contact_sheet(seen.records(code, data.how), SHOWN, data.classes, splits=splits)
    path = draft.beside / "sheet.png"
    write_whole(path, partial(Image.fromarray(sheet).save, format="PNG"))
    console.print(f"contact sheet: {path}")
