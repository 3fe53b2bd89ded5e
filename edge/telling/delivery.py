"""The outbox over one connection after another: what is sent next, and what the answers mean for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from edge.telling.links import Talk
from edge.telling.mqtt import Link
from edge.telling.outbox import Outbox, Receipt, Stored
from edge.telling.payloads import Message
from models.errors import ImageError, OutboxError

log = logging.getLogger(__name__)

_NO_SUBSCRIBERS, _FAILURE = 0x10, 0x80
_TOO_LARGE = (0x95, 0x97)
"""Reason codes: packet too large, quota exceeded."""
_WINDOW = 16
"""So many messages are under way at a time, whatever their size."""
_OVERHEAD = 128
"""Bytes of a packet besides topic and payload, and some to spare."""
_FIRST_PAUSE_S = 15.0
_BROKE_OFF = 3
"""So often may the connection end under a picture; then it is sent smaller: some brokers hang up on large ones."""
_UNNUMBERED = -1
_MOMENT_S = 1.0
_PATIENCE = 10
"""So many times `receipt_s` a receipt may take while the connection lasts, before it is doubted that one comes."""
REFUSED_S = 30.0
RECEIPT_S = 60.0


@dataclass(frozen=True, slots=True)
class _Sent:
    message: Message
    stored: Stored | None
    deadline: float


@dataclass(frozen=True, slots=True)
class _Taken:
    """A message that the broker has, with somebody subscribed: since when (Unix seconds), and what its receipt says."""

    at: float
    receipt: Receipt


@dataclass(slots=True)
class _Pause:
    """Nobody was subscribed to a topic: until when nothing is sent there, and how long the next pause is."""

    until: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True)
class Delivery:
    """What is under way; used by the publisher's thread alone.

    A message is done when the broker confirms it, with success, and somebody is subscribed; and where subscribers send
    receipts, when one has come. Of a topic that nobody is subscribed to one message at a time is tried, ever more
    seldom.

    Args:
        outbox: what is delivered.
        link: the connection.
        talk: how much at a time is right for it.
        require_ack: wait for receipts although none has ever come.
        refused_s: the first wait before a refused message is tried again; doubles each time, up to an hour.
        receipt_s: the first wait for a receipt after a connection has ended; doubles each time, up to an hour. While
            one lasts it is ten times that, up to a day.
        say: tells something once.
    """

    outbox: Outbox
    link: Link
    talk: Talk
    require_ack: bool
    refused_s: float
    receipt_s: float
    say: Callable[[str], None]
    _sent: dict[int, _Sent] = field(default_factory=dict)
    _taken: dict[int, _Taken] = field(default_factory=dict)
    _receipts: dict[Receipt, float] = field(default_factory=dict)
    _pauses: dict[str, _Pause] = field(default_factory=dict)
    _broken: dict[int, int] = field(default_factory=dict)
    _live: int = 0
    _waits: bool = False
    _doubt_at: float = 0.0

    def begin(self) -> None:
        """A new connection."""
        self.settle(ending=True)
        under_way = {sent.stored.row for sent in self._sent.values() if sent.stored and sent.stored.message.picture}
        self._broken = {row: self._broken.get(row, 0) + 1 for row in under_way}
        self._sent.clear()
        for pause in self._pauses.values():
            pause.until = 0.0
        try:
            self.outbox.reconnected(self.link.session_kept, self.receipt_s)
            self._live = self.outbox.newest_row()
            self._waits = self.require_ack or self.outbox.knows_receipts()
        except OutboxError as error:
            log.log(error.level, "%s", error)

    def send(self, message: Message, stored: Stored | None = None) -> None:
        """Send a message whose confirmation is waited for."""
        patience = self.talk.confirm_s + (self._bytes() + len(message.payload)) / self.talk.slowest
        sent = _Sent(message, stored, time.monotonic() + patience)
        # Should the connection end in the middle of it, `begin` has to know what it was.
        self._sent[_UNNUMBERED] = sent
        mid = self.link.publish(message)
        self._sent[mid] = self._sent.pop(_UNNUMBERED)

    def send_more(self) -> None:
        """Send of the outbox as much as may be under way at a time."""
        sent = True
        while sent and not self._full():
            sent = False
            for stored in self._next(_WINDOW - len(self._sent)):
                if self._full():
                    return
                if stored.message.topic in self._paused() or (ready := self._ready(stored)) is None:
                    continue
                if (pause := self._pauses.get(stored.message.topic)) is not None:
                    # One of them shows whether somebody is subscribed by now.
                    pause.until = float("inf")
                self.send(ready.message, ready)
                sent = True

    def answer(self, mid: int, code: int, reason: str) -> None:
        """Take the broker's answer to a message."""
        sent = self._sent.pop(mid, None)
        if sent is None:
            return
        stored, topic = sent.stored, sent.message.topic
        if stored is None:
            if code >= _FAILURE:
                self.say(f"the MQTT broker refuses {topic}: {reason}")
        elif code >= _FAILURE:
            self._refused(stored, code, reason)
        elif code == _NO_SUBSCRIBERS and stored.message.receipt:
            self._unheard(stored)
        else:
            self._pauses.pop(topic, None)
            message = stored.message
            self._taken[stored.row] = _Taken(time.time(), (message.id, message.picture, len(message.payload)))

    def receipt(self, alert: str, picture: bool, size: int) -> None:
        """A subscriber has stored a message."""
        key = alert, picture, size
        taken = [each for each in self._taken.items() if each[1].receipt == key]
        self._receipts[key] = max((each.at for _, each in taken), default=0.0)
        for row, _ in taken:
            del self._taken[row]

    def settle(self, ending: bool = False) -> None:
        """Tell the outbox what was confirmed.

        Most receipts come at once: a moment is left for them, as noting that one is waited for writes a picture anew.
        A full disk stops deleting too. Then it is remembered what need not be sent again, until deleting works.
        """
        now = time.time()
        left_alone = _MOMENT_S if self._waits and not ending else 0.0
        # A clock that was set back ends the moment, too.
        rows = [row for row, taken in self._taken.items() if not 0 <= now - taken.at < left_alone]
        try:
            if rows:
                self.outbox.delivered(*rows, receipt_in_s=_PATIENCE * self.receipt_s if self._waits else None)
                for row in rows:
                    del self._taken[row]
            if self._receipts:
                self.outbox.receipted(self._receipts)
                self._receipts.clear()
                self._waits = True
        except OutboxError as error:
            log.log(error.level, "%s", error)

    def doubt(self) -> None:
        """From time to time: what has had no receipt for long is sent again.

        A broker may have forgotten its subscribers, and those have come back later than this trap.
        """
        if not self._waits or time.monotonic() < self._doubt_at:
            return
        self._doubt_at = time.monotonic() + self.receipt_s
        try:
            self._waits = self.require_ack or self.outbox.knows_receipts()
            if self._waits:
                self.outbox.doubt(self.receipt_s)
            else:  # Nobody sends receipts any more: what waits for one is sent once again.
                self.outbox.reconnected(False, self.receipt_s)
        except OutboxError as error:
            log.log(error.level, "%s", error)

    def idle(self) -> bool:
        """Whether nothing is under way, and nothing could be sent now."""
        return not self._sent and not self._next(1)

    def awaits(self) -> bool:
        """Whether receipts may be on their way."""
        try:
            return self._waits and (bool(self._taken) or self.outbox.counts().awaiting > 0)
        except OutboxError:
            return False

    def overdue(self) -> bool:
        """Whether the broker has left something unconfirmed for too long."""
        return any(sent.deadline < time.monotonic() for sent in self._sent.values())

    def under_way(self) -> bool:
        return bool(self._sent)

    def hope(self) -> None:
        """Somebody was heard, who may be subscribed too: it is tried again at once."""
        now = time.monotonic()
        for pause in self._pauses.values():
            if pause.until != float("inf"):
                pause.until = now

    def _full(self) -> bool:
        return len(self._sent) >= _WINDOW or self._bytes() >= self.talk.window

    def _bytes(self) -> int:
        return sum(len(sent.message.payload) for sent in self._sent.values())

    def _paused(self) -> list[str]:
        now = time.monotonic()
        return [topic for topic, pause in self._pauses.items() if pause.until > now]

    def _next(self, limit: int) -> list[Stored]:
        under_way = {sent.stored.row for sent in self._sent.values() if sent.stored}
        try:
            return self.outbox.pending(limit, under_way | self._taken.keys(), self._paused(), self._live)
        except OutboxError as error:
            log.log(error.level, "%s", error)
            return []

    def _unheard(self, stored: Stored) -> None:
        longest = self.talk.subscribers_s
        pause = self._pauses.setdefault(stored.message.topic, _Pause(seconds=min(_FIRST_PAUSE_S, longest)))
        pause.until = time.monotonic() + pause.seconds
        pause.seconds = min(2 * pause.seconds, longest)
        self.say(f"nobody is subscribed to {stored.message.topic}: it is kept, and tried again")
        try:
            self.outbox.unheard(stored.row)
        except OutboxError as error:
            log.log(error.level, "%s", error)

    def _refused(self, stored: Stored, code: int, reason: str) -> None:
        self._pauses.pop(stored.message.topic, None)
        if code in _TOO_LARGE and self._smaller(stored, len(stored.message.payload) // 2) is not None:
            return
        self.say(f"the MQTT broker refuses {stored.message.topic}: {reason}")
        try:
            self.outbox.refused(stored.row, reason, self.refused_s * 2 ** min(stored.attempts, 10))
        except OutboxError as error:
            log.log(error.level, "%s", error)

    def _ready(self, stored: Stored) -> Stored | None:
        """A message as it may be sent: what is too large never goes unchanged; None for not at all.

        The broker would drop the connection for it, and everything behind it would wait for ever.
        """
        message, most = stored.message, self.link.max_packet
        besides = len(message.topic.encode()) + _OVERHEAD
        if most is not None and len(message.payload) + besides > most:
            smaller = self._smaller(stored, most - besides)
            if smaller is None:
                self._refused(stored, _FAILURE, f"larger than the broker's {most} bytes")
            return smaller
        if self._broken.get(stored.row, 0) >= _BROKE_OFF:
            self._broken.pop(stored.row)
            return self._smaller(stored, len(message.payload) * 2 // 3) or stored
        return stored

    def _smaller(self, stored: Stored, most_bytes: int) -> Stored | None:
        """Put a smaller picture in the place of one that is too large; None if there is none."""
        from edge.recording.thin import fitted

        if not stored.message.picture:
            return None
        try:
            smaller = fitted(stored.message.payload, most_bytes)
            if smaller is None:
                return None
            self.outbox.replace(stored.row, smaller)
        except ImageError:
            return None
        except OutboxError as error:
            log.log(error.level, "%s", error)
            return None
        log.info("a picture of %d bytes is sent with %d", len(stored.message.payload), len(smaller))
        return replace(stored, message=replace(stored.message, payload=smaller), attempts=0)
