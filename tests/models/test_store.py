import json
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from segkd.disk import write_whole
from segkd.models import store
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.models.pixels import as_rgb
from segkd.models.store import Model, ModelCard, load_model, read_card, restore_card, save_student
from segkd.models.wrapped import WrappedNet
from segkd.types import InputError

ARGUMENTS = {"classes": 3, "encoder": "test_efficientnet", "weights": None, "width": 16}
UNET = {
    "classes": 2,
    "network": "segmentation_models_pytorch.Unet",
    "arguments": {"encoder_name": "resnet18", "encoder_weights": None, "classes": "$classes"},
}
ELSEWHERE = """
import socket, sys
def refuse(*_):
    raise AssertionError("a download")
socket.socket.connect = socket.create_connection = refuse  # loading needs no hub
import numpy as np, torch, segkd
torch.set_num_threads(1)
for folder in sys.argv[1:]:
    model = segkd.load_model(folder)
    with torch.inference_mode():
        logits = model.network(torch.load(f"{folder}/image.pt")).logits
    torch.save(logits, f"{folder}/elsewhere.pt")
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("segkd.")}
assert not rooms & {"engine", "distill", "datasets", "experiment", "losses", "metrics"}, rooms
for wrong in (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 2), np.uint8), np.zeros((3, 8, 8), np.uint8)):
    try:
        model.predict(wrong)
    except segkd.InputError as error:
        assert "uint8 [h w 3]" in str(error) and str(wrong.shape) in str(error) and str(wrong.dtype) in str(error)
    else:
        raise AssertionError("a wrong image was taken")
"""


def card_of(network: Network, arguments: dict, **changes) -> ModelCard:
    path = f"{type(network).__module__}.{type(network).__qualname__}"
    names = [f"class{i}" for i in range(arguments["classes"])]
    return ModelCard(path, arguments, names, (32, 48), **changes)


def trained_a_little(network: Network) -> Network:
    """BatchNorm statistics and weights moved away from what a constructor would make again."""
    for _ in range(3):
        network.train()(torch.rand(2, 3, 32, 64))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return network.eval()


@pytest.fixture
def saved(tmp_path):
    """A function that saves a student: (network class, arguments of its card) -> (folder, network)."""

    def save(kind=FusionNet, arguments=ARGUMENTS, **changes):
        network = kind(**kind.without_weights(arguments))
        # the layout students are trained in: another one adds up in another order
        network = trained_a_little(network.to(memory_format=torch.channels_last))
        folder = tmp_path / kind.__name__
        folder.mkdir()
        save_student(folder, network, card_of(network, arguments, **changes))
        return folder, network

    return save


def test_a_fresh_process_gives_the_same_logits_bit_for_bit_without_training_code_or_downloads(saved):
    """The cards name hub weights, which loading must not fetch: the saved ones replace them anyway."""
    unet = {**UNET, "arguments": {**UNET["arguments"], "encoder_weights": "imagenet"}}
    students = [saved(arguments={**ARGUMENTS, "weights": "hub"}), saved(WrappedNet, unet)]
    image = torch.rand(1, 3, 33, 47)
    for folder, _ in students:
        torch.save(image, folder / "image.pt")
    folders = [str(folder) for folder, _ in students]
    command = [sys.executable, "-c", ELSEWHERE, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for folder, network in students:
        with torch.inference_mode():
            assert torch.equal(torch.load(folder / "elsewhere.pt"), network(image).logits)


def test_the_card_comes_back_as_it_was_given(saved):
    given = {"threshold": 0.35, "scores": {"miou_image": 0.5, "f_max": None}, "step": 12}
    folder, network = saved(**given)
    assert load_model(folder).card == card_of(network, ARGUMENTS, **given)
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "student.safetensors"]


def test_saving_again_replaces_the_student(saved):
    folder, network = saved()
    with torch.no_grad():
        network.head.bias.add_(1.0)
    save_student(folder, network, card_of(network, ARGUMENTS, step=7))
    model = load_model(folder)
    assert model.card.step == 7 and torch.equal(model.network.head.bias, network.head.bias)


@pytest.mark.parametrize("size", [(20, 31), (75, 50), (32, 48)])
def test_predictions_are_probabilities_at_the_image_s_own_size(size, saved):
    folder, _ = saved()
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    shares = load_model(folder).predict(image)
    assert shares.shape == (3, *size) and shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)
    assert (shares >= 0).all()


@pytest.mark.parametrize("size", [(20, 31), (75, 50)])
def test_decisions_are_those_of_the_probabilities(size, saved):
    model = load_model(saved()[0])
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(model.decide(image), model.predict(image).argmax(axis=0))


def test_paths_images_arrays_and_lists_are_predicted_alike(saved, tmp_path):
    model = load_model(saved()[0])
    image = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    expected = model.predict(image)
    found = model.predict([str(tmp_path / "photo.png"), tmp_path / "photo.png", Image.fromarray(image), image])
    assert len(found) == 4
    for one in found:
        np.testing.assert_array_equal(one, expected)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "turned.png", exif=exif)
    dark = Model(model.network, replace(model.card, range=(10.0, 60.0), exif=False))  # read as its training images were
    as_trained = as_rgb(tmp_path / "turned.png", (10.0, 60.0), False)
    np.testing.assert_array_equal(dark.predict(tmp_path / "turned.png"), model.predict(as_trained))


