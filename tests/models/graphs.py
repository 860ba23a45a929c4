"""Small ONNX files as exporters write them, for tests."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RAW = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
ANY = ("b", 3, "h", "w")


def node(operator, source, target, **attributes):
    return helper.make_node(operator, source if isinstance(source, list) else [source], [target], **attributes)


def save(path, nodes, outputs=("out",), axes=ANY, constants=None, given="FLOAT", gives="FLOAT", metadata=None, more=()):
    """An ONNX file: `constants` is {name: array}; `gives` is the type of all outputs, or {name: type} of those that are
    not FLOAT ("LIST" for a list of tensors); `more` are further inputs."""
    inputs = [helper.make_tensor_value_info("image", getattr(TensorProto, given), axes)]
    inputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in more]
    told = [_told(name, gives.get(name, "FLOAT") if isinstance(gives, dict) else gives) for name in outputs]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, told, held), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return str(path)


def _told(name, kind):
    if kind == "LIST":
        return helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, None)
    return helper.make_tensor_value_info(name, getattr(TensorProto, kind), None)


KERNEL = {"w": np.array([8, 0, 0], np.float32).reshape(1, 3, 1, 1), "c": np.array([-4], np.float32)}
"""Logits 8 (red - 0.5)."""

TWO = {"w": np.array([[0, 0, 0], [8, 0, 0]], np.float32).reshape(2, 3, 1, 1), "c": np.array([0, -4], np.float32)}
"""The same as logits of two classes."""

CONV = node("Conv", ["image", "w", "c"], "z")
