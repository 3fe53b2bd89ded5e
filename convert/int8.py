"""The int8 recipe: a float .tflite file becomes one of integers only that computes the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convert.engine import logits
from convert.graph import Network, read
from convert.quantize import quantize, settle
from convert.quiet import quiet
from convert.ranges import KEPT, equalize, even_swishes, reach, search, shrink_linear, swishes, whole_steps
from convert.rewrites import fold_gates, merge_linear, rewrite
from convert.rounding import round_weights
from convert.tune import STEPS, fine_tune

Target = Literal["xnnpack", "any"]
FineTune = Literal["auto", "never", "always"]
ENOUGH = 0.1
"""Logits that are off by a tenth of their spread cost less than half a point; beyond it `auto` fine-tunes."""
SHAPED, WEIGHED, SEARCHED, JUDGED = 48, 32, 64, 64
"""Pictures for each stage; more gave nothing but took longer."""


@dataclass(slots=True)
class Made:
    """A converted network: the .tflite file, what was done step by step, the seconds of each stage, and how much of the
    logits' spread each layer's rounding moves them, the worst first."""

    content: bytes = b""
    recipe: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    layers: list[tuple[str, float]] = field(default_factory=list)


def to_int8(
    model: bytes, pictures: NDArray[np.uint8], target: Target = "xnnpack", io: Literal["uint8", "int8"] = "uint8",
    tuning: FineTune = "auto", seed: int = 1, debug: bool = False, say: Callable[[str], None] = lambda _: None,
) -> Made:
    """Convert a network.

    Args:
        model: a float .tflite file with a fixed batch of 1.
        pictures: (n, size, size, 3) uint8 RGB, class-balanced, in an order that goes round the classes.
        target: `xnnpack` takes HARD_SWISH and pools apart, `any` leaves them whole.
        io: how pictures go in and logits come out.
        tuning: whether to fine-tune.
        seed: of everything random: the same model, pictures and seed give the same file.
        debug: show TensorFlow's messages.
        say: is told what takes long.

    Raises:
        EdgeWatchError: a layer that cannot be made integer.
    """
    made = Made()
    with quiet(debug):
        started = time.monotonic()
        network, made.recipe = prepare(model, pictures, target == "xnnpack", seed)
        teacher = network.copy()
        rounded = round_weights(network, pictures[:SHAPED])
        made.recipe["rounded"] = (f"weights of {rounded} layers, so that their errors cancel on "
                                  f"{len(pictures[:SHAPED])} pictures")
        seen = reach(network, pictures[:SHAPED])
        made.seconds["conversion"] = time.monotonic() - started
        started = time.monotonic()
        ranges, errors = search(network, pictures[:SEARCHED], seen, seed)
        ranges = settle(network, ranges)
        shown = pictures[-JUDGED:]
        exact = logits(teacher, shown)
        error = _error(exact, logits(network, shown, ranges))
        made.seconds["search for ranges"] = time.monotonic() - started
    spread = float((exact - exact.mean(axis=1, keepdims=True)).std())
    made.layers = sorted(((network.tensors[tensor].name, float(np.sqrt(found)) / spread)
                          for tensor, found in errors.items()), key=lambda pair: -pair[1])
    made.recipe["ranges"] = (f"of each tensor the one of {len(KEPT)} that moves the logits least, on "
                             f"{len(pictures[:SEARCHED])} pictures: in all off by {error:.3f} of their spread")
    if tuning == "always" or (tuning == "auto" and error > ENOUGH):
        say(f"rounding moves the logits by {error:.2f} of their spread; fine-tuning towards the float network ...")
        started = time.monotonic()
        with quiet(debug):
            tuned = network.copy()
            learned = fine_tune(teacher, tuned, ranges, pictures, seed)
            found = _error(exact, logits(tuned, shown, learned))
        made.recipe["fine-tuned"] = (f"weights, biases and ranges, {STEPS} steps with the float network as teacher, on "
                                     f"{len(pictures)} pictures: off by {found:.3f} on {len(shown)} of them"
                                     f"{'' if found < error else ', left out'}")
        if found < error:
            network, ranges = tuned, learned
        made.seconds["fine-tuning"] = time.monotonic() - started
    made.content = quantize(network, ranges, io)
    return made


def prepare(model: bytes, pictures: NDArray[np.uint8], xnnpack: bool, seed: int = 1) -> tuple[Network, dict[str, Any]]:
    """A float .tflite file as a network that suits integers and computes the same, and what was done to it.

    Args:
        model: with a fixed batch of 1.
        pictures: (n, size, size, 3) uint8 RGB.
        xnnpack: whether what XNNPACK cannot compute in int8 is taken apart.
        seed: of the directions in which the logits are looked at.

    Raises:
        EdgeWatchError: a layer that cannot be made integer.
    """
    network = read(model)
    done = rewrite(network, xnnpack)
    return network, {"rewritten": done, "shaped": _shape(network, pictures[:SHAPED], seed)}


def _shape(network: Network, pictures: NDArray[np.uint8], seed: int) -> list[str]:
    """Exact changes that rest on what the pictures show, in place; what was done."""
    done = []
    seen = reach(network, pictures)
    if count := fold_gates(network, seen.lowest, seen.highest):
        done.append(f"{count} gates that say the same on every picture folded into the next weights")
    # Only now: between some of them stood a gate that was folded away.
    if merged := merge_linear(network):
        done.append(f"{merged} pairs of 1 x 1 convolutions with nothing between them made one")
    if count or merged:
        seen = reach(network, pictures)
    if count := shrink_linear(network, seen):
        done.append(f"{count} channels made smaller that never leave hard-swish's linear part")
        seen = reach(network, pictures)
    # A network without any is spared the search.
    if swishes(network) and (count := even_swishes(network, seen, search(network, pictures[:WEIGHED], seen, seed)[1])):
        done.append(f"{count} hard-swishes given channels that reach equally far")
        seen = reach(network, pictures)
    if count := equalize(network, seen):
        done.append(f"{count} convolutions given channels that reach equally far")
    whole_steps(network)
    return done


def _error(exact: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """How far logits are from the exact ones, as a share of their spread; what is added to all alike does not count."""
    exact, found = (each - each.mean(axis=1, keepdims=True) for each in (exact, found))
    return float(np.sqrt(np.mean((found - exact) ** 2)) / exact.std())
