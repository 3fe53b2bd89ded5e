"""What a .tflite file holds: operators, float tensors, what goes in and comes out; and its table of metadata."""

from __future__ import annotations

import contextlib
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models.errors import BundleError, EdgeWatchError

IDENTIFIER = b"TFL3"
_FLOAT_TYPES = ("FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16")
# What a graph of fixed shapes has no need of; it says that the batch was left open.
_SHAPE_OPERATORS = ("SHAPE", "STRIDED_SLICE", "PACK")
# The axis of the output channels in each operator's weights.
_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of the network: `real = scale * (stored - zero_point)`; scale 0 where it is not quantized."""

    dtype: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class Graph:
    """A network as it is stored.

    `operators` counts them by type, most frequent first. `float_tensors` names the tensors of floating-point numbers
    that operators read or write, as `OPERATOR tensor`; `float_operators` counts those operators. `per_tensor` names
    the convolutions' weights that share one scale.
    """

    operators: dict[str, int]
    float_operators: int
    float_tensors: tuple[str, ...]
    per_tensor: tuple[str, ...]
    input: Port
    output: Port


def parse(model: bytes) -> Any:
    """The flatbuffer as a tree of the schema's objects.

    Raises:
        BundleError: not a .tflite file, or a damaged one.
    """
    if model[4:8] != IDENTIFIER:
        raise BundleError(f"model.tflite: expected a TFLite model, found {model[4:8]!r} where {IDENTIFIER!r} should "
                          f"stand; convert the model again")
    with reading():
        tree = schema.ModelT.InitFromPackedBuf(model)
    if not tree.subgraphs or len(tree.subgraphs[0].inputs) != 1 or len(tree.subgraphs[0].outputs) != 1:
        raise BundleError("model.tflite: expected one input and one output, found others; train the model again")
    return tree


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Make one BundleError of all that Python says when the parts of a damaged file do not fit together."""
    try:
        yield
    except EdgeWatchError:
        raise
    except (struct.error, LookupError, ValueError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BundleError(f"model.tflite: expected a TFLite model, found damaged data ({reason}); "
                          f"convert the model again") from error


def read_graph(model: bytes) -> Graph:
    """Read what stands at each operator of a .tflite file; raises as `parse` does."""
    tree = parse(model)
    with reading():
        return _graph(tree)


def _graph(tree: Any) -> Graph:
    counts: Counter[str] = Counter()
    floats: list[str] = []
    per_tensor: list[str] = []
    float_operators = 0
    for graph in tree.subgraphs:
        for operator in graph.operators:
            kind = kind_of(tree, operator)
            counts[kind] += 1
            # -1 stands for an optional tensor that is not there.
            tensors = [graph.tensors[index] for index in [*operator.inputs, *operator.outputs] if index >= 0]
            found = [f"{kind} {_name(tensor)}" for tensor in tensors if _dtype(tensor) in _FLOAT_TYPES]
            floats += found
            float_operators += bool(found)
            if kind in _CHANNEL_AXIS and _scales(tensors[1]) != tensors[1].shape[_CHANNEL_AXIS[kind]]:
                per_tensor.append(_name(tensors[1]))
    main = tree.subgraphs[0]
    return Graph(
        dict(counts.most_common()), float_operators, tuple(floats), tuple(per_tensor),
        _port(main.tensors[main.inputs[0]]), _port(main.tensors[main.outputs[0]]),
    )


def require_integer(graph: Graph, size: int, classes: int, io: str = "uint8") -> None:
    """Check that a graph is what an int8 bundle promises.

    Raises:
        BundleError: a float tensor, an open batch, weights with one scale for all channels, or another input or output
            than raw RGB and logits in `io`, uint8 or int8.
    """
    if graph.float_tensors:
        raise BundleError(f"model.tflite: expected integers only, found {graph.float_operators} float operators "
                          f"(first: {graph.float_tensors[0]}); the network has a layer without an int8 version, "
                          f"type --quantize float16, or train a network of other layers")
    left = [kind for kind in _SHAPE_OPERATORS if kind in graph.operators]
    if left or graph.input.shape != (1, size, size, 3) or graph.output.shape != (1, classes):
        raise BundleError(f"model.tflite: expected (1, {size}, {size}, 3) in, (1, {classes}) out and no work on "
                          f"shapes, found {graph.input.shape}, {graph.output.shape} and {left}; train the model again")
    if graph.per_tensor:
        raise BundleError(f"model.tflite: expected a scale for each channel, found one for all in "
                          f"{graph.per_tensor[0]}; convert with the TensorFlow that edge-watch[train] installs")
    taken = (graph.input.dtype, graph.input.scale, graph.input.zero_point)
    wanted = (io.upper(), 1.0, 0 if io == "uint8" else -128)
    if taken != wanted:
        raise BundleError(f"model.tflite: expected raw 0-255 as input {wanted}, found {taken}; convert again")
    if graph.output.dtype != io.upper() or graph.output.scale <= 0:
        raise BundleError(f"model.tflite: expected {io} logits as output, found {graph.output}; convert again")


def with_metadata(model: bytes, name: str, content: bytes) -> bytes:
    """The same model with an entry in its table of metadata, in place of one of that name.

    Raises:
        BundleError: as `parse`.
    """
    tree = parse(model)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(content, np.uint8)
    tree.buffers.append(buffer)
    entry.name, entry.buffer = name.encode(), len(tree.buffers) - 1
    tree.metadata = [*(kept for kept in tree.metadata or () if kept.name != entry.name), entry]
    return packed(tree)


def packed(tree: Any) -> bytes:
    builder = _AlignedBuilder(1 << 20)
    builder.Finish(tree.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Keeps the schema's `force_align: 16` of weights, which the generated Python code forgets."""

    def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802 (the library's name)
        if x.dtype == np.uint8:
            self.Prep(16, x.nbytes)
        return super().CreateNumpyVector(x)


def kind_of(tree: Any, operator: Any) -> str:
    code = tree.operatorCodes[operator.opcodeIndex]
    # Files from before 2020 hold the number in the deprecated byte.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return f"custom:{code.customCode.decode()}"
    return _OPERATORS[number]


def _names(enumeration: Any) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}


_OPERATORS = _names(schema.BuiltinOperator)
_TYPES = _names(schema.TensorType)


def _dtype(tensor: Any) -> str:
    return _TYPES[tensor.type]


def _name(tensor: Any) -> str:
    return str(tensor.name.decode()) if tensor.name else "?"


def _scales(tensor: Any) -> int:
    quantization = tensor.quantization
    return 0 if quantization is None or quantization.scale is None else len(quantization.scale)


def _port(tensor: Any) -> Port:
    shape = tuple(int(length) for length in tensor.shape)
    if not _scales(tensor):
        return Port(_dtype(tensor), shape, 0.0, 0)
    scale, zero = np.float32(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
    return Port(_dtype(tensor), shape, float(scale), zero)
