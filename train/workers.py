"""Several machines that train together: who they are, what they tell each other, and what ends when one is gone.

TensorFlow adds up gradients between them, but waits for a machine that never comes, or hangs, and has no word for what
they must agree on. So each keeps a connection to the first, the chief, beside TensorFlow's own: on the port after the
chief's.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn

from models.errors import EdgeWatchError, UsageError

VARIABLE = "TF_CONFIG"
WAIT = 300.0
"""Seconds in which all workers must have come."""
BEAT, SILENCE = 2.0, 30.0
"""Seconds between two signs of life, and without any, after which a worker counts as gone."""
MESSAGE, ALIVE, GONE, DONE = b"m", b"a", b"g", b"d"
HEADER = struct.Struct("!cQ")
PIECE = 1 << 20
"""Bytes that are sent at once."""
AGAIN = "start all workers again, with --resume if an epoch was done"
MOST = 1 << 32
"""Bytes of a message; a network with all that belongs to its training has less."""
EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True, slots=True)
class Task:
    """Which of several workers this one is, and the addresses (`host:port`) of all; the first is the chief."""

    index: int
    addresses: tuple[str, ...]

    @property
    def chief(self) -> bool:
        """Whether it writes the checkpoints and the bundle."""
        return self.index == 0

    def name(self, index: int) -> str:
        """What a worker is called in messages."""
        return f"worker {index} ({self.addresses[index]})"


def read_task(text: str | None) -> Task | None:
    """What the environment variable TF_CONFIG says, TensorFlow's own convention; None for a machine alone.

    Args:
        text: its value: the cluster's `worker`s, with or without a `chief` before them, and this one's task.

    Raises:
        UsageError: something else is in it.
    """
    if not text:
        return None
    try:
        stated = json.loads(text)
    except ValueError as error:
        raise _other(f"no JSON: {error}") from error
    cluster = stated.get("cluster") if isinstance(stated, dict) else None
    task = stated.get("task") if isinstance(stated, dict) else None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise _other("none of `cluster` and `task`" if not (cluster or task) else
                     f"no `{'task' if cluster else 'cluster'}`")
    if unknown := sorted({*cluster, str(task.get("type"))} - {"chief", "worker"}):
        raise _other(f"{', '.join(unknown)}, where there are only chief and worker")
    kinds = [cluster.get(kind, []) for kind in ("chief", "worker")]
    if not all(isinstance(kind, list) for kind in kinds):
        raise _other("addresses that are no list")
    addresses = [address for kind in kinds for address in kind]
    for address in addresses:
        host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
        if not host or "[" in host or not _is_port(port):  # An address of IPv6 is in brackets.
            raise _other(f"the address {address!r}, which is no host:port")
    kind, index = kinds[task["type"] == "worker"], task.get("index", 0)
    if not str(index).isdecimal() or int(index) >= len(kind):
        raise _other(f"task {task['type']} {index} of {len(kind)}")
    if len(set(addresses)) < len(addresses):
        raise _other(f"an address twice among {', '.join(addresses)}")
    place = int(index) + (len(kinds[0]) if task["type"] == "worker" else 0)
    return Task(place, tuple(addresses)) if len(addresses) > 1 else None


def _other(found: str) -> UsageError:
    return UsageError(f"{VARIABLE}: expected as {EXAMPLE}, found {found}; correct it, or unset it to train on this "
                      f"machine alone")


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 65535  # The one after it is needed, too.


class Team:
    """The workers of one training, seen from one of them; made by `join`.

    As soon as one is gone this process ends with exit code 1 and one line that says which: whatever TensorFlow waits
    for then may never come. `leaving` is called before, from another thread.
    """

    def __init__(self, task: Task, peers: Mapping[int, socket.socket]) -> None:
        """Watch over connected peers: on the chief all others, elsewhere the chief."""
        self.task = task
        self.leaving: Callable[[], object] = bool
        self._peers = dict(peers)
        self._inbox: dict[int, queue.SimpleQueue[bytes]] = {index: queue.SimpleQueue() for index in peers}
        self._locks = {index: threading.Lock() for index in peers}
        self._ending, self._closed, self._said = threading.Lock(), threading.Event(), False
        self._terminal = os.dup(2)  # What is said at the end shall be seen, also while TensorFlow is kept quiet.
        for index in peers:
            for work in (self._listen, self._live):
                threading.Thread(target=work, args=(index,), daemon=True).start()

    def __enter__(self) -> Team:
        """The team itself; leaving it tells the others why."""
        return self

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Leave: in peace, or for an error that the others have to hear of."""
        self._closed.set()
        why = str(error) if isinstance(error, EdgeWatchError) else (
            "it was interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else f"it failed ({error})")
        text = "" if error is None or self._said else f"{self.task.name(self.task.index)} ended: {why}"
        for index in self._peers:
            with contextlib.suppress(OSError):
                self._send(index, GONE if text else DONE, text.encode())

    def gather(self, value: Any) -> list[Any]:
        """What each worker says, in their order: all must call it, with something that JSON can hold."""
        mine = json.dumps(value).encode()
        if not self.task.chief:
            self._tell(0, mine)
            return json.loads(self._inbox[0].get())  # type: ignore[no-any-return]
        found = [value, *(json.loads(self._inbox[index].get()) for index in sorted(self._peers))]
        self.share(json.dumps(found).encode())
        return found

    def share(self, content: bytes) -> bytes:
        """The chief's content, on every worker: all must call it; what the others give does not matter."""
        if not self.task.chief:
            return self._inbox[0].get()
        for index in self._peers:
            self._tell(index, content)
        return content

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Go on only if all workers have the chief's facts.

        Raises:
            EdgeWatchError: not so; every worker raises the same.
        """
        chief, *others = self.gather(dict(facts))
        for index, found in enumerate(others, 1):
            if other := [f"{key} {found.get(key)} instead of {chief.get(key)}" for key in sorted({*chief, *found})
                         if chief.get(key) != found.get(key)]:
                self._said = True
                raise EdgeWatchError(f"{self.task.name(index)}: expected the same as {self.task.name(0)}, found "
                                     f"{', '.join(other)}; start all workers with one command, on the same photos")

    def wait_for_bad_news(self) -> None:
        """TensorFlow has failed: give the reason time to show, which then ends this process."""
        time.sleep(SILENCE + 2 * BEAT)

    def _tell(self, index: int, content: bytes) -> None:
        try:
            self._send(index, MESSAGE, content)
        except OSError as error:
            raise EdgeWatchError(f"{self.task.name(index)} is gone: {error.strerror or error}; {AGAIN}") from error

    def _send(self, index: int, kind: bytes, content: bytes = b"") -> None:
        with self._locks[index]:
            self._peers[index].sendall(HEADER.pack(kind, len(content)))
            for start in range(0, len(content), PIECE):  # Each may take SILENCE: a network may be slow.
                self._peers[index].sendall(content[start : start + PIECE])

    def _live(self, index: int) -> None:
        while not self._closed.wait(BEAT):
            with contextlib.suppress(OSError):  # Whoever listens to it finds out why.
                self._send(index, ALIVE)

    def _listen(self, index: int) -> None:
        try:
            while True:
                kind, content = receive(self._peers[index])
                if kind == MESSAGE:
                    self._inbox[index].put(content)
                elif kind == GONE:
                    self._end(content.decode(errors="replace"), index)
                elif kind == DONE:
                    return
        except TimeoutError:
            self._end(f"{self.task.name(index)} is gone: no sign of life for {SILENCE:.0f} s; {AGAIN}", index)
        except OSError:
            self._end(f"{self.task.name(index)} is gone: it closed its connection; {AGAIN}", index)
        finally:
            self._peers[index].close()

    def _end(self, text: str, index: int) -> None:
        """Tell the others, then end this process: its other threads may wait for what never comes."""
        with self._ending:  # The first reason counts.
            if self._closed.is_set():
                return
            for other in self._peers:
                if other != index:
                    with contextlib.suppress(OSError):
                        self._send(other, GONE, text.encode())
            os.dup2(self._terminal, 2)
            print(f"train: {text}", file=sys.stderr, flush=True)
            self.leaving()
            os._exit(1)


def join(task: Task, say: Callable[[str], None]) -> Team:
    """Connect with all other workers.

    Args:
        task: which of them this one is.
        say: shows a line.

    Raises:
        EdgeWatchError: not all came in time, or another was told of other workers.
    """
    say(f"{task.name(task.index)} of {len(task.addresses)}: waiting for the others")
    peers = _await_all(task) if task.chief else {0: _reach_chief(task)}
    for peer in peers.values():
        peer.settimeout(SILENCE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Team(task, peers)


def _await_all(task: Task) -> dict[int, socket.socket]:
    """The chief's side: a connection of each other worker."""
    port, until = int(task.addresses[0].rpartition(":")[2]) + 1, time.monotonic() + WAIT
    peers: dict[int, socket.socket] = {}
    try:
        server = socket.create_server(("", port))
    except OSError as error:
        raise EdgeWatchError(f"{VARIABLE}: expected port {port}, the one after {task.addresses[0]}, to be free, found: "
                             f"{error.strerror}; choose other ports") from error
    with server:
        while len(peers) + 1 < len(task.addresses):
            server.settimeout(max(0.01, until - time.monotonic()))
            try:
                peer, _ = server.accept()
            except TimeoutError:
                missing = [task.name(index) for index in range(1, len(task.addresses)) if index not in peers]
                _refuse(peers.values(), f"expected all workers within {WAIT:.0f} s, found nothing of "
                                        f"{', '.join(missing)}; start the same command there as well")
            peer.settimeout(SILENCE)
            try:
                hello = json.loads(receive(peer, 1 << 20)[1])
                index, addresses = int(hello["index"]), hello["addresses"]
            except (OSError, ValueError, KeyError, TypeError):
                peer.close()  # Something that looked which ports are open.
                continue
            if index in peers and _is_closed(peers[index]):  # It was stopped, and started again.
                peers.pop(index).close()
            if addresses != list(task.addresses) or index in (0, *peers):
                other = f"worker {index} of {', '.join(addresses)}" if addresses != list(task.addresses) else \
                    f"{task.name(index)} twice"
                _refuse([*peers.values(), peer], f"{VARIABLE}: expected one worker each of "
                        f"{', '.join(task.addresses)}, found {other}; correct it where it differs")
            peers[index] = peer
    for peer in peers.values():
        peer.sendall(HEADER.pack(ALIVE, 0))  # All have come.
    return peers


def _is_closed(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        peer.settimeout(SILENCE)


def _refuse(peers: Sequence[socket.socket] | Any, text: str) -> NoReturn:
    for peer in peers:
        with contextlib.suppress(OSError), peer:
            peer.sendall(HEADER.pack(GONE, len(text.encode())) + text.encode())
    raise EdgeWatchError(text)


def _reach_chief(task: Task) -> socket.socket:
    """The others' side: a connection to the chief, which may start later."""
    host, _, port = task.addresses[0].rpartition(":")
    until = time.monotonic() + WAIT
    while True:
        try:
            chief = socket.create_connection((host, int(port) + 1), timeout=BEAT)
            break
        except OSError as error:
            if time.monotonic() > until:
                raise EdgeWatchError(f"expected {task.name(0)} to listen on port {int(port) + 1} within {WAIT:.0f} s, "
                                     f"found: {error.strerror or error}; start the same command there as well, and "
                                     f"open both ports") from error
            time.sleep(0.2)
    hello = json.dumps({"index": task.index, "addresses": task.addresses}).encode()
    chief.settimeout(WAIT + SILENCE)  # It waits for the others, too.
    try:
        chief.sendall(HEADER.pack(MESSAGE, len(hello)) + hello)
        kind, text = receive(chief)
    except OSError as error:
        chief.close()
        raise EdgeWatchError(f"expected {task.name(0)} to wait for all workers, found that it ended; see there why, "
                             f"and start all workers again") from error
    if kind == GONE:
        chief.close()
        raise EdgeWatchError(text.decode(errors="replace"))
    return chief


def receive(peer: socket.socket, most: int = MOST) -> tuple[bytes, bytes]:
    """The next message: its kind and content.

    Raises:
        OSError: the connection is closed or silent, or it is no message.
    """
    kind, length = HEADER.unpack(_exactly(peer, HEADER.size))
    if length > most:
        raise OSError(f"expected at most {most} bytes, found {length}")
    return kind, _exactly(peer, length)


def _exactly(peer: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        if not (piece := peer.recv(min(1 << 20, length - len(content)))):
            raise ConnectionResetError("closed")
        content += piece
    return bytes(content)
