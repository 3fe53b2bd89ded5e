"""How fast `train fit` fine-tunes beside a bare `model.fit`, and whether its memory grows with the number of photos.

    python benchmarks/throughput.py [--only memory|speed] [--photos FEW MANY] [--steps N] [--rounds N]

Speed: the project's own loop on drawn photos in its store, and in turn Keras' `model.fit` on float32 arrays that lie in
memory, with the same model, batch and optimizer; augmentation and determinism are off. Time counts from step to step
within an epoch: the check on the validation photos between epochs is no training, and in the first steps Keras still
builds its graph. Photos a second, medians over the rounds; the ratio is to be at least 0.9.

Memory: the peak of a whole `train fit`, from files to bundle, with few and with many drawn photos. It may grow by what
has to be known of each photo (path, hash, side of the split), not by pictures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from models.errors import EdgeWatchError, UsageError, run
from train.quiet import import_tensorflow
from train.recipe import DEFAULT, Recipe, apply

ROOT = Path(__file__).resolve().parents[1]
BACKBONES = ("mobilenet_v2", "mobilenet_v3_small")
CLASSES = 4
WARM = 3
"""Steps that do not count."""
LEAST_RATIO, MOST_GROWTH, RECORD_KB = 0.9, 1.05, 2.0
"""Targets: of the speed; of the memory, as a factor and beside it for each further photo."""
SIZE = 96
"""Pixels a side of the network whose memory is measured."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    return run("throughput", _main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("throughput", description="Speed and memory of `train fit`.")
    parser.add_argument("--only", choices=("memory", "speed"), help="one of the two")
    parser.add_argument("--photos", type=int, nargs=2, default=(2_000, 20_000), metavar=("FEW", "MANY"),
                        help="files for the memory (default: 2000 20000)")
    parser.add_argument("--steps", type=int, default=12, metavar="N", help="steps of an epoch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="epochs of each (default: %(default)s)")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    options = parser.parse_args(argv)
    few, many = options.photos
    if not 8 * CLASSES <= few < many or options.steps < WARM + 2 or options.rounds < 1:
        raise UsageError(f"expected {8 * CLASSES} <= FEW < MANY photos, at least {WARM + 2} steps and 1 round, found "
                         f"{few}, {many}, {options.steps} and {options.rounds}; correct the options")
    # Memory first: the peak of a new process counts what its parent had taken, and TensorFlow takes much.
    if options.only != "speed":
        memory(few, many)
    if options.only != "memory":
        for backbone in BACKBONES:
            speed(backbone, options.steps, options.rounds)
    return 0


def speed(backbone: str, steps: int, rounds: int) -> None:
    """Measure both loops in turn, and print photos a second and their ratio."""
    recipe = apply(DEFAULT, {"backbone": backbone, "weights": "none", "epochs": 1, "head_epochs": 1,
                             "augmentation": "none", "deterministic": False}, "benchmark")
    found: dict[str, list[float]] = {"ours": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        ours, bare = _ours(recipe, steps, Path(folder)), _bare(recipe, steps)
        for number in range(rounds):
            for name, job in (("bare", bare), ("ours", ours)):
                ticks = job()[WARM - 1 :]
                found[name].append(recipe.batch * (len(ticks) - 1) / (ticks[-1] - ticks[0]))
            print(f"{backbone}, round {number + 1} of {rounds}: bare {found['bare'][-1]:.1f}, "
                  f"train fit {found['ours'][-1]:.1f} photos/s", file=sys.stderr, flush=True)
    ratio = median(found["ours"]) / median(found["bare"])
    print(f"{backbone}, {recipe.size} px, batches of {recipe.batch}: bare model.fit {median(found['bare']):.1f}, "
          f"train fit {median(found['ours']):.1f} photos/s, ratio {ratio:.2f} "
          f"(target at least {LEAST_RATIO}: {'met' if ratio >= LEAST_RATIO else 'missed'})", flush=True)


def _ours(recipe: Recipe, steps: int, folder: Path) -> Callable[[], list[float]]:
    """One epoch of the project's own training as a function, which returns when each of its steps ended."""
    import_tensorflow()
    import keras

    from train.fit import fit
    from train.photos.store import Store
    from train.pipeline import Examples

    count, rest = steps * recipe.batch, CLASSES
    pixels = Store(folder / "pixels", (count + rest, recipe.size, recipe.size, 3), np.uint8)
    dice = np.random.default_rng(0)
    for row in range(len(pixels)):
        pixels[row] = dice.integers(256, size=pixels.shape[1:], dtype=np.uint8)
    rows = np.arange(count + rest)
    examples = Examples(pixels, rows % CLASSES, rows[:count], rows[count:], rows[:0], CLASSES)
    plain, clock = keras.Model.fit, _clock()

    def timed(model: Any, *arguments: Any, callbacks: Sequence[Any] = (), **settings: Any) -> Any:
        # The head alone is trained by Keras, too.
        more = [clock] if model.name == "classifier" else []
        return plain(model, *arguments, callbacks=[*callbacks, *more], **settings)

    def job() -> list[float]:
        clock.ticks.clear()
        keras.Model.fit = timed  # The loop itself stays as it is for everybody.
        try:
            fit(recipe, examples, folder, lambda line: None)
        finally:
            keras.Model.fit = plain
        if len(clock.ticks) != steps:
            raise EdgeWatchError(f"expected {steps} steps of fine-tuning, found {len(clock.ticks)}; train/fit.py has "
                                 f"changed, so correct this benchmark")
        return list(clock.ticks)

    return job


def _bare(recipe: Recipe, steps: int) -> Callable[[], list[float]]:
    """The same for `model.fit` on arrays in memory."""
    import keras

    from train.backbones import build
    from train.fit import optimizer
    from train.head import loss

    model, backbone = build(recipe.backbone, "none", recipe.size, CLASSES, recipe.dropout, recipe.decay)
    backbone.trainable = True  # With Keras' own batch norm, which `train.fit.unfreeze` replaces.
    # Without XLA, as in the project: with it a CPU trains several times slower.
    model.compile(optimizer(recipe, steps, 1), loss(recipe), metrics=["accuracy"], jit_compile=False)
    dice, count = np.random.default_rng(0), steps * recipe.batch
    pictures = dice.integers(256, size=(count, recipe.size, recipe.size, 3), dtype=np.uint8).astype(np.float32)
    answers = keras.utils.to_categorical(np.arange(count) % CLASSES, CLASSES)
    clock = _clock()

    def job() -> list[float]:
        clock.ticks.clear()
        model.fit(pictures, answers, batch_size=recipe.batch, epochs=1, verbose=0, callbacks=[clock])
        return list(clock.ticks)

    return job


def _clock() -> Any:
    """A Keras callback whose `ticks` are the times, in seconds, at which steps ended."""
    import keras

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.ticks: list[float] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.ticks.append(time.perf_counter())

    return Clock()


def memory(few: int, many: int) -> None:
    """Train on few and on many files, and print the peaks."""
    peaks = []
    for count in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder) / "photos", count)
            started = time.monotonic()
            peaks.append(peak(Path(folder)))
            print(f"train fit, {count} photos, {SIZE} px: peak {peaks[-1]:.1f} MB "
                  f"({time.monotonic() - started:.0f} s)", flush=True)
    more, each = peaks[1] - peaks[0], 1000 * (peaks[1] - peaks[0]) / (many - few)
    most = MOST_GROWTH * peaks[0] + RECORD_KB / 1000 * (many - few)
    print(f"{more:+.1f} MB for {many - few} photos more, {each:.2f} kB a photo, which has {SIZE**2 * 3 / 1000:.1f} kB "
          f"of pixels (target at most {MOST_GROWTH} x {peaks[0]:.1f} MB + {RECORD_KB} kB a photo = {most:.1f} MB: "
          f"{'met' if peaks[1] <= most else 'missed'})", flush=True)


def draw(folder: Path, count: int) -> None:
    """Write so many small JPEG files, each of its own noise, into one folder for each class."""
    dice = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
    for number in range(count):
        picture = dice.integers(256, size=(48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"class{number % CLASSES}" / f"{number:06}.jpg"), picture)


def peak(folder: Path) -> float:
    """The peak resident memory of a training on `folder/photos`, in MB (of 1,000,000 bytes).

    Raises:
        EdgeWatchError: the training failed.
    """
    command = ["fit", folder / "photos", "--backbone", "mobilenet_v1_0.25", "--weights", "none", "--size", SIZE,
               "--epochs", 1, "--out", folder / "bundle"]
    with (folder / "said").open("w+") as said:
        with subprocess.Popen([sys.executable, "-m", "train", *map(str, command)], stdout=said, stderr=said,
                              env=os.environ | {"PYTHONPATH": str(ROOT)}) as child:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if child.returncode:
            raise EdgeWatchError(f"expected `train fit` to end with 0, found {child.returncode}: "
                                 f"{(said.read().strip().splitlines() or ['it said nothing'])[-1]}")
    return usage.ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    raise SystemExit(main())
