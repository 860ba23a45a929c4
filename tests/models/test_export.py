"""Networks written as files give what they gave, at sizes and numbers of images that the exporter never saw."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from timm.layers import Conv2dSame

from segkd.models.complexity import complexity
from segkd.models.decoder import resize
from segkd.models.export import ENDINGS, Exported, FlippedSame, write_network
from segkd.models.exported import compared, macs_of, opened_file
from segkd.models.fusion import FusionNet
from segkd.models.network import Network
from segkd.models.onnx import OnnxNetwork, load_exported
from segkd.models.signature import STATED_KEY, Statement, stated
from segkd.models.smp import SmpNet
from segkd.models.wrapped import WrappedNet
from segkd.types import InputError, Prediction
from tests.conftest import TINY

STATEMENT = Statement("logits", ["a", "b", "c"], (48, 40), 0.4, 7, "0.1.0")
SMP = {"encoder_name": f"tu-{TINY}", "encoder_weights": None, "classes": "$classes"}


class Small(Network):
    """What hinders torch.export, and no more: "same" padding at any size, and a resizing that is needed at some."""

    def __init__(self):
        super().__init__()
        self.first, self.second = Conv2dSame(3, 8, 3, stride=2), Conv2dSame(8, 3, 5, stride=2)

    def forward(self, image):
        half = self.first(image)
        pooled = F.adaptive_avg_pool2d(half, 2)
        return Prediction(resize(self.second(half + resize(pooled[:, :8], half)), image))


NETWORKS = {
    "FusionNet": lambda: FusionNet(3, TINY, None, 16),
    "SmpNet": lambda: SmpNet(
        3, "FPN", TINY, None, {"decoder_pyramid_channels": 16, "decoder_segmentation_channels": 32}
    ),
    "WrappedNet": lambda: WrappedNet(
        3, "segmentation_models_pytorch.Unet", SMP | {"decoder_channels": [16, 16, 8, 8, 8]}
    ),
}


def settled(network: Network) -> Network:
    """The network in evaluation mode, its statistics and weights such that classes differ from place to place."""
    draw = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=draw) / 10
            module.running_var = torch.rand(module.num_features, generator=draw) + 0.5
    return network.eval()


@pytest.fixture
def batches():
    draw = torch.Generator().manual_seed(0)
    return [torch.rand(n, 3, h, w, generator=draw) for n, h, w in [(1, 64, 64), (3, 75, 106), (2, 33, 65)]]


def written(folder, network, form, output="logits", statement=STATEMENT):
    path = folder / f"net{ENDINGS[form]}"
    write_network(network, form, path, output, statement.metadata())
    return path, opened_file(path, form, 3, output)


@pytest.mark.parametrize(("name", "form"), [
    *((name, form) for name in NETWORKS for form in ("onnx", "torchscript")), ("Small", "pt2")
])  # fmt: skip
def test_a_file_gives_what_the_network_gives_and_takes_as_many_multiplications(tmp_path, batches, name, form):
    network = settled(Small() if name == "Small" else NETWORKS[name]())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path, file = written(tmp_path, network, form)
    found = compared(Exported(network), file, batches)
    assert found.holds and found.images == 6 and len(found.shapes) == 3 and found.largest > 0.01, str(found)
    assert macs_of(file, path, (64, 96)) == complexity(network, (64, 96)).macs
    torch.testing.assert_close(file(batches[1]).logits, network(batches[1]).logits, atol=1e-4, rtol=1e-3)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_the_file_says_what_it_gives_and_is_read_so(tmp_path, batches):
    network = settled(NETWORKS["FusionNet"]())
    logits = network(batches[1]).logits
    for output in ("probability", "classes"):
        statement = Statement(output, ["a", "b", "c"], (48, 40), 0.4, 7, "0.1.0")
        path, file = written(tmp_path, network, "onnx", output, statement)
        assert compared(Exported(network, output), file, batches).holds
        assert file.statement == statement and file.size_for((160, 160)) == (48, 40)
        assert "fed RGB in 0..1;" in file.said
        dims = onnx.load(path).graph.output[0].type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in dims] == ["n", *([3] if len(dims) == 4 else []), "h", "w"]
        close = (logits.topk(2, dim=1).values.diff(dim=1).abs() < 1e-4).squeeze(1)
        assert bool(((file(batches[1]).logits.argmax(dim=1) == logits.argmax(dim=1)) | close).all())
        card = load_exported(str(path)).card
        assert (card.classes, card.size, card.threshold) == (
            ["a", "b", "c"],
            (48, 40),
            {"classes": 0.5}.get(output, 0.4),
        )
    with pytest.raises(InputError, match=r"exported for 3 classes \(a, b, c\), but data.classes names 2"):
        OnnxNetwork(str(path), 2)
    with pytest.raises(InputError, match=r"normalises inside.*leave out --mean"):
        OnnxNetwork(str(path), 3, mean=(0.5, 0.5, 0.5))


def test_logits_that_look_like_probabilities_are_read_as_the_file_says(tmp_path):
    class Faint(Network):
        def forward(self, image):
            return Prediction(image * 0.5 + 0.2)

    path, file = written(tmp_path, Faint(), "onnx")
    image = torch.rand(1, 3, 48, 40)
    assert "read as logits" in file.said
    torch.testing.assert_close(file(image).logits, image * 0.5 + 0.2)


def test_a_file_with_other_weights_or_sizes_does_not_hold(tmp_path, batches):
    network = settled(NETWORKS["FusionNet"]())
    path, _ = written(tmp_path, network, "onnx")
    model = onnx.load(path)
    (bias,) = [one for one in model.graph.initializer if one.name.endswith("head.bias")]
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32([1, 0, 0]), bias.name))
    onnx.save(model, path)
    found = compared(Exported(network), opened_file(path, "onnx", 3, "logits"), batches)
    assert not found.holds and 0.9 < found.difference < 1.1 and found.flips > 0
    assert not compared(Exported(network), opened_file(path, "onnx", 3, "logits"), [batches[0] * float("nan")]).holds


class Fixed(Network):
    """Holds the size at which it is traced."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 3, 1)

    def forward(self, image):
        return Prediction(self.last(image).view(-1, 3, int(image.shape[2]), int(image.shape[3])))


