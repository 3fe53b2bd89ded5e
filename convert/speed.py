"""How fast files run beside one another, and how much of one XNNPACK runs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.interpreter import Interpreter
from models.manifest import Speed

BLOCK, ROUNDS, FEWEST = 5, 30, 3
SECONDS = 2.5


def invoke_speed(before: Path, after: Path, seconds: float = SECONDS) -> Speed:
    """Time the raw invoke of a network and of its own float32 version, as `invoke_times` does.

    Args:
        before: the float32 file.
        after: the converted file.
        seconds: about how long to measure.
    """
    float_ms, own_ms = (1000 * times for times in invoke_times((before, after), seconds))
    return Speed(float(np.median(float_ms)), float(np.median(own_ms)), float(np.median(own_ms / float_ms)),
                 len(own_ms) * BLOCK, vnni())


def vnni(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Whether this machine has VNNI, which XNNPACK's fast int8 kernels for x86-64 need; None where that is not known.

    Without it int8 is hardly faster than float there, or slower, which says nothing of the Arm processors that it is
    for.
    """
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return bool({"avx512_vnni", "avx_vnni"} & set(flags[1].split())) if flags else None


def invoke_times(models: Sequence[Path], seconds: float = SECONDS) -> list[NDArray[np.float64]]:
    """Time the raw invoke of several .tflite files on one thread, in turn, in one run.

    All run in rounds of five invokes each, with every other round the other way round, so that what the machine does
    meanwhile falls on all; the first of five finds another network in the caches, and their median leaves it out.
    What counts is the time of the thread on the processor: other programs take time from the machine, not from the
    result.

    Args:
        models: the files; ratios hold between values of the same round.
        seconds: about how long to measure; at least three rounds, at most thirty.

    Returns:
        For each file (rounds,) seconds an invoke.
    """
    networks = [Interpreter(path) for path in models]
    noise = np.random.default_rng(0)
    for network in networks:
        network.show(noise.integers(0, 256, (network.size, network.size, 3), np.uint8))
        _block(network)
    times: list[list[float]] = [[] for _ in networks]
    order = list(zip(networks, times, strict=True))
    started = time.monotonic()
    while len(times[0]) < FEWEST or (len(times[0]) < ROUNDS and time.monotonic() - started < seconds):
        order.reverse()
        for network, found in order:
            found.append(_block(network))
    return [np.array(found) for found in times]


def _block(network: Interpreter) -> float:
    """The median of five invokes, in seconds."""
    found = []
    for _ in range(BLOCK):
        started = time.thread_time()
        network.invoke()
        found.append(time.thread_time() - started)
    return float(np.median(found))


def partitions(model: Path) -> tuple[int, dict[str, int]] | None:
    """How many pieces of a .tflite file XNNPACK runs, and the operators by type that it leaves to the runtime.

    Returns:
        None where the runtime does not tell.
    """
    return Interpreter(model).delegated()
