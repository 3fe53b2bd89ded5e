"""A network as a list of layers that can be read from a float .tflite file, changed, and written again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from convert.flatbuffer import kind_of, packed, parse, reading
from models.errors import EdgeWatchError

Array = NDArray[Any]
NO_ACTIVATION, RELU, RELU6 = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU,
                              schema.ActivationFunctionType.RELU6)
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID
TYPES = {"int8": schema.TensorType.INT8, "uint8": schema.TensorType.UINT8}

_ACTIVATIONS = {number: name for name, number in vars(schema.ActivationFunctionType).items() if isinstance(number, int)}

KINDS: dict[str, tuple[str | None, int]] = {
    "ADD": ("AddOptions", 2),
    "AVERAGE_POOL_2D": ("Pool2DOptions", 2),
    "CAST": ("CastOptions", 1),
    "CONCATENATION": ("ConcatenationOptions", 2),
    "CONV_2D": ("Conv2DOptions", 3),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", 3),
    "FULLY_CONNECTED": ("FullyConnectedOptions", 4),
    "HARD_SWISH": ("HardSwishOptions", 1),
    "LOGISTIC": (None, 2),
    "MAX_POOL_2D": ("Pool2DOptions", 2),
    "MEAN": ("ReducerOptions", 2),
    "MUL": ("MulOptions", 2),
    "PAD": ("PadOptions", 2),
    "QUANTIZE": ("QuantizeOptions", 2),
    "RELU": (None, 2),
    "RELU6": (None, 2),
    "RESHAPE": ("ReshapeOptions", 1),
    "SOFTMAX": ("SoftmaxOptions", 2),
    "SQUEEZE": ("SqueezeOptions", 2),
    "SUB": ("SubOptions", 3),
    "TANH": (None, 2),
}
"""The operators that can be made integer: the schema's table of their options, and the version with int8."""
ENDS = {"CAST", "QUANTIZE"}
"""Of these, the ones of integer files only: they make pictures the network's own integers, and those the output's."""


@dataclass(slots=True, eq=False)
class Tensor:
    """What passes between layers, or, with `data` (float32 or int32), a constant."""

    name: str
    shape: tuple[int, ...]
    data: Array | None = None


@dataclass(slots=True, eq=False)
class Layer:
    """One operator: its tensors by number (-1: an optional one that is not there), options as the schema names them."""

    kind: str
    inputs: list[int]
    output: int
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def activation(self) -> int:
        """The activation that is fused into it."""
        return int(self.options.get("fusedActivationFunction", NO_ACTIVATION))


@dataclass(slots=True, eq=False)
class Network:
    """Tensors, and the layers in the order in which they run; pictures go into `input`, `output` are the logits."""

    tensors: list[Tensor]
    layers: list[Layer]
    input: int
    output: int

    def producer(self, tensor: int) -> Layer | None:
        """The layer that gives a tensor; None for the input and constants."""
        return next((layer for layer in self.layers if layer.output == tensor), None)

    def consumers(self, tensor: int) -> list[Layer]:
        """The layers that take a tensor."""
        return [layer for layer in self.layers if tensor in layer.inputs]

    def constant(self, tensor: int) -> Array | None:
        """The numbers of a constant; None for a tensor that is computed, or not there."""
        return None if tensor < 0 else self.tensors[tensor].data

    def add(self, name: str, shape: Sequence[int], data: Array | None = None) -> int:
        """A new tensor; its number."""
        self.tensors.append(Tensor(name, tuple(shape), data))
        return len(self.tensors) - 1

    def replace(self, layer: Layer, by: Sequence[Layer]) -> None:
        """Put others in the place of a layer."""
        place = next(index for index, found in enumerate(self.layers) if found is layer)
        self.layers[place : place + 1] = by

    def activations(self) -> Iterator[int]:
        """The input and what each layer gives, in order."""
        yield self.input
        for layer in self.layers:
            yield layer.output

    def copy(self) -> Network:
        """Another network whose constants may be changed without changing this one's."""
        return copy.deepcopy(self)


def read(model: bytes) -> Network:
    """Read a float .tflite file.

    Raises:
        BundleError: not a .tflite file, or a damaged one.
        EdgeWatchError: an operator or activation that cannot be made integer, or a number that is neither float32 nor
            int32.
    """
    tree = parse(model)
    with reading():
        return _network(tree)


