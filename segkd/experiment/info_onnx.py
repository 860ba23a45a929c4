"""What an ONNX file, segkd's own or another's, says of itself and costs."""

import math
from pathlib import Path

import numpy as np
import torch

from segkd.models.complexity import latency
from segkd.models.exported import onnx_macs
from segkd.models.onnx import OnnxNetwork, open_session
from segkd.models.signature import Entry, Port, Statement, entry_of, listed_ports, stated
from segkd.types import InputError, reason_of

ANY = (160, 160)
"""Height and width of the image that is timed where the file takes any and states none."""


def rows_of_onnx(path: Path, runs: int) -> dict[str, str]:
    """Name -> what there is to say: tensors, classes, cost of one image.

    Raises:
        InputError: it is no ONNX file that onnxruntime can run.
    """
    session, where = open_session(str(path), torch.get_num_threads()), f"{path}"
    metadata = session.get_modelmeta().custom_metadata_map
    inputs, outputs = ([Port.of(node) for node in nodes] for nodes in (session.get_inputs(), session.get_outputs()))
    told = stated(metadata, where)
    rows = {
        "network": f"ONNX of {path.stat().st_size / 1e6:.1f} MB, " + ("by segkd export" if told else "not by segkd"),
        "takes": listed_ports(inputs),
        "gives": listed_ports(outputs),
    }
    try:
        entry = entry_of(inputs, metadata, None, None, where)
    except InputError as error:
        return rows | {"no image": str(error)}
    rows["takes"] += f": {entry.said}" + ("" if told else " (--mean and --std of segkd evaluate say another)")
    height, width = told.size if told else ANY
    size = entry.sides[0] or height, entry.sides[1] or width
    image = entry.fed(np.zeros((entry.batch or 1, 3, *size), np.float32))

    def look() -> None:
        session.run(None, {entry.port.name: image})

    try:
        spent = latency(look, runs)
    except Exception as error:  # onnxruntime has a class of its own for every trouble
        return rows | {"no image": f"of {size[0]}x{size[1]} pixels runs: {reason_of(error)}"}
    rows |= _cost(path, entry, image, size)
    images = f"{len(image)} images" if entry.batched and len(image) > 1 else "one image"
    rows["latency"] = f"{spent} of {runs} forward passes of {images} on the cpu, threads: {torch.get_num_threads()}"
    return rows | (_stated_rows(path, told) if told else _unstated())


def _cost(path: Path, entry: Entry, image: np.ndarray, size: tuple[int, int]) -> dict[str, str]:
    """Parameters and multiply-accumulates of one image, where the package onnx is there to read the graph."""
    try:
        import onnx
    except ImportError:
        return {"cost": "not counted: pip install 'segkd[onnx]'"}
    parameters = sum(math.prod(one.dims) for one in onnx.load(path).graph.initializer)
    try:
        macs = onnx_macs(path, {entry.port.name: image}) / (len(image) if entry.batched else 1)
    except Exception:  # a graph that is more than one graph, or whose shapes onnxruntime keeps to itself
        return {"cost": f"{parameters:,} parameters"}
    return {"cost": f"{parameters:,} parameters, {round(macs):,} MACs at {size[0]}x{size[1]}"}


def _stated_rows(path: Path, told: Statement) -> dict[str, str]:
    """What segkd noted in the file, and how its output is read."""
    read = OnnxNetwork(str(path), len(told.classes)).meaning
    rows = {
        "classes": ", ".join(f"{number} {name}" for number, name in enumerate(told.classes)),
        "output": {"probability": "probabilities", "classes": "class numbers"}.get(read, read),
        "trained": f"at {told.size[0]}x{told.size[1]}, step {told.step}",
        "made with": f"segkd {told.version}",
    }
    if len(told.classes) == 2 and told.output != "classes":
        rows["threshold"] = f"foreground is p >= {told.threshold:.3f} (the best on val)"
    return rows


def _unstated() -> dict[str, str]:
    return {"classes": "not stated; segkd evaluate --onnx FILE --data LAYER says how its output is read, and scores it"}
