import numpy as np
import pytest
import torch

from segkd.models.onnx import OnnxNetwork
from segkd.types import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto

from tests.models.graphs import ANY, CONV, KERNEL, RAW, TWO, node, save


def expected(image):
    """The foreground's probability that all networks here give."""
    return torch.sigmoid(8 * (image[:, 0] - 0.5))


def check(network, image, atol=1e-4):
    shares = network(image).logits.softmax(dim=1)
    torch.testing.assert_close(shares[:, 1], expected(image), atol=atol, rtol=1e-3)


@pytest.fixture
def image():
    """Seven images of 16 x 24, levels of 1 / 255."""
    return torch.randint(0, 256, (7, 3, 16, 24)).float() / 255


@pytest.mark.parametrize(
    "axes", [ANY, (1, 3, "h", "w"), (4, 3, 16, 24), (1, 3, 16, 24), (None, 3, None, None), (3, "h", "w")]
)
def test_any_batch_and_size_is_fed_as_the_file_asks(tmp_path, image, axes):
    nodes = [CONV, node("Sigmoid", "z", "out")]
    if len(axes) == 3:
        nodes = [node("Unsqueeze", ["image", "axis"], "one"), node("Conv", ["one", "w", "c"], "z"), nodes[1]]
    path = save(tmp_path / "n.onnx", nodes, axes=axes, constants=KERNEL | {"axis": np.array([0])})
    network = OnnxNetwork(path, 2, **RAW)
    check(network, image)
    assert network.size_for((16, 24)) == (16, 24)
    assert "fed RGB in 0..1" in network.said and "probabilities of the foreground" in network.said


@pytest.mark.parametrize("axes", [("b", "h", "w", 3), (1, 16, 24, 3), (2, 16, 24, 3), (16, 24, 3)])
def test_channels_may_come_last(tmp_path, image, axes):
    nodes = [node("Transpose", "image", "first", perm=[0, 3, 1, 2]), node("Conv", ["first", "w", "c"], "z")]
    if len(axes) == 3:
        nodes[:1] = [node("Unsqueeze", ["image", "axis"], "one"), node("Transpose", "one", "first", perm=[0, 3, 1, 2])]
    nodes.append(node("Transpose", "z", "out", perm=[0, 2, 3, 1]))
    path = save(tmp_path / "n.onnx", nodes, axes=axes, constants=KERNEL | {"axis": np.array([0])})
    network = OnnxNetwork(path, 2, **RAW, shape=(16, 24))
    assert network.size_for((16, 24)) == (16, 24)
    check(network, image)
    assert "read as logits" in network.said


@pytest.mark.parametrize("kind", ["UINT8", "FLOAT16", "DOUBLE"])
def test_the_input_gets_the_type_it_asks_for(tmp_path, image, kind):
    scale = np.float32(255 if kind == "UINT8" else 1)
    nodes = [
        node("Cast", "image", "real", to=TensorProto.FLOAT),
        node("Div", ["real", "scale"], "unit"),
        node("Conv", ["unit", "w", "c"], "z"),
        node("Sigmoid", "z", "out"),
    ]
    path = save(tmp_path / "n.onnx", nodes, given=kind, constants=KERNEL | {"scale": scale})
    network = OnnxNetwork(path, 2, **({} if kind == "UINT8" else RAW))
    check(network, image, atol=3e-3)
    assert ("RGB as 0..255" in network.said) == (kind == "UINT8")
    if kind == "UINT8":
        with pytest.raises(InputError, match="leave out --mean and --std"):
            OnnxNetwork(path, 2, **RAW)


def test_normalisation_is_imagenets_unless_given_or_done_inside(tmp_path, image):
    nodes = [CONV, node("Sigmoid", "z", "out")]
    path = save(tmp_path / "n.onnx", nodes, constants=KERNEL)
    shares = OnnxNetwork(path, 2)(image).logits.softmax(dim=1)[:, 1]
    torch.testing.assert_close(shares, expected((image - 0.485) / 0.229), atol=1e-4, rtol=1e-3)
    assert "mean 0.485 0.456 0.406" in OnnxNetwork(path, 2).said
    inside = save(tmp_path / "i.onnx", nodes, constants=KERNEL, metadata={"segkd.input": "rgb01"})
    check(OnnxNetwork(inside, 2), image)
    strange = save(tmp_path / "s.onnx", nodes, constants=KERNEL, metadata={"segkd.input": "bgr"})
    with pytest.raises(InputError, match="rgb01"):
        OnnxNetwork(strange, 2)
    for std in [(0.0, 1.0, 1.0), (1.0, float("nan"), 1.0)]:
        with pytest.raises(InputError, match="std above 0"):
            OnnxNetwork(path, 2, std=std)


