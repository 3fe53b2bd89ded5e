"""The files of a visit, its best picture and a clip; each is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import cv2

from edge.pictures import described, description
from edge.predictions import share_of_people
from edge.types import Deployment, Frame, Named, Sighting
from edge.video import Video, put_in_place, unfinished
from models.errors import OutboxError
from models.labels import LabelMap

log = logging.getLogger("edge-watch")

FOLDER = "media"
BEFORE, AFTER, LONGEST = timedelta(seconds=5), timedelta(seconds=5), timedelta(seconds=60)
"""What a clip shows before its visit and after the last look at anything, and how long it is at most."""
CONFIRMING = timedelta(seconds=4)
"""How long the first looks at an animal may have been ago when they are believed."""
QUIET_EVERY = timedelta(seconds=0.5)
"""While nothing moves, encoding every frame would cost as much as watching."""
LOOKS, PERSON = 3, 0.6
"""A person is there when the last looks give people this probability on average: animals that are cut off by the
frame's edge are taken for one now and then."""
JPEG_QUALITY = 80
RESERVE, ROOM = 200_000_000, 0.95
"""Bytes of the disk that are left to outbox and system; where files are too many, such a share of them stays."""


@dataclass(slots=True)
class _Clip:
    """A clip that is being made: its visit, its file, and the time of its first picture."""

    sighting: Sighting
    video: Video
    start: datetime
    over: bool = False


