"""Hostile run folders: each would leave a marker file if what it names were called."""

import json
import pickle
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segkd.disk import write_whole
from segkd.models.store import load_model
from segkd.models.trust import NETWORKS, WRAPPED, foreign, imported, refuse_foreign_network
from segkd.models.weights import packed
from segkd.models.wrapped import WrappedNet
from segkd.types import InputError

WRAP, SMP = "segkd.models.network.WrappedNet", "segmentation_models_pytorch"


class Evil:
    """A pickle that touches a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def wrapped(network: object, **arguments: object) -> dict:
    return {"class_path": WRAP, "init_args": {"classes": 2, "network": network, "arguments": arguments}}


def plain(class_path: object, **arguments: object) -> dict:
    return {"class_path": class_path, "init_args": {"classes": 2, **arguments}}


def reused(donor: object = None, **inner: object) -> dict:
    return plain(NETWORKS[3], donor=donor, **inner)


def smp_net(**arguments: object) -> dict:
    return plain(NETWORKS[2], architecture="Unet", encoder="resnet18", arguments=arguments)


HOSTILE = {
    "a shell": wrapped("os.system", command="touch {marker}"),
    "a process": wrapped("subprocess.run", args=["touch", "{marker}"]),
    "python code": wrapped("builtins.exec", source="open('{marker}', 'w')"),
    "a file of the folder": plain("planted.Net"),
    "a file of the folder, wrapped": wrapped("planted.Net"),
    "a module that a library imports": wrapped(f"{SMP}.encoders.os.system", command="touch {marker}"),
    "a module that segkd imports": wrapped("segkd.models.trust.os.system", command="touch {marker}"),
    "another function of segkd": wrapped("segkd.disk.write_whole", path="{marker}", content=""),
    "a class that is no network of the list": plain("segkd.models.onnx.OnnxNetwork", path="{marker}"),
    "an import that is a function": plain("segkd.models.trust.imported", path="planted.Net"),
    "torch.load": wrapped("torch.load", f="{pickle}", weights_only=False),
    "torch.hub": wrapped("torch.hub.load", repo_or_dir="{folder}", model="net", source="local"),
    "timm's unpickling": wrapped("timm.create_model", model_name="resnet18", checkpoint_path="{pickle}"),
    "timm's hub": wrapped("timm.models._hub.load_custom_from_hf", model_id="a/b"),
    "smp's hub": wrapped(f"{SMP}.from_pretrained", pretrained_model_name_or_path="{folder}"),
    "unpickling through smp to timm": wrapped(
        f"{SMP}.Unet", encoder_name="tu-resnet18", encoder_weights=None, checkpoint_path="{pickle}"
    ),
    "unpickling through SmpNet to timm": smp_net(checkpoint_path="{pickle}"),
    "a fetched encoder": wrapped(f"{SMP}.Unet", encoder_name="tu-hf-hub:a/b", encoder_weights=None),
    "an encoder from a folder": wrapped(f"{SMP}.Unet", encoder_name="tu-local-dir:{folder}", encoder_weights=None),
    "a fetched encoder in ours": plain(NETWORKS[0], encoder="hf-hub:a/b"),
    "a path for an encoder": plain(NETWORKS[0], encoder="../planted"),
    "an architecture that is none": plain(NETWORKS[2], architecture="../planted"),
    "a class inside the arguments": wrapped(f"{SMP}.Unet", aux_params={"class_path": "os.system"}),
    "a class inside a list of the arguments": plain(NETWORKS[0], width=[{"class_path": "planted.Net"}]),
    "a network inside a network": reused(network="planted.Net"),
    "a fetched encoder inside a network": reused(network="FusionNet", arguments={"encoder": "hf-hub:a/b"}),
    "a shell inside a network": reused(network="WrappedNet", arguments={"network": "os.system"}),
    "arguments of a network inside that are a text": reused(arguments="{marker}"),
    "a donor of a head": reused({"network": "planted.Net", "arguments": {}, "head": "head"}),
    "a donor that is a text": reused("planted.Net"),
    "a head of a run that the card trusts": reused(run="{folder}", trust=True),
    "a trusted run inside a network": reused(
        network="ReusedHead", arguments={"run": "{folder}", "network": "FusionNet", "trust": True}
    ),
    "unpickling through a donor of a donor": reused(
        {
            "network": "ReusedHead",
            "arguments": {"donor": smp_net(checkpoint_path="{pickle}")["init_args"] | {"network": "SmpNet"}},
        }
    ),
    "a list for a class": plain(["os", "system"]),
    "a map for a network": wrapped({"class_path": "planted.Net"}),
    "arguments that are a text": plain(WRAP, network=f"{SMP}.Unet", arguments="{marker}"),
    "a list for a network": plain(WRAP, network=["os", "system"]),
    "a relative import": plain(".planted.Net"),
    "nothing": plain(""),
    "none": plain(None),
}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """A folder with code, a pickle and a hub that touch `marker`; it is the working directory."""
    folder, marker = tmp_path / "run", tmp_path / "marker"
    folder.mkdir()
    code = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\nclass Net: pass\nnet = Net\n"
    for name in ("planted.py", "hubconf.py", "cv2.py", "segmentation_models_pytorch.py"):
        (folder / name).write_text(code)
    torch.save({"state_dict": Evil(marker)}, folder / "evil.pth")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "planted", raising=False)
    return folder, marker


def filled(tree: object, folder: Path, marker: Path) -> object:
    """The card with its places filled in."""
    text = json.dumps(tree).replace("{marker}", str(marker)).replace("{folder}", str(folder))
    return json.loads(text.replace("{pickle}", str(folder / "evil.pth")))


def write(folder: Path, card: dict, inside: bool) -> None:
    """The card beside tensors: in the header, its digest right, or as earlier versions wrote it."""
    card = {"classes": ["a", "b"], "size": [32, 32], "threshold": 0.5, "scores": {}, "step": 0, **card}
    tensors = {"head.bias": torch.zeros(2)}
    if inside:
        write_whole(folder / "student.safetensors", packed(tensors, card))
    else:
        save_file(tensors, folder / "student.safetensors", metadata={"step": "0"})
    (folder / "model.json").write_text(json.dumps(card))


@pytest.mark.parametrize("inside", [True, False], ids=["header", "model.json"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_folder_runs_nothing(name, inside, planted):
    folder, marker = planted
    write(folder, filled(HOSTILE[name], folder, marker), inside)
    with pytest.raises(InputError):
        load_model(folder)
    assert not marker.exists()


def test_the_traps_would_snap(planted):
    """Each way that the folders above use does leave the marker when it is taken."""
    folder, marker = planted
    for snap in (
        lambda: WrappedNet(2, "os.system", {"command": f"touch {marker}"}),
        lambda: imported("planted.Net"),
        lambda: pickle.loads(pickle.dumps(Evil(marker))),
    ):
        with suppress(InputError):  # what comes out is no network; by then it has run
            snap()
        assert marker.exists()
        marker.unlink()


def test_the_refusal_shows_the_name_and_what_trust_means(planted):
    folder, _ = planted
    write(folder, plain("planted.Net"), True)
    with pytest.raises(InputError, match=r"names planted\.Net.*with your rights.*--trust.*trust=True"):
        load_model(folder)
    assert "docs/security.md" in str(foreign("x.Y", "file"))


def test_with_trust_the_class_is_imported_from_the_working_directory(planted):
    folder, marker = planted
    write(folder, plain("planted.Net"), True)
    with pytest.raises(InputError, match="as its card describes it"):  # a plain class is no network
        load_model(folder, trust=True)
    assert marker.exists() and sys.path[-1] == str(folder) and sys.path[0] != str(folder)


def test_what_lies_in_the_working_directory_never_takes_the_place_of_a_library(planted):
    folder, marker = planted
    assert imported("cv2.resize").__module__ != "planted"
    assert imported(f"{SMP}.Unet").__name__ == "Unet"
    assert not marker.exists() and str(folder) not in sys.path


@pytest.mark.parametrize("path", sorted(WRAPPED))
def test_what_is_on_the_list_exists_and_gives_a_network(path):
    found = imported(path)
    assert callable(found) and found.__module__.startswith(path.split(".")[0])
    refuse_foreign_network(WRAP, {"classes": 2, "network": path, "arguments": {}}, "here")


def test_a_list_of_the_networks_of_segkd():
    for path in NETWORKS:
        assert imported(path).__module__ + "." + imported(path).__qualname__ == path
