"""Small .tflite files, written by hand: no TensorFlow, and every number known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from convert.flatbuffer import IDENTIFIER

TYPES = {"uint8": schema.TensorType.UINT8, "int8": schema.TensorType.INT8, "int32": schema.TensorType.INT32,
         "float32": schema.TensorType.FLOAT32}
OPTIONS = {"MEAN": "ReducerOptions", "ADD": "AddOptions", "HARD_SWISH": "HardSwishOptions"}


@dataclass(frozen=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]
    scale: float = 0.0
    zero: int = 0
    data: np.ndarray | None = None


def tflite(tensors: Sequence[Tensor], operators: Sequence[tuple[str, list[int], int]]) -> bytes:
    """A file whose first tensor is the input and whose last is the output; operators as (kind, inputs, output)."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    model.operatorCodes, graph.tensors, graph.operators = [], [], []
    for place, made in enumerate(tensors):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = b"t%d" % place, list(made.shape), TYPES[made.dtype]
        if made.scale:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [made.scale], [made.zero]
        if made.data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(made.data.tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
    for kind, inputs, output in operators:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        model.operatorCodes.append(code)
        operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes) - 1, inputs, [output]
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, OPTIONS[kind])
        operator.builtinOptions = getattr(schema, f"{OPTIONS[kind]}T")()
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [len(tensors) - 1]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def colours(
    dtype: str = "uint8", scale: float = 0.5, zero: int = 10, shape: tuple[int, ...] = (1, 4, 4, 3)
) -> bytes:
    """The mean of each colour as logits: (1, size, size, 3) in, (1, 3) out, both with the same scale and zero point."""
    steps = (0.0, 0) if dtype == "float32" else (scale, zero)
    return tflite(
        [Tensor(dtype, shape, *steps), Tensor("int32", (2,), data=np.array([1, 2], np.int32)),
         Tensor(dtype, (shape[0], shape[-1]), *steps)],
        [("MEAN", [0, 1], 2)],
    )


def swishes() -> bytes:
    """In int8: HARD_SWISH, ADD, HARD_SWISH, MEAN; XNNPACK has no int8 kernel for the first and the third."""
    picture = Tensor("int8", (1, 4, 4, 3), 1.0, -128)
    return tflite(
        [picture, picture, picture, picture, Tensor("int32", (2,), data=np.array([1, 2], np.int32)),
         Tensor("int8", (1, 3), 1.0, -128)],
        [("HARD_SWISH", [0], 1), ("ADD", [1, 1], 2), ("HARD_SWISH", [2], 3), ("MEAN", [3, 4], 5)],
    )
