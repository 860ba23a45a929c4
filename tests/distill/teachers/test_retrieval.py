import math
import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segkd.distill import index
from segkd.distill.base import Scene
from segkd.distill.store import Origins
from segkd.distill.teachers import retrieval
from segkd.distill.teachers.retrieval import Retrieval, Stage, neighbour_shares
from segkd.models.member import Member
from segkd.models.network import Network
from segkd.types import IGNORE, Batch, LayerPath, Prediction
from tests.distill.teachers.stage import Pointwise, Tiny, shaken

NAMES = ("x", "y", "z")
RUN = LayerPath("run")


class Colours(Network):
    """Features at half the size: the mean colour, bent so that its direction tells it."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.pool, self.mix = nn.AvgPool2d(2), nn.Conv2d(3, classes, 1)

    def forward(self, image: torch.Tensor) -> Prediction:
        small = self.pool(image)
        return Prediction(self.mix(image), (torch.cat([small, 1 - small, small.square()], dim=1),))


@pytest.fixture
def network(monkeypatch):
    """The network of the finished run."""
    found = Colours().eval().requires_grad_(False)
    monkeypatch.setattr(retrieval, "opened", lambda *_: Member("run", found, NAMES, about="a run"))
    return found


def images(n: int, size: int = 8, seed: int = 0, names: str = "image{}") -> Batch:
    draw = torch.Generator().manual_seed(seed)
    image = torch.rand(n, 3, size, size, generator=draw)
    label = torch.randint(0, 3, (n, size // 2, size // 2), generator=draw)
    label = label.repeat_interleave(2, 1).repeat_interleave(2, 2)  # as coarse as the features
    return Batch(image, image, label, None, tuple(names.format(i) for i in range(n)))


def introduced(
    teacher: Retrieval, batch: Batch, student: Network | None = None, groups: tuple[str | None, ...] = ()
) -> Retrieval:
    """The teacher after it has met a student, whose training images are those of the batch."""
    student = student or Tiny()
    with torch.no_grad():
        seen = student.eval()(batch.clean)
    scene = Scene(
        student, batch, seen, 4, Tiny, NAMES, ids=batch.ids, images=lambda size, numbers: [batch], groups=lambda: groups
    )
    with torch.no_grad():
        teacher.meet(scene)
    return teacher.train()


def lesson_of(teacher: Retrieval, batch: Batch):
    return teacher(batch, Prediction(torch.zeros(len(batch.ids), 3, *batch.label.shape[1:])), lambda image: None)


def test_the_shares_of_neighbours_add_up_to_one_and_to_nothing_without_any():
    draw = torch.Generator().manual_seed(1)
    distance = torch.rand(5, 4, 6, generator=draw) * 4
    values = torch.rand(5, 4, 6, 3, generator=draw).softmax(dim=-1)
    distance[0, 0] = torch.inf
    distance[1, 1, 2:] = torch.inf
    shares = neighbour_shares(distance, values, 0.1)
    torch.testing.assert_close(shares.sum(dim=-1).flatten()[1:], torch.ones(19))
    assert (shares[0, 0] == 0).all()
    weights = [math.exp(-float(one) / 0.1) for one in distance[1, 1, :2]]
    expected = sum(weight * value for weight, value in zip(weights, values[1, 1])) / sum(weights)
    torch.testing.assert_close(shares[1, 1], expected)


def slowly(teacher: Retrieval, network: Network, batch: Batch, stage: Stage):
    """p_knn of every cell, one at a time, in double precision."""
    features = F.normalize(network(batch.clean).features[0].double(), dim=1)
    shares = torch.zeros(len(batch.ids), 3, *features.shape[2:], dtype=torch.float64)
    _, kept, _ = teacher.kept[0]
    for image in range(len(batch.ids)):
        for row in range(features.shape[2]):
            for column in range(features.shape[3]):
                pairs = []
                for key, value, origin in zip(kept.keys.double(), kept.values.double(), kept.origins):
                    if int(origin[0]) != image:
                        pairs.append((2 - 2 * float(key @ features[image, :, row, column]), value))
                near = sorted(pairs, key=lambda pair: pair[0])[: stage.k]
                weights = [math.exp(-distance / stage.temperature) for distance, _ in near]
                for weight, (_, value) in zip(weights, near):
                    shares[image, :, row, column] += weight / sum(weights) * value
    return shares.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_target_and_selection_are_those_of_a_search_pixel_by_pixel(network):
    batch = images(3)
    teacher = introduced(Retrieval(RUN, k=5, temperature=0.02, share=0.7, threshold=0.4, queries=999), batch)
    lesson = lesson_of(teacher, batch)
    near = slowly(teacher, network, batch, teacher.first)
    own = network(batch.clean).logits.double().softmax(dim=1)
    torch.testing.assert_close(lesson.target.logits.exp().double(), 0.7 * near + 0.3 * own, atol=1e-3, rtol=0)
    right = near.gather(1, batch.label.unsqueeze(1))[:, 0]
    clear = (right - 0.4).abs() > 0.02
    assert torch.equal(lesson.mask[clear], right[clear] >= 0.4) and 0 < lesson.mask.float().mean() < 1
    everywhere = introduced(Retrieval(RUN, k=5, threshold=0.0, queries=999), batch)
    assert lesson_of(everywhere, batch).mask.all()


def known(teacher: Retrieval, batch: Batch) -> float:
    """The share of the pixels' own class among their neighbours, on average."""
    shares = lesson_of(teacher, batch).target.logits.exp()
    return float(shares.gather(1, batch.label.unsqueeze(1)).mean())


