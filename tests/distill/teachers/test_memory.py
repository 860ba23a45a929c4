from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.distributed as dist

from segkd.datasets.data import Records
from segkd.datasets.draws.domains import DomainSampler
from segkd.datasets.loader import SegmentationDataset, collate
from segkd.datasets.sampler import Overlap, Shuffle
from segkd.datasets.transforms import Augment, Transform
from segkd.distill.base import Scene
from segkd.distill.teachers.memory import LastBatch, _gathered, between, carried, names_as_numbers
from segkd.frequency.mix import CutMix
from segkd.types import InputError
from tests.distill.teachers.stage import Tiny, met

WHOLE = torch.eye(2, 3).repeat(2, 1, 1)


def views(*visits: int):
    """Views of two smooth pictures, a batch for each visit."""
    y, x = np.mgrid[:96, :128] / 20
    pictures = [np.stack([np.sin(x + i), np.cos(y - i), np.sin(x + y)], axis=-1) * 100 + 128 for i in range(2)]
    label = np.zeros((96, 128), np.uint8)
    records = Records("r", ("a", "b"), lambda i: (pictures[i].astype(np.uint8), label))
    augment = Augment(flip_vertical=True, quarter_turns=True, colour=0.0)
    dataset = SegmentationDataset(records, Transform((64, 64), augment, 2, False), 5)
    return [collate([dataset[0, 0, visit], dataset[0, 1, visit]]) for visit in visits]


def test_the_map_between_two_views_leads_from_one_to_the_other():
    """Place a view in the file by `now`, or by `between` and then `then`: the same place."""
    then, now = (torch.eye(2, 3) + 0.4 * torch.randn(20, 2, 3, dtype=torch.float64) for _ in range(2))
    places = torch.cat([torch.randn(20, 2, 7, dtype=torch.float64), torch.ones(20, 1, 7, dtype=torch.float64)], dim=1)
    inside = between(then, now) @ places
    torch.testing.assert_close(then @ torch.cat([inside, places[:, 2:]], dim=1), now @ places)


def test_maps_are_carried_from_view_to_view_through_crops_flips_and_turns():
    """The picture itself is the map: what is carried from one view must be what the other view shows."""
    for first, second in ((0, 1), (2, 3), (4, 5)):
        then, now = views(first, second)
        seen, inside = carried(then.image, then.warp, now.warp)
        assert inside.float().mean() > 0.2
        gap = (seen - now.image).abs().mean(dim=1)
        assert gap[inside].mean() < 0.02
        unwarped = (then.image - now.image).abs().mean(dim=1)
        assert unwarped[inside].mean() > 0.1


def test_the_same_view_is_carried_to_itself():
    maps = torch.randn(2, 3, 8, 8)
    seen, inside = carried(maps, WHOLE, WHOLE)
    torch.testing.assert_close(seen, maps)
    assert inside.all()


def test_up_to_the_border_of_a_view_nothing_from_beyond_is_mixed_in():
    """Pixels that were seen at all hold what was seen, the outermost half pixel of the first view too."""
    now = WHOLE.clone()
    now[:, :, 2] = torch.tensor([0.1, -0.2])
    seen, inside = carried(torch.ones(2, 1, 8, 8), WHOLE, now)
    assert 0.7 < inside.float().mean() < 1 and (seen[:, 0][inside] == 1).all()


def test_it_teaches_what_was_said_of_the_same_images_a_step_ago_and_nothing_of_others(make_batch):
    student = Tiny()
    batch = make_batch(3)
    teacher = met(LastBatch(), student, batch)
    first = student(batch.image)
    assert not teacher(batch, first, student).mask.any()  # nothing is remembered yet
    swapped = replace(batch, ids=("image1", "new"))
    lesson = teacher(swapped, student(batch.image), student)
    torch.testing.assert_close(lesson.target.logits[0], first.logits[1].detach())
    assert lesson.mask[0].all() and not lesson.mask[1].any()


def test_a_look_in_evaluation_mode_is_not_remembered(make_batch):
    student = Tiny()
    batch = make_batch(3)
    teacher = met(LastBatch(), student, batch).eval()
    teacher(batch, student(batch.image), student)
    assert not teacher(batch, student(batch.image), student).mask.any()


def test_names_are_numbers_that_depend_on_the_name_alone():
    numbers = names_as_numbers(("a", "b", "a", "caf\udce9"))
    assert numbers[0] == numbers[2] and len(set(numbers.tolist())) == 3


def test_a_loader_that_does_not_say_where_its_views_lie_is_refused(make_batch):
    with pytest.raises(InputError, match=r"needs Batch\.warp"):
        met(LastBatch(), Tiny(), replace(make_batch(3), warp=None))


@pytest.mark.parametrize("draw", [Shuffle(), DomainSampler()])
def test_a_draw_that_brings_no_image_twice_in_a_row_is_refused(draw, make_batch):
    student, batch = Tiny(), make_batch(3)
    scene = Scene(student, batch, student(batch.clean), 4, Tiny)
    for fits in (None, Overlap()):
        LastBatch().meet(replace(scene, draw=fits))
    with pytest.raises(InputError, match=rf"draw: {type(draw).__name__} hardly .* Write draw: Overlap"):
        LastBatch().meet(replace(scene, draw=draw))


def test_places_are_exact_in_mixed_precision():
    then, now = views(0, 1)
    exact = carried(then.image, then.warp, now.warp)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = carried(then.image, then.warp, now.warp)
    assert all(torch.equal(a, b) for a, b in zip(exact, mixed))


def test_nothing_is_taught_where_a_disturbance_moved_pixels_then_or_now(make_batch):
    student, batch = Tiny(), make_batch(3, b=4, ignored=0.0)
    mixed = CutMix(probability=1.0)(batch)
    stayed = mixed.source == torch.arange(4 * 32 * 32).view(4, 32, 32)
    assert 0 < stayed.float().mean() < 1
    teacher = met(LastBatch(), student, batch)
    for first, second in ((batch, mixed), (mixed, batch)):
        teacher(first, student(first.image), student)
        assert torch.equal(teacher(second, student(second.image), student).mask, stayed)


def test_what_is_gathered_lies_in_memory_as_it_is_read(monkeypatch):
    """Processes exchange memory: channels-last logits of a user's network would come back shuffled."""

    def all_gather(parts: list[torch.Tensor], part: torch.Tensor) -> None:
        assert part.is_contiguous() and all(one.is_contiguous() for one in parts)
        for one in parts:
            one.copy_(part)

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_gather", all_gather)
    maps = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert torch.equal(_gathered(maps), torch.cat([maps, maps]))
