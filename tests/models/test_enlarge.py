import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkd.models import enlarge as room
from segkd.models.enlarge import enlarge


def whole(logits, size):
    return F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]


@pytest.mark.parametrize("values", [1, 60 * 41 * 2, 60 * 41 * 5, 1 << 24])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_classes_are_those_of_all_planes_at_once(monkeypatch, values, layout):
    monkeypatch.setattr(room, "VALUES", values)
    logits = torch.randn(1, 13, 9, 7).contiguous(memory_format=layout)[0]
    expected = whole(logits, (60, 41)).argmax(dim=0).numpy()
    found = enlarge(logits, (60, 41))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("values", [1, 1 << 24])
def test_of_equal_logits_the_first_class_wins(monkeypatch, values):
    monkeypatch.setattr(room, "VALUES", values)
    logits = torch.stack([torch.zeros(4, 4), torch.ones(4, 4), torch.ones(4, 4), torch.zeros(4, 4)])
    assert (enlarge(logits, (8, 8)) == 1).all()


def test_of_two_classes_the_foregrounds_probability_is_given():
    logits = torch.randn(2, 9, 7)
    found = enlarge(logits, (20, 31))
    assert found.dtype == np.float32 and found.shape == (20, 31)
    np.testing.assert_allclose(found, whole(logits, (20, 31)).softmax(dim=0)[1], atol=1e-6)


def test_no_more_than_a_row_is_held_where_values_are_few(monkeypatch):
    monkeypatch.setattr(room, "VALUES", 1)
    assert [band.shape for band in room.bands(torch.randn(21, 4, 4), (16, 9))] == [(21, 1, 9)] * 16


@pytest.mark.parametrize("size", [(60, 41), (5, 3), (9, 7)])
def test_bands_are_the_rows_of_what_torch_interpolates(monkeypatch, size):
    monkeypatch.setattr(room, "VALUES", 400)
    logits = torch.randn(3, 9, 7)
    torch.testing.assert_close(torch.cat(list(room.bands(logits, size)), dim=1), whole(logits, size))
