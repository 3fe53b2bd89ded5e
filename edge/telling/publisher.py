"""The thread that delivers the outbox over MQTT and says that the trap is there; watching never waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Protocol

from edge.telling import homeassistant
from edge.telling.broker import Broker, BrokerError, keep_connected
from edge.telling.commands import MalformedCommandError, read_command
from edge.telling.delivery import RECEIPT_S, REFUSED_S, Delivery
from edge.telling.links import LINKS, Talk
from edge.telling.mqtt import Link, Received
from edge.telling.outbox import Outbox
from edge.telling.payloads import (
    FrigateObject,
    Health,
    Message,
    Status,
    event_message,
    frigate_object,
    health_message,
    status_message,
)
from edge.telling.topics import Topics
from edge.types import Sighting

log = logging.getLogger(__name__)

_TICK_S = 5.0
_SESSION_S = 30 * 24 * 3600
"""For so long the broker keeps receipts and commands for a trap that is away."""
_LARGEST = 4096
"""Bytes of what is heard: no command and no status is nearly as large, and memory is small."""
_LAST_RECEIPTS_S = 1.0
"""How long receipts are waited for at the end, when everything is delivered."""


class Commanded(Protocol):
    """What obeys commands: `edge.telling.actions.Actions`."""

    def hear(self, name: str, payload: bytes) -> Message | None:
        """Obey the command `name`; the answer to it, if there is one."""
        ...

    def refuse(self, name: str, error: MalformedCommandError) -> None:
        """Count what is no command."""
        ...


class Publisher:
    """Delivers an outbox to a broker from a thread of its own; every public method but `stop` returns at once.

    Attributes:
        connected: whether there is a connection now.

    Args:
        outbox: what is delivered; its `on_put` is set to wake this thread.
        topics: the trap's.
        broker: where to deliver.
        announce: a retained message, Home Assistant's discovery; None for none.
        commanded: obeys commands; None to take receipts only.
        talk: how to talk over this kind of link.
        require_ack: wait for receipts although none has ever come.
        delays_s: the first and the longest wait before connecting again; None for the link's.
        refused_s: the first wait before a refused message is tried again; doubles each time, up to an hour.
        receipt_s: the first wait for a receipt after a connection has ended; doubles each time, up to an hour.
    """

    def __init__(
        self,
        outbox: Outbox,
        topics: Topics,
        broker: Broker,
        *,
        announce: Message | None = None,
        commanded: Commanded | None = None,
        talk: Talk = LINKS["lan"],
        require_ack: bool = False,
        delays_s: tuple[float, float] | None = None,
        refused_s: float = REFUSED_S,
        receipt_s: float = RECEIPT_S,
    ) -> None:
        self.connected = False
        self._topics, self._announce, self._commanded, self._talk = topics, announce, commanded, talk
        self._live: deque[Message] = deque(maxlen=100)
        self._health: Message | None = None
        self._before: dict[str, FrigateObject] = {}
        self._said: set[str] = set()
        self._stop, self._deadline = threading.Event(), float("inf")
        self._farewell: Status = "offline"
        self._announced = False
        self._link = Link(
            broker,
            f"edge-watch-{homeassistant.ascii_id(topics.deployment)}",
            will=status_message(topics, "offline"),
            session_s=_SESSION_S,
            keepalive_s=talk.keepalive_s,
            largest=_LARGEST,
        )
        self._delivery = Delivery(outbox, self._link, talk, require_ack, refused_s, receipt_s, self._say)
        self._delays_s = delays_s or talk.pauses_s
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        outbox.on_put = self._link.wake

    def start(self) -> None:
        self._thread.start()

    @property
    def broken(self) -> bool:
        """Whether the thread has ended though nobody stopped it: an error that was not foreseen."""
        return self._thread.ident is not None and not self._thread.is_alive() and not self._stop.is_set()

    def event(self, sighting: Sighting) -> None:
        """Tell of a sighting's change on `events`, if there is a connection; nothing is kept for later."""
        if not self._talk.events:
            return
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

    def stop(self, timeout_s: float = 5.0, farewell: Status = "offline") -> None:
        """Deliver what can be in `timeout_s`, say `farewell`, disconnect; what is left stays in the outbox."""
        self._deadline, self._farewell = time.monotonic() + timeout_s, farewell
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
        try:
            keep_connected(
                self._link.broker,
                self._link.connect,
                self._serve,
                self._stop,
                last_try=lambda: not self._delivery.idle(),
                delays_s=self._delays_s,
            )
        finally:
            self.connected = False
            self._link.release()

    def _serve(self) -> None:
        """Deliver over a new connection until `stop`."""
        self._delivery.begin()
        self._delivery.send(status_message(self._topics, "online"))
        # Over a link that costs money the broker is trusted to have kept it, unless it has forgotten this trap.
        if self._talk.events or not (self._announced and self._link.session_kept):
            self._introduce()
        if self._health is not None:
            self._link.publish(self._health)
        self._link.subscribe([homeassistant.STATUS_TOPIC], qos=0)
        self._link.subscribe([self._topics.command("+")], qos=1)
        self.connected = True
        try:
            self._send_more()
            while not self._finished():
                self._link.wait(min(_TICK_S, self._deadline - time.monotonic()))
                self._take_answers()
                self._delivery.doubt()
                self._send_more()
        finally:
            self.connected = False
            self._live.clear()
        self._say_farewell()

    def _say_farewell(self) -> None:
        end = time.monotonic() + _LAST_RECEIPTS_S
        while self._delivery.awaits() and time.monotonic() < min(end, self._deadline):
            self._link.wait(0.1)
            self._take_answers()
        self._delivery.settle(ending=True)
        self._delivery.send(status_message(self._topics, self._farewell))
        end = time.monotonic() + 1.0
        while self._delivery.under_way() and time.monotonic() < end:
            self._link.wait(end - time.monotonic())
            self._take_answers()
        self._link.disconnect()

    def _finished(self) -> bool:
        if not self._stop.is_set():
            return False
        return time.monotonic() >= self._deadline or (not self._live and self._delivery.idle())

    def _introduce(self) -> None:
        if self._announce is not None:
            self._delivery.send(self._announce)
            self._announced = True

    def _send_more(self) -> None:
        while self._live:
            self._link.publish(self._live.popleft())
        self._delivery.send_more()

    def _take_answers(self) -> None:
        while self._link.acks:
            self._delivery.answer(*self._link.acks.popleft())
        heard = list(self._link.received)
        self._link.received.clear()
        for received in heard:
            self._hear(received)
        self._delivery.settle()
        # Only now: what a power cut undoes here comes again.
        for received in heard:
            self._link.ack(received)
        while self._link.denied:
            reason, topic = self._link.denied.popleft(), self._topics.command("+")
            self._say(f"the MQTT broker refuses a subscription: {reason}; may this user read {topic}?")
        if self._delivery.overdue():
            raise BrokerError(f"the MQTT broker at {self._link.broker} has confirmed nothing for too long")

    def _hear(self, received: Received) -> None:
        """Take a message; a retained command was meant for another time."""
        if received.topic == homeassistant.STATUS_TOPIC:
            if received.payload == b"online":
                self._introduce()
                self._delivery.hope()
            return
        begin = self._topics.command("")
        if received.retained or not received.topic.startswith(begin):
            return
        name = received.topic.removeprefix(begin)
        if name == "ack":
            self._take_receipt(received.payload)
        elif self._commanded is not None:
            answer = self._commanded.hear(name, received.payload)
            if answer is not None:
                self._delivery.send(answer)
        self._delivery.hope()

    def _take_receipt(self, payload: bytes) -> None:
        try:
            values = read_command("ack", payload).values
        except MalformedCommandError as error:
            if self._commanded is not None:
                self._commanded.refuse("ack", error)
        else:
            self._delivery.receipt(values["alert"], values["part"] == "image", values["size"])

    def _say(self, text: str) -> None:
        """Log a thing once."""
        if text not in self._said:
            self._said.add(text)
            log.warning("%s", text)
