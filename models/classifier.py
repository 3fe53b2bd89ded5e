"""A bundle, loaded and proven: from a picture to calibrated probabilities."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.bundle import GOLDEN, ModelBundle
from models.errors import BundleError
from models.evaluation import softmax
from models.images import read_image
from models.interpreter import Interpreter
from models.preprocess import prepare


class Classifier:
    """Runs a converted bundle.

    At start it proves that this device computes what `convert` computed: the golden pictures must give the golden
    outputs, bit for bit where the network is one of integers that LiteRT's XNNPACK runs as a whole, and else (another
    runtime, floats) the same answers.

    Raises:
        BundleError: a float bundle, a model that does not fit its manifest, or other outputs than the golden ones.
        MissingRuntimeError: no runtime is installed.
    """

    def __init__(self, bundle: ModelBundle, threads: int = 1) -> None:
        if bundle.is_float:
            raise BundleError(
                f"{bundle.path}: expected a converted bundle, found a float one; "
                f"type: convert --quantize int8 {bundle.path}"
            )
        self.bundle = bundle
        self.labels = bundle.labels
        self.interpreter = Interpreter(bundle.model, threads)
        self._check_shapes()
        self._check_golden()

    def _check_shapes(self) -> None:
        spec, network = self.bundle.manifest, self.interpreter
        expected = (spec.input.size, spec.input.dtype, spec.output.classes, spec.output.dtype)
        found = (network.size, str(network.dtype), network.classes, str(network.output_dtype))
        if expected != found:
            raise BundleError(
                f"{self.bundle.model}: expected size, input, classes, output {expected}, found {found}; "
                f"convert the model again"
            )

    def _check_golden(self) -> None:
        try:
            with np.load(self.bundle.path / GOLDEN) as golden:
                inputs, outputs, version = golden["inputs"], golden["outputs"], str(golden["runtime"])
            found = np.stack([self.interpreter.run(image) for image in inputs])
        except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(
                f"{self.bundle.path / GOLDEN}: expected pictures that fit the model, and its outputs, "
                f"found: {error}; convert the model again"
            ) from error
        # Bits are promised by the runtime that made them; another one, or another version, may round otherwise. So may
        # another processor, unless it computes with integers.
        exact = (
            version == f"{self.interpreter.runtime} {self.interpreter.version}"
            and self.bundle.manifest.quantization.same_everywhere
        )
        same = np.array_equal(found, outputs) if exact else np.array_equal(found.argmax(1), outputs.argmax(1))
        if not same:
            raise BundleError(
                f"{self.bundle.path}: expected the golden outputs of {version}, found others with "
                f"{self.interpreter.runtime} {self.interpreter.version}; convert the model again here"
            )

    def logits(
        self,
        image: NDArray[np.uint8],
        box: tuple[float, float, float, float] | None = None,
        order: Literal["RGB", "BGR"] = "BGR",
    ) -> NDArray[np.float32]:
        """(classes,) float32 logits of a box (the whole when None) of a (height, width, 3) uint8 picture."""
        return self.interpreter.run(prepare(image, self.interpreter.size, box, order))

    def classify(
        self,
        image: NDArray[np.uint8],
        box: tuple[float, float, float, float] | None = None,
        order: Literal["RGB", "BGR"] = "BGR",
    ) -> NDArray[np.float32]:
        """(classes,) float32 calibrated probabilities, summing to 1; arguments as for `logits`."""
        return softmax(self.logits(image, box, order), self.bundle.manifest.temperature)

    def classify_file(self, path: Path) -> NDArray[np.float32]:
        """Probabilities of a picture file as a whole; a JPEG is decoded no larger than needed."""
        return self.classify(read_image(path, at_least=self.interpreter.size))