@pytest.mark.parametrize(("kind", "axes"), [("FLOAT", ANY), ("UINT8", ANY), ("FLOAT", ("b", "h", "w", 3))])
def test_blue_may_come_first(tmp_path, image, kind, axes):
    last = {"w": KERNEL["w"][:, ::-1].copy() / (255 if kind == "UINT8" else 1), "c": KERNEL["c"]}
    first = [node("Transpose", "image", "turned", perm=[0, 3, 1, 2])] if axes[-1] == 3 else []
    nodes = [*first, node("Cast", "turned" if first else "image", "real", to=TensorProto.FLOAT)]
    nodes += [node("Conv", ["real", "w", "c"], "z"), node("Sigmoid", "z", "out")]
    path = save(tmp_path / "n.onnx", nodes, given=kind, axes=axes, constants=last)
    asis = {} if kind == "UINT8" else {"mean": (0.5, 0.0, 0.1), "std": (0.5, 1.0, 2.0)}
    network = OnnxNetwork(path, 2, **asis, channels="bgr")
    red = image if kind == "UINT8" else (image - 0.5) / 0.5  # mean and std are of RGB
    torch.testing.assert_close(network(image).logits.softmax(dim=1)[:, 1], expected(red), atol=1e-4, rtol=1e-3)
    assert "fed BGR" in network.said


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("kind", ["INT64", "INT32", "UINT8", "BOOL", "FLOAT"])
def test_class_numbers_are_recognised(tmp_path, image, keep, kind):
    nodes = [
        CONV,
        node("ArgMax", "z", "number", axis=1, keepdims=keep),
        node("Cast", "number", "out", to=getattr(TensorProto, kind)),
    ]
    path = save(tmp_path / "n.onnx", nodes, constants=TWO, gives=kind)
    network = OnnxNetwork(path, 2, **RAW)
    assert torch.equal(network(image).logits.argmax(dim=1), (image[:, 0] > 0.5).long())
    assert ("class numbers" in network.said) == (kind != "FLOAT")  # reals of 0 and 1 are probabilities as well


