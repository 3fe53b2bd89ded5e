"""`python -m edge.demo` as a user runs it: one alert, with its picture, and nothing left running."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edge import demo
from tests.broker import mosquitto_binary, require


def port_of(text: str) -> int:
    found = re.search(r"mqtt://127\.0\.0\.1:(\d+)", text)
    assert found, text
    return int(found[1])


def nobody_listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def run_demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge.demo", "--folder", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


@pytest.mark.parametrize("broker", ["mosquitto", "amqtt"])
def test_demo_shows_one_alert_with_a_picture_that_exists(broker: str, tmp_path: Path) -> None:
    if broker == "mosquitto":
        mosquitto_binary()
    else:
        require(importlib.util.find_spec("amqtt") is not None, "amqtt")
    # With one of them twice, because it must not matter that the alert is known from before.
    times = 2 if broker == "mosquitto" else 1
    for _ in range(times):
        ended = run_demo(tmp_path / "told", "--mqtt", broker)
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
        assert f"broker      {broker}, at mqtt://127.0.0.1:" in ended.stdout
        assert len(ended.stdout.splitlines()) <= 12
        picture = re.search(r"picture +(\S+\.jpg)$", ended.stdout, re.MULTILINE)
        assert picture, ended.stdout
        assert cv2.imread(picture[1]).shape == (720, 1280, 3)
        alert = json.loads(Path(picture[1]).with_suffix(".json").read_text())
        assert alert["species"] == "tiger"
        assert alert["replay"] is True
        assert alert["event_start"].startswith("2026-01-01T06:12:")
        assert nobody_listens(port_of(ended.stdout))
    assert len(list((tmp_path / "told").iterdir())) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_ends_what_it_started_when_it_is_interrupted(number: signal.Signals, tmp_path: Path) -> None:
    mosquitto_binary()
    command = [sys.executable, "-m", "edge.demo", "--folder", str(tmp_path / "told")]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    ) as process:
        assert process.stdout is not None
        said = ""
        while "subscriber" not in said:
            said += process.stdout.readline()
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error == "edge-watch demo: interrupted\n"
    assert nobody_listens(port_of(said))
    assert not list(tmp_path.glob("edge-watch-demo-*"))
    with pytest.raises(ProcessLookupError):
        # Nobody is left in its process group.
        os.killpg(process.pid, 0)


def test_demo_without_a_broker_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    assert demo.main(["--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "expected an MQTT broker (mosquitto or amqtt), found none installed" in said
    assert "pip install '.[demo]'" in said


def test_demo_that_cannot_store_says_so_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = run_demo(tmp_path / "file")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "expected a folder to write to" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_demo_without_an_alert_fails_with_the_traps_last_words(tmp_path: Path) -> None:
    mosquitto_binary()
    code = (
        "import sys, edge.demo as demo\n"
        "start = demo._Children.start\n"
        "def broken(self, name, command):\n"
        "    return start(self, name, [*command, '--model', '/nowhere'] if name == 'trap' else command)\n"
        "demo._Children.start = broken\n"
        "sys.exit(demo.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "--folder", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("edge-watch demo: expected an alert of a tiger, found none; ")
    assert "/nowhere: expected a model bundle" in ended.stderr
    assert ended.stderr.count("\n") == 1