class Recorder:
    """Keeps a picture of every visit, and a clip if asked to, of everything but people.

    Nothing is written while nothing moves: for an SD card every write is wear.

    Args:
        folder: for the files, in a folder for each day.
        deployment: the trap; its name goes into the files.
        model: name and version of the bundle.
        labels: the classes of the probabilities.
        targets: names of species whose files are deleted last.
        clips: also keep clips.
        patient: wait for the encoder, as in a replay, rather than leave pictures out.
        most_bytes: when the files are larger than this together, the oldest are deleted, those of targets last.
    """

    def __init__(
        self,
        folder: Path,
        deployment: Deployment,
        model: str,
        labels: LabelMap,
        targets: Collection[str] = (),
        *,
        clips: bool = False,
        patient: bool = False,
        most_bytes: int = 2_000_000_000,
    ) -> None:
        self._folder, self._deployment, self._model = folder, deployment, model
        self._labels, self._targets = labels, [[slug(name)] for name in targets]
        self._clips, self._patient, self._most_bytes = clips, patient, most_bytes
        self._ring: deque[tuple[datetime, bytes]] = deque()
        self._making: dict[str, _Clip] = {}
        self._written: dict[str, datetime | None] = {}  # Visit and time of its picture.
        self._bytes: int | None = None
        self._people: deque[float] = deque(maxlen=LOOKS)
        self._person: datetime | None = None
        self._busy: datetime | None = None
        for left in folder.glob("*/.*.part"):  # of a program that was ended in the middle of it
            left.unlink(missing_ok=True)

    def keep(self, named: Iterable[Named]) -> Iterator[Named]:
        """Pass frames on; keep those of the last seconds as JPEGs, and add each to the clips that are being made."""
        for trigger, predictions in named:
            if self._clips and not trigger.frame.still:
                now = trigger.frame.timestamp
                if self._busy is None or abs(now - self._busy) > AFTER:
                    self._people.clear()  # Those looks were at somebody else.
                if trigger.regions or predictions:
                    self._busy = now
                if predictions:
                    self._people.append(share_of_people(predictions, self._labels))
                if predictions and sum(self._people) >= PERSON * len(self._people):
                    self._person = now
                    self._leave_out_people()
                elif self._person is None or abs(now - self._person) > AFTER:
                    self._remember(trigger.frame, quiet=not trigger.regions)
                self._end_clips(now)
            yield trigger, predictions

    def record(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Pass sightings on, then write what belongs to them; a full disk is told, and watching goes on."""
        for found in sightings:
            has_clip = found.type == "end" and (found.id in self._making or self._path(found, ".mp4").exists())
            sighting = dataclasses.replace(found, has_clip=has_clip)
            # First the alert leaves: a file can wait.
            yield sighting
            try:
                self._picture(sighting)
                if sighting.type == "new" and self._clips:
                    self._begin_clip(sighting)
            except OutboxError as error:
                log.error("%s; watching goes on", error)

    def close(self) -> None:
        """Finish what is being made."""
        for clip in self._making.values():
            clip.video.finish()
        for clip in self._making.values():
            self._close(clip)
        self._making = {}

    def _remember(self, frame: Frame, quiet: bool) -> None:
        now = frame.timestamp
        while self._ring and abs(now - self._ring[0][0]) > BEFORE + CONFIRMING:
            self._ring.popleft()
        going = [clip for clip in self._making.values() if not clip.over]
        if quiet and not going and self._ring and abs(now - self._ring[-1][0]) < QUIET_EVERY:
            return
        jpeg = cv2.imencode(".jpg", frame.image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
        self._ring.append((now, jpeg))
        for clip in going:
            clip.video.add(jpeg, (now - clip.start).total_seconds())

    def _leave_out_people(self) -> None:
        """A person may be in every picture of the last seconds, recognized only now."""
        self._ring.clear()
        for clip in self._making.values():
            log.info("no clip of %s: there is a person in it", clip.sighting.species)
            clip.video.abandon()
        self._making = {}

    def _begin_clip(self, sighting: Sighting) -> None:
        """From some seconds before the visit on, as far as that is known."""
        if sighting.observation_type == "human":
            self._leave_out_people()
            return
        pictures = [each for each in self._ring if each[0] >= sighting.event_start - BEFORE]
        if not pictures:
            return
        title = description(sighting, self._deployment)
        clip = _Clip(sighting, Video(self._path(sighting, ".mp4"), title, self._patient), pictures[0][0])
        for taken, jpeg in pictures:
            clip.video.add(jpeg, (taken - clip.start).total_seconds())
        self._making[sighting.id] = clip

    def _end_clips(self, now: datetime) -> None:
        for id_, clip in list(self._making.items()):
            quiet = self._busy is None or abs(now - self._busy) > AFTER
            if not clip.over and (quiet or abs(now - clip.start) > LONGEST):
                clip.over = True
                clip.video.finish()
            if clip.over and clip.video.done:
                self._close(self._making.pop(id_))

    def _close(self, clip: _Clip) -> None:
        try:
            clip.video.close()
        except OutboxError as error:
            log.error("%s; watching goes on", error)
            return
        if clip.video.left_out:
            log.warning("%s: %d pictures were left out: the computer is too busy", clip.video.path, clip.video.left_out)
        self._make_room(clip.video.path.stat().st_size)

    def _picture(self, sighting: Sighting) -> None:
        """Write a visit's picture at its beginning, and the best one in its place at its end."""
        if sighting.type == "update":
            return
        path, written = self._path(sighting, ".jpg"), self._written.pop(sighting.id, None)
        # One of before a restart was taken when there was more to see of the visit.
        before = sighting.type == "end" and written is None and path.exists()
        if sighting.image is None or sighting.pictured_at == written or before:
            return
        data = described(sighting.image, sighting, self._deployment, self._model)
        write_whole(path, data)
        if sighting.type == "new":
            self._written[sighting.id] = sighting.pictured_at
        self._make_room(len(data))

    def _path(self, sighting: Sighting, suffix: str) -> Path:
        start = sighting.event_start
        name = f"{start:%H%M%S}_{slug(sighting.species)}_{sighting.id}{suffix}"
        return self._folder / f"{start:%Y-%m-%d}" / name

    def _make_room(self, more: int) -> None:
        """Delete the oldest files where there are too many, those of targets last."""
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize - RESERVE
        if self._bytes is not None:
            self._bytes += more
            if self._bytes <= min(self._most_bytes, self._bytes + free):
                return
        files = {path: path.stat().st_size for path in sorted(self._folder.glob("*/[!.]*")) if path.is_file()}
        self._bytes = sum(files.values())
        most = min(self._most_bytes, self._bytes + free)
        if self._bytes <= most:
            return
        deleted = 0
        for path in sorted(files, key=lambda path: path.name.split("_")[1:2] in self._targets):
            if self._bytes <= ROOM * most:
                break
            path.unlink(missing_ok=True)
            self._bytes, deleted = self._bytes - files[path], deleted + 1
        log.warning("%s: %d of the oldest files were deleted to make room", self._folder, deleted)


def slug(species: str) -> str:
    """A species as a part of a file's name: `polar-bear`."""
    return re.sub(r"[\W_]+", "-", species.lower()).strip("-")[:40]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there as a whole or not at all, also when the power fails.

    Raises:
        OutboxError: it cannot be written; nothing of it is left.
    """
    beside = unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data)
        put_in_place(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise OutboxError(f"cannot write {path}: {error}; is there space left on the disk?") from error
