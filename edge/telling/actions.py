"""What a trap does when it is commanded, and what it answers."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from edge.deciding.rules import hidden_place
from edge.deciding.sightings import uuid7
from edge.recording.media import pictures_of, write_whole
from edge.seeing.outside import Looks
from edge.settings import Settings
from edge.telling import heard
from edge.telling.commands import Command, MalformedCommandError, read_command
from edge.telling.outbox import Outbox
from edge.telling.payloads import Message, alert_messages, picture_message, reply_message
from edge.telling.topics import Topics
from edge.types import WHOLE, Alert, Sighting
from models.errors import EdgeWatchError, OutboxError, UnknownSpeciesError, UsageError
from models.labels import is_human

log = logging.getLogger("edge-watch")

FOLDER = "corrections"
LONGEST_SNOOZE_MIN = 7 * 24 * 60
_SAY_EVERY_S = 60.0


@dataclass(slots=True)
class Actions:
    """Called by the thread of the MQTT connection; nothing that comes in ends it.

    A command is remembered before it is obeyed: one that a power cut interrupts is not obeyed twice, and has to be sent
    again.

    Attributes:
        refused: how many commands were none.
        health_wanted: set where somebody has asked how the trap is doing; whoever tells it clears it.

    Args:
        outbox: remembers commands, and takes what they bring about.
        topics: the trap's.
        settings: with species as the model names them.
        model: name and version of the bundle.
        media: the folder in which visits' pictures are kept.
        meaning: the species and groups that a name stands for.
        snooze: of what no alerts are to leave.
        people: ids of visits that somebody said show a person; nothing may be kept of them.
        looks: None where a look cannot be asked for by command.
    """

    outbox: Outbox
    topics: Topics
    settings: Settings
    model: str
    media: Path
    meaning: Callable[[str], Collection[str]]
    snooze: heard.Snooze
    people: set[str]
    looks: Looks | None = None
    refused: int = 0
    health_wanted: threading.Event = field(default_factory=threading.Event)
    _say_at: float = float("-inf")

    def hear(self, name: str, payload: bytes) -> Message | None:
        """Obey the command `name`; the answer to it, None for what is no command."""
        try:
            command = read_command(name, payload)
        except MalformedCommandError as error:
            self.refuse(name, error)
            return None
        try:
            if not heard.is_new(self.outbox, command.id, command.issued):
                raise UsageError("it was heard before, or is older than all that is remembered; send a new one")
            says = _ACTIONS[name](self, command)
            done = True
        except (EdgeWatchError, OSError) as error:
            says, done = str(error), False
        log.info("command/%s: %s", name, says)
        return reply_message(self.topics, command.id, name, done, says)

    def refuse(self, name: str, error: MalformedCommandError) -> None:
        """Count what is no command. Whoever sends many of them must not fill the disk with lines."""
        self.refused += 1
        if time.monotonic() >= self._say_at:
            self._say_at = time.monotonic() + _SAY_EVERY_S
            said = "".join(letter if letter.isprintable() else "?" for letter in name[:40])
            log.warning("command/%s: %s; %d such commands so far were ignored", said, error, self.refused)

    def look(self, command: Command) -> str:
        if self.looks is None:
            raise UsageError("expected edge-watch with --trigger mqtt, found it without; start it so")
        self.looks.ask()
        return "the next frames are looked at"

    def status(self, command: Command) -> str:
        self.health_wanted.set()
        return "health follows"

    def test(self, command: Command) -> str:
        now = datetime.now().astimezone()
        nothing = Sighting(
            "new", uuid7(), "test", "", "animal", 1.0, now, now, None, "day", 0, WHOLE, (1, 1), "test", False, False
        )  # fmt: skip
        alert = Alert(nothing, hidden_place(self.settings), self.model, test=True)
        # Where the compact form is wanted, its way is to be tested too; of what species it is says the form itself.
        index = 0 if self.settings.compact else None
        # One waits at most: whoever may send commands must not push alerts out of a full outbox.
        self.outbox.put(alert_messages(alert, self.topics.prefix, index=index), alone=True)
        return f"test alert {nothing.id} is on its way"

    def snooze_alerts(self, command: Command) -> str:
        name, minutes = command.values["species"], command.values["minutes"]
        if minutes > LONGEST_SNOOZE_MIN:
            raise UsageError(f"expected {LONGEST_SNOOZE_MIN} minutes at most, found {minutes:g}")
        if name and not set(self.meaning(name)) & set(self.settings.species):
            wanted = ", ".join(self.settings.species) or "none"
            raise UnknownSpeciesError(f"expected one of those that are alerted of ({wanted}), found {name}")
        self.snooze.set(name, 60 * minutes)
        of = f"of {name}" if name else "at all"
        return f"no alerts {of} for {minutes:g} minutes" if minutes else "alerts leave again"

    def picture(self, command: Command) -> str:
        event = self._event(command)
        person = is_human(event.species) or event.observation_type == "human" or event.id in self.people
        if person and self.settings.people != "keep":
            raise UsageError(f"expected an event without people, found {event.id}; pictures of people are not sent")
        found = pictures_of(self.media, event.id)
        if not found:
            raise UsageError(f"expected a picture of event {event.id}, found none: it was deleted, or never kept")
        message = picture_message(self.topics, event, found[0].read_bytes())
        if not self.outbox.waits(message):
            self.outbox.put([message])
        return f"a picture of {len(message.payload)} bytes is on its way"

    def confirm(self, command: Command) -> str:
        event = self._event(command)
        return self._correct(event, event.species, None)

    def wrong(self, command: Command) -> str:
        event, species = self._event(command), command.values["species"].strip()
        if species and not re.fullmatch(r"\w[\w .'()-]*", species):
            raise UsageError(f"expected the name of a species, found {species!r}")
        return self._correct(event, species, species)

    def _event(self, command: Command) -> Sighting:
        event = command.values["event"]
        found = self.outbox.sighting(event)
        if found is None:
            raise UsageError(f"expected the id of an event that this trap has recorded, found {event}")
        return found

    def _correct(self, event: Sighting, shows: str, said: str | None) -> str:
        """Note what a visit shows, and put its picture where `train` finds it: in a folder of that name.

        A person's picture is not kept unless people are to be.
        """
        human = is_human(shows) and self.settings.people != "keep"
        if human:
            self.people.add(event.id)  # First: the visit may go on, and be about to be written.
        self.outbox.correct(event.id, said)
        folder, pictures = self.settings.data / FOLDER, pictures_of(self.media, event.id)
        for old in folder.glob(f"*/{event.id}.jpg"):
            old.unlink()
        noted = f"noted that {event.id} shows {shows or f'no {event.species}'}"
        if human:
            for each in self.media.glob(f"*/*_{event.id}.*"):
                each.unlink(missing_ok=True)
            self.outbox.forget_picture(event.id)
            return f"{noted}; what was kept of it is deleted (--people {self.settings.people})"
        if not (shows and pictures):
            return f"{noted}; no picture is kept of it" if shows else noted
        place = folder / shows / f"{event.id}.jpg"
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _link(pictures[0], place)
        except OSError as error:
            raise OutboxError(f"{noted}, but its picture cannot be kept in {place.parent}: {error}") from error
        return f"{noted}; its picture is kept in {place.parent}"


_ACTIONS: dict[str, Callable[[Actions, Command], str]] = {
    "look": Actions.look,
    "status": Actions.status,
    "test": Actions.test,
    "snooze": Actions.snooze_alerts,
    "picture": Actions.picture,
    "confirm": Actions.confirm,
    "wrong": Actions.wrong,
}


def _link(picture: Path, place: Path) -> None:
    """A second name for a picture: it stays when the first is deleted to make room."""
    try:
        os.link(picture, place)
    except OSError:  # A file system without such names, as a USB stick's.
        write_whole(place, picture.read_bytes())