def said_of(teacher: Retrieval) -> tuple[float, ...]:
    """What it says of looking up: percent of the own class that keys find, and percent of them that are taught."""
    return tuple(float(number) for number in re.findall(r"([\d.]+)%", teacher.said[2]))


def test_among_near_copies_the_neighbours_are_the_label_unless_the_sequence_is_left_out(network):
    """Colours that say nothing of the class; every second frame is nearly the one before."""
    first = images(6)
    noise = 0.002 * torch.rand(first.image.shape)
    image = torch.stack([first.image, first.image + noise], dim=1).flatten(0, 1)
    label = first.label.repeat_interleave(2, 0)
    batch = Batch(image, image, label, None, tuple(f"seq{i // 4}_{i:03d}" for i in range(12)))
    settings = {"k": 4, "temperature": 0.0001, "share": 1.0, "queries": 9999}
    leaking = introduced(Retrieval(RUN, **settings), batch)
    assert known(leaking, batch) > 0.95 and min(said_of(leaking)) > 95
    for kept in (
        introduced(Retrieval(RUN, group="^(seq.)", **settings), batch),
        introduced(Retrieval(RUN, **settings), batch, groups=tuple(one[:4] for one in batch.ids)),  # data.group
        introduced(Retrieval(RUN, frames=1, **settings), batch),
    ):
        assert known(kept, batch) < 0.5 and max(said_of(kept)) < 50
    assert "12 images" in leaking.said[1] and "its own image" in leaking.said[2]


def test_its_own_group_goes_before_that_of_the_data(network):
    batch = images(4, names="{}_of")
    teacher = introduced(Retrieval(RUN, group="^([01]|.)"), batch, groups=("a", "a", "b", "b"))
    assert "4 sequences" in teacher.said[1]


def test_what_is_barred_is_worked_out_for_some_keys_at_a_time(network, monkeypatch):
    """For all of those that are looked up at once it would be gigabytes, at a million keys."""
    asked, barred = [], Origins.barred

    def watched(self, asking, kept):
        asked.append(len(asking))
        return barred(self, asking, kept)

    monkeypatch.setattr(Origins, "barred", watched)
    introduced(Retrieval(RUN), images(16))
    assert asked == [100, 100, 56]
    asked.clear()
    monkeypatch.setattr(retrieval, "PART", 60 * 256)
    introduced(Retrieval(RUN), images(16))
    assert asked == [60, 60, 60, 60, 16]


def test_a_large_store_is_asked_through_an_index(network, monkeypatch):
    batch, teacher = images(16), Retrieval(RUN, k=3, queries=999)
    exact = lesson_of(introduced(teacher, batch), batch)
    monkeypatch.setattr(retrieval, "EXACT", 255)
    monkeypatch.setattr(index, "SHARE", 1)
    fast = lesson_of(introduced(teacher, batch), batch)
    assert teacher.kept[0][1].index is not None
    torch.testing.assert_close(fast.target.logits.exp(), exact.target.logits.exp(), atol=1e-3, rtol=0)
    monkeypatch.setattr(index, "SHARE", 64)
    part = lesson_of(introduced(teacher, batch), batch)
    assert not torch.equal(part.target.logits, exact.target.logits)


def test_the_domain_bounds_the_search(network):
    batch = images(4, names="{}_of")
    batch = replace(batch, ids=("a1", "a2", "b1", "b2"), label=torch.where(torch.arange(4).view(4, 1, 1) < 2,
                                                                           batch.label % 2, 2))  # fmt: skip
    free = introduced(Retrieval(RUN, k=8, temperature=10.0, share=1.0, queries=999), batch)
    bound = introduced(Retrieval(RUN, k=8, temperature=10.0, share=1.0, queries=999, domain="^(.)"), batch)
    assert lesson_of(bound, batch).target.logits.exp()[:2, 2].max() < 1e-6
    assert lesson_of(free, batch).target.logits.exp()[:2, 2].max() > 0.01
    assert "4 sequences, 2 domains" in bound.said[1]


