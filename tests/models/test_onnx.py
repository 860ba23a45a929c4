import numpy as np
import pytest
import torch

from segkd.models.onnx import OnnxNetwork
from segkd.types import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def write(path, operator, size=(None, None), batch="b"):
    """A network of one 1 x 1 convolution (3 to `channels`) and an activation."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.array([[1, 0, 0]], np.float32).reshape(1, 3, 1, 1) * 4
    shape = [batch, 3, *size]
    nodes = [helper.make_node("Conv", ["image", "w"], ["z"]), helper.make_node(operator, ["z"], ["out"])]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 1, *size])],
        [numpy_helper.from_array(kernel, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("batch", ["b", 1])
def test_a_probability_map_becomes_logits_of_two_classes(tmp_path, batch):
    path = write(tmp_path / "p.onnx", "Sigmoid", batch=batch)
    image = torch.rand(2, 3, 8, 10)
    network = OnnxNetwork(path, 2, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)).eval()
    logits = network(image).logits
    assert logits.shape == (2, 2, 8, 10) and network.size is None
    expected = torch.sigmoid(4 * (image[:, 0] - 0.5) / 0.25)
    torch.testing.assert_close(logits.softmax(dim=1)[:, 1], expected, atol=1e-4, rtol=1e-4)


def test_logits_are_taken_as_they_are_and_a_fixed_size_is_known(tmp_path):
    path = write(tmp_path / "l.onnx", "Identity", size=(16, 24))
    network = OnnxNetwork(path, 2, output="logits", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    image = torch.rand(1, 3, 16, 24)
    margin = network(image).logits
    torch.testing.assert_close(margin[:, 1] - margin[:, 0], 4 * image[:, 0])
    assert network.size == (16, 24)


def test_what_does_not_fit_is_said(tmp_path):
    path = write(tmp_path / "l.onnx", "Identity")
    with pytest.raises(InputError, match="--onnx-output logits"):
        OnnxNetwork(path, 2)(torch.rand(1, 3, 8, 8))
    with pytest.raises(InputError, match=r"expected a first output \[b 3 h w\]"):
        OnnxNetwork(path, 3, output="logits")(torch.rand(1, 3, 8, 8))
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    for name in ("torn.onnx", "gone.onnx"):
        with pytest.raises(InputError, match=name):
            OnnxNetwork(str(tmp_path / name), 2)
    fixed = write(tmp_path / "f.onnx", "Sigmoid", size=(16, 16))
    with pytest.raises(InputError, match="could not run"):
        OnnxNetwork(fixed, 2)(torch.rand(1, 3, 8, 8))
