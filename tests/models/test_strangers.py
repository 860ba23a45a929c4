import re
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from segkd.models.onnx import open_session
from segkd.models.store import load_model
from segkd.models.strangers import said_of_stranger
from segkd.types import InputError

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


class Dictionary(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, image):
        return {"out": self.conv(image), "aux": image}


@pytest.fixture
def made(tmp_path):
    """A file or folder of each kind that others save."""
    network = nn.Conv2d(3, 2, 1)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pth")
    torch.save(network.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(tmp_path / "t.pt", "w") as archive:
        archive.writestr("t/constants.pkl", b"")
        archive.writestr("t/data.pkl", b"")
    with zipfile.ZipFile(tmp_path / "p.pt2", "w") as archive:
        archive.writestr("p/models/model.json", b"")
    (tmp_path / "k.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    (tmp_path / "smp").mkdir()
    (tmp_path / "smp" / "config.json").write_text("{}")
    (tmp_path / "smp" / "model.safetensors").write_bytes(bytes(99))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("w.pth", "weights, or a pickled module"), ("old.pth", "a file of torch.save"), ("t.pt", "TorchScript"),
        ("p.pt2", r"torch\.export writes"), ("k.h5", "HDF5"), ("smp", "save_pretrained of another library"),
    ],
)  # fmt: skip
def test_what_others_saved_is_named_with_the_two_ways_to_score_it(made, name, what):
    with pytest.raises(InputError, match=rf"run folder.*found .*{what}.*torch\.onnx\.export.*--predictions"):
        load_model(made / name)
    pytest.importorskip("onnxruntime")
    with pytest.raises(InputError, match=rf"an ONNX file, found .*{what}.*torch\.onnx\.export.*--predictions"):
        open_session(str(made / name), 1)


def test_an_onnx_file_for_a_run_is_told_its_option(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(InputError, match=r"found an ONNX file: segkd evaluate --onnx"):
        load_model(tmp_path / "net.onnx")


def test_weights_without_a_card_and_unknown_bytes(made):
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2)}, made / "w.safetensors")
    with pytest.raises(InputError, match=r"weights without its card.*torch\.onnx\.export"):
        load_model(made / "w.safetensors")
    (made / "bytes").write_bytes(b"\x80\x02" + bytes(99))  # a header of 640 bytes, of safetensors
    assert said_of_stranger(made / "bytes") is None
    (made / "torn.zip").write_bytes(b"PK\x03\x04" + bytes(9))
    assert said_of_stranger(made / "torn.zip") is None
    with zipfile.ZipFile(made / "names.zip", "w") as archive:
        archive.writestr("é", b"")
    (made / "names.zip").write_bytes((made / "names.zip").read_bytes().replace("é".encode(), b"\xff\xff"))
    assert said_of_stranger(made / "names.zip") is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its exporter by tracing
def test_the_lines_of_the_page_export_any_module(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from segkd.models.onnx import OnnxNetwork

    monkeypatch.chdir(tmp_path)
    network = Dictionary().eval()
    lines = re.search(r"```python\n(import torch\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert lines is not None
    exec(lines[1], {"network": network, "__name__": "page"})
    image = torch.rand(2, 3, 24, 40)
    found = OnnxNetwork("network.onnx", 2, "logits", [0.0] * 3, [1.0] * 3)(image).logits
    torch.testing.assert_close(found, network(image)["out"], atol=1e-4, rtol=1e-4)
