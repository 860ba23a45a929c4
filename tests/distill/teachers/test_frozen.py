from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from segkd.distill.base import Scene
from segkd.distill.teachers.frozen import Frozen
from segkd.models.fusion import FusionNet
from segkd.models.member import Reading, seen_at, translated
from segkd.models.store import ModelCard, load_model, save_student
from segkd.models.trained_on import note_trained_on
from segkd.types import InputError, LayerPath
from tests.conftest import TINY
from tests.distill.teachers.stage import Tiny, met
from tests.models.graphs import node, save


@pytest.fixture
def run(tmp_path):
    def make(name: str, classes: int = 3) -> LayerPath:
        arguments = {"classes": classes, "encoder": TINY, "weights": None, "width": 16}
        names = [f"c{i}" for i in range(classes)]
        scores = {"miou_image": 0.75, "f_mean": None}
        card = ModelCard("segkd.models.network.FusionNet", arguments, names, (32, 32), scores=scores, step=9)
        (tmp_path / name).mkdir()
        save_student(tmp_path / name, FusionNet(**arguments), card)
        return LayerPath(str(tmp_path / name))

    return make


def test_one_run_teaches_what_it_predicts_of_the_clean_image(run, make_batch):
    batch, student, source = make_batch(3), Tiny(), run("a")
    teacher = met(Frozen([source]), student, batch)
    target = teacher(batch, student(batch.image), student).target
    expected = load_model(source).network(batch.clean)
    assert torch.equal(target.logits, expected.logits) and not target.logits.requires_grad
    assert len(target.features) == len(expected.features)
    assert not teacher.state_dict() and not list(teacher.parameters())  # in no checkpoint, in no optimiser
    assert teacher.said == (f"{source}: FusionNet, val miou_image 0.7500 at step 9",)


def test_several_runs_are_the_mean_of_their_probabilities(run, make_batch):
    batch, student, sources = make_batch(3), Tiny(), [run("a"), run("b")]
    teacher = met(Frozen(sources), student, batch)
    target = teacher(batch, student(batch.image), student).target
    shares = [load_model(source).network(batch.clean).logits.softmax(dim=1) for source in sources]
    torch.testing.assert_close(target.logits.exp(), (shares[0] + shares[1]) / 2)
    assert teacher.gives == {"logits"}


