"""Several domains in one training: what does not fit, the rounds of a draw that listens, and how often all was seen."""

from collections.abc import Mapping, Sequence

import numpy as np
from jsonargparse import Namespace
from rich.console import Console

from segkd.datasets.data import Data, Records
from segkd.datasets.domains import parts_of
from segkd.datasets.groups import group_of
from segkd.datasets.loader import SegmentationDataset
from segkd.datasets.sampler import Draw, EpochBatches, Shuffle
from segkd.datasets.transforms import Transform
from segkd.distill.distiller import Distiller
from segkd.distill.teachers.frozen import Frozen
from segkd.distill.teachers.label import LabelTeacher
from segkd.engine.checkpoint import Progress
from segkd.engine.record import Recorder
from segkd.engine.rounds import Rounds
from segkd.engine.step import Engine
from segkd.experiment.console import warn
from segkd.experiment.folder import note_session
from segkd.experiment.resuming import Session
from segkd.types import InputError


def rehearse_draw(objects: Namespace) -> None:
    """Raises InputError where the draw is known not to fit domains and teachers before any file is read."""
    data: Data = objects.data
    if objects.draw is None:
        return
    if data.unlabelled is not None and not isinstance(objects.draw, Shuffle):
        raise InputError(
            f"draw: {type(objects.draw).__name__} makes batches of labelled images alone, and data.unlabelled adds "
            "others to them: take one of the two away."
        )
    names = None if data.domain_group is not None else list(data.domains or {})
    objects.draw.rehearse(names, data.batch)
    asked_by(objects.draw, objects.distiller)


def meet_domains(objects: Namespace, records: Mapping[str, Records], console: Console) -> None:
    """Shows the training split to the draw, and says how it draws.

    Raises:
        InputError: a domain is not in both splits, or has too few images.
    """
    train, val, draw = records["train"], records["val"], objects.draw
    lacking = sorted(set(train.domains) ^ set(val.domains))
    if lacking:
        where = "train" if lacking[0] in val.domains else "val"
        raise InputError(
            f"domain {lacking[0]} has no image in {where}: every domain is trained on and validated by itself. Correct "
            "data.domain_group, or the lists of the splits (data.train, data.val)."
        )
    if draw is None:
        return
    groups = [group or id for group, id in zip(groups_of(objects.data, train), train.ids)]
    draw.meet(train.domains, groups, objects.data.batch)
    if draw.said:
        console.print(f"draw: {draw.said}")
    name = asked_by(draw, objects.distiller)
    if name is not None and isinstance(objects.distiller.asked[name], LabelTeacher):
        console.print(
            f"teacher {name} is made from the label, so that its loss is about the same on all domains: ddk draws "
            "by the student's loss (kind: student_loss)"
        )


def groups_of(data: Data, records: Records) -> list[str | None]:
    """The patient, video or sequence of each record, None where no `group` is said; records lie domain by domain.

    Raises:
        InputError: an expression is none, or finds nothing in any of its names.
    """
    parts = parts_of(data)
    if not parts:
        return _groups(data.group, records.ids)
    found: list[str | None] = []
    for name, part in parts.items():
        stems = [id.removeprefix(f"{name}/") for id, domain in zip(records.ids, records.domains) if domain == name]
        found += [group and f"{name}/{group}" for group in _groups(part.group, stems)]
    return found


def _groups(expression: str | None, stems: Sequence[str]) -> list[str | None]:
    if expression is None:
        return [None] * len(stems)
    group = group_of(expression, stems, [])
    return [group(stem) for stem in stems]


def asked_by(draw: Draw, distiller: Distiller) -> str | None:
    """The name of the teacher that a draw listens to; None where it asks none. Raises as `Draw.asks`."""
    return draw.asks({name: one.gives for name, one in distiller.asked.items()})


def rounds_of(
    objects: Namespace, engine: Engine, batches: EpochBatches, dataset: SegmentationDataset, progress: Progress
) -> Rounds | None:
    """The rounds of a draw that listens, where the training stands; None for any other draw."""
    data, draw, distiller = objects.data, objects.draw, objects.distiller
    if draw is None or draw.every is None:
        return None
    draw.recall(progress.draw)
    progress.draw = draw.state()
    whole = Transform(data.shape, None, len(data.classes), soft=distiller.needs_soft)
    looked = SegmentationDataset(dataset.records, whole, seed=0)
    return Rounds(engine, draw, batches, looked, data.batch, asked_by(draw, distiller))


def begin_rounds(rounds: Rounds | None, recorder: Recorder, console: Console) -> None:
    """Before the first step of a run: the losses from which it starts, so that what cannot be measured is refused, and
    a word where the teacher knows the probe by heart."""
    if rounds is None or rounds.engine.micro:
        return
    rounds.note(rounds.losses(), recorder)
    teacher = rounds.engine.bare.distiller.asked.get(rounds.teacher or "")
    if isinstance(teacher, Frozen):
        ids = [rounds.dataset.records.ids[i] for i in rounds.draw.held]
        known = [id for id in ids if any(id in (member.trained_on or ()) for member in teacher.members)]
        if known:
            warn(
                console,
                f"teacher {rounds.teacher} was trained on {len(known)} of the {len(ids)} images of the probe, so that "
                "its losses there are lower than elsewhere. Train it with the same draw.probe, of any kind of draw.",
            )


def say_passes(session: Session, batches: EpochBatches, dataset: SegmentationDataset, micro: int) -> None:
    """Says how often the images of each domain were seen, and notes it in environment.json."""
    if not dataset.records.domains:
        return
    found = passes(batches, dataset.records.domains, micro)
    each = ", ".join(f"{name} {number:.1f} times" for name, number in found.items())
    session.console.print(f"training images were seen, each on average: {each}")
    if session.accelerator.is_main_process:
        note_session(session.folder, {"seen": {name: round(number, 3) for name, number in found.items()}})


def passes(batches: EpochBatches, domains: tuple[str, ...], micro: int) -> dict[str, float]:
    """How often each training image of a domain was drawn in `micro` micro-steps, on average."""
    names, codes = np.unique(np.array(domains), return_inverse=True)
    draw = batches.draw
    seen = np.array([float(draw.seen.get(name, 0)) for name in names])
    for number in range(draw.round, -(-micro // batches.per_round)):
        order = batches.order(number)[: micro - number * batches.per_round]
        seen += np.bincount(codes[order.ravel()], minlength=len(names))
    trained = np.ones(len(domains), bool)
    trained[list(draw.held)] = False
    return dict(zip(names.tolist(), (seen / np.bincount(codes[trained], minlength=len(names))).tolist()))
