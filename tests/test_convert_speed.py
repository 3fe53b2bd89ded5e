"""Speed and pieces of a file: what is measured, not how fast this machine is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from convert.speed import invoke_speed, partitions, vnni
from models.interpreter import Interpreter
from models.manifest import Speed
from tests.networks import colours, swishes


def stored(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class Clock:
    """Time that passes only while a network runs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, costs: dict[str, list[float]]) -> None:
        self.now = 0.0
        self.order: list[str] = []
        monkeypatch.setattr(time, "thread_time", lambda: self.now)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

        def invoke(network: Interpreter) -> None:
            kind = str(network.dtype)
            self.now += costs[kind][self.order.count(kind) % len(costs[kind])]
            self.order.append(kind)

        monkeypatch.setattr(Interpreter, "invoke", invoke)


def measure(tmp_path: Path, seconds: float = 2.5) -> Speed:
    return invoke_speed(stored(tmp_path / "before", colours("float32")), stored(tmp_path / "after", colours()), seconds)


def test_medians_of_both_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of each five invokes the first is slow, and one meets a hiccup.
    clock = Clock(monkeypatch, {"float32": [0.009, 0.004, 0.004, 0.5, 0.004],
                                "uint8": [0.008, 0.001, 0.3, 0.001, 0.001]})
    assert measure(tmp_path, 60) == Speed(pytest.approx(4.0), pytest.approx(1.0), pytest.approx(0.25), 150, vnni())
    blocks = clock.order[::5]
    assert clock.order == [kind for kind in blocks for _ in range(5)]
    assert blocks[:2] == ["float32", "uint8"], "to warm up"
    assert blocks[2:10] == ["uint8", "float32", "float32", "uint8", "uint8", "float32", "float32", "uint8"]


def test_ratio_is_that_of_rounds_though_the_machine_changes_its_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The warm-up, then three rounds: each time the machine is slower, and both are.
    Clock(monkeypatch, {"float32": [0.001] * 5 + [0.002] * 5 + [0.004] * 5 + [0.4] * 5,
                        "uint8": [0.001] * 5 + [0.001] * 5 + [0.0024] * 5 + [0.2] * 5})
    assert measure(tmp_path, 0.0) == Speed(pytest.approx(4.0), pytest.approx(2.4), pytest.approx(0.5), 15, vnni())


def test_slow_network_is_measured_three_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, {"float32": [0.01], "uint8": [0.33]})
    assert measure(tmp_path) == Speed(pytest.approx(10), pytest.approx(330), pytest.approx(33), 15, vnni())


@pytest.mark.parametrize(("text", "known"), [
    ("processor\t: 0\nflags\t\t: fpu avx2 avx512_vnni\n", True),
    ("flags\t\t: fpu avx2 avx_vnni fma\n", True),
    ("flags\t\t: fpu avx2 fma\nbugs\t\t: avx512_vnni\n", False),
    ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", None),
])
def test_vnni_is_read_from_the_flags_of_x86_64(tmp_path: Path, text: str, known: bool | None) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert vnni(tmp_path / "cpuinfo") is known
    assert vnni(tmp_path / "none") is None


def test_real_networks_run(tmp_path: Path) -> None:
    found = measure(tmp_path, 0.1)
    assert found.float_ms > 0
    assert found.ms > 0
    assert found.ratio > 0
    assert found.runs >= 15


def test_pieces_and_what_stands_outside(tmp_path: Path) -> None:
    assert partitions(stored(tmp_path / "swishes", swishes())) == (2, {"HARD_SWISH": 2})
    assert partitions(stored(tmp_path / "colours", colours("int8", zero=-128))) == (1, {})