def test_layers_of_the_run_may_be_its_features(run, make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(Frozen([run("a")], features=["sharpen"]), student, batch)
    assert len(teacher(batch, student(batch.image), student).target.features) == 1


def test_a_teacher_that_is_none_or_knows_other_classes_is_refused(run, tmp_path, make_batch):
    with pytest.raises(InputError, match="names no run folder"):
        met(Frozen([]), Tiny(), make_batch(3))
    with pytest.raises(InputError, match="expected a run folder"):
        met(Frozen([LayerPath(str(tmp_path / "none"))]), Tiny(), make_batch(3))
    with pytest.raises(InputError, match=r"knows 5 classes \(c0, c1, c2, c3, c4\), the student 3"):
        met(Frozen([run("five", 5)]), Tiny(), make_batch(3))
    with pytest.raises(InputError, match="features are those of one network"):
        Frozen([run("x"), run("y")], features=["sharpen"])


def test_a_teacher_that_knows_the_classes_in_another_order_is_refused(run, make_batch):
    batch, student = make_batch(3), Tiny()
    with torch.no_grad():
        scene = Scene(student, batch, student(batch.clean), 4, Tiny, ["c0", "c2", "c1"])
    with pytest.raises(InputError, match=r"another order \(c0, c1, c2\) than the student \(c0, c2, c1\)"):
        Frozen([run("a")]).meet(scene)
    with pytest.raises(InputError, match=r"another order \(c0, c1, c2\) than the student \(c0, x, c1\)"):
        Frozen([run("c")]).meet(replace(scene, names=["c0", "x", "c1"]))  # its c1 would teach x
    teacher = Frozen([run("b")])
    teacher.meet(replace(scene, names=["c0", "y", "z"]))  # other names may mean the same
    assert teacher.said[0].endswith("; by their places its c1 as y, c2 as z")


def scene_of(student, batch, **more) -> Scene:
    with torch.no_grad():
        return Scene(student, batch, student.eval()(batch.clean), 4, Tiny, **more)


def test_a_teacher_of_other_classes_is_translated_by_a_map(run, make_batch):
    batch, student, source = make_batch(3), Tiny(), run("five", 5)
    given = {"c0": "x", "c3": "x", "c1": "y", "c4": "z"}  # nothing stands for c2
    teacher = Frozen([source], classes=given)
    teacher.meet(scene_of(student, batch, names=["x", "y", "z"]))
    target = teacher(batch, student(batch.image), student).target.logits.exp()
    theirs = load_model(source).network(batch.clean).logits.softmax(dim=1)
    whole = theirs[:, [0, 1, 3, 4]].sum(dim=1)
    torch.testing.assert_close(target[:, 0], (theirs[:, 0] + theirs[:, 3]) / whole)
    torch.testing.assert_close(target[:, 2], theirs[:, 4] / whole)
    for wrong, said in (
        ({"c0": "x", "c1": "y"}, "nothing stands for z"),
        (given | {"c9": "x"}, "'c9' is none of them"),
    ):
        with pytest.raises(InputError, match=said):
            Frozen([source], classes=wrong).meet(scene_of(student, batch, names=["x", "y", "z"]))


@pytest.mark.parametrize("half", [None, torch.float16, torch.bfloat16])
def test_a_map_of_classes_gives_sums_of_one_however_sure_the_teacher_is(half):
    logits = torch.tensor([[0.0, 20.0, 60.0, 0.0], [3.0, 0.0, 300.0, -1.0]]).view(2, 4, 1, 1)
    table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])  # nothing stands for the third
    expected = logits[:, [0, 1, 3]].softmax(dim=1)
    expected = torch.stack([expected[:, 0] + expected[:, 2], expected[:, 1]], dim=1)
    with torch.autocast("cpu", half, enabled=half is not None):
        torch.testing.assert_close(translated(logits, table), expected)


def test_a_teacher_of_another_size_sees_the_images_at_its_own(run, make_batch):
    """Classes of a network are those of the scale that it was trained at."""
    batch, student, source = make_batch(3, size=(64, 48)), Tiny(), run("a")
    target = met(Frozen([source]), student, batch)(batch, student(batch.image), student).target
    small = seen_at(batch.clean, (32, 32))
    expected = torch.nn.functional.interpolate(load_model(source).network(small).logits, (64, 48), mode="bilinear")
    torch.testing.assert_close(target.logits, expected)


def test_an_onnx_file_of_others_is_read_as_it_is_said(tmp_path, make_batch):
    values = {"w": np.array([[0, 0, 0], [8, 0, 0]], np.float32).reshape(2, 3, 1, 1), "c": np.array([0, -4], np.float32)}
    nodes = [node("Conv", ["image", "w", "c"], "out"), node("Neg", "out", "other")]
    path = LayerPath(save(tmp_path / "net.onnx", nodes, outputs=("out", "other"), constants=values))
    batch, student = make_batch(2), Tiny(2)
    with pytest.raises(InputError, match=r"2 outputs can be the map: .* of a teacher onnx\.output"):
        met(Frozen([path]), student, batch)
    teacher = met(Frozen([path], onnx=Reading("other", "logits", [0.0] * 3, [0.5] * 3)), student, batch)
    red = batch.clean[:, :1]
    expected = torch.cat([torch.zeros_like(red), 4 - 8 * red / 0.5], dim=1)
    found = teacher(batch, student(batch.image), student).target.logits
    torch.testing.assert_close(found.softmax(dim=1), expected.softmax(dim=1), atol=1e-5, rtol=0)
    backwards = met(Frozen([path], onnx=Reading("other", "logits", [0.0] * 3, [0.5] * 3, "bgr")), student, batch)
    flipped = replace(batch, clean=batch.clean.flip(1))
    again = backwards(flipped, student(batch.image), student).target.logits
    torch.testing.assert_close(again, found, atol=1e-5, rtol=0)


