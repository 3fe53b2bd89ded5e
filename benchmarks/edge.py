"""Memory and start-up of the daemon beside a bare loop with the same libraries, interleaved in one run.

    python benchmarks/edge.py [--clip CLIP] [--model BUNDLE] [--runs N]

Prints, as medians: the peak resident memory of `edge-watch` over a 720p clip and of a loop of VideoCapture, MOG2 and
model alone; and the time from the start of the process to the first classification, beside that of importing numpy,
OpenCV and LiteRT alone. It needs no broker: the daemon then keeps its alerts, which is the larger case.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT.parent / "shared/data/scenes/dev03_tiger_day_twovisits.mp4"
LIBRARIES = "import numpy, cv2, ai_edge_litert.interpreter"

BARE_LOOP = """
import sys, numpy as np, cv2, paho.mqtt.client
from ai_edge_litert.interpreter import Interpreter
network = Interpreter(model_path=sys.argv[2], num_threads=1)
network.allocate_tensors()
entry, size = network.get_input_details()[0]["index"], network.get_input_details()[0]["shape"][1]
capture, background = cv2.VideoCapture(sys.argv[1]), cv2.createBackgroundSubtractorMOG2(500, 25, False)
while True:
    read, image = capture.read()
    if not read:
        break
    small = cv2.cvtColor(cv2.resize(image, (320, 180), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    if cv2.countNonZero(background.apply(small)) > 100:
        network.set_tensor(entry, cv2.resize(image, (size, size))[np.newaxis])
        network.invoke()
"""

FIRST_CLASSIFICATION = """
from edge.__main__ import main
import os, sys
from models.classifier import Classifier
classify = Classifier.classify
def first(*arguments):
    classify(*arguments)
    os._exit(0)
Classifier.classify = first
main(sys.argv[1:])
os._exit(1)
"""


def run(command: list[str]) -> tuple[float, float]:
    """Run a process; its wall time in seconds and peak resident memory in MB."""
    started = time.perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr is not None
    said = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{command[1:4]} failed: {said}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, default=CLIP)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    if not options.clip.is_file():
        raise SystemExit(f"--clip: expected a 720p video, found no file {options.clip}; name one")
    sys.path.insert(0, str(ROOT))
    import threading

    import cv2

    from edge.cameras.clip import Clip
    from models.bundle import default_bundle

    bundle = options.model or default_bundle()
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photos/one.jpg"
        photo.parent.mkdir()
        cv2.imwrite(str(photo), next(Clip(options.clip).frames(threading.Event())).image)
        daemon = ["--species", "tiger", "--model", str(bundle), "--broker", "mqtt://127.0.0.1:9"]
        cases = {
            "bare loop": ["-c", BARE_LOOP, str(options.clip), str(bundle / "model.tflite")],
            "edge-watch": ["-m", "edge", *daemon, "--source", str(options.clip)],
            "import numpy, cv2, LiteRT": ["-c", LIBRARIES],
            "first classification": ["-c", FIRST_CLASSIFICATION, *daemon, "--source", str(photo.parent)],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for number in range(options.runs + 1):
            for name, arguments in cases.items():
                data = ["--data", f"{folder}/{number}-{len(found[name])}"] if "edge" in str(arguments) else []
                measured = run([sys.executable, *arguments, *data])
                if number:  # the first round fills the file cache
                    found[name].append(measured)
    seconds = {name: statistics.median(value[0] for value in values) for name, values in found.items()}
    memory = {name: statistics.median(value[1] for value in values) for name, values in found.items()}
    print(f"{'':28}{'median':>10}{'ratio':>8}{'target':>8}")
    print(f"{'peak memory, bare loop':28}{memory['bare loop']:>7.1f} MB")
    ratio = memory["edge-watch"] / memory["bare loop"]
    print(f"{'peak memory, edge-watch':28}{memory['edge-watch']:>7.1f} MB{ratio:>8.2f}{'1.15':>8}")
    libraries, first = seconds["import numpy, cv2, LiteRT"], seconds["first classification"]
    print(f"{'import of the libraries':28}{libraries * 1000:>7.0f} ms")
    print(f"{'first classification':28}{first * 1000:>7.0f} ms{first / libraries:>8.2f}{'1.6':>8}")


if __name__ == "__main__":
    main()
