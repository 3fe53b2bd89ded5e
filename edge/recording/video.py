"""A clip on its way to the disk: JPEGs go to a child process that encodes them, so that watching never waits for it."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import queue
import struct
import subprocess
import sys
import threading
from pathlib import Path

from models.errors import MissingRuntimeError, OutboxError

log = logging.getLogger("edge-watch")

HEADER = struct.Struct("<qI")
"""Before each JPEG in the pipe: milliseconds from the clip's start, and how many bytes follow."""
MOST_WAITING = 100
"""Pictures that wait for the encoder: 20 s of a live camera. What comes beyond that is left out of the clip."""
PATIENCE_S, ROOM_S = 20.0, 10.0
"""How long `close` waits for an encoder that does nothing, and a patient `add` for one that takes nothing."""


def require_encoder(what: str) -> None:
    """Say at the start that clips cannot be made.

    Raises:
        MissingRuntimeError: PyAV is not installed.
    """
    if importlib.util.find_spec("av") is None:
        raise MissingRuntimeError(
            f"{what}: expected PyAV, which encodes clips, found none; type: pip install av (on a Raspberry Pi: "
            "sudo apt install python3-av)"
        )


class Video:
    """An MP4 that is there as a whole, or not at all: it has another name until it is finished.

    Attributes:
        path: its name when it is finished.
        left_out: pictures that came faster than they could be encoded.

    Args:
        path: an earlier file of that name is replaced.
        title: what players show.
        patient: `add` waits for the encoder rather than leave a picture out.
    """

    def __init__(self, path: Path, title: str, patient: bool = False) -> None:
        self.path, self.left_out, self._patient = path, 0, patient
        self._beside = unfinished(path)
        self._last, self._ended = -1, False
        if path.is_dir():
            raise OutboxError(f"{path}: expected the name of a clip, found a folder; choose another name")
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(MOST_WAITING)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._beside.touch()
            self._child = subprocess.Popen(
                [sys.executable, "-m", "edge.recording.encoder", str(self._beside), title],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            raise OutboxError(f"cannot write {path}: {error}; check that the folder can be written to") from error
        self._thread = threading.Thread(target=self._feed, name=f"video {path.name}", daemon=True)
        self._thread.start()

    def add(self, jpeg: bytes, seconds: float) -> None:
        """Append a picture at its time from the clip's start; one that is not later than the last is left out."""
        milliseconds = round(1000 * seconds)
        if self._ended or milliseconds <= self._last:
            return
        if not (self._room.acquire(timeout=ROOM_S) if self._patient else self._room.acquire(blocking=False)):
            self.left_out, self._patient = self.left_out + 1, False  # It hangs: from now on nothing waits for it.
            return
        self._last = milliseconds
        self._waiting.put(HEADER.pack(milliseconds, len(jpeg)) + jpeg)

    def finish(self) -> None:
        """No more pictures: the encoder goes on by itself; `close` tells how it ended."""
        self._waiting.put(None)

    @property
    def done(self) -> bool:
        """Whether `close` would not wait."""
        return self._child.poll() is not None

    def close(self) -> None:
        """Wait for the encoder and give the file its name.

        Raises:
            OutboxError: it could not be written; nothing of it is left.
        """
        self.finish()
        # A long clip takes its time at the end, when its index goes to the front.
        worked = None
        while self._child.poll() is None and worked != (worked := _seconds_worked(self._child.pid)):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(PATIENCE_S)
        self._child.kill()
        said = self._end()
        if self._child.returncode or not self._beside.exists():
            self._beside.unlink(missing_ok=True)
            raise OutboxError(f"cannot write {self.path}: {said or 'the encoder ended'}; is there space on the disk?")
        try:
            put_in_place(self._beside, self.path)
        except OSError as error:
            self._beside.unlink(missing_ok=True)
            raise OutboxError(f"cannot write {self.path}: {error}; check that the folder can be written to") from error

    def abandon(self) -> None:
        """Leave nothing of it behind."""
        self._child.kill()
        self._end()
        self._beside.unlink(missing_ok=True)

    def _end(self) -> str:
        """Wait for child and thread, and close what they used; the last line that the encoder said."""
        self._waiting.put(None)
        self._thread.join()
        assert self._child.stderr is not None
        with self._child.stderr as stderr:
            said = stderr.read().decode(errors="replace").strip().splitlines()
        self._child.wait()
        return said[-1] if said else ""

    def _feed(self) -> None:
        """In a thread of its own, since a pipe to a busy encoder is full."""
        assert self._child.stdin is not None
        try:
            with self._child.stdin as pipe:
                while (each := self._waiting.get()) is not None:
                    pipe.write(each)
                    self._room.release()
        except OSError as error:  # The encoder has ended; `close` says why.
            log.debug("%s: %s", self.path, error)
            self._ended = True
            self._room.release(MOST_WAITING)  # Nobody must wait for it.


def unfinished(path: Path) -> Path:
    """The name of a file that is being written: hidden, so that nothing takes it for a whole one."""
    return path.with_name(f".{path.name}.part")


def _seconds_worked(process: int) -> float | None:
    """Of the processor, by a process; None when it is gone. The 14th and 15th field of proc(5)'s stat."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return None
    return float(fields[11]) + float(fields[12])


def put_in_place(beside: Path, path: Path) -> None:
    """Give a written file its name, its content first on the disk and then the name, so that no power cut halves it."""
    _to_disk(beside)
    os.replace(beside, path)
    _to_disk(path.parent)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
