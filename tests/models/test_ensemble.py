import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkd import load_ensemble
from segkd.models.ensemble import Ensemble, fused, largest, refuse_other_classes, side_by_side
from segkd.models.fusion import FusionNet
from segkd.models.member import Member, seen_at
from segkd.models.pixels import shrunk
from segkd.models.store import ModelCard, load_model, save_student
from segkd.types import InputError
from tests.conftest import TINY
from tests.distill.teachers.stage import Pointwise
from tests.models.graphs import node, save


def member(name: str, size=None, classes=("a", "b", "c")) -> Member:
    return Member(name, Pointwise(len(classes)), tuple(classes), size)


@pytest.mark.parametrize("size", [(16, 16), (12, 40), (31, 9), (48, 64), (24, 13)])
def test_a_member_of_another_size_sees_an_image_as_its_training_showed_it(size):
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    given = []
    one = member("one", size)
    one.network.register_forward_pre_hook(lambda _, images: given.append(images[0]))
    one(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
    trained = shrunk(picture, size).astype(np.float32)
    # bytes are rounded once where a side grows, and once where one shrinks
    np.testing.assert_allclose(255 * given[0][0].permute(1, 2, 0), trained, atol=1.01)


def test_an_ensemble_is_the_mean_of_probabilities_each_at_its_own_size():
    image, members = torch.rand(2, 3, 24, 32), [member("one", (24, 32)), member("two", (16, 16))]
    small = seen_at(image, (16, 16))
    with torch.no_grad():
        logits = members[0].network(image).logits, members[1].network(small).logits
        found = Ensemble(members)(image).logits
    shares = [F.interpolate(one, (24, 32), mode="bilinear").softmax(dim=1) for one in logits]
    torch.testing.assert_close(found.exp(), (shares[0] + shares[1]) / 2)
    assert largest(members) == (24, 32)


def test_members_that_count_nothing_are_not_asked():
    image, members = torch.rand(2, 3, 8, 8), [member("one"), member("two")]
    seen: list[int] = []
    members[1].network.register_forward_hook(lambda _m, given, _o: seen.append(len(given[0])))
    with torch.no_grad():
        found = fused(members, image, weights=torch.tensor([[1.0, 1.0], [0.0, 3.0]])).exp()
        shares = [one.network(image).logits.softmax(dim=1) for one in members]
    assert seen[0] == 1
    torch.testing.assert_close(found[0], shares[0][0])
    torch.testing.assert_close(found[1], 0.25 * shares[0][1] + 0.75 * shares[1][1])


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "c", "b"), ("a", "b", "x"), ("0", "1")])
def test_members_of_other_classes_are_refused(classes):
    with pytest.raises(InputError, match=r"same classes in the same order: one knows a, b, c; two knows .*anew"):
        refuse_other_classes([member("one"), member("two", classes=classes)])
    refuse_other_classes([member("one"), member("two", classes=("0", "1", "2"))])  # it has no names for them


def test_in_python_an_ensemble_is_a_model(tmp_path):
    names = ["background", "thing"]
    for i, size in enumerate([(32, 32), (48, 32)]):
        arguments = {"classes": 2, "encoder": TINY, "weights": None, "width": 8}
        card = ModelCard("segkd.models.network.FusionNet", arguments, names, size)
        (tmp_path / f"run{i}").mkdir()
        save_student(tmp_path / f"run{i}", FusionNet(**arguments), card)
    values = {"w": np.array([[4, 0, 0], [0, 4, 0]], np.float32).reshape(2, 3, 1, 1), "c": np.zeros(2, np.float32)}
    file = save(tmp_path / "net.ONNX", [node("Conv", ["image", "w", "c"], "out")], constants=values,
                metadata={"segkd.input": "rgb01"})  # fmt: skip
    runs = [str(tmp_path / "run0"), str(tmp_path / "run1")]
    model = load_ensemble([runs[0], tmp_path / "run1", str(file)])
    assert model.card.size == (48, 32) and model.card.classes == names
    picture = np.random.default_rng(0).integers(0, 255, (48, 32, 3), np.uint8)
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        small = seen_at(image, (32, 32))
        one = F.interpolate(load_model(runs[0]).network(small).logits, (48, 32), mode="bilinear")
        shares = [one.softmax(1), load_model(runs[1]).network(image).logits.softmax(1), (4 * image[:, :2]).softmax(1)]
    expected = sum(shares)[0] / 3
    np.testing.assert_allclose(model.predict(picture), expected.numpy(), atol=1e-5)
    for sources in ([runs[0]], [str(file), str(file)]):
        with pytest.raises(InputError, match="two or more, one of them a run folder"):
            load_ensemble(sources)


def test_through_a_window_each_member_looks_as_it_does_alone(tmp_path):
    runs = []
    for i, size in enumerate([(32, 32), (48, 64)]):
        arguments = {"classes": 2, "encoder": TINY, "weights": None, "width": 8}
        (tmp_path / f"run{i}").mkdir()
        card = ModelCard("segkd.models.network.FusionNet", arguments, ["no", "yes"], size)
        save_student(tmp_path / f"run{i}", FusionNet(**arguments), card)
        runs.append(str(tmp_path / f"run{i}"))
    picture = np.random.default_rng(0).integers(0, 255, (90, 101, 3), np.uint8)
    found = load_ensemble(runs).predict(picture, stride=0.4)
    alone = [load_model(run).predict(picture, stride=0.4) for run in runs]
    assert found.shape == (2, 90, 101)
    np.testing.assert_allclose(found, (alone[0] + alone[1]) / 2, atol=1e-5)


def test_members_that_learned_from_images_read_otherwise_are_noted(tmp_path):
    arguments = {"classes": 2, "encoder": TINY, "weights": None, "width": 8}
    for name, range_, exif in (("a", (0.0, 4095.0), True), ("b", (0.0, 4095.0), True), ("c", None, False)):
        (tmp_path / name).mkdir()
        card = ModelCard("segkd.models.network.FusionNet", arguments, ["no", "yes"], (32, 32), range=range_, exif=exif)
        save_student(tmp_path / name, FusionNet(**arguments), card)
    assert load_ensemble([tmp_path / "a", tmp_path / "b"]).note == ""
    note = load_ensemble([tmp_path / "a", tmp_path / "b", tmp_path / "c"]).note
    assert note.startswith(f"{tmp_path / 'c'} learned from images of range None and exif False"), note
    assert note.endswith("range (0.0, 4095.0) and exif True"), note


def test_rows_of_several_streams_come_side_by_side():
    whole = torch.arange(20.0).view(1, 10, 2)
    one, two = iter(whole.split([3, 1, 6], dim=1)), iter(whole.split([2, 7, 1], dim=1))
    pairs = list(side_by_side([one, two]))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(torch.cat([a for a, _ in pairs], dim=1), whole)
