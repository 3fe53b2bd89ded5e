"""Networks put together layer by layer, without TensorFlow, and what LiteRT makes of a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT

from convert.graph import NO_ACTIVATION, RELU, RELU6, SAME, VALID, Layer, Network, Tensor, write
from models.errors import EdgeWatchError

POOL = {"strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2, "padding": SAME}


class Builder:
    """A `Network` that grows; each method adds a layer and gives the number of its output."""

    def __init__(self, size: int = 8, seed: int = 0) -> None:
        self.dice = np.random.default_rng(seed)
        self.network = Network([Tensor("image", (1, size, size, 3))], [], 0, 0)

    def shape(self, tensor: int) -> tuple[int, ...]:
        return self.network.tensors[tensor].shape

    def constant(self, data: Any, dtype: Any = np.float32) -> int:
        array = np.asarray(data, dtype)
        return self.network.add(f"constant{len(self.network.tensors)}", array.shape, array)

    def layer(self, kind: str, inputs: Sequence[int], shape: Sequence[int], **options: Any) -> int:
        output = self.network.add(f"{kind.lower()}{len(self.network.layers)}", shape)
        self.network.layers.append(Layer(kind, list(inputs), output, options))
        self.network.output = output
        return output

    def plain(self, kind: str, source: int) -> int:
        """A layer that takes one tensor and keeps its shape."""
        return self.layer(kind, [source], self.shape(source))

    def scaled(self, factor: Any = 1 / 127.5, shift: Any = -1.0) -> int:
        """Raw pictures, scaled as networks want them."""
        product = self.layer("MUL", [0, self.constant(factor)], self.shape(0), fusedActivationFunction=NO_ACTIVATION)
        return self.layer("ADD", [product, self.constant(shift)], self.shape(0), fusedActivationFunction=NO_ACTIVATION)

    def convolution(self, source: int, channels: int, size: int = 3, stride: int = 1, activation: int = NO_ACTIVATION,
                    padding: int = SAME, weights: Any = None, bias: Any = None) -> int:
        height, width, taken = self.shape(source)[1:]
        spread = (2 / (size * size * taken)) ** 0.5
        weights = self.dice.normal(0, spread, (channels, size, size, taken)) if weights is None else weights
        bias = self.dice.normal(0, 0.3, channels) if bias is None else bias
        return self.layer("CONV_2D", [source, self.constant(weights), self.constant(bias)],
                          (1, *_places(height, width, size, stride, padding), channels), padding=padding,
                          strideW=stride, strideH=stride, dilationWFactor=1, dilationHFactor=1,
                          fusedActivationFunction=activation)

    def depthwise(self, source: int, size: int = 3, stride: int = 1, activation: int = NO_ACTIVATION,
                  padding: int = SAME, weights: Any = None) -> int:
        height, width, channels = self.shape(source)[1:]
        weights = self.dice.normal(0, 2**0.5 / size, (1, size, size, channels)) if weights is None else weights
        return self.layer("DEPTHWISE_CONV_2D", [source, self.constant(weights),
                                                self.constant(self.dice.normal(0, 0.3, channels))],
                          (1, *_places(height, width, size, stride, padding), channels), padding=padding,
                          strideW=stride, strideH=stride, depthMultiplier=1, dilationWFactor=1, dilationHFactor=1,
                          fusedActivationFunction=activation)

    def pool(self, kind: str, source: int) -> int:
        height, width, channels = self.shape(source)[1:]
        return self.layer(kind, [source], (1, *_places(height, width, 2, 2, SAME), channels), **POOL,
                          fusedActivationFunction=NO_ACTIVATION)

    def both(self, kind: str, a: int, b: int, activation: int = NO_ACTIVATION) -> int:
        """ADD, SUB or MUL of two tensors or constants."""
        shape = np.broadcast_shapes(self.shape(a), self.shape(b))
        return self.layer(kind, [a, b], shape, fusedActivationFunction=activation)

    def pad(self, source: int) -> int:
        height, width, channels = self.shape(source)[1:]
        room = self.constant([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)
        return self.layer("PAD", [source, room], (1, height + 2, width + 2, channels))

    def mean(self, source: int, keep: bool = False) -> int:
        channels = self.shape(source)[-1]
        return self.layer("MEAN", [source, self.constant([1, 2], np.int32)],
                          (1, 1, 1, channels) if keep else (1, channels), keepDims=keep)

    def reshape(self, source: int, shape: Sequence[int]) -> int:
        return self.layer("RESHAPE", [source, self.constant(shape, np.int32)], shape, newShape=list(shape))

    def dense(self, source: int, classes: int, activation: int = NO_ACTIVATION) -> int:
        features = self.shape(source)[-1]
        weights = self.dice.normal(0, features**-0.5, (classes, features))
        return self.layer("FULLY_CONNECTED", [source, self.constant(weights),
                                              self.constant(self.dice.normal(0, 0.3, classes))], (1, classes),
                          fusedActivationFunction=activation, weightsFormat=0, keepNumDims=False)

    def excited(self, source: int, units: int = 4, gate: str = "hard") -> int:
        """Squeeze and excite: channels by a gate of their own."""
        channels = self.shape(source)[-1]
        few = self.convolution(self.mean(source, keep=True), units, 1, activation=RELU)
        if gate == "sigmoid":
            opened = self.plain("LOGISTIC", self.convolution(few, channels, 1))
        else:
            # relu6(x + 3) / 6, the 3 in the bias.
            many = self.convolution(few, channels, 1, activation=RELU6, bias=3 + self.dice.normal(0, 1, channels))
            opened = self.both("MUL", many, self.constant(1 / 6))
        return self.both("MUL", source, opened)


def _places(height: int, width: int, size: int, stride: int, padding: int) -> tuple[int, int]:
    room = 0 if padding == SAME else size - 1
    return -(-(height - room) // stride), -(-(width - room) // stride)


def everything(seed: int = 0) -> Network:
    """A network with a layer of every kind that a float file can have; 4 outputs."""
    net = Builder(12, seed)
    found = net.convolution(net.pad(net.scaled()), 8, stride=2, padding=VALID)
    found = net.depthwise(net.plain("HARD_SWISH", found), activation=RELU6)
    found = net.both("ADD", found, net.plain("RELU", net.convolution(found, 8, 1)), RELU)
    a, b = net.pool("AVERAGE_POOL_2D", found), net.pool("MAX_POOL_2D", net.plain("RELU6", found))
    found = net.layer("CONCATENATION", [a, b], (*net.shape(a)[:3], 16), axis=3, fusedActivationFunction=NO_ACTIVATION)
    found = net.both("SUB", net.excited(found, gate="sigmoid"), net.plain("TANH", found))
    found = net.convolution(net.excited(found), 16, 1)
    pooled = net.mean(found, keep=True)
    flat = net.layer("SQUEEZE", [pooled], (1, 16), squeezeDims=[1, 2])
    shares = net.plain("SOFTMAX", net.dense(flat, 16, RELU))
    net.network.layers[-1].options["beta"] = 1.0
    net.dense(net.reshape(net.both("ADD", shares, flat), (1, 16)), 4)
    return net.network


STEPS = ("convolution", "relu", "relu6", "depthwise", "depthwise_relu", "HARD_SWISH", "RELU", "TANH", "LOGISTIC",
         "AVERAGE_POOL_2D", "MAX_POOL_2D", "pad", "positive", "any", "add", "excited", "sigmoid", "residual", "concat")


def drawn(steps: list[str], seed: int) -> Network:
    """A network of such steps, with its scaling before them and a dense layer behind."""
    net = Builder(12, seed)
    found = net.convolution(net.scaled(), 6, stride=2)
    for step in steps:
        channels = net.shape(found)[-1]
        if step in ("convolution", "relu", "relu6"):
            activation = {"relu": RELU, "relu6": RELU6}.get(step, NO_ACTIVATION)
            found = net.convolution(found, int(net.dice.integers(3, 9)), activation=activation)
        elif step.startswith("depthwise"):
            found = net.depthwise(found, activation=RELU if step.endswith("relu") else NO_ACTIVATION)
        elif step in ("HARD_SWISH", "RELU", "TANH", "LOGISTIC"):
            found = net.plain(step, found)
        elif step in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            found = net.pool(step, found)
        elif step == "pad":
            found = net.pad(found)
        elif step in ("positive", "any"):
            found = net.both("MUL", found, net.constant(net.dice.uniform(0 if step == "positive" else -2, 2, channels)))
        elif step == "add":
            found = net.both("ADD", found, net.constant(net.dice.normal(0, 1, channels)))
        elif step in ("excited", "sigmoid"):
            found = net.excited(found, 3, step)
        elif step == "residual":
            found = net.both("ADD", net.convolution(found, channels), found)
        else:
            shape = (*net.shape(found)[:3], 2 * channels)
            found = net.layer("CONCATENATION", [found, net.convolution(found, channels)], shape, axis=3,
                              fusedActivationFunction=NO_ACTIVATION)
    net.dense(net.mean(found), 4)
    return net.network


def answers(model: bytes | Network, pictures: np.ndarray) -> np.ndarray:
    """(n, classes) float32: what LiteRT alone gives for (n, size, size, 3) uint8 pictures."""
    network = LiteRT(model_content=write(model) if isinstance(model, Network) else model)
    network.allocate_tensors()
    taken, given = network.get_input_details()[0], network.get_output_details()[0]
    scale, zero = given["quantization"]
    found = []
    for picture in pictures:
        shown = picture.astype(np.int16) - (128 if taken["dtype"] == np.int8 else 0)
        network.set_tensor(taken["index"], shown[np.newaxis].astype(taken["dtype"]))
        network.invoke()
        raw = network.get_tensor(given["index"])[0]
        found.append(raw if raw.dtype == np.float32 else (raw.astype(np.float64) - zero) * scale)
    return np.stack(found).astype(np.float32)


def pictures(count: int, size: int, seed: int = 0) -> np.ndarray:
    """(n, size, size, 3) uint8: noise over gradients, from dark to bright."""
    dice = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, size)
    shown = []
    for _ in range(count):
        base = np.add.outer(dice.uniform(-1, 1) * ramp, dice.uniform(-1, 1) * ramp)[..., None] * dice.uniform(0, 127, 3)
        shown.append(base + dice.uniform(64, 192, 3) + dice.normal(0, 25, (size, size, 3)))
    return np.clip(np.stack(shown), 0, 255).astype(np.uint8)


def spread_off(before: np.ndarray, after: np.ndarray) -> float:
    """The largest difference of logits, as a share of their spread over all pictures and classes."""
    return float(np.abs(before - after).max() / before.std())


def refusal(act: Callable[[], Any]) -> str:
    """What an act is refused with; empty where it is done."""
    try:
        act()
    except EdgeWatchError as error:
        return str(error)
    return ""
