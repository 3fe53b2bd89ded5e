"""The thread that delivers the outbox over MQTT and says that the trap is there; watching never waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

from edge import homeassistant
from edge.broker import Broker, BrokerError, keep_connected
from edge.mqtt import Link
from edge.outbox import Outbox, Stored
from edge.outside import Looks
from edge.payloads import FrigateObject, Health, Message, event_message, frigate_object, health_message, status_message
from edge.topics import Topics
from edge.types import Sighting
from models.errors import OutboxError

log = logging.getLogger(__name__)

_NO_SUBSCRIBERS = 0x10
_FAILURE = 0x80
# So much is under way at a time: little enough that an urgent message does not wait behind a queue of pictures.
_WINDOW, _WINDOW_BYTES = 8, 256 * 1024
# Unconfirmed for this long, plus a second for each 1000 bytes under way (thin links), means a dead connection.
_CONFIRM_S, _SLOWEST_BYTES_PER_S = 30.0, 1000.0
_REFUSED_S = 30.0
_TICK_S = 5.0
_LARGEST = 4096
"""Bytes of what is heard: no command and no status is nearly as large, and memory is small."""


@dataclass(frozen=True, slots=True)
class _Sent:
    message: Message
    stored: Stored | None
    deadline: float


class Publisher:
    """Delivers an outbox to a broker from a thread of its own; every public method but `stop` returns at once.

    Attributes:
        unheard: alerts' messages that the broker took although nobody is subscribed (only MQTT 5 tells).
        connected: whether there is a connection now.

    Args:
        outbox: what is delivered; its `on_put` is set to wake this thread.
        topics: the trap's.
        broker: where to deliver.
        announce: a retained message for each connection, Home Assistant's discovery; None for none.
        looks: hears the commands on `command/look`; None for not to subscribe to them.
        delays_s: the first and the longest wait before connecting again.
        refused_s: the first wait before a refused message is tried again; doubles each time, up to an hour.
    """

    def __init__(
        self,
        outbox: Outbox,
        topics: Topics,
        broker: Broker,
        *,
        announce: Message | None = None,
        looks: Looks | None = None,
        keepalive_s: int = 60,
        delays_s: tuple[float, float] = (1.0, 60.0),
        refused_s: float = _REFUSED_S,
    ) -> None:
        self.unheard = 0
        self.connected = False
        self._outbox, self._topics, self._announce, self._refused_s = outbox, topics, announce, refused_s
        self._looks = looks
        self._live: deque[Message] = deque(maxlen=100)
        self._health: Message | None = None
        self._before: dict[str, FrigateObject] = {}
        self._sent: dict[int, _Sent] = {}
        self._taken: set[int] = set()
        self._said: set[str] = set()
        self._stop, self._deadline = threading.Event(), float("inf")
        self._link = Link(
            broker,
            f"edge-watch-{homeassistant.ascii_id(topics.deployment)}",
            will=status_message(topics, "offline"),
            keepalive_s=keepalive_s,
            largest=_LARGEST,
        )
        self._delays_s = delays_s
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        outbox.on_put = self._link.wake

    def start(self) -> None:
        self._thread.start()

    def event(self, sighting: Sighting) -> None:
        """Tell of a sighting's change on `events`, if there is a connection; nothing is kept for later."""
        after = frigate_object(sighting, self._topics.deployment)
        # A new one has no past, so `before` then repeats `after`, as in Frigate.
        before = self._before.pop(sighting.id, after)
        if sighting.type != "end":
            self._before[sighting.id] = after
        self._tell(event_message(self._topics, sighting.type, before, after))

    def health(self, health: Health) -> None:
        """Tell how the trap is doing on `health`; the latest is told again at each new connection."""
        self._health = health_message(self._topics, health)
        self._tell(self._health)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Deliver what can be in `timeout_s`, say `offline`, disconnect; what is left stays in the outbox."""
        self._deadline = time.monotonic() + timeout_s
        self._stop.set()
        self._link.wake()
        if self._thread.is_alive():
            # One second more to say `offline`. A thread that hangs in a connection attempt ends with the process.
            self._thread.join(timeout_s + 1.0)

    def _tell(self, message: Message) -> None:
        if self.connected:
            self._live.append(message)
            self._link.wake()

    def _run(self) -> None:
        keep_connected(
            self._link.broker,
            self._link.connect,
            self._serve,
            self._stop,
            last_try=lambda: bool(self._next(1)),
            delays_s=self._delays_s,
        )
        self._link.release()

    def _serve(self) -> None:
        """Deliver over a new connection until `stop`."""
        self._sent.clear()
        self._send(status_message(self._topics, "online"))
        self._introduce()
        if self._health is not None:
            self._link.publish(self._health)
        self._link.subscribe([homeassistant.STATUS_TOPIC], qos=0)
        if self._looks is not None:
            self._link.subscribe([self._topics.look], qos=1)
        self.connected = True
        try:
            self._send_more()
            while not self._finished():
                self._link.wait(min(_TICK_S, self._deadline - time.monotonic()))
                self._take_answers()
                self._send_more()
        finally:
            self.connected = False
            self._live.clear()
        self._send(status_message(self._topics, "offline"))
        end = time.monotonic() + 1.0
        while self._sent and time.monotonic() < end:
            self._link.wait(end - time.monotonic())
            self._take_answers()
        self._link.disconnect()

    def _finished(self) -> bool:
        if not self._stop.is_set():
            return False
        return time.monotonic() >= self._deadline or not (self._live or self._sent or self._next(1))

    def _introduce(self) -> None:
        if self._announce is not None:
            self._send(self._announce)

    def _send_more(self) -> None:
        while self._live:
            self._link.publish(self._live.popleft())
        if len(self._sent) >= _WINDOW or self._bytes() >= _WINDOW_BYTES:
            return
        for stored in self._next(_WINDOW - len(self._sent)):
            size = len(stored.message.payload) + len(stored.message.topic.encode()) + 128
            if self._link.max_packet is not None and size > self._link.max_packet:
                # The broker would drop the connection for it, and everything behind it would wait for ever.
                self._refused(stored, f"larger than the broker's {self._link.max_packet} bytes")
                continue
            self._send(stored.message, stored)
            if self._bytes() >= _WINDOW_BYTES:
                return

    def _send(self, message: Message, stored: Stored | None = None) -> None:
        mid = self._link.publish(message)
        patience = _CONFIRM_S + (self._bytes() + len(message.payload)) / _SLOWEST_BYTES_PER_S
        self._sent[mid] = _Sent(message, stored, time.monotonic() + patience)

    def _bytes(self) -> int:
        return sum(len(sent.message.payload) for sent in self._sent.values())

    def _take_answers(self) -> None:
        while self._link.acks:
            mid, code, reason = self._link.acks.popleft()
            sent = self._sent.pop(mid, None)
            if sent is None:
                continue
            if code >= _FAILURE:
                self._refused(sent.stored, reason, sent.message.topic)
            elif sent.stored is not None:
                # With 0x10 the broker has taken an alert that nobody hears. It is done all the same: QoS 1 ends at the
                # broker, and a trap alone in the field must not fill up. But it is counted, and shows in `health`.
                self.unheard += code == _NO_SUBSCRIBERS
                self._taken.add(sent.stored.row)
        self._forget_taken()
        while self._link.received:
            received = self._link.received.popleft()
            self._link.ack(received)
            if received.topic == homeassistant.STATUS_TOPIC and received.payload == b"online":
                self._introduce()
            elif received.topic == self._topics.look and self._looks is not None:
                self._looks.hear(received.payload, received.retained)
        while self._link.denied:
            reason = self._link.denied.popleft()
            if self._looks is not None:
                self._say(f"the MQTT broker refuses a subscription: {reason}; may this user read {self._topics.look}?")
        if any(sent.deadline < time.monotonic() for sent in self._sent.values()):
            raise BrokerError(f"the MQTT broker at {self._link.broker} has confirmed nothing for too long")

    def _refused(self, stored: Stored | None, reason: str, topic: str = "") -> None:
        self._say(f"the MQTT broker refuses {stored.message.topic if stored else topic}: {reason}")
        if stored is None:
            return
        try:
            self._outbox.refused(stored.row, reason, self._refused_s * 2 ** min(stored.attempts, 10))
        except OutboxError as error:
            self._say(str(error))

    # A full disk stops deleting too. Then `_taken` remembers what need not be sent again, until deleting works.

    def _forget_taken(self) -> None:
        if not self._taken:
            return
        try:
            self._outbox.delivered(*self._taken)
        except OutboxError as error:
            self._say(str(error))
        else:
            self._taken.clear()

    def _next(self, limit: int) -> list[Stored]:
        under_way = {sent.stored.row for sent in self._sent.values() if sent.stored}
        try:
            return self._outbox.pending(limit, skip=under_way | self._taken)
        except OutboxError as error:
            self._say(str(error))
            return []

    def _say(self, text: str) -> None:
        """Log a thing once."""
        if text not in self._said:
            self._said.add(text)
            log.warning("%s", text)
