from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

import segkd.distill.kept
from segkd.datasets.data import Data, Records
from segkd.datasets.loader import SegmentationDataset, collate
from segkd.datasets.transforms import Augment, Transform
from segkd.distill.base import Scene
from segkd.distill.teachers.frozen import Frozen
from segkd.experiment.meeting import whole_images
from segkd.types import InputError
from tests.conftest import REPOSITORY
from tests.contract import test_methods as contract
from tests.contract.recipes import batch_of, built
from tests.distill.teachers.stage import Pointwise, met
from tests.warm import end_well

SIZE = (32, 32)


def frozen(cache_gb: float = 1.0) -> Frozen:
    """A teacher whose network draws its weights when it is made, the same every time."""

    def make(classes: int) -> Pointwise:
        with torch.random.fork_rng():
            torch.manual_seed(2)
            network = Pointwise(classes)
            torch.nn.init.normal_(network.mix.weight, std=3.0)
            return network

    return Frozen(network=make, cache_gb=cache_gb)


def looks(teacher: Frozen) -> list[int]:
    """Sizes of the batches that the teacher's network is shown from now on."""
    seen: list[int] = []
    teacher.members[0].network.register_forward_hook(lambda _m, given, _o: seen.append(len(given[0])))
    return seen


def test_at_the_whole_image_it_is_what_the_teacher_says_but_for_rounding(make_batch):
    batch, student = make_batch(3, size=SIZE), Pointwise()
    direct, kept = met(frozen(0.0), student, batch), met(frozen(), student, batch)
    asked = looks(kept)
    found, expected = (one(batch, student(batch.image), student).target.logits for one in (kept, direct))
    # 16 bits keep log p to 2**-11 of it, and p log(1 / p) is .37 at most
    assert not asked and (found.exp() - expected.softmax(dim=1)).abs().max() < 0.4 * 2**-11 + 1e-4
    assert kept.gives == {"logits"} and not kept.state_dict()
    assert kept.said[-1] == "keeps what it says of 2 training images, 0.00 GB"


def test_a_mirrored_quarter_is_the_quarter_of_the_map(make_batch):
    """Bilinear both times, about the same pixel centres: equal up to rounding, but at the crop's border."""
    batch, student = make_batch(3, size=SIZE), Pointwise()
    kept = met(frozen(), student, batch)
    whole = kept(batch, student(batch.image), student).target.logits.exp()
    warp = torch.tensor([[-0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]).expand(2, -1, -1)  # mirrored, the middle
    found = kept(replace(batch, warp=warp), student(batch.image), student).target.logits.exp()
    large = torch.nn.functional.interpolate(whole, (64, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, large[..., 16:48, 16:48].flip(-1), atol=1e-5, rtol=1e-4)


def smooth_records(n: int = 3, side: int = 64) -> Records:
    """Images whose colours change slowly, so that a view can be compared with a map of the whole."""
    draw = np.random.default_rng(0)
    coarse = torch.from_numpy(draw.uniform(0, 255, (n, 3, 4, 4)))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 255)
    images = fine.permute(0, 2, 3, 1).numpy().astype(np.uint8)
    label = np.zeros((side, side), np.uint8)
    return Records("train", tuple(f"image{i}" for i in range(n)), lambda i: (images[i], label))


def test_views_of_the_loader_find_their_place_in_the_map():
    """Crops, changes of scale, mirrors and quarter turns of the real loader. A network of single pixels says of a view
    what it says of the whole at its place, but that the view's pixels are means over others: 8 bits of colour and a
    pixel's difference of mean in smooth images, .02 on average where another place differs by .2."""
    data, student = Data(classes=["a", "b", "c"], size=SIZE[0], batch_size=2), Pointwise()
    records = smooth_records()
    augment = Augment(flip_vertical=True, quarter_turns=True, colour=0.0)
    dataset = SegmentationDataset(records, Transform(SIZE, augment, 3, soft=False), 0)
    batch = collate([dataset[0, i] for i in range(3)])
    kept = frozen()
    scene = Scene(student, batch, student(batch.clean), 1, Pointwise, ids=records.ids,
                  images=partial(whole_images, dataset, data, print, torch.device("cpu")))  # fmt: skip
    kept.meet(scene)
    asked, wrong, right = looks(kept), [], []
    direct = met(frozen(0.0), student, batch)
    for epoch in range(6):
        views = collate([dataset[epoch, i] for i in range(3)])
        found = kept(views, student(views.image), student).target.logits.exp()
        expected = direct(views, student(views.image), student).target.logits.softmax(dim=1)
        right.append((found - expected).abs().mean().item())
        wrong.append((found.roll(1, dims=0) - expected).abs().mean().item())
    assert not asked and max(right) < 0.02 and min(wrong) > 0.1
    again = frozen()
    again.meet(scene)
    assert torch.equal(again.kept.maps, kept.kept.maps)  # a resumed run keeps the same


def test_images_without_a_label_are_kept_as_well():
    data, student, records = Data(classes=["a", "b", "c"], size=SIZE[0], batch_size=2), Pointwise(), smooth_records(5)
    parts = [
        Records("train", records.ids[at], lambda i, first=at.start: records.load(first + i))
        for at in (slice(0, 2), slice(2, 5))
    ]
    dataset = SegmentationDataset(parts[0], Transform(SIZE, None, 3, soft=False), 0, beside=parts[1])
    batch, images = collate([dataset[0, i] for i in range(5)]), partial(whole_images, dataset, data, print)
    for teacher in (kept := frozen(), frozen(0.0)):
        teacher.meet(Scene(student, batch, student(batch.clean), 1, Pointwise, ids=parts[0].ids, others=dataset.others,
                           images=partial(images, torch.device("cpu"))))  # fmt: skip
    asked = looks(kept)
    found, expected = (one(batch, student(batch.image), student).target.logits for one in (kept, teacher))
    assert not asked and kept.said[-1].startswith("keeps what it says of 5 training images")
    torch.testing.assert_close(found, expected.log_softmax(dim=1), atol=1e-2, rtol=1e-2)
    assert (found[3:].exp() - found[:2].exp()).abs().max() > 0.1  # of other images something else


def test_each_image_is_looked_at_once_and_those_beyond_the_room_in_every_step(make_batch):
    batch, student = make_batch(3, b=4, size=SIZE), Pointwise()
    each = 2 * 3 * SIZE[0] * SIZE[1] / 1e9
    teacher = frozen(3.5 * each)
    teacher.meet(Scene(student, batch, student(batch.clean), 1, Pointwise, ids=batch.ids))
    assert "of 3 training images (of 4; a larger cache_gb spares the looks at the others)" in teacher.said[-1]
    everything = frozen(float("inf"))
    everything.meet(Scene(student, batch, student(batch.clean), 1, Pointwise, ids=batch.ids))
    assert everything.said[-1] == "keeps what it says of 4 training images, 0.00 GB"
    order = [2, 3, 0, 1]
    mixed = replace(batch, image=batch.image[order], clean=batch.clean[order], label=batch.label[order], soft=None,
                    ids=tuple(batch.ids[i] for i in order))  # fmt: skip
    asked = looks(teacher)
    found = teacher(mixed, student(mixed.image), student).target.logits
    assert asked == [1]  # one image of four
    expected = met(frozen(0.0), student, batch)(mixed, student(mixed.image), student).target.logits.log_softmax(dim=1)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)


