import dataclasses
import inspect
import os
from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from segkd.types import IGNORE, Disturbance, InputError, LayerPath, Lesson, Prediction, reason_of, schedule_values


def test_valid_pixels_are_those_with_a_class(make_batch):
    batch = make_batch(classes=3, ignored=0.3)
    assert torch.equal(batch.valid, batch.label < 3) and 0 < batch.valid.float().mean() < 1
    assert batch.label[~batch.valid].unique().tolist() == [IGNORE] == [255]


def test_moving_a_batch_keeps_image_and_clean_one_tensor(make_batch):
    batch = make_batch()
    moved = batch.to(torch.device("meta"))
    assert moved.clean is moved.image
    assert {t.device.type for t in (moved.image, moved.label, moved.soft)} == {"meta"} and moved.ids == batch.ids


def test_moving_a_disturbed_batch_keeps_both_images(make_batch):
    batch = dataclasses.replace(make_batch(soft=False), clean=torch.zeros(2, 3, 32, 32))
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.clean, batch.clean) and torch.equal(moved.image, batch.image)
    assert moved.clean is not moved.image and moved.soft is None


@pytest.mark.parametrize(
    "change",
    [
        {"label": torch.zeros(2, 32, 31, dtype=torch.int64)},
        {"label": torch.zeros(2, 32, 32, dtype=torch.uint8)},
        {"clean": torch.zeros(2, 3, 16, 16)},
        {"soft": torch.zeros(3, 2, 32, 32)},
        {"image": torch.zeros(2, 1, 32, 32)},
    ],
)
def test_tensors_that_do_not_fit_together_are_refused_under_test(make_batch, change):
    with pytest.raises(TypeCheckError):
        dataclasses.replace(make_batch(), **change)


def test_what_is_carried_cannot_be_changed_on_the_way(make_batch):
    prediction = Prediction(torch.zeros(1, 2, 4, 4))
    assert prediction.features == () and prediction.exits == ()
    lesson = Lesson(prediction)
    assert lesson.mask is None
    for carried, name in ((make_batch(), "image"), (prediction, "logits"), (lesson, "target")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(carried, name, None)


def test_levels_of_a_pyramid_may_differ_in_size():
    features = (torch.zeros(2, 8, 16, 16), torch.zeros(2, 16, 8, 8))
    assert Prediction(torch.zeros(2, 3, 32, 32), features=features).features == features


def test_a_disturbance_must_say_what_it_does(make_batch):
    with pytest.raises(TypeError, match="abstract"):
        Disturbance()

    class Negative(Disturbance):
        def forward(self, batch):
            return dataclasses.replace(batch, image=1 - batch.image)

    batch = make_batch()
    disturbed = Negative()(batch)
    assert torch.equal(disturbed.image, 1 - batch.clean) and torch.equal(disturbed.clean, batch.clean)


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


def test_a_layer_path_is_absolute_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert LayerPath("data/ecssd") == os.path.join(tmp_path, "data", "ecssd")
    assert LayerPath("../up") == os.path.join(tmp_path.parent, "up")
    assert LayerPath("/a/b") == "/a/b" and LayerPath("~/b") == "/home/someone/b"


def test_maps_of_any_size_move_as_the_pixels_did(make_batch):
    """The right half of each image came from the other one, flipped: full maps move exactly, coarse ones by cell."""
    batch = make_batch(b=2, size=(8, 8))
    source = torch.arange(2 * 64).view(2, 8, 8)
    source[:, :, 4:] = source.flip(0, 2)[:, :, 4:].clone()
    there = replace(batch, source=source)
    expected = batch.image.clone()
    expected[..., 4:] = batch.image.flip(0, 3)[..., 4:]
    assert torch.equal(there.moved(batch.image), expected)
    coarse = torch.nn.functional.avg_pool2d(batch.image, 2)
    torch.testing.assert_close(there.moved(coarse), torch.nn.functional.avg_pool2d(expected, 2))
    fine = batch.image.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(there.moved(fine)[..., ::2, ::2], expected)
    assert batch.moved(coarse) is coarse


@pytest.mark.parametrize(("side", "cells"), [(96, 88), (128, 176), (7, 5), (5, 7)])
def test_cells_stay_where_no_pixel_moved_and_move_with_their_pixels(make_batch, side, cells):
    batch = make_batch(b=2, size=(side, side))
    source = torch.arange(2 * side**2).view(2, side, side)
    maps = torch.arange(2.0 * cells**2).view(2, 1, cells, cells)
    assert torch.equal(replace(batch, source=source).moved(maps), maps)
    assert torch.equal(replace(batch, source=source.flip(0)).moved(maps), maps.flip(0))
    turned = source.flip(1)  # upside down: a cell comes from the mirrored row of pixels, at its own place inside it
    rows = replace(batch, source=turned).moved(maps)[0, 0, :, 0] // cells
    assert (rows - torch.arange(cells).flip(0)).abs().max() <= 1


def test_a_target_carries_no_gradient():
    logits = torch.zeros(1, 2, 4, 4, requires_grad=True)
    target = Prediction(logits * 2, (logits * 3,), (logits * 4,)).detached()
    assert not any(one.requires_grad for one in (target.logits, *target.features, *target.exits))


def test_a_quoted_progress_of_a_schedule_is_told():
    unchecked = inspect.unwrap(schedule_values)  # a file's keys reach it as text, which annotations deny
    with pytest.raises(InputError, match="task_weight: expected a number for the progress, found"):
        unchecked("task_weight", {0.0: 1.0, "0.5": 2.0})


def test_a_reason_is_one_line_and_never_empty():
    assert reason_of(ValueError("two\n  lines")) == "two lines"
    assert len(reason_of(RuntimeError("x" * 900))) == 300 and reason_of(OSError("abcd"), 3) == "abc"
    assert reason_of(EOFError()) == "EOFError"
