"""What classifying costs beyond the network itself: our path, the raw network, and the floor for a JPEG, interleaved.

    python benchmarks/classify.py [--model BUNDLE] [--runs N]

One thread, generated 1080p pictures. Prints medians in ms, their ratios, and whether the targets are met: a frame in
memory at most the raw network + 0.5 ms and at most 1.15 x of it (for networks of MobileNetV2's size); a JPEG file at
most 1.10 x (raw network + reduced decode). Ratios of one run hold on a busy machine; the milliseconds do not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from numpy.typing import NDArray

from models.bundle import ModelBundle, default_bundle
from models.classifier import Classifier
from models.interpreter import load_runtime

HEIGHT, WIDTH = 1080, 1920
MEMORY_MS, MEMORY_RATIO, FILE_RATIO = 0.5, 1.15, 1.10


def picture() -> NDArray[np.uint8]:
    """(1080, 1920, 3) uint8 BGR: structure of all sizes and some grain, so that its JPEG is as large as a photo's."""
    dice = np.random.default_rng(1)
    layers = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    for cells in (4, 16, 64, 256):
        noise = dice.integers(0, 256, (cells * 9 // 16, cells, 3)).astype(np.float32)
        layers += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) / cells**0.5
    layers += dice.normal(0, 3, layers.shape).astype(np.float32)
    low, high = np.percentile(layers, (1, 99))
    return ((layers - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


def interleaved(jobs: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """The median of each job in ms, all taken in turn within one run."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(runs + 10):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            if number >= 10:
                times[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What classifying costs beyond the network itself.")
    parser.add_argument("--model", type=Path, default=default_bundle(), metavar="BUNDLE")
    parser.add_argument("--runs", type=int, default=200, metavar="N")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = ModelBundle.open(options.model)
    classifier = Classifier(bundle)
    interpreter, runtime, version = load_runtime()
    raw = interpreter(model_path=str(bundle.model), num_threads=1)
    raw.allocate_tensors()
    frame = picture()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.jpg"
        cv2.imwrite(str(file), frame, [cv2.IMWRITE_JPEG_QUALITY, 90])

        def floor() -> None:
            cv2.imread(str(file), cv2.IMREAD_REDUCED_COLOR_4)
            raw.invoke()

        # In pairs: what a JPEG's decoder leaves in the caches is not the network's business.
        ms = interleaved({"raw": raw.invoke, "memory": lambda: classifier.classify(frame)}, options.runs)
        ms |= interleaved({"floor": floor, "file": lambda: classifier.classify_file(file)}, options.runs)
        size = file.stat().st_size
    print(f"{bundle.title} ({bundle.path}), {runtime} {version}, one thread, 1920 x 1080, JPEG of {size // 1000} kB, "
          f"medians of {options.runs} runs\n")
    extra, ratio, file_ratio = ms["memory"] - ms["raw"], ms["memory"] / ms["raw"], ms["file"] / ms["floor"]
    print(f"{'':44}{'ms':>7}{'ratio':>8}{'target':>22}")
    print(f"{'raw network':44}{ms['raw']:7.2f}{1:8.2f}")
    print(f"{'a frame in memory':44}{ms['memory']:7.2f}{ratio:8.2f}{target(ratio, MEMORY_RATIO)}")
    print(f"{'  of this beyond the network':44}{extra:7.2f}{'':8}{target(extra, MEMORY_MS, ' ms')}")
    print(f"{'raw network + JPEG decoded at a quarter':44}{ms['floor']:7.2f}{1:8.2f}")
    print(f"{'a JPEG file':44}{ms['file']:7.2f}{file_ratio:8.2f}{target(file_ratio, FILE_RATIO)}")
    return 0


def target(found: float, most: float, unit: str = "") -> str:
    """The last column: what was to be reached, and whether it was."""
    outcome = "met" if found <= most else "missed"
    return f"{f'<= {most:.2f}{unit}, {outcome}':>22}"


if __name__ == "__main__":
    raise SystemExit(main())