def test_a_rehearsal_asks_no_other_process(make_batch, monkeypatch):
    """Each process rehearses by itself, on the CPU, where nccl sends nothing."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather", lambda *_: pytest.fail("asked"))
    batch, student = make_batch(3, size=SIZE), Pointwise()
    teacher = frozen()
    teacher.meet(Scene(student, batch, student(batch.clean), 1, Pointwise))
    assert len(teacher.kept.maps) == 2


def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(make_batch, tmp_path):
    """The maps are in no checkpoint: they are worked out again, and every step after is the same."""
    recipe = tmp_path / "tf_kd_self.yaml"
    text = (REPOSITORY / "configs" / "methods" / recipe.name).read_text()
    recipe.write_text(text.replace("sources: []", "sources: [], cache_gb: 1.0"))
    batch = batch_of(recipe, make_batch)
    teacher = built(recipe, batch).distiller.teachers["before"]
    assert list(teacher.kept.rows) == list(batch.ids) and not teacher.state_dict()
    contract.test_a_run_that_stops_within_an_epoch_goes_on_from_its_file_bit_for_bit(recipe, make_batch, tmp_path)


def test_what_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="0 for none, found -1"):
        frozen(-1.0)
    with pytest.raises(InputError, match="cache_gb keeps class probabilities, and features none"):
        Frozen(network=Pointwise, features=["mix"], cache_gb=1.0)


def one_of_two(rank: int, folder: Path) -> None:
    """A process that keeps a map at a time."""
    segkd.distill.kept.BLOCK = 2
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save(gathered(), folder / f"{rank}.pt")
    dist.destroy_process_group()


def gathered() -> tuple[torch.Tensor, list[int]]:
    """The maps of three images, and the batches that were looked at for them."""
    data, records, student = Data(classes=["a", "b", "c"], size=SIZE[0], batch_size=2), smooth_records(), Pointwise()
    dataset = SegmentationDataset(records, Transform(SIZE, None, 3, soft=False), 0)
    batch, asked = collate([dataset[0, 0]]), []

    def images(size, numbers):
        for part in whole_images(dataset, data, print, torch.device("cpu"), size, numbers):
            asked.append(len(part.ids))
            yield part

    teacher = frozen()
    teacher.meet(Scene(student, batch, student(batch.clean), 1, Pointwise, ids=records.ids, images=images))
    return teacher.kept.maps, asked


def test_two_processes_share_the_looks_and_keep_the_same(warm, tmp_path):
    end_well(*(warm.start(one_of_two, rank, tmp_path) for rank in range(2)))
    (one, first), (two, second) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone, asked = gathered()
    assert torch.equal(one, two) and (first, second, asked) == ([2], [1], [2, 1])
    torch.testing.assert_close(one, alone, atol=2e-3, rtol=2e-3)
