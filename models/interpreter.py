"""The TFLite runtime: the only module that imports LiteRT or tflite-runtime."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import BundleError, MissingRuntimeError

_RUNTIMES = ("ai_edge_litert", "tflite_runtime")


def load_runtime() -> tuple[Any, str, str]:
    """The interpreter class, the runtime's name and its version."""
    reasons = []
    for package in _RUNTIMES:
        try:
            module = importlib.import_module(f"{package}.interpreter")
        except ImportError as error:
            reasons.append(f"{package}: {error}")
            continue
        version = getattr(importlib.import_module(package), "__version__", None) or "unknown"
        return module.Interpreter, package, version
    raise MissingRuntimeError(
        "expected ai-edge-litert or tflite-runtime, found neither "
        f"({'; '.join(reasons)}); type: pip install ai-edge-litert, or on 32-bit, in the checkout: "
        "pip install '.[tflite]'"
    )


@contextlib.contextmanager
def _without_greeting() -> Iterator[None]:
    """Leave out "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", which no setting of LiteRT turns off.

    It is written by C++ code to the process's standard error, so that is where it has to be caught; whatever else is
    written meanwhile is passed on.
    """
    sys.stderr.flush()
    # In memory: a trap with a full disk must still start.
    with os.fdopen(os.memfd_create("greeting"), "r+b") as caught:
        original = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
            caught.seek(0)
            for line in caught:
                if not line.startswith(b"INFO: Created TensorFlow Lite XNNPACK delegate"):
                    os.write(2, line)


class Interpreter:
    """One network, loaded and ready: uint8 RGB in, float32 logits out.

    Raises:
        MissingRuntimeError: no runtime is installed.
        BundleError: the runtime refuses the file, or its input or output is not of the kind that bundles have.
    """

    def __init__(self, model: Path, threads: int = 1) -> None:
        kind, self.runtime, self.version = load_runtime()
        try:
            with _without_greeting():
                self._interpreter = kind(model_path=str(model), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()
            raise BundleError(
                f"{model}: {self.runtime} {self.version} refuses it "
                f"({reason[-1] if reason else 'no reason given'}); convert the model again"
            ) from error
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        shape, dtype = tuple(self._input["shape"]), np.dtype(self._input["dtype"])
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or shape[1] != shape[2]:
            raise BundleError(f"{model}: expected an input of (1, size, size, 3), found {shape}; convert it again")
        if dtype not in (np.uint8, np.int8, np.float32):
            raise BundleError(f"{model}: expected a uint8, int8 or float32 input, found {dtype}; convert it again")
        self.size, self.dtype = int(shape[1]), dtype
        self.classes = int(self._output["shape"][-1])
        self.output_dtype = np.dtype(self._output["dtype"])
        scale, zero = self._output["quantization"]
        self._scale, self._zero = np.float32(scale), np.int32(zero)

    def show(self, image: NDArray[np.uint8]) -> None:
        """Put a picture into the input, as `run` takes it."""
        if self.dtype == np.int8:
            image = np.bitwise_xor(image, 0x80).view(np.int8)
        elif self.dtype == np.float32:
            image = image.astype(np.float32)
        self._interpreter.set_tensor(self._input["index"], image[np.newaxis])

    def invoke(self) -> None:
        """Run the network on the picture that was shown, and nothing else: what a time of it is a time of."""
        self._interpreter.invoke()

    def delegated(self) -> tuple[int, dict[str, int]] | None:
        """How many pieces of the network the default delegate (XNNPACK) runs, and which operators it leaves.

        The runtime lists the file's operators and, behind them, one `DELEGATE` for each piece. An operator is left
        where the way back from the network's output meets it before a piece that gives the same tensor.

        Returns:
            (pieces, operators left to the runtime's own kernels by type); None where the runtime has no such list.
        """
        if not hasattr(self._interpreter, "_get_ops_details"):
            return None
        makers: dict[int, tuple[int, Any]] = {}
        # In this order a piece takes the place of the operators it replaces.
        for place, operator in enumerate(self._interpreter._get_ops_details()):
            makers |= {int(tensor): (place, operator) for tensor in operator["outputs"]}
        wanted, run = [int(self._output["index"])], {}
        while wanted:
            place, operator = makers.get(wanted.pop(), (-1, None))
            if operator is not None and place not in run:
                run[place] = operator["op_name"]
                wanted += [int(tensor) for tensor in operator["inputs"]]
        counts = Counter(run.values())
        return counts.pop("DELEGATE", 0), dict(counts.most_common())

    def run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run the network once.

        Args:
            image: (size, size, 3) uint8 RGB, as `models.preprocess.prepare` makes it.

        Returns:
            (classes,) float32 logits.
        """
        self.show(image)
        self.invoke()
        raw = self._interpreter.get_tensor(self._output["index"])[0]
        if self.output_dtype == np.float32:
            return raw  # type: ignore[no-any-return]
        # int32 first: subtracting a zero point of -128 from an int8 overflows.
        steps = np.subtract(raw, self._zero, dtype=np.int32)
        return np.multiply(steps, self._scale, dtype=np.float32)  # type: ignore[no-any-return]
