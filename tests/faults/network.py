"""The network between trap and broker, on loopback: it can be cut, reset, refuse, or swallow what it is given."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

_NEVER = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset.


class _Passage:
    """One connection through the network: two sockets, and what becomes of the bytes in each direction."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.swallows: set[socket.socket] = set()
        self.resets = False

    def end(self, reset: bool = False) -> None:
        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                if reset:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NEVER)
                else:
                    each.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                # Closing alone wakes nobody who is reading from it.
                each.shutdown(socket.SHUT_RD)
            each.close()


class Network:
    """Passes bytes on between a port of its own and the broker's, until something happens to it.

    Args:
        port: of the broker, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._broker = port
        self._passages: list[_Passage] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._swallows: tuple[bool, bool] = (False, False)
        self._closes = self._over = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._listen()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    # What happens to it. Each lasts until `mend`.

    def cut(self) -> None:
        """Every connection ends, and a new one ends at once."""
        self._closes = True
        for passage in self._take():
            passage.end()

    def half_open(self, answers_only: bool = False) -> None:
        """Connections stay open, and nothing comes through any more, or no answers; theirs is not mended."""
        self._swallows = (not answers_only, True)
        with self._lock:
            for passage in self._passages:
                passage.swallows = self._swallowed(passage)

    def reset(self) -> None:
        """Every connection is reset within the next message from the trap; a new one is not."""
        with self._lock:
            for passage in self._passages:
                passage.resets = True

    def refuse(self) -> None:
        """Nobody listens any more, and what was connected is reset."""
        self._stop_listening()
        for passage in self._take():
            passage.end(reset=True)

    def mend(self) -> None:
        """New connections work again."""
        self._closes, self._swallows = False, (False, False)
        with self._lock:
            late = [passage for passage in self._passages if passage.resets]
            self._passages = [passage for passage in self._passages if not passage.resets]
        for passage in late:
            passage.end(reset=True)
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._listen()

    def close(self) -> None:
        self._over = True
        self._stop_listening()
        for passage in self._take():
            passage.end()
        for thread in self._threads:
            thread.join()

    def _take(self) -> list[_Passage]:
        with self._lock:
            taken, self._passages = self._passages, []
        return taken

    def _swallowed(self, passage: _Passage) -> set[socket.socket]:
        return {each for each, off in zip((passage.client, passage.server), self._swallows, strict=True) if off}

    def _listen(self) -> None:
        self._start(self._accept, self._listener)

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _start(self, work: object, *values: object) -> None:
        thread = threading.Thread(target=work, args=values, daemon=True)  # type: ignore[arg-type]
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        # Closing the listener ends this.
        with contextlib.suppress(OSError):
            while not self._over:
                client = listener.accept()[0]
                self._open(client)

    def _open(self, client: socket.socket) -> None:
        try:
            if self._closes:
                raise OSError("cut")
            server = socket.create_connection(("127.0.0.1", self._broker), timeout=5)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        passage = _Passage(client, server)
        passage.swallows = self._swallowed(passage)
        with self._lock:
            self._passages.append(passage)
        for source, sink in ((client, server), (server, client)):
            self._start(self._pass_on, passage, source, sink)

    def _pass_on(self, passage: _Passage, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source in passage.swallows:
                    continue
                if passage.resets and source is passage.client:
                    sink.sendall(data[: len(data) // 2])
                    passage.end(reset=True)
                    return
                sink.sendall(data)
        if not passage.swallows:
            passage.end()