@pytest.mark.parametrize("kind", ["INT64", "FLOAT"])
def test_class_numbers_of_many_classes(tmp_path, image, kind):
    three = {"w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "c": np.zeros(3, np.float32)}
    nodes = [CONV, node("ArgMax", "z", "n", axis=1), node("Cast", "n", "out", to=getattr(TensorProto, kind))]
    path = save(tmp_path / "n.onnx", nodes, constants=three, gives=kind)
    assert torch.equal(OnnxNetwork(path, 3, **RAW)(image).logits.argmax(dim=1), image.argmax(dim=1))
    with pytest.raises(InputError, match=r"class numbers 0\.\.1, found (whole numbers )?0\.\.2"):
        OnnxNetwork(path, 2, **RAW)(image)


@pytest.mark.parametrize("drop", ["Squeeze the map's axis", "squeeze everything"])
def test_missing_axes_are_understood(tmp_path, image, drop):
    bare = drop == "squeeze everything"
    nodes = [CONV, node("Sigmoid", "z", "s"), node("Squeeze", ["s"] if bare else ["s", "axis"], "out")]
    axes = (1, 3, "h", "w") if bare else ANY
    path = save(tmp_path / "n.onnx", nodes, axes=axes, constants=KERNEL | ({} if bare else {"axis": np.array([1])}))
    network = OnnxNetwork(path, 2, **RAW)
    check(network, image)
    check(network, image[:1])


def test_levels_of_eight_bits_are_probabilities(tmp_path, image):
    nodes = [
        CONV,
        node("Sigmoid", "z", "s"),
        node("Mul", ["s", "k"], "m"),
        node("Cast", "m", "out", to=TensorProto.UINT8),
    ]
    path = save(tmp_path / "n.onnx", nodes, constants=KERNEL | {"k": np.float32(255)}, gives="UINT8")
    network = OnnxNetwork(path, 2, **RAW)
    check(network, image, atol=1 / 200)
    assert "levels of 0..255" in network.said


def test_one_of_several_outputs_is_chosen_aloud_or_asked_for(tmp_path, image):
    pool = node("AveragePool", "full", "coarse", kernel_shape=[4, 4], strides=[4, 4])
    nodes = [CONV, node("Sigmoid", "z", "full"), pool, node("Concat", ["z"] * 5, "features", axis=1)]
    path = save(tmp_path / "n.onnx", nodes, outputs=("coarse", "features", "full"), constants=KERNEL)
    network = OnnxNetwork(path, 2, **RAW)
    check(network, image)
    assert "output full, the finest of 3 outputs (coarse [3 1 40 40], features" in network.said
    assert network(image).logits.shape[-2:] == (16, 24)
    coarse = OnnxNetwork(path, 2, **RAW, name="coarse")
    assert coarse(image).logits.shape[-2:] == (4, 6) and "coarse, as asked, of 3" in coarse.said
    with pytest.raises(InputError, match="no such output, it has: coarse, features, full"):
        OnnxNetwork(path, 2, **RAW, name="wrong")
    with pytest.raises(InputError, match="expected an output of maps"):
        OnnxNetwork(path, 2, **RAW, name="features")


def test_outputs_of_one_size_are_never_guessed(tmp_path, image):
    nodes = [CONV, node("Sigmoid", "z", "final"), node("Neg", "z", "n"), node("Sigmoid", "n", "side")]
    path = save(tmp_path / "n.onnx", nodes, outputs=("side", "final"), constants=KERNEL)
    with pytest.raises(InputError, match=r"side \[3 1 160 160\], final .*--onnx-output-name NAME"):
        OnnxNetwork(path, 2, **RAW)
    check(OnnxNetwork(path, 2, **RAW, name="final"), image)


def test_logits_are_recognised_and_a_contradiction_is_refused(tmp_path, image):
    path = save(tmp_path / "l.onnx", [node("Conv", ["image", "w", "c"], "out")], constants=KERNEL)
    network = OnnxNetwork(path, 2, **RAW)
    margin = network(image).logits
    torch.testing.assert_close(margin[:, 1] - margin[:, 0], 8 * image[:, 0] - 4)
    with pytest.raises(InputError, match=r"found -4\.\.4.*--onnx-output logits"):
        OnnxNetwork(path, 2, **RAW, output="probability")(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 3, 4, 2))
    small = save(tmp_path / "s.onnx", [node("Clip", ["image", "", "one"], "x"), node("Conv", ["x", "w", "c"], "out")],
                 constants={"one": np.float32(2), "w": KERNEL["w"] / 8, "c": np.zeros(1, np.float32)})  # fmt: skip
    network = OnnxNetwork(small, 2, **RAW)
    assert "probabilities" in network.said  # nobody can tell from black, white and noise
    with pytest.raises(InputError, match="--onnx-output logits"):
        network(image + 1)


def test_probabilities_that_are_called_logits_are_doubted(tmp_path, image):
    path = save(tmp_path / "n.onnx", [CONV, node("Sigmoid", "z", "out")], constants=KERNEL)
    wrong, right = OnnxNetwork(path, 2, **RAW, output="logits"), OnnxNetwork(path, 2, **RAW)
    for network in (wrong, right):
        network(image)
    assert "are these probabilities" in wrong.doubts()[0] and right.doubts() == []
    levels = [CONV, node("Sigmoid", "z", "s"), node("Mul", ["s", "k"], "out")]
    bright = OnnxNetwork(save(tmp_path / "b.onnx", levels, constants=KERNEL | {"k": np.float32(255)}), 2, **RAW)
    assert "is below 0" in bright.doubts()[0]


def test_a_file_that_lies_about_its_batch_is_fed_one_by_one(tmp_path, image):
    nodes = [CONV, node("Sigmoid", "z", "s"), node("Reshape", ["s", "shape"], "out")]
    path = save(tmp_path / "n.onnx", nodes, constants=KERNEL | {"shape": np.array([1, 1, 16, 24])})
    check(OnnxNetwork(path, 2, **RAW, shape=(16, 24)), image)


