"""What watching costs while nothing happens, beside bare loops at the same pace, interleaved in one run.

    python benchmarks/edge_idle.py [--clip CLIP] [--rounds N] [--seconds N]
    python benchmarks/edge_idle.py --hour [--minutes N] [--scenes DIR]

Each case is a process of its own that looks at the same 720p frames, which it holds in memory, five times a second, and
tells what share of a core it used and how much memory it holds (without the frames). The bare loop is MOG2 on luma of
180 rows, opened and counted; with a classification a second it also resizes the frame and invokes the same network.
`edge-watch` is the whole daemon, from the frame to the outbox, with a broker that does not answer; a sensor asks it for
one look a second. The ring is what `--record clip` keeps of the last seconds.

With --hour `edge-watch` replays the clips of a folder at the pace of their recording, animals, alerts, pictures and
all, and the slope of its memory is that of a straight line through what it holds every ten seconds, the first ten
minutes left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
SCENES = ROOT.parent / "shared/data/scenes"
CLIP = SCENES / "dev03_tiger_day_twovisits.mp4"
FRAMES, RATE, WARM_S = 12, 5.0, 4.0
IDLE_TARGET, MEMORY_TARGET = 1.4, 1.15
CASES = ("bare MOG2", "edge-watch", "bare MOG2, a look a second", "edge-watch, a look a second", "edge-watch, ring")
Image = NDArray[np.uint8]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, default=CLIP, help="720p; its first frames show no animal")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each case in each round")
    parser.add_argument("--hour", action="store_true", help="follow the memory instead")
    parser.add_argument("--minutes", type=float, default=60.0, help="of --hour")
    parser.add_argument("--scenes", type=Path, default=SCENES, help="clips for --hour")
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, np.load(options.frames), options.seconds)))
    elif options.hour:
        hour(options.scenes, options.minutes)
    else:
        table(options.clip, options.rounds, options.seconds)


def table(clip: Path, rounds: int, seconds: float) -> None:
    """All cases in turn, round after round."""
    found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        frames = Path(folder) / "frames.npy"
        np.save(frames, quiet_frames(clip))
        for _ in range(rounds):
            for case in CASES:
                command = [sys.executable, __file__, "--case", case, "--frames", str(frames), "--seconds", str(seconds)]
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{case}: {done.stderr}")
                found[case].append(json.loads(done.stdout))
    core = {case: statistics.median(each["core"] for each in values) for case, values in found.items()}
    memory = {case: statistics.median(each["mb"] for each in values) for case, values in found.items()}
    bare, ours, bare_look, our_look, ring = (core[case] for case in CASES)
    print(f"{'':32}{'% of a core':>12}{'MB':>8}")
    for case in CASES:
        print(f"{case:32}{100 * core[case]:>12.2f}{memory[case]:>8.1f}")
    print(f"\n{'':32}{'ratio':>12}{'target':>8}")
    print(f"{'idle':32}{ours / bare:>12.2f}{IDLE_TARGET:>8}")
    print(f"{'with a look a second':32}{our_look / bare_look:>12.2f}{IDLE_TARGET:>8}")
    print(f"{'memory':32}{memory[CASES[1]] / memory[CASES[0]]:>12.2f}{MEMORY_TARGET:>8}")
    print(f"{'memory, with a look a second':32}{memory[CASES[3]] / memory[CASES[2]]:>12.2f}{MEMORY_TARGET:>8}")
    print(f"the ring alone: {100 * (ring - ours):.2f} % of a core, {memory[CASES[4]] - memory[CASES[1]]:.1f} MB")


def quiet_frames(clip: Path) -> Image:
    """(FRAMES, height, width, 3) uint8 BGR: a clip's first frames, there and back, to be repeated."""
    from edge.cameras.clip import Clip

    if not clip.is_file():
        raise SystemExit(f"--clip: expected a 720p video, found no file {clip}; name one")
    frames = Clip(clip).frames(threading.Event())
    there = [next(frames).image for _ in range(FRAMES // 2 + 1)]
    return np.stack([*there, *there[-2:0:-1]])


def measure(case: str, frames: Image, seconds: float) -> dict[str, float]:
    """The share of a core that a case takes, and the megabytes that it holds beside the frames."""
    pictures = paced(frames, seconds)
    (bare if case.startswith("bare") else ours)(case, pictures)
    return {"core": Used.core, "mb": Used.mb - frames.nbytes / 1e6}


class Used:
    """What the measured part took, filled by `paced` with the last frame: later much of it is given back."""

    core = mb = 0.0


def resident_mb(process: int) -> float:
    """The memory that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def paced(frames: Image, seconds: float) -> Iterator[Image]:
    """Frames at `RATE`, first some to warm up; then the processor's time is taken."""
    begun = time.monotonic()
    started = used = 0.0
    for number in range(round((WARM_S + seconds) * RATE)):
        time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        if not started and number >= WARM_S * RATE:
            started, used = time.monotonic(), time.process_time()
        yield frames[number % len(frames)]
    Used.core = (time.process_time() - used) / (time.monotonic() - started)
    Used.mb = resident_mb(os.getpid())


def bare(case: str, pictures: Iterator[Image]) -> None:
    """MOG2 and, once a second, the network, with nothing around them."""
    import paho.mqtt.client  # noqa: F401  (the same imports)
    from ai_edge_litert.interpreter import Interpreter

    from models.bundle import default_bundle

    network = Interpreter(model_path=str(default_bundle() / "model.tflite"), num_threads=1)
    network.allocate_tensors()
    entry = network.get_input_details()[0]
    size, exit_ = entry["shape"][1], network.get_output_details()[0]["index"]
    background, kernel = cv2.createBackgroundSubtractorMOG2(500, 25, False), np.ones((2, 2), np.uint8)
    for number, image in enumerate(pictures):
        small = cv2.cvtColor(cv2.resize(image, (320, 180), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        cv2.countNonZero(cv2.morphologyEx(background.apply(small), cv2.MORPH_OPEN, kernel))
        if "look" in case and number % round(RATE) == 0:
            network.set_tensor(entry["index"], cv2.resize(image, (size, size))[np.newaxis])
            network.invoke()
            network.get_tensor(exit_)


def ours(case: str, pictures: Iterator[Image]) -> None:
    """The daemon over the frames, as if a camera gave them."""
    from edge.daemon import Daemon
    from edge.settings import Settings
    from edge.telling.broker import Broker
    from edge.telling.outbox import FILE_NAME, Outbox
    from edge.telling.topics import Topics
    from edge.types import Frame
    from models.bundle import ModelBundle, default_bundle
    from models.classifier import Classifier

    class Memory:
        live, name, skipped = True, "memory", 0

        def frames(self, stop: threading.Event) -> Iterator[Frame]:
            for number, image in enumerate(pictures):
                yield Frame(image, datetime.now(UTC).astimezone(), number, self.name)

    with tempfile.TemporaryDirectory() as folder:
        record: Any = "clip" if "ring" in case else "picture"
        settings = Settings(species=("tiger",), data=Path(folder), record=record)
        classifier = Classifier(ModelBundle.open(default_bundle()), settings.threads)
        with Outbox(settings.data / FILE_NAME) as outbox:
            broker = Broker.parse("mqtt://127.0.0.1:9")
            daemon = Daemon(settings, Memory(), classifier, lambda: outbox, Topics("idle"), broker)
            if "look" in case:
                daemon._senses.sensor = one_look_a_second()
            daemon.run(threading.Event())


def one_look_a_second() -> Callable[[], bool]:
    """A sensor that tells of motion once a second, and of which each telling brings one look."""
    from datetime import timedelta

    from edge.seeing import outside

    outside.LOOK_FOR = timedelta(0)
    asked = 0

    def told() -> bool:
        nonlocal asked
        asked += 1
        return asked % round(RATE) == 0

    return told


def hour(scenes: Path, minutes: float) -> None:
    """Replay at the pace of the recording, and fit a line to the memory."""
    clips = sorted(scenes.glob("*.mp4"))
    if not clips:
        raise SystemExit(f"--scenes: expected a folder of clips, found none in {scenes}; name one")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "clips"
        source.mkdir()
        for number in range(4):  # Four times all: more than an hour of recordings.
            for clip in clips:
                copy = source / f"{number}_{clip.name}"
                shutil.copyfile(clip, copy)
                os.utime(copy, (1e9 + number * 1e5, 1e9 + number * 1e5))
        command = [sys.executable, "-m", "edge", "--species", "tiger", "--source", str(source), "--pace", "real",
                   "--data", f"{folder}/data", "--broker", "mqtt://127.0.0.1:9"]  # fmt: skip
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as child:
            samples = list(followed(child, minutes))
            child.terminate()
    settled = [(at, held) for at, held in samples if at >= min(600.0, minutes * 20)]
    at, held = np.array(settled).T
    slope = float(np.polyfit(at / 3600, held, 1)[0])
    print(f"{'minutes':>8}{'MB':>8}")
    for start in range(0, round(minutes), max(1, round(minutes / 6))):
        part = [held for at, held in samples if start <= at / 60 < start + max(1, round(minutes / 6))]
        print(f"{start:>8}{statistics.median(part):>8.1f}")
    print(f"slope {slope:+.2f} MB an hour, {100 * slope / float(held.mean()):+.2f} % of {held.mean():.1f} MB")


def followed(child: subprocess.Popen[bytes], minutes: float) -> Iterator[tuple[float, float]]:
    """Seconds since the start, and the megabytes that a process holds, every ten seconds."""
    begun = time.monotonic()
    while (at := time.monotonic() - begun) < 60 * minutes:
        if child.poll() is not None:
            raise SystemExit(f"edge-watch ended after {at:.0f} s")
        yield at, resident_mb(child.pid)
        time.sleep(10)


if __name__ == "__main__":
    main()