def test_a_file_that_holds_its_size_is_a_paragraph(tmp_path, batches):
    network = Fixed().eval()
    _, file = written(tmp_path, network, "torchscript")
    with pytest.raises(InputError, match=r"\[1, 3, 64, 64\], as the network does: .*is invalid.*another --format"):
        compared(Exported(network), file, batches)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("sides", [(16, 16), (17, 16), (16, 17), (33, 7), (1, 2)])
def test_the_flipped_convolution_is_the_same_one(size, sides):
    same = Conv2dSame(4, 8, size, stride=2, groups=2)
    x = torch.rand(2, 4, *sides)
    torch.testing.assert_close(FlippedSame(same)(x), same(x))


def test_what_an_exporter_cannot_say_is_a_paragraph(tmp_path, capfd):
    class Odd(Network):
        def forward(self, image):
            return Prediction(torch.fft.fft2(image).real)

    with pytest.raises(
        InputError, match=r"Odd cannot be written as onnx: .*not supported. Try --format torchscript or pt2"
    ):
        write_network(Odd(), "onnx", tmp_path / "odd.onnx", "logits", {})
    assert capfd.readouterr().out == "", "the graph is not printed"


def test_pooling_to_any_number_of_cells_is_torchs(tmp_path):
    class Pooled(Network):
        def forward(self, image):
            parts = [F.adaptive_avg_pool2d(image, cells) for cells in ((3, 2), (1, 1), (5, 7))]
            return Prediction(sum(F.interpolate(part, size=image.shape[-2:]) for part in parts))

    _, file = written(tmp_path, Pooled(), "onnx")
    assert compared(Exported(Pooled()), file, [torch.rand(2, 3, h, w) for h, w in [(64, 64), (37, 50), (8, 91)]]).holds


@pytest.mark.parametrize("change", [
    {"size": [0, 5]}, {"classes": ["a"]}, {"classes": ["a", "a"]}, {"threshold": 1.5}, {"output": "x"}, {"step": "7"},
])  # fmt: skip
def test_a_statement_that_no_export_wrote_is_refused(change):
    import json
    from dataclasses import asdict

    assert stated(STATEMENT.metadata(), "x") == STATEMENT and stated({"other": "1"}, "x") is None
    with pytest.raises(InputError, match=f"x: expected {STATED_KEY}"):
        stated({STATED_KEY: json.dumps(asdict(STATEMENT) | change)}, "x")
