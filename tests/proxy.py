"""A network between a camera and the trap, on loopback, that a test can break in the middle of a packet."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import BinaryIO


class RtspProxy:
    """Passes RTSP on to a server, message by message, until it is told to `cut` or to `stall`.

    Args:
        port: of the server, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._server, self._cuts = port, False
        self._flows, self._over = threading.Event(), threading.Event()
        self._flows.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self) -> None:
        """Close each connection when half of a packet of the stream has been passed on."""
        self._cuts = True

    def stall(self) -> None:
        """Keep each connection open, and pass nothing on."""
        self._flows.clear()

    def go_on(self) -> None:
        self._cuts = False
        self._flows.set()

    def close(self) -> None:
        self._over.set()
        self._flows.set()
        for each in (self._listener, *self._open):
            _close(each)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        # Closing the listener ends this.
        with contextlib.suppress(OSError):
            while not self._over.is_set():
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._server))
                self._open += [client, server]
                for source, sink in ((client, server), (server, client)):
                    self._threads.append(threading.Thread(target=self._pass_on, args=(source, sink)))
                    self._threads[-1].start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError), source.makefile("rb") as stream:
            for message in messages(stream):
                self._flows.wait()
                if self._cuts and message.startswith(b"$"):
                    sink.sendall(message[: len(message) // 2])
                    break
                sink.sendall(message)
        _close(source)
        _close(sink)


def messages(stream: BinaryIO) -> Iterator[bytes]:
    """The messages of an RTSP connection: texts, and between them packets of the stream (RFC 2326, 10.12)."""
    while first := stream.read(1):
        if first == b"$":
            head = stream.read(3)
            yield first + head + stream.read(int.from_bytes(head[1:], "big"))
            continue
        text = first + stream.readline()
        length = 0
        while line := stream.readline():
            text += line
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if not line.strip():
                break
        yield text + stream.read(length)


def _close(each: socket.socket) -> None:
    # Closing alone wakes nobody who is reading from it.
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
