"""An ONNX file with weights and activations of 8 bits: static quantisation by onnxruntime, calibrated on images."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from segkd.models.signature import INPUT
from segkd.types import InputError, reason_of


def quantise(source: Path, target: Path, batches: Iterable[np.ndarray]) -> None:
    """Writes `target`, `source` with uint8 activations and int8 weights per channel, and its metadata.

    Per tensor, and with signed activations, light networks lose far more on CPUs with and without VNNI alike.

    Args:
        source: an ONNX file that segkd exported.
        target: the file to write.
        batches: images for the ranges of the activations, RGB in 0..1 float32 [n 3 h w]; all of one size.

    Raises:
        InputError: onnxruntime cannot; says why.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest: Iterator[np.ndarray] = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.rest, None)
            return None if batch is None else {INPUT: batch}

    prepared = target.with_suffix(".prepared")
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it warns of steps that are taken here
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared), str(target), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
    except Exception as error:  # onnxruntime has a class of its own for every trouble
        reason = reason_of(error)
        raise InputError(f"--int8: onnxruntime cannot quantise this network: {reason}. Leave out --int8.") from error
    finally:
        logging.root.setLevel(level)
        prepared.unlink(missing_ok=True)
    model = onnx.load(target)
    onnx.helper.set_model_props(model, {one.key: one.value for one in onnx.load(source).metadata_props})
    onnx.save(model, target)