def test_a_window_gives_the_whole_image_where_both_are_one(saved):
    model = load_model(saved()[0])
    image = np.random.default_rng(0).integers(0, 256, (*model.card.size, 3), dtype=np.uint8)
    np.testing.assert_allclose(model.predict(image, stride=0.5), model.predict(image), atol=1e-6)
    large = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    shares = model.predict(large, stride=0.5)
    np.testing.assert_array_equal(model.decide(large, stride=0.5), shares.argmax(axis=0))
    assert np.abs(shares - model.predict(large)).max() > 1e-3


def test_a_prediction_at_the_training_size_is_the_network_s_softmax(saved):
    folder, network = saved()
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = network(pixels).logits.softmax(dim=1)[0].numpy()
    np.testing.assert_allclose(load_model(folder).predict(image), expected, atol=1e-6)


def old(folder, **changes):
    """The folder as earlier versions wrote it: the card in model.json alone, changed as told."""
    card = json.loads((folder / "model.json").read_text()) | changes
    (folder / "model.json").write_text(json.dumps(card))
    tensors = load_file(folder / "student.safetensors")
    save_file(tensors, folder / "student.safetensors", metadata={"step": "0"})
    return folder


def test_a_folder_without_a_student_is_refused_by_its_name(saved):
    folder, _ = saved()
    (folder / "student.safetensors").unlink()
    with pytest.raises(InputError, match=r"FusionNet: expected a run folder with student\.safetensors"):
        load_model(folder)


def test_the_copy_of_the_card_may_be_missing_damaged_or_older_and_is_restored(saved):
    folder, network = saved(step=8)
    for damage in (None, "{", json.dumps(asdict(card_of(network, ARGUMENTS, step=6)))):
        (folder / "model.json").unlink(missing_ok=True)
        if damage is not None:
            (folder / "model.json").write_text(damage)
        model = load_model(folder)
        assert model.card.step == 8 and "model.json differs" in model.note
        assert read_card(folder) == model.card
    restore_card(folder)
    assert load_model(folder).note == ""


def test_a_folder_of_an_earlier_version_loads_if_both_files_are_of_one_step(saved):
    folder, network = saved()
    old(folder)
    assert load_model(folder).card == card_of(network, ARGUMENTS)
    old(folder, step=6)
    with pytest.raises(InputError, match=r"step 0, model.json the card of step 6.*--resume"):
        load_model(folder)


def test_what_reads_while_students_are_saved_gets_weights_and_card_of_one_moment(saved, monkeypatch):
    """At every moment between the writes: the step is in a weight, too."""
    folder, network = saved()
    seen = []

    def look(path, content):
        for now in (False, True):
            if now:
                write_whole(path, content)
            model = load_model(folder)
            seen.append((model.card.step, model.network.head.bias[0].item()))

    monkeypatch.setattr(store, "write_whole", look)
    for step in (3, 9):
        with torch.no_grad():
            network.head.bias.fill_(float(step))
        save_student(folder, network, card_of(network, ARGUMENTS, step=step))
    assert len(seen) == 8 and seen[-1] == (9, 9.0)
    assert all(step == bias for step, bias in seen[1:])


def test_the_files_may_be_read_by_whoever_may_read_a_new_file(saved):
    folder, _ = saved()
    (folder / "new").write_text("")
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1


@pytest.mark.parametrize("path", ["no_such_module.Net", "segkd.models.network.NoSuchNet"])
def test_a_trusted_class_that_cannot_be_imported_is_named_with_what_to_do(path, saved):
    folder, _ = saved()
    with pytest.raises(InputError, match=f"{path}.*PYTHONPATH"):
        load_model(old(folder, class_path=path), trust=True)


@pytest.mark.parametrize("text", ["{", "{}", '{"class_path": "a.B", "colour": 1}', "null", "[]", "5", "[" * 20000])
def test_a_card_that_is_none_is_refused(text, saved):
    folder, _ = saved()
    old(folder)
    (folder / "model.json").write_text(text)
    with pytest.raises(InputError, match=r"model\.json: expected a segkd model card"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"threshold": 2.0, "size": [0, 32], "classes": ["one"], "range": [5.0, 5.0], "step": -1},
            r"threshold 2.0.*size \[0, 32\].*classes \['one'\].*range \[5.0, 5.0\].*step -1",
        ),
        (
            {"threshold": 0.0, "size": [32, 32769], "classes": ["a", "a", "b"]},
            r"threshold 0.0.*size \[32, 32769\].*different",
        ),
        ({"threshold": "high"}, "at threshold"),
        ({"size": [1, 2, 3]}, "at size"),
        ({"size": "32"}, "at size"),
        ({"classes": ["a", "b"]}, "2 names for the network's 3 classes"),
        ({"class_path": 3.5}, "at class_path"),
        ({"init_args": [1]}, "at init_args"),
        ({"init_args": {"classes": 3, "width": "wide", "encoder": "test_efficientnet"}}, "as its card describes it"),
        ({"init_args": {"classes": 3, "widht": 16}}, "as its card describes it"),
        ({"step": 1e300}, "step"),
        ({"scores": {"miou_image": "good"}}, "at scores.miou_image"),
    ],
)
def test_a_card_of_other_kinds_or_ranges_is_refused_with_the_place(changes, said, saved):
    folder, _ = saved()
    with pytest.raises(InputError, match=said):
        load_model(old(folder, **changes))


def test_a_run_folder_that_is_not_there_is_told_from_one_without_a_student(tmp_path):
    with pytest.raises(InputError, match=r"moved: expected a run folder, found nothing there"):
        load_model(tmp_path / "moved")
    with pytest.raises(InputError, match=r"expected a run folder with student.safetensors, found none"):
        load_model(tmp_path)