def test_what_does_not_fit_is_said(tmp_path):
    conv = [node("Conv", ["image", "w", "c"], "out")]
    path = save(tmp_path / "l.onnx", conv, constants=KERNEL)
    with pytest.raises(InputError, match=r"expected class numbers 0\.\.2, found -"):
        OnnxNetwork(path, 3)(torch.rand(1, 3, 8, 8))
    with pytest.raises(InputError, match=r"expected maps|\[n 4 h w\].*data.classes"):
        OnnxNetwork(save(tmp_path / "two.onnx", conv, constants=TWO), 4)
    one_number = [CONV, node("GlobalAveragePool", "z", "out")]
    with pytest.raises(InputError, match=r"expected an output of maps.*found out \[3 1 1 1\]"):
        OnnxNetwork(save(tmp_path / "class.onnx", one_number, constants=KERNEL), 2)
    (tmp_path / "torn.onnx").write_bytes(b"torn")
    for name in ("torn.onnx", "gone.onnx"):
        with pytest.raises(InputError, match=name):
            OnnxNetwork(str(tmp_path / name), 2)
    fixed = OnnxNetwork(save(tmp_path / "f.onnx", conv, axes=("b", 3, 16, 16), constants=KERNEL), 2)
    with pytest.raises(InputError, match="height 16 only, found 8"):
        fixed(torch.rand(1, 3, 8, 8))
    for axes, kind in [(("b", 1, "h", "w"), "FLOAT"), (("b", 4, 8, 8), "FLOAT"), (("b", 3), "FLOAT"), (ANY, "INT8")]:
        strange = save(tmp_path / "i.onnx", [node("Cast", "image", "out", to=TensorProto.FLOAT)], axes=axes, given=kind)
        with pytest.raises(InputError, match="expected an input of"):
            OnnxNetwork(strange, 2)
    two = save(tmp_path / "t.onnx", [CONV, node("Add", ["z", "extra"], "out")], constants=KERNEL, more=("extra",))
    with pytest.raises(
        InputError, match=r"one input, the image; found 2: image float32 \[b 3 h w\], extra float32 \[1\]"
    ):
        OnnxNetwork(two, 2)
    cast = [CONV, node("Cast", "z", "out", to=TensorProto.INT8)]
    quantised = save(tmp_path / "q.onnx", cast, constants=TWO, gives="INT8")
    with pytest.raises(InputError, match=r"int8.*float32 outputs"):
        OnnxNetwork(quantised, 2)
    nan = save(tmp_path / "n.onnx", [CONV, node("Log", "z", "out")], constants=KERNEL)
    with pytest.raises(InputError, match="NaN"):
        OnnxNetwork(nan, 2, **RAW)(torch.rand(1, 3, 8, 8))


def test_a_run_that_fails_shows_what_the_file_takes(tmp_path):
    nodes = [CONV, node("Reshape", ["z", "shape"], "out")]
    path = save(tmp_path / "r.onnx", nodes, constants=KERNEL | {"shape": np.array([1, 1, 7, 7])})
    with pytest.raises(
        InputError, match=r"could not run on 1 images of 160 x 160\. It takes image float32 \[b 3 h w\]"
    ):
        OnnxNetwork(path, 2)
    tall = save(tmp_path / "t.onnx", [CONV, node("Transpose", "z", "out", perm=[0, 1, 3, 2])], constants=KERNEL)
    with pytest.raises(InputError, match="expected an output of maps"):
        OnnxNetwork(tall, 2, shape=(64, 160))


def test_outputs_that_are_no_maps_at_all_are_passed_over(tmp_path, image):
    """Boxes whose number differs from image to image, a list, and a scalar, beside the map."""
    nodes = [
        CONV,
        node("Sigmoid", "z", "map"),
        node("Greater", ["map", "half"], "is"),
        node("NonZero", "is", "boxes"),
        node("SequenceConstruct", "map", "list"),
        node("ReduceMax", "map", "scalar", keepdims=0),
    ]
    outputs = ("boxes", "list", "scalar", "map")
    gives = {"boxes": "INT64", "list": "LIST"}
    constants = KERNEL | {"half": np.float32(0.5)}
    path = save(tmp_path / "n.onnx", nodes, outputs, (1, 3, "h", "w"), constants, gives=gives)
    network = OnnxNetwork(path, 2, **RAW)
    check(network, image)
    assert "output map, the finest of 4" in network.said


def test_scarce_memory_is_told_from_other_trouble(tmp_path, image, monkeypatch):
    path = save(tmp_path / "n.onnx", [CONV, node("Sigmoid", "z", "out")], constants=KERNEL)
    network = OnnxNetwork(path, 2, **RAW)

    class Full:
        def run(self, *_):
            raise RuntimeError(
                "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"
            )

    monkeypatch.setattr(network, "session", Full())
    with pytest.raises(MemoryError):
        network(image)
