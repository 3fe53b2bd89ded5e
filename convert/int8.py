"""TensorFlow's part of a conversion: the float model's answers, and its full-integer version."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import EdgeWatchError, MissingRuntimeError


@contextlib.contextmanager
def quiet(debug: bool = False) -> Iterator[None]:
    """Keep what TensorFlow and its C++ libraries print from the terminal, unless `debug`."""
    if debug:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile("w+") as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
                yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for saved, number in zip(kept, (1, 2), strict=True):
                os.dup2(saved, number)
                os.close(saved)


class FloatModel:
    """The Keras model of a float bundle.

    Raises:
        MissingRuntimeError: TensorFlow is not installed.
        EdgeWatchError: Keras cannot read the file.
    """

    def __init__(self, path: Path, debug: bool = False) -> None:
        self._debug = debug
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet(debug):
            try:
                import keras
                import tensorflow as tf
            except ImportError as error:
                raise MissingRuntimeError(f"expected TensorFlow, found none ({error}); "
                                          f"type, in the checkout: pip install '.[train]'") from error
            self._keras, self._tf = keras, tf
            # Names of layers count up within a process; the file shall not depend on what ran before.
            keras.backend.clear_session()
            try:
                self._model = keras.saving.load_model(path, compile=False)
            except (ValueError, TypeError, OSError, KeyError) as error:
                raise EdgeWatchError(f"{path}: expected a Keras model, found: {_reason(error)}; "
                                     f"train it again") from error
        # As a graph it frees each layer's output once it is used: 1 GB where Python's way takes 3.5.
        self._answer = tf.function(lambda images: self._model(images, training=False), reduce_retracing=True)
        self.versions = {"tensorflow": str(tf.__version__), "keras": str(keras.__version__)}

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(n, classes) float32 logits of (n, size, size, 3) uint8 RGB pictures."""
        # Keras warns of harmless things, as of an input in a list of one.
        with quiet(self._debug):
            return np.asarray(self._answer(images.astype(np.float32)), np.float32)

    def to_int8(self, images: NDArray[np.uint8]) -> bytes:
        """Convert the model to full integers: int8 weights by channel, raw uint8 RGB in, uint8 logits out.

        Args:
            images: (n, size, size, 3) uint8 RGB, in this order shown to the network to find the range of each tensor.

        Returns:
            A .tflite file with a fixed batch of 1.

        Raises:
            EdgeWatchError: TensorFlow cannot convert the network.
        """
        tf, shown = self._tf, _spanning(images)
        with quiet(self._debug):
            converter = tf.lite.TFLiteConverter.from_keras_model(self._fixed(images.shape[1]))
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image[np.newaxis].astype(np.float32)] for image in shown)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            # uint8 on both sides is what mediapipe and other readers of standard metadata take.
            converter.inference_input_type = converter.inference_output_type = tf.uint8
            try:
                return bytes(converter.convert())
            except _conversion_errors(tf) as error:
                raise EdgeWatchError(f"expected a network that TensorFlow can convert to int8, found: "
                                     f"{_reason(error)}; choose another --backbone, or see all with --debug") from error

    def _fixed(self, size: int) -> Any:
        """The model for one picture at a time (an open batch leaves SHAPE, STRIDED_SLICE and PACK in the graph).

        The range of the scaled input follows from that of the raw one and need not be measured; left to itself the
        converter gives it only two thirds of the 256 steps there are.
        """
        keras = self._keras
        scaled = _scaling_layer(keras, self._tf)

        def clone(layer: Any) -> Any:
            constants = isinstance(layer, keras.layers.Rescaling) and np.ndim(layer.scale) == np.ndim(layer.offset) == 0
            return scaled(float(layer.scale), float(layer.offset)) if constants else layer

        image = keras.Input(batch_shape=(1, size, size, 3), name="image")
        model = keras.models.clone_model(self._model, clone_function=clone)
        return keras.Model(image, model(image), name="bundle")


def _scaling_layer(keras: Any, tf: Any) -> Any:
    """A layer that scales raw pictures as Keras' Rescaling does, and tells the converter the range of what it gives."""
    fixed_range = tf.quantization.fake_quant_with_min_max_args

    class Scaled(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self, scale: float, offset: float) -> None:
            super().__init__()
            self._scale, self._offset = scale, offset

        def call(self, image: Any) -> Any:
            least, most = sorted((0.0, 255.0 * self._scale))
            product = fixed_range(image * self._scale, least, most)
            return fixed_range(product + self._offset, least + self._offset, most + self._offset)

    return Scaled


def _spanning(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pictures, with one black and one white pixel where they have none: the input's range is 0-255, always."""
    if images.min() == 0 and images.max() == 255:
        return images
    spanning = images.copy()
    spanning[0, 0, 0], spanning[0, 0, 1] = 0, 255
    return spanning


def _conversion_errors(tf: Any) -> tuple[type[Exception], ...]:
    from tensorflow.lite.python.convert_phase import ConverterError

    return ConverterError, tf.errors.OpError, ValueError, RuntimeError, TypeError, OSError


def _reason(error: Exception) -> str:
    """The line of a long error that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "error:" in line), lines[0])[:200]
