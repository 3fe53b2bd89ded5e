"""A folder that another camera drops files into: the only module that imports watchfiles."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from edge.cameras.clip import fingerprint
from edge.cameras.files import complete, frames_of, in_order, wanted
from edge.cameras.seen import FILE_NAME, Seen
from edge.types import Frame
from models.errors import CameraError, ImageError, OutboxError, UsageError
from models.images import SUFFIXES

log = logging.getLogger("edge-watch")
logging.getLogger("watchfiles").setLevel(logging.WARNING)  # It has a line for every file, and for each part of one.

SETTLED_S = 2.0
"""A file that has its end is read when it has not changed for this long ..."""
ABANDONED_S = 60.0
"""... and one that has none when it has not for this long: nobody is going to finish it."""
RESCAN_S = 600.0
"""How often the whole folder is looked through: the kernel tells nothing of what comes over a network file system."""
LOOK_S = 1.0
MOST_TRIES = 2

Signature = tuple[int, int]


class WatchedFolder:
    """`watch:DIR`: each photo and clip in it, once, as it comes; what is there at the start comes first.

    Attributes:
        waiting: called about every second while there is nothing to read.

    Args:
        folder: is looked through with what is below it.
        data: where the list of the files that were read is kept.
    """

    live = True

    def __init__(self, folder: Path, data: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"--source watch:{folder}: expected a folder, found none; make it, or check the path")
        self.name, self.skipped = f"watch:{folder}", 0
        self.waiting: Callable[[], None] = lambda: None
        # watchfiles tells absolute paths. What was typed stays the name: open visits are found again by it.
        self._folder, self._data = folder.absolute(), data
        self._pending: dict[Path, tuple[Signature, float]] = {}

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Yield the frames of each file until `stop` is set; see `edge.cameras.Camera`."""
        import watchfiles

        changes = watchfiles.watch(
            self._folder, watch_filter=None, stop_event=stop, rust_timeout=round(1000 * LOOK_S), yield_on_timeout=True
        )
        index, rescan = 0, 0.0
        with Seen(self._data / FILE_NAME) as seen, contextlib.closing(changes):
            for changed in changes:
                self.waiting()
                # Now the watching has begun: what comes from here on is told, so that nothing falls between.
                if time.monotonic() >= rescan:
                    rescan = time.monotonic() + RESCAN_S
                    self._notice([self._folder])
                self._notice([Path(path) for _, path in changed])
                for taken, path in in_order(self._settled(seen)):
                    for frame in self._read(seen, path, taken, stop):
                        yield dataclasses.replace(frame, source=self.name, index=index, replay=False)
                        index += 1
                    if stop.is_set():
                        return

    def _notice(self, paths: list[Path]) -> None:
        for path in paths:
            for file in path.rglob("*") if path.is_dir() else (path,):
                if file not in self._pending and wanted(file, self._folder):
                    with contextlib.suppress(FileNotFoundError):
                        self._pending[file] = _signature(file), time.monotonic()

    def _settled(self, seen: Seen) -> list[Path]:
        """The files that are ready to be read; they are no longer waited for."""
        ready = []
        for path, (signature, since) in list(self._pending.items()):
            try:
                found = _signature(path)
                if found != signature:
                    self._pending[path] = found, time.monotonic()
                elif seen.known(str(path.relative_to(self._folder)), *found):
                    del self._pending[path]
                elif time.monotonic() - since >= (SETTLED_S if complete(path) else ABANDONED_S):
                    del self._pending[path]
                    ready.append(path)
            except FileNotFoundError:
                del self._pending[path]
            except OutboxError as error:
                log.error("%s; %s is read later", error, path)
                self._pending[path] = signature, time.monotonic() + ABANDONED_S
            except OSError as error:
                log.warning("%s: cannot be read: %s; it is tried again later", path, error.strerror)
                del self._pending[path]
        return ready

    def _read(self, seen: Seen, path: Path, taken: datetime, stop: threading.Event) -> Iterator[Frame]:
        """The frames of a file; it counts as read when the chain has had the last of them."""
        name = str(path.relative_to(self._folder))
        try:
            tries = seen.begin(name, *_signature(path), fingerprint(path))
            if not tries:
                return
            if tries > MOST_TRIES:
                self.skipped += 1
                log.warning("left out: %s: the program ended twice while it was read; look at it elsewhere", path)
            else:
                yield from frames_of(path, taken, "full", stop)
        except FileNotFoundError:
            return
        except OutboxError as error:
            log.error("%s; %s is read later", error, path)
            self._pending[path] = _signature(path), time.monotonic() + ABANDONED_S
            return
        except (ImageError, CameraError) as error:
            self.skipped += 1
            log.warning("left out: %s", error)
        # A clip that was broken off is read again after the restart.
        if not stop.is_set() or path.suffix.lower() in SUFFIXES:
            seen.done(name)


def _signature(path: Path) -> Signature:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