def test_an_onnx_file_teaches_logits_beside_a_run(run, tmp_path, make_batch):
    values = {
        "w": np.array([[4, 0, 0], [0, 4, 0], [0, 0, 4]], np.float32).reshape(3, 3, 1, 1),
        "c": np.zeros(3, np.float32),
    }
    path = save(tmp_path / "net.onnx", [node("Conv", ["image", "w", "c"], "out")], constants=values,
                metadata={"segkd.input": "rgb01"})  # fmt: skip
    batch, student, source = make_batch(3), Tiny(), run("a")
    teacher = met(Frozen([LayerPath(path), source]), student, batch)
    target = teacher(batch, student(batch.image), student).target
    shares = [(4 * batch.clean).softmax(dim=1), load_model(source).network(batch.clean).logits.softmax(dim=1)]
    torch.testing.assert_close(target.logits.exp(), (shares[0] + shares[1]) / 2, atol=1e-5, rtol=1e-4)
    assert Frozen([LayerPath(path)]).gives == {"logits"} and "ONNX" in teacher.said[0]
    with pytest.raises(InputError, match="expected an ONNX file"):
        met(Frozen([LayerPath(str(tmp_path / "none.onnx"))]), student, batch)


def test_a_network_of_any_kind_with_a_file_of_weights(tmp_path, make_batch):
    batch, student, other = make_batch(3), Tiny(), Tiny()
    torch.save({"state_dict": other.state_dict()}, tmp_path / "w.pth")
    teacher = met(Frozen(network=Tiny, weights=LayerPath(str(tmp_path / "w.pth"))), student, batch)
    target = teacher(batch, student(batch.image), student).target
    assert torch.equal(target.logits, other.eval()(batch.clean).logits) and len(target.features) == 2
    assert not list(teacher.parameters())
    torch.save({"first.0.weight": other.state_dict()["first.0.weight"]}, tmp_path / "few.pth")
    with pytest.raises(InputError, match=r"expected all .* tensors of Tiny"):
        met(Frozen(network=Tiny, weights=LayerPath(str(tmp_path / "few.pth"))), student, batch)
    with pytest.raises(InputError, match="Write network, or sources"):
        Frozen([LayerPath("run")], weights=LayerPath("file"))


def test_an_image_is_taught_by_those_that_never_saw_it(run, make_batch):
    batch, student, sources = make_batch(3, b=3), Tiny(), [run("a"), run("b")]
    with pytest.raises(InputError, match="does not say what it was trained on"):
        met(Frozen(sources, unseen=True), student, batch)
    note_trained_on(Path(sources[0]), ["image0", "image1"])
    note_trained_on(Path(sources[1]), ["image1", "image2"])
    teacher = met(Frozen(sources, unseen=True), student, batch)
    batch = replace(batch, ids=("image0", "new", "image2"))
    target = teacher(batch, student(batch.image), student).target.logits.exp()
    shares = [load_model(source).network(batch.clean).logits.softmax(dim=1) for source in sources]
    torch.testing.assert_close(target[0], shares[1][0])
    torch.testing.assert_close(target[1], (shares[0][1] + shares[1][1]) / 2)
    torch.testing.assert_close(target[2], shares[0][2])
    with pytest.raises(InputError, match=r"1 of 3 training images were seen by every teacher, image1 .*data\.fold"):
        Frozen(sources, unseen=True).meet(scene_of(student, batch, ids=("image0", "image1", "image2")))
    with pytest.raises(InputError, match=r"1 of 2 training images were seen by every teacher, image1 "):
        Frozen(sources, unseen=True).meet(scene_of(student, batch, ids=("image0",), others=("image1",)))
    with pytest.raises(InputError, match=r"without the name of a data set before theirs.*same data\.domains"):
        Frozen(sources, unseen=True).meet(scene_of(student, batch, ids=("one/image0", "two/image1")))


def test_a_teacher_alone_is_a_network_to_be_scored(run, make_batch):
    batch, student = make_batch(3), Tiny()
    teacher = met(Frozen([run("a"), run("b")]), student, batch)
    alone = teacher.alone()
    assert torch.equal(alone(batch.clean).logits, teacher(batch, student(batch.image), student).target.logits)
    assert not list(alone.parameters())