def test_so_many_pixels_are_asked_and_each_speaks_for_its_cell(network):
    batch = images(2)
    teacher = introduced(Retrieval(RUN, k=3, threshold=0.0, queries=9), batch)
    torch.manual_seed(0)
    one = lesson_of(teacher, batch)
    assert int(one.mask.sum()) == 10 * 4  # cells of 2 x 2 pixels, five of each image
    assert torch.equal(one.mask[:, ::2, ::2], one.mask[:, 1::2, 1::2])
    torch.manual_seed(0)
    assert torch.equal(lesson_of(teacher, batch).mask, one.mask)
    assert not torch.equal(lesson_of(teacher, batch).mask, one.mask)
    own = teacher.kept[0][0](batch.clean).logits.softmax(dim=1)
    there = ~one.mask.unsqueeze(1).expand_as(own)
    torch.testing.assert_close(one.target.logits.exp()[there], own[there])


def test_pixels_that_were_moved_take_their_neighbours_along(network):
    batch = images(2)
    teacher = introduced(Retrieval(RUN, k=3, queries=999), batch)
    source = torch.arange(batch.label.numel()).view_as(batch.label).flip(2)
    turned = replace(batch, label=batch.label.flip(2), source=source)
    still, there = lesson_of(teacher, batch), lesson_of(teacher, turned)
    assert torch.equal(there.target.logits, still.target.logits.flip(3)) and torch.equal(there.mask, still.mask.flip(2))


def test_ignored_pixels_are_no_keys(network):
    batch = images(2)
    label = batch.label.clone()
    label[:, :4] = IGNORE
    teacher = introduced(Retrieval(RUN, k=3), replace(batch, label=label))
    assert len(teacher.kept[0][1].keys) == 2 * 8


def test_half_precision_training_searches_no_less_exactly(network):
    batch = images(2)
    teacher = introduced(Retrieval(RUN, k=3, queries=999), batch)
    exact = lesson_of(teacher, batch)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(lesson_of(teacher, batch).target.logits, exact.target.logits)


def second(student: Network, batch: Batch, **settings) -> Retrieval:
    then = Stage(at=0.5, k=3, temperature=0.05, share=0.3, threshold=0.6)
    return introduced(Retrieval(RUN, queries=999, then=then, **settings), batch, student)


def moved_on(teacher: Retrieval, student: Network, progress: float) -> None:
    teacher.arrive(progress)
    teacher.follow(student, 1)


def test_in_the_second_stage_the_student_of_the_first_teaches_corrected_where_neighbours_know(network):
    batch, student = images(3), Pointwise()
    teacher = second(student, batch)
    shaken(student)
    moved_on(teacher, student, 0.4)
    assert lesson_of(teacher, batch).mask is not None
    moved_on(teacher, student, 0.5)
    with torch.no_grad():
        own = student(batch.clean).logits.double().softmax(dim=1)
    shaken(student)
    moved_on(teacher, student, 0.6)  # what was copied stays
    lesson = lesson_of(teacher, batch)
    near = slowly(teacher, network, batch, teacher.then)
    right = near.gather(1, batch.label.unsqueeze(1))
    share = 0.3 * (right >= 0.6).double()
    clear = ((right - 0.6).abs() > 0.03).expand_as(own)
    expected = share * near + (1 - share) * own
    torch.testing.assert_close(lesson.target.logits.exp().double()[clear], expected[clear], atol=1e-3, rtol=0)
    assert lesson.mask is None and 0 < float(share.mean()) < 0.3
    assert not any(p.requires_grad for p in teacher.parameters())


def test_a_resumed_second_stage_keeps_the_copy_it_was_saved_with(network):
    batch, student = images(3), Tiny()
    teacher = second(student, batch)
    moved_on(teacher, shaken(student), 0.5)
    saved = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    assert saved and all(name.startswith("earlier.") for name in saved)  # the store lies in no checkpoint
    again = second(Tiny(), batch)
    again.load_state_dict(saved)
    again.arrive(0.5)
    moved_on(again, shaken(student), 0.6)
    torch.manual_seed(0)
    one = lesson_of(again, batch)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in again.state_dict().items())
    moved_on(teacher, student, 0.6)
    torch.manual_seed(0)
    assert torch.equal(one.target.logits, lesson_of(teacher, batch).target.logits)
