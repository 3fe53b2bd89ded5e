"""What this processor makes of photos: a line for each, to be compared with what another processor makes of them."""

from __future__ import annotations

import hashlib
import platform
import sys
from pathlib import Path

import cv2
import numpy as np

from models.bundle import ModelBundle
from models.classifier import Classifier
from models.evaluation import softmax
from models.images import read_image
from models.preprocess import prepare

BOX = (0.21, 0.13, 0.47, 0.58)
"""Any part of a photo, as the trap cuts out what moved."""


def line(classifier: Classifier, photo: Path) -> tuple[str, str, str, str]:
    """Hash what the network is shown and what it gives for one photo.

    Returns:
        sha256 of the prepared pictures (the whole from a reduced decode, and `BOX` from a full one), sha256 of the
        whole's float32 logits, the best class and its probability.
    """
    size = classifier.interpreter.size
    whole = prepare(read_image(photo, at_least=size), size, order="BGR")
    part = prepare(read_image(photo), size, BOX, "BGR")
    logits = classifier.interpreter.run(whole)
    best = int(logits.argmax())
    probability = softmax(logits, classifier.bundle.manifest.temperature)[best]
    shown, given = (hashlib.sha256(data).hexdigest() for data in (whole.tobytes() + part.tobytes(), logits.tobytes()))
    return shown, given, classifier.labels.names[best], f"{probability:.3f}"


def main(bundle: str, threads: str) -> None:
    """Print the versions, then path, hashes, class and probability of each photo that standard input names."""
    classifier = Classifier(ModelBundle.open(Path(bundle)), int(threads))
    runtime = f"{classifier.interpreter.runtime} {classifier.interpreter.version}"
    print(f"{platform.machine()}: {runtime}, OpenCV {cv2.__version__}, numpy {np.__version__}, "
          f"Python {platform.python_version()}")
    for photo in sys.stdin.read().splitlines():
        print(photo, *line(classifier, Path(photo)), sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
