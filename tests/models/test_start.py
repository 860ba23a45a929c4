from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from segkd.models.encoders import build_encoder
from segkd.models.fusion import FusionNet
from segkd.models.start import start_from
from segkd.models.store import ModelCard, save_student
from segkd.models.wrapped import WrappedNet
from segkd.types import InputError

TINY = "test_efficientnet"


class Small(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, outputs, 1)


def wrapped(classes=2) -> WrappedNet:
    return WrappedNet(classes, f"{__name__}.Small", {"outputs": "$classes"})


@pytest.fixture
def run(tmp_path):
    """A run folder with a trained student of two classes, and its network."""
    network = FusionNet(2, TINY, None, 16)
    save_student(tmp_path, network, ModelCard("segkd.models.network.FusionNet", {"classes": 2}, ["a", "b"], (32, 32)))
    return tmp_path, network


@pytest.mark.parametrize("name", ["", "student.safetensors"])
def test_a_trained_network_is_taken_whole(run, name):
    folder, trained = run
    network = FusionNet(2, TINY, None, 16)
    said = start_from(network, folder / name)
    assert all(torch.equal(part, trained.state_dict()[key]) for key, part in network.state_dict().items())
    whole = len(trained.state_dict())
    assert said.endswith(f"{whole} of {whole} tensors taken")


def test_as_many_other_classes_are_taken_by_number_and_that_is_said(run):
    folder, _ = run
    for names, said in ((["b", "a"], "its classes (a, b) are others than yours (b, a)"), (["a", "b"], "taken")):
        text = start_from(FusionNet(2, TINY, None, 16), folder, names)
        assert said in text and ("others than yours" in text) == (names != ["a", "b"])


def test_other_classes_get_a_new_head_and_all_else_is_taken(run):
    folder, trained = run
    network = FusionNet(3, TINY, None, 16)
    head = network.head.weight.clone()
    said = start_from(network, folder)
    assert torch.equal(network.head.weight, head)
    assert torch.equal(network.encoder.body.conv_stem.weight, trained.encoder.body.conv_stem.weight)
    assert "new, of another shape: head.weight (2, 16, 1, 1) for (3, 16, 1, 1), head.bias" in said
    assert "not there" not in said and "not used" not in said


def test_what_is_missing_or_superfluous_is_named(tmp_path):
    state = Small(2).state_dict()
    torch.save({"first.weight": state["first.weight"], "extra": state["first.bias"]}, tmp_path / "w.pth")
    said = start_from(wrapped(), tmp_path / "w.pth")
    assert "1 of 4 tensors taken" in said and "new, not there: network.first.bias, " in said
    assert "not used: network.extra" in said


@pytest.mark.parametrize("begin", ["module.", "network."])
def test_a_network_is_found_beside_teachers_with_more_tensors(begin, tmp_path):
    small, network = Small(2), wrapped()
    state = {begin + key: part for key, part in small.state_dict().items()}
    torch.save(state | {f"teacher.{i}": torch.ones(1) for i in range(30)}, tmp_path / "w.pth")
    assert "4 of 4 tensors taken" in start_from(network, tmp_path / "w.pth")


@pytest.mark.parametrize("begin", ["", "module.", "network.", "module.network.", "model.", "trainer.net."])
@pytest.mark.parametrize("inside", [None, "state_dict", "model"])
def test_names_of_other_trainers_are_understood(begin, inside, tmp_path):
    small, network = Small(2), wrapped()
    state = {begin + key: part for key, part in small.state_dict().items()}
    torch.save({inside: state, "epoch": 3} if inside else state, tmp_path / "w.pth")
    assert "4 of 4 tensors taken" in start_from(network, tmp_path / "w.pth")
    assert torch.equal(network.network.first.weight, small.first.weight)


def test_a_loss_among_the_tensors_is_not_taken_for_them(tmp_path):
    small, network = Small(2), wrapped()
    torch.save({"epoch": 3, "model_state_dict": small.state_dict(), "loss": torch.tensor(0.5)}, tmp_path / "w.pth")
    assert "4 of 4 tensors taken" in start_from(network, tmp_path / "w.pth")


def test_what_fits_nowhere_is_refused_with_both_sides(tmp_path):
    save_file({"other.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"none of its 4 tensors.*network\.first\.weight.*the file has other\.weight"):
        start_from(wrapped(), tmp_path / "w.safetensors")


def test_files_of_no_tensors_are_named_and_run_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "marker",)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "list.pth").read_bytes()[:50])
    (tmp_path / "text.pth").write_text("weights")
    (tmp_path / "text.safetensors").write_text("weights")
    (tmp_path / "short.pth").write_bytes(b"\x80\x02M")
    (tmp_path / "empty_stack.pth").write_bytes(b"\x80\x02uabc")
    wrong = ("evil.pth", "list.pth", "cut.pth", "text.pth", "text.safetensors", "short.pth", "empty_stack.pth")
    for name in (*wrong, "none.pth", "."):
        with pytest.raises(InputError):
            start_from(wrapped(), tmp_path / name)
    assert not (tmp_path / "marker").exists()
    torch.save(nn.Conv2d(3, 2, 1), tmp_path / "whole.pth")
    with pytest.raises(InputError, match=r"Python objects .*not opened.*state_dict alone") as error:
        start_from(wrapped(), tmp_path / "whole.pth")
    assert "Weights only" not in str(error.value)


@pytest.mark.parametrize("name", ["", "student.safetensors"])
def test_a_whole_network_as_an_encoder_s_weights_is_pointed_to_init(run, name):
    folder, _ = run
    with pytest.raises(InputError, match=r"whole network that segkd trained.*--init"):
        build_encoder(TINY, str(folder / name))
