"""`python -m edge.demo`: a broker, a subscriber and a trap on this computer, and one alert on its way between them."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from models.errors import EdgeWatchError, MissingRuntimeError, run

# Together less than two minutes.
_START_S = 20.0
"""How long broker and subscriber may each take to start."""
_LIMIT_S = 75.0
"""How long the alert may take."""
_GRACE_S = 10.0
"""How long an alert may still be on its way after the trap has ended."""


class _Children:
    """The processes that the demo started, each with its output in a file; all are ended on the way out.

    A signal only sets a flag that `pause` looks at: an exception could come between the start of a process and the note
    that it was started.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._interrupted = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._interrupted.set())
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.log(name).open("wb") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self._started.append(child)
        return child

    def pause(self) -> None:
        """Wait a moment.

        Raises:
            KeyboardInterrupt: SIGINT or SIGTERM came.
        """
        if self._interrupted.wait(0.05):
            raise KeyboardInterrupt

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def text(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")

    def __enter__(self) -> _Children:
        return self

    def __exit__(self, *_: object) -> None:
        # The trap before the listener before the broker, so that each can say goodbye to the next.
        for child in reversed(self._started):
            child.terminate()
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _broker_command(kind: str | None, port: int, folder: Path) -> tuple[str, list[str]]:
    """The broker's name and the command that starts it on a loopback port.

    Raises:
        MissingRuntimeError: neither mosquitto nor amqtt is installed, or not the one asked for.
    """
    mosquitto = shutil.which("mosquitto", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if mosquitto and kind != "amqtt":
        file = folder / "mosquitto.conf"
        # As root, mosquitto would become a user who may not exist here.
        file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nlog_type all\n")
        return "mosquitto", [mosquitto, "-c", str(file)]
    if kind != "mosquitto" and importlib.util.find_spec("amqtt"):
        file = folder / "amqtt.yaml"
        # JSON is YAML, too.
        file.write_text(json.dumps({
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }))  # fmt: skip
        return "amqtt", [sys.executable, "-m", "amqtt.scripts.broker_script", "-d", "-c", str(file)]
    raise MissingRuntimeError(
        f"expected an MQTT broker ({kind or 'mosquitto or amqtt'}), found none installed; "
        "type, in the checkout: pip install '.[demo]'"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _wait(ready: Callable[[], bool], children: _Children, name: str, child: subprocess.Popen[bytes]) -> None:
    """Return when `ready`.

    Raises:
        EdgeWatchError: it is not in time, or the process `child` ends before.
    """
    deadline = time.monotonic() + _START_S
    while not ready():
        if child.poll() is not None or time.monotonic() > deadline:
            raise EdgeWatchError(f"expected the {name} to start, found: {_last_line(children.text(name))}")
        children.pause()


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "not a word from it"


def _play(kind: str | None, work: Path, children: _Children) -> tuple[str, Path]:
    """Start broker, subscriber and trap, and wait; the alert as the subscriber printed it, and its picture.

    Raises:
        EdgeWatchError: no alert came.
    """
    port = _free_port()
    url = f"mqtt://127.0.0.1:{port}"
    name, command = _broker_command(kind, port, work)
    broker = children.start("broker", command)
    _wait(lambda: _listens(port), children, "broker", broker)
    print(f"  broker      {name}, at {url} (this computer only)", flush=True)

    python = [sys.executable, "-m"]
    listener = children.start(
        "subscriber", [*python, "edge.listen", "--broker", url, "--folder", str(work / "alerts"), "--count", "1"]
    )
    _wait(lambda: "edge-watch/+/alert/+/image" in children.text("broker"), children, "subscriber", listener)
    print("  subscriber  edge-listen, waiting for alerts", flush=True)

    trap = children.start(
        "trap", [*python, "edge", "--species", "tiger", "--source", "demo", "--broker", url, "--deployment", "demo",
                 "--data", str(work / "trap")]
    )  # fmt: skip
    print("  trap        edge-watch --species tiger --source demo", flush=True)
    print("\nThe grass moves in the morning wind. Watching ...", flush=True)
    deadline = time.monotonic() + _LIMIT_S
    while listener.poll() is None and time.monotonic() < deadline:
        if trap.poll() is not None:
            deadline = min(deadline, time.monotonic() + (_GRACE_S if trap.returncode == 0 else 0.0))
        children.pause()
    pictures = list((work / "alerts").glob("*.jpg"))
    told = [line for line in children.text("subscriber").splitlines() if pictures and str(pictures[0]) in line]
    if not told:
        raise EdgeWatchError(
            f"expected an alert of a tiger, found none; the trap's last words: {_last_line(children.text('trap'))}"
        )
    return told[0].partition(str(work))[0].strip(), pictures[0]


def _keep(picture: Path, folder: Path) -> Path:
    """Move the picture and the alert beside it to `folder`; the picture's path there."""
    for file in (picture, picture.with_suffix(".json")):
        shutil.move(file, folder / file.name)
    return folder / picture.name


def _main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m edge.demo", description=__doc__)
    parser.add_argument(
        "--folder", metavar="DIR", type=Path, default=Path("demo"), help="for alert and picture; default: ./demo"
    )
    parser.add_argument(
        "--mqtt", choices=("mosquitto", "amqtt"), help="the broker (default: mosquitto if it is installed)"
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks, and what each part printed")
    arguments = parser.parse_args(argv)

    try:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeWatchError(f"--folder {arguments.folder}: expected a folder to write to, found {error}") from error
    print("A camera trap at a forest edge, simulated on this computer:", flush=True)
    with tempfile.TemporaryDirectory(prefix="edge-watch-demo-") as temporary:
        work = Path(temporary)
        with _Children(work) as children:
            try:
                told, stored = _play(arguments.mqtt, work, children)
            finally:
                if arguments.debug:
                    for log in sorted(work.glob("*.log")):
                        print(f"--- {log.stem}\n{log.read_text(errors='replace')}", file=sys.stderr)
        picture = _keep(stored, arguments.folder)
    print(f"\nThe subscriber received one alert:\n  {told}")
    print(f"  picture     {picture}\n  in full     {picture.with_suffix('.json')}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run("edge-watch demo", _main, argv)


if __name__ == "__main__":
    sys.exit(main())
