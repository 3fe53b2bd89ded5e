"""The files of a visit, its best picture and a clip; each is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import cv2

from edge.recording.pictures import described, description
from edge.recording.video import Video, put_in_place, unfinished
from edge.types import Deployment, Frame, Named, Sighting
from models.errors import OutboxError

log = logging.getLogger("edge-watch")

FOLDER = "media"
BEFORE, AFTER, LONGEST = timedelta(seconds=5), timedelta(seconds=5), timedelta(seconds=60)
"""What a clip shows before its visit and after the last look at anything, and how long it is at most."""
CONFIRMING = timedelta(seconds=4)
"""How long the first looks at an animal may have been ago when they are believed."""
QUIET_EVERY = timedelta(seconds=0.5)
"""While nothing moves, encoding every frame would cost as much as watching."""
WIDEST = 1280
"""Pixels: a wider picture would cost the encoder more memory than a small computer has."""
CLIP_BYTES = 5_000_000
JPEG_QUALITY = 80
RESERVE = 200_000_000
"""Bytes of the disk that are left to outbox and system."""


@dataclass(slots=True)
class _Clip:
    """The clip that is being made: its file, the time of its first picture, and the names for the visits in it."""

    video: Video
    start: datetime
    names: list[Path]


class Recorder:
    """Keeps a picture of every visit, and a clip if asked to, of what may be kept (`Trigger.keep`).

    Nothing is written while nothing moves: for an SD card every write is wear.

    Args:
        folder: for the files, in a folder for each day.
        deployment: the trap; its name goes into the files.
        model: name and version of the bundle.
        targets: names of species whose files are deleted last.
        clips: also keep clips.
        people: also of people.
        forbidden: ids of visits of which nothing may be kept; another thread may add some.
        patient: wait for the encoder, as in a replay, rather than leave pictures out.
        most_bytes: when the files are larger than this together, the oldest are deleted, those of targets last.
    """

    def __init__(
        self,
        folder: Path,
        deployment: Deployment,
        model: str,
        targets: Collection[str] = (),
        *,
        clips: bool = False,
        people: bool = False,
        forbidden: Collection[str] = (),
        patient: bool = False,
        most_bytes: int = 2_000_000_000,
    ) -> None:
        self._folder, self._deployment, self._model = folder, deployment, model
        self._targets = [[slug(name)] for name in targets]
        self._clips, self._people, self._patient, self._most_bytes = clips, people, patient, most_bytes
        self._forbidden = forbidden
        self._ring: deque[tuple[datetime, bytes]] = deque()
        self._clip: _Clip | None = None
        self._ending: list[_Clip] = []
        self._written: dict[str, datetime | None] = {}  # Visit and time of its picture.
        self._filmed: set[str] = set()
        self._species: dict[str, str] = {}
        self._bytes: int | None = None
        self._full = False
        self._busy: datetime | None = None
        self._heard = time.monotonic()
        for left in folder.glob("*/.*.part"):  # of a program that was ended in the middle of it
            with contextlib.suppress(OSError):
                left.unlink()

    def keep(self, named: Iterable[Named]) -> Iterator[Named]:
        """Pass frames on; keep those of the last seconds as JPEGs, and add each to the clip that is being made."""
        for trigger, predictions in named:
            if self._clips and not trigger.frame.still:
                now, self._heard = trigger.frame.timestamp, time.monotonic()
                if trigger.regions or predictions:
                    self._busy = now
                if trigger.person:
                    self._leave_out_people()
                elif trigger.keep:
                    self._remember(trigger.frame, quiet=not trigger.regions)
                self._end_clip(now)
            yield trigger, predictions

    def record(self, sightings: Iterable[Sighting]) -> Iterator[Sighting]:
        """Pass sightings on, then write what belongs to them; a full disk is told, and watching goes on."""
        for found in sightings:
            has_clip = found.type == "end" and self._has_clip(found.id)
            sighting = dataclasses.replace(found, has_clip=has_clip)
            # First the alert leaves: a file can wait.
            yield sighting
            try:
                if sighting.id in self._forbidden or (sighting.observation_type == "human" and not sighting.pictured):
                    self._forget(sighting)
                if sighting.id in self._forbidden:
                    continue
                self._rename(sighting)
                self._picture(sighting)
                self._film(sighting)
            except OSError as error:  # an OutboxError is one
                log.error("%s; watching goes on", error)

    def tick(self) -> None:
        """End the clip also when no frames come: between the files of a folder, or while a camera stalls."""
        if time.monotonic() - self._heard > AFTER.total_seconds():
            self.finish()
        self._close_those_done()

    def finish(self) -> None:
        """No frames come any more: let the encoder go on by itself."""
        if self._clip is not None:
            self._clip.video.finish()
            self._ending.append(self._clip)
            self._clip = None

    def close(self) -> None:
        """Wait for what is being made."""
        self.finish()
        for clip in self._ending:
            self._close(clip)
        self._ending = []

    def _remember(self, frame: Frame, quiet: bool) -> None:
        now = frame.timestamp
        while self._ring and abs(now - self._ring[0][0]) > BEFORE + CONFIRMING:
            self._ring.popleft()
        if quiet and self._clip is None and self._ring and abs(now - self._ring[-1][0]) < QUIET_EVERY:
            return
        image = frame.image
        if image.shape[1] > WIDEST:
            down = round(WIDEST * image.shape[0] / image.shape[1])
            image = cv2.resize(image, (WIDEST, down), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        jpeg = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1].tobytes()
        self._ring.append((now, jpeg))
        if self._clip is not None:
            self._clip.video.add(jpeg, (now - self._clip.start).total_seconds())

    def _leave_out_people(self) -> None:
        """A person may be in every picture of the last seconds, recognized only now."""
        self._ring.clear()
        if self._clip is not None:
            log.info("no clip of %s: there is a person in it", self._clip.names[0].name.split("_")[1])
            self._clip.video.abandon()
            self._clip = None

    def _film(self, sighting: Sighting) -> None:
        """Begin a clip some seconds before the visit, as far as that is known, or share the one that is being made."""
        if sighting.type == "end":
            self._filmed.discard(sighting.id)
        elif self._clips and (self._people or sighting.observation_type != "human") and sighting.id not in self._filmed:
            self._filmed.add(sighting.id)
            path = self._path(sighting, ".mp4")
            if self._clip is not None:
                # One encoder at a time: it needs as much memory as all the rest.
                self._clip.names.append(path)
                return
            pictures = [each for each in self._ring if each[0] >= sighting.event_start - BEFORE]
            if pictures and self._room_for(CLIP_BYTES):
                video = Video(path, description(sighting, self._deployment), self._patient)
                self._clip = _Clip(video, pictures[0][0], [path])
                for taken, jpeg in pictures:
                    video.add(jpeg, (taken - self._clip.start).total_seconds())

    def _forget(self, sighting: Sighting) -> None:
        """A visit turned out to be a person's: what was written of it before is not kept."""
        for path in self._folder.glob(f"*/*_{sighting.id}.*"):
            path.unlink(missing_ok=True)

    def _has_clip(self, id: str) -> bool:
        made = any(self._folder.glob(f"*/*_{id}.mp4"))
        return made or any(id in path.name for clip in self._making() for path in clip.names)

    def _making(self) -> list[_Clip]:
        return [*self._ending, *([self._clip] if self._clip is not None else [])]

    def _rename(self, sighting: Sighting) -> None:
        """More looks made another species of a visit: its files carry that name from now on."""
        before = self._species.pop(sighting.id, sighting.species)
        if sighting.type != "end":
            self._species[sighting.id] = sighting.species
        if before == sighting.species:
            return
        for clip in self._making():
            clip.names = [self._path(sighting, ".mp4") if sighting.id in path.name else path for path in clip.names]
        for path in self._folder.glob(f"*/[!.]*_{sighting.id}.*"):
            path.replace(self._path(sighting, path.suffix))
        # The picture says inside, too, what it shows: it is written anew at the end.
        self._written[sighting.id] = datetime.min

    def _end_clip(self, now: datetime) -> None:
        if self._clip is not None:
            quiet = self._busy is None or abs(now - self._busy) > AFTER
            if quiet or abs(now - self._clip.start) > LONGEST:
                self.finish()
        self._close_those_done()

    def _close_those_done(self) -> None:
        for clip in [clip for clip in self._ending if clip.video.done]:
            self._ending.remove(clip)
            self._close(clip)

    def _close(self, clip: _Clip) -> None:
        """Give a clip its names, waiting for the encoder if it is not done."""
        names = [name for name in clip.names if not any(id in name.name for id in self._forbidden)]
        try:
            clip.video.close()
            if len(names) < len(clip.names):  # A person is in it: it is none of any visit.
                clip.video.path.unlink(missing_ok=True)
                return
            self._bytes = (self._bytes or 0) + clip.video.path.stat().st_size
            clip.video.path.replace(clip.names[0])
            for name in clip.names[1:]:
                name.parent.mkdir(exist_ok=True)
                os.link(clip.names[0], name)
        except OSError as error:  # an OutboxError is one
            log.error("%s; watching goes on", error)
        if clip.video.left_out:
            log.warning("%s: %d pictures were left out: the computer is too busy", clip.video.path, clip.video.left_out)

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
        if not self._room_for(len(data)):
            return
        write_whole(path, data)
        self._bytes = (self._bytes or 0) + len(data)
        if sighting.type == "new":
            self._written[sighting.id] = sighting.pictured_at

    def _path(self, sighting: Sighting, suffix: str) -> Path:
        start = sighting.event_start
        name = f"{start:%H%M%S}_{slug(sighting.species)}_{sighting.id}{suffix}"
        return self._folder / f"{start:%Y-%m-%d}" / name

    def _room_for(self, size: int) -> bool:
        """Whether a new file may be written; the oldest make room for it, those of targets last.

        Where the disk is full of other things, nothing is deleted for it, and nothing is written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._bytes is None:
            self._bytes = sum(_size(path) for path in self._files())
        disk = os.statvfs(self._folder)
        short = size + RESERVE - disk.f_bavail * disk.f_frsize
        too_much = max(short, self._bytes + size - self._most_bytes)
        if too_much <= 0:
            self._full = False
            return True
        files = {path: _size(path) for path in self._files()}
        self._bytes = sum(files.values())
        if self._bytes < short:
            if not self._full:
                log.warning("%s: less than %.0f MB are left: no pictures are kept", self._folder, RESERVE / 1e6)
            self._full = True
            return False
        deleted, too_much = 0, too_much + self._bytes // 20  # A little more, so that it is not looked for each time.
        for path in sorted(files, key=lambda path: path.name.split("_")[1:2] in self._targets):
            if too_much <= 0:
                break
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()  # if it was the last of its day
            too_much, deleted = too_much - files[path], deleted + 1
            self._bytes -= files[path]
        log.info("%s: %d of the oldest files were deleted to make room", self._folder, deleted)
        return True

    def _files(self) -> list[Path]:
        """All that are whole, the oldest first."""
        return sorted(path for path in self._folder.glob("*/*_*_*.*") if path.suffix in (".jpg", ".mp4"))


def pictures_of(folder: Path, id: str) -> list[Path]:
    """The pictures that are kept of the visit with this id: one, or none."""
    return sorted(folder.glob(f"*/[!.]*_{id}.jpg"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # somebody tidies up
        return 0


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
