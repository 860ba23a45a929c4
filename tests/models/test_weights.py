import random

import pytest
import torch

from segkd.models.weights import packed, unpacked
from segkd.types import InputError

TENSORS = {"a.weight": torch.arange(12.0).view(3, 4), "a.bias": torch.ones(3), "n": torch.tensor(7)}
CARD = {"step": 4, "scores": {"iou": 0.25}, "names": ["é", "b"]}


def test_tensors_and_card_come_back(tmp_path):
    (tmp_path / "w").write_bytes(packed(TENSORS, CARD))
    tensors, card, _ = unpacked(tmp_path / "w")
    assert card == CARD and tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert packed(TENSORS, CARD) == packed(TENSORS, CARD)


def test_tied_weights_are_kept_under_both_names(tmp_path):
    table = torch.nn.Linear(3, 3)
    (tmp_path / "w").write_bytes(packed(torch.nn.ModuleDict({"first": table, "last": table}).state_dict(), CARD))
    tensors, _, _ = unpacked(tmp_path / "w")
    for name in ("first.weight", "first.bias", "last.weight", "last.bias"):
        assert torch.equal(tensors[name], table.state_dict()[name.partition(".")[2]])


def test_no_flipped_bit_is_read_as_other_weights_or_another_card(tmp_path):
    """Every bit of the header, and a draw of the others: refused, or nothing changed."""
    path, whole = tmp_path / "w", packed(TENSORS, CARD)
    header = 8 + int.from_bytes(whole[:8], "little")
    draw = random.Random(0)
    places = [*range(8 * header), *(draw.randrange(8 * header, 8 * len(whole)) for _ in range(100))]
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            tensors, card, _ = unpacked(path)
        except InputError as error:
            assert str(path) in str(error)
            continue
        assert card == CARD and all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS), place


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 7, b"\xff" * 64, b"\2" + b"\0" * 7 + b"[]", b"\2" + b"\0" * 7 + b"{}"]
)
def test_files_of_no_tensors_are_named(content, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(content)
    try:
        assert unpacked(path) == ({}, None, {})
    except InputError as error:
        assert "expected a whole safetensors file" in str(error)
    with pytest.raises(InputError, match="expected a safetensors file"):
        unpacked(tmp_path)


def test_every_cut_is_noticed(tmp_path):
    path, whole = tmp_path / "w", packed(TENSORS, CARD)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="expected a whole safetensors file"):
            unpacked(path)