def _network(tree: Any) -> Network:
    graph = tree.subgraphs[0]
    layers = []
    for operator in graph.operators:
        kind = kind_of(tree, operator)
        name = _short(graph.tensors[operator.outputs[0]].name.decode())
        options = {} if operator.builtinOptions is None else dict(vars(operator.builtinOptions))
        layer = Layer(kind, [int(index) for index in operator.inputs], int(operator.outputs[0]), options)
        if (kind not in KINDS.keys() - ENDS or len(operator.outputs) != 1
                or layer.activation not in (NO_ACTIVATION, RELU, RELU6)):
            fused = f" with {_ACTIVATIONS.get(layer.activation)}" if layer.activation else ""
            raise EdgeWatchError(f"expected layers that can be made integer, found {kind}{fused} ({name}); "
                                 f"type --quantize float16, or train a network of other layers")
        layers.append(layer)
    used = {index for layer in layers for index in (*layer.inputs, layer.output)}
    tensors = [_tensor(tree, tensor, index in used) for index, tensor in enumerate(graph.tensors)]
    network = Network(tensors, layers, int(graph.inputs[0]), int(graph.outputs[0]))
    _give_each_its_own(network)
    return network


def _give_each_its_own(network: Network) -> None:
    """Copy the constants that layers share, as the converter lets them share equal ones: each shall change its own."""
    taken: set[int] = set()
    for layer in network.layers:
        for place, index in enumerate(layer.inputs):
            data = network.constant(index)
            if data is not None and index in taken:
                layer.inputs[place] = network.add(network.tensors[index].name, data.shape, data.copy())
            taken.add(index)


def _tensor(tree: Any, tensor: Any, used: bool) -> Tensor:
    types = {schema.TensorType.FLOAT32: np.dtype(np.float32), schema.TensorType.INT32: np.dtype(np.int32)}
    shape = () if tensor.shape is None else tuple(int(length) for length in tensor.shape)
    name = _short(tensor.name.decode() if tensor.name else "")
    content = tree.buffers[tensor.buffer].data
    if used and tensor.type not in types:
        raise EdgeWatchError(f"expected float32 or int32 numbers, found another type at {name}; "
                             f"type --quantize float16, or train a network of other layers")
    if not used or content is None or not len(content):
        return Tensor(name, shape)
    return Tensor(name, shape, np.asarray(content, np.uint8).view(types[tensor.type]).reshape(shape).copy())


def _short(name: str) -> str:
    """Of the converter's list of all that became one layer, the convolution or else the first."""
    parts = name.split(";")
    return next((part for part in parts if part.endswith(("/convolution", "/depthwise", "/MatMul"))), parts[0])


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """How the numbers of a tensor are stored: `real = scale * (stored - zero)`.

    Args:
        dtype: int8, uint8 or int32.
        scale: (1,) or, for weights, (channels,) float32.
        zero: the stored number that stands for 0.
        axis: of the channels.
        data: of a constant, the stored numbers.
    """

    dtype: np.dtype[Any]
    scale: Array
    zero: int = 0
    axis: int = 0
    data: Array | None = None


def write(network: Network, stored: dict[int, Stored] | None = None) -> bytes:
    """The .tflite file of a network: float32, but for the tensors that are `stored` otherwise."""
    stored = stored or {}
    tree, graph = schema.ModelT(), schema.SubGraphT()
    tree.version, tree.description, tree.subgraphs = 3, b"edge-watch", [graph]
    tree.buffers, tree.operatorCodes = [schema.BufferT()], []
    graph.name, graph.tensors, graph.operators = b"main", [], []
    places: dict[int, int] = {}
    for index in sorted({network.input, network.output, *(each for layer in network.layers
                                                          for each in (*layer.inputs, layer.output) if each >= 0)}):
        places[index] = len(graph.tensors)
        graph.tensors.append(_written(tree, network.tensors[index], stored.get(index)))
    codes: dict[str, int] = {}
    for layer in network.layers:
        options, version = KINDS[layer.kind]
        if layer.kind not in codes:
            codes[layer.kind] = len(tree.operatorCodes)
            tree.operatorCodes.append(_code(layer.kind, version))
        operator = schema.OperatorT()
        operator.opcodeIndex = codes[layer.kind]
        operator.inputs = [places.get(index, -1) for index in layer.inputs]
        operator.outputs = [places[layer.output]]
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for key, value in layer.options.items():
                setattr(operator.builtinOptions, key, value)
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [places[network.input]], [places[network.output]]
    return packed(tree)


def _code(kind: str, version: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    # Readers from before 2020 look at the old field only.
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
    return code


def _written(tree: Any, tensor: Tensor, stored: Stored | None) -> Any:
    found = schema.TensorT()
    found.name, found.shape, found.buffer = tensor.name.encode(), list(tensor.shape), 0
    data = tensor.data if stored is None else stored.data
    dtype = stored.dtype if stored else np.dtype(np.float32) if data is None else data.dtype
    found.type = getattr(schema.TensorType, dtype.name.upper())
    if stored is not None:
        found.quantization = schema.QuantizationParametersT()
        found.quantization.scale = stored.scale.astype(np.float32)
        found.quantization.zeroPoint = np.full(len(stored.scale), stored.zero, np.int64)
        found.quantization.quantizedDimension = stored.axis
    if data is not None:
        found.buffer = len(tree.buffers)
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        tree.buffers.append(buffer)
    return found
