"""TensorFlow's part of a conversion: a Keras model or SavedModel as a .tflite file of floats, or by its own recipes."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convert.quiet import quiet
from models.errors import EdgeWatchError, MissingRuntimeError

RAW = (0.0, 255.0)
"""The range of a picture's numbers, which a bundle's network takes as they are."""
Scheme = Literal["none", "int8", "int16x8", "dynamic", "float16"]
_EXPORT = ("with the program that trained it save it as a SavedModel (model.export() in Keras 3, model.save() of a "
           "folder in Keras 2), and convert that")


class Source:
    """A trained network, frozen for one picture at a time: raw 0-255 RGB in, logits out.

    The batch is fixed to 1 (an open one leaves SHAPE, STRIDED_SLICE and PACK in the graph), and a softmax at the end is
    cut off. `size` and `classes` are the network's, `ends_in_softmax` is whether there was one to cut off, `versions`
    are the libraries'.

    Args:
        model: a .keras or .h5 file, or the folder of a SavedModel (its `serving_default` signature counts).
        input_range: what the network takes for black and for white; the scaling becomes part of it.
        debug: show TensorFlow's messages.

    Raises:
        MissingRuntimeError: TensorFlow is not installed.
        EdgeWatchError: TensorFlow cannot read it; or it has other than one square RGB picture as input, or other than
            one row of logits or softmax probabilities as output.
    """

    def __init__(self, model: Path, input_range: tuple[float, float] = RAW, debug: bool = False) -> None:
        self._path, self._debug = model, debug
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with quiet(debug):
            try:
                import keras
                import tensorflow as tf
            except ImportError as error:
                raise MissingRuntimeError(f"expected TensorFlow, found none ({error}); "
                                          f"type, in the checkout: pip install '.[train]'") from error
            self._keras, self._tf = keras, tf
            self.versions = {"tensorflow": str(tf.__version__), "keras": str(keras.__version__)}
            answer, spec = self._saved_model() if model.is_dir() else self._keras_model()
            self.size = self._size(spec)
            self._frozen, self.ends_in_softmax = self._freeze(answer, input_range)
        self.classes = int(self._frozen.outputs[0].shape[1])

    def float32(self) -> bytes:
        """The network as a float .tflite file: (1, size, size, 3) float32 raw 0-255 RGB in, (1, classes) logits out.

        The same model gives the same bytes.

        Raises:
            EdgeWatchError: it has a layer that TensorFlow Lite does not.
        """
        return self._convert("none")

    def stock(self, scheme: Scheme, images: NDArray[np.uint8] | None = None,
              io: Literal["uint8", "int8"] = "uint8") -> bytes:
        """The network as TensorFlow's own recipe for a scheme stores it.

        Args:
            scheme: of these, only int8 takes and gives anything but float32.
            images: (n, size, size, 3) uint8 RGB, in this order shown to the network to find the range of each tensor;
                for int8 and int16x8.
            io: what the int8 file takes and gives.

        Raises:
            EdgeWatchError: TensorFlow cannot convert the network.
        """
        if scheme == "int16x8":
            assert images is not None
            return self.int16x8(self.float32(), images)

        def set_up(converter: Any) -> None:
            converter.optimizations = [self._tf.lite.Optimize.DEFAULT]
            if scheme == "float16":
                converter.target_spec.supported_types = [self._tf.float16]
            if scheme == "int8":
                assert images is not None
                converter.representative_dataset = _fed(images)
                converter.target_spec.supported_ops = [self._tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
                converter.inference_input_type = converter.inference_output_type = getattr(self._tf, io)

        return self._convert(scheme, set_up if scheme != "none" else None)

    def int16x8(self, model: bytes, images: NDArray[np.uint8]) -> bytes:
        """A float .tflite file with 16-bit activations and 8-bit weights; it still takes and gives float32.

        Args:
            model: of this network, as `float32` gives it or after rewrites. TensorFlow has no 16-bit HARD_SWISH.
            images: as for `stock`.

        Raises:
            EdgeWatchError: TensorFlow cannot convert the network.
        """
        # What the converter does after it has made a float file.
        from tensorflow.lite.python.optimize import calibrator

        float32 = self._tf.float32
        with quiet(self._debug):
            try:
                quantizer = calibrator.Calibrator(calibrator.add_intermediate_tensors(model))
                return bytes(quantizer.calibrate_and_quantize(
                    _fed(images), float32, float32, allow_float=False, activations_type=self._tf.int16,
                    bias_type=self._tf.int64))
            except self._errors() as error:
                raise self._refusal("int16x8", error) from error

    def _convert(self, scheme: Scheme, set_up: Callable[[Any], None] | None = None) -> bytes:
        with quiet(self._debug):
            converter = self._tf.lite.TFLiteConverter.from_concrete_functions([self._frozen])
            # Else it makes a temporary folder, which it then does not need.
            converter.experimental_lower_to_saved_model = False
            if set_up:
                set_up(converter)
            try:
                return bytes(converter.convert())
            except self._errors() as error:
                raise self._refusal(scheme, error) from error

    def _refusal(self, scheme: Scheme, error: Exception) -> EdgeWatchError:
        # From a long message, the operators that the converter does not know, if it is of them that it speaks.
        unknown = ", ".join(re.findall(r"^(?:TF Select|Custom) ops: (.+)$", str(error), re.MULTILINE))
        return EdgeWatchError(f"{self._path}: expected layers that TensorFlow Lite has"
                              f"{'' if scheme == 'none' else f' in {scheme}'}, found: {unknown or _reason(error)}; "
                              f"train a network of other layers, or see all with --debug")

    def _keras_model(self) -> tuple[Callable[[Any], Any], Any]:
        """The model of a .keras or .h5 file, as a function, and what it takes."""
        try:
            model = self._keras.saving.load_model(self._path, compile=False)
        except self._errors() as error:
            raise EdgeWatchError(f"{self._path}: expected a Keras model, found {_unreadable(error)}") from error
        inputs, outputs = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
        self._require_one(len(inputs), len(outputs))
        # Trained in mixed precision a layer computes in float16, which the runtime cannot; its weights are float32.
        for layer in model._flatten_layers():
            if layer.compute_dtype in ("float16", "bfloat16"):
                layer.dtype_policy = "float32"
        return lambda image: model(image, training=False), inputs[0]

    def _saved_model(self) -> tuple[Callable[[Any], Any], Any]:
        """The serving signature of a SavedModel, as a function, and what it takes."""
        try:
            loaded = self._tf.saved_model.load(str(self._path))
        except self._errors() as error:
            reason = _reason(error).replace(f"{self._path}/", "")
            raise EdgeWatchError(f"{self._path}: expected a SavedModel, found one that cannot be read ({reason}); "
                                 f"copy or export it again") from error
        signature = loaded.signatures.get("serving_default")
        if signature is None:
            raise EdgeWatchError(f"{self._path}: expected a SavedModel with the signature serving_default, found "
                                 f"{sorted(loaded.signatures) or 'none'}; export it again with Keras' model.export()")
        inputs = signature.structured_input_signature[1]
        self._require_one(len(inputs), len(signature.structured_outputs))
        [(name, spec)] = inputs.items()

        def answer(image: Any) -> Any:
            # Its variables live as long as something holds what was loaded.
            assert loaded is not None
            [output] = signature(**{name: image}).values()
            return output

        return answer, spec

    def _require_one(self, inputs: int, outputs: int) -> None:
        if (inputs, outputs) != (1, 1):
            raise EdgeWatchError(f"{self._path}: expected a network with one picture as input and one output, found "
                                 f"{inputs} and {outputs}; save the classifier alone, built for its pictures")

    def _size(self, spec: Any) -> int:
        shape, dtype = tuple(spec.shape), self._tf.as_dtype(spec.dtype).name
        square = len(shape) == 4 and shape[0] in (None, 1) and shape[1] and shape[1] == shape[2] and shape[3] == 3
        if not square or dtype != "float32":
            raise EdgeWatchError(f"{self._path}: expected an input of (None, size, size, 3) float32, a square RGB "
                                 f"picture of a fixed size, found {shape} {dtype}; save the model with such an input")
        return int(shape[1])

    def _freeze(self, answer: Callable[[Any], Any], input_range: tuple[float, float]) -> tuple[Any, bool]:
        """The network with its weights as constants, without a softmax at the end; and whether there was one."""
        # Left to itself the converter does not freeze the weights of Keras 3 in a concrete function. This is what it
        # calls for older models; it has no public name.
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        tf, (low, high) = self._tf, input_range

        def whole(image: Any) -> Any:
            return answer(image if input_range == RAW else image * ((high - low) / 255.0) + low)

        image = tf.TensorSpec((1, self.size, self.size, 3), tf.float32, name="image")
        try:
            frozen = convert_variables_to_constants_v2(tf.function(whole).get_concrete_function(image))
        except self._errors() as error:
            raise EdgeWatchError(f"{self._path}: expected a network that takes one picture of {self.size} px, found: "
                                 f"{_reason(error)}; see all with --debug") from error
        if frozen.outputs[0].shape.rank != 2 or (frozen.outputs[0].shape[1] or 0) < 2:
            raise EdgeWatchError(f"{self._path}: expected an output of (None, classes) for 2 classes or more, found "
                                 f"{tuple(frozen.outputs[0].shape)}; save the model with such an output")
        last = frozen.outputs[0].op
        while last.type == "Identity":
            last = last.inputs[0].op
        if last.type == "Sigmoid":
            raise EdgeWatchError(f"{self._path}: expected logits or softmax as output, found a sigmoid for each class; "
                                 f"train it again for classes of which one is right")
        # A logarithm of probabilities is a logit, too; it would cost an operator, and in int8 its accuracy.
        if last.type not in ("Softmax", "LogSoftmax"):
            return frozen, False
        return frozen.prune(frozen.inputs, last.inputs[0]), True

    def _errors(self) -> tuple[type[Exception], ...]:
        """All that TensorFlow and Keras were seen to say of damaged files and odd networks."""
        from tensorflow.lite.python.convert_phase import ConverterError

        return (ConverterError, self._tf.errors.OpError, ValueError, RuntimeError, TypeError, OSError, LookupError,
                EOFError, AttributeError, zipfile.BadZipFile)


def _fed(images: NDArray[np.uint8]) -> Callable[[], Iterator[list[NDArray[np.float32]]]]:
    """The pictures one by one, as TensorFlow's quantizers ask for them."""
    shown = _spanning(images)
    return lambda: ([image[np.newaxis].astype(np.float32)] for image in shown)


def _spanning(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pictures, with one black and one white pixel where they have none: the input's range is 0-255, always."""
    if images.min() == 0 and images.max() == 255:
        return images
    spanning = images.copy()
    spanning[0, 0, 0], spanning[0, 0, 1] = 0, 255
    return spanning


def _unreadable(error: Exception) -> str:
    """What is wrong with a Keras file, and what to do."""
    text = str(error)
    if "`Lambda` layer" in text:
        return f"a Lambda layer, which is program code; {_EXPORT}"
    if own := re.search(r"(?:Could not locate (?:class|function)|Unknown layer:) '([^']*)'", text):
        return f"a layer that Keras 3 does not have ({own[1]}); {_EXPORT}"
    if "deserializ" in text:
        return f"layers as another version of Keras writes them; {_EXPORT}"
    if "No model config" in text:
        return "weights without a network; save the whole model with Keras' model.save()"
    if "accessible `.keras` zip" in text:
        return "one that is damaged or cut off; copy it again"
    return f"one that cannot be read ({_reason(error)}); copy it again"


def _reason(error: Exception) -> str:
    """The line of a long error that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "error:" in line), lines[0].partition(". ")[0])[:200].rstrip(".")
