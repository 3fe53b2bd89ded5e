"""The receiving loop: from the broker to the store, and a receipt back."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from edge.listen.messages import MalformedError, Origin, printable, read_topic, say
from edge.listen.traps import Traps
from edge.telling.broker import BrokerError, keep_connected
from edge.telling.commands import write_command
from edge.telling.payloads import Message

if TYPE_CHECKING:
    from edge.listen.forwards import Forwards
    from edge.listen.store import Store
    from edge.telling.mqtt import Link, Received

log = logging.getLogger(__name__)

_REFUSED = 0x80
"""Reason codes from here on say that something was not done."""
_PARTING_S = 2.0
"""How long an end waits for the broker to confirm receipts."""


class Listener:
    """Takes messages from the broker to the store until `count` alerts are complete or `stop` is set.

    Args:
        link: the connection; its session keeps what comes while nobody listens.
        store: where alerts go.
        forwards: woken when something may be to forward.
        prefix: what the topics begin with.
        count: how many complete alerts end it; None for no end.
        acks: whether traps are told what has been stored.
    """

    def __init__(
        self, link: Link, store: Store, forwards: Forwards, prefix: str, count: int | None, *, acks: bool = True
    ) -> None:
        self._link, self._store, self._forwards, self._prefix = link, store, forwards, prefix
        self._left, self._acks = count, acks
        self._traps = Traps(store.database)
        self._greeted = self._refused = False
        # By the message id of the receipt: what the broker need not send again once it has the receipt.
        self._receipts: dict[int, Received] = {}
        self.stop = threading.Event()

    def run(self) -> None:
        keep_connected(self._link.broker, self._link.connect, self._serve, self.stop)

    def end(self, *_: object) -> None:
        """Make `run` return; a signal handler. A second signal does not wait for a connection attempt to end."""
        if self.stop.is_set():
            raise KeyboardInterrupt
        self.stop.set()
        self._link.wake()

    def _serve(self) -> None:
        self._receipts.clear()
        # What a trap is like now is asked for with QoS 0, so that what it was like is not kept for this client: a late
        # `online` would pass for a sign of life.
        self._link.subscribe([f"{self._prefix}/+/alert/+", f"{self._prefix}/+/alert/+/image"], qos=1)
        self._link.subscribe([f"{self._prefix}/+/status", f"{self._prefix}/+/health"], qos=0)
        self._traps.connected()
        if not self._greeted:
            log.info("listening at %s, storing in %s; Ctrl-C ends", self._link.broker, self._store.folder)
            self._greeted = True
        while not self.stop.is_set():
            self._link.wait(self._traps.check())
            while self._link.denied:
                say(f"the broker refuses the subscription: {self._link.denied.popleft()}; see --credentials")
            while self._link.received and not self.stop.is_set():
                self._take(self._link.received.popleft())
            self._confirm()
        self._part()

    def _take(self, received: Received) -> None:
        """Handle a message; the broker sends it again until it is acknowledged, here or in `_confirm`."""
        origin = read_topic(received.topic, self._prefix)
        complete, receipt = False, None
        try:
            if origin.rest == "status":
                self._traps.status(origin.deployment, received.payload, received.retained)
            elif origin.rest == "health":
                self._traps.health(origin.deployment, received.payload, received.retained)
            else:
                complete, receipt = self._keep(origin, received)
        except MalformedError as error:
            say(f"ignored a message on {printable(received.topic)}: {printable(str(error))}")
        if receipt is None:
            self._link.ack(received)
        else:
            self._receipts[self._link.publish(receipt)] = received
        if complete and self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.stop.set()

    def _keep(self, origin: Origin, received: Received) -> tuple[bool, Message | None]:
        """Store an alert or picture; whether the alert is complete now, and the receipt, also for what came before."""
        if origin.rest.count("/") > 1:
            part = "image"
            id, complete = self._store.picture(received.payload, received.id, origin.deployment)
        else:
            part = "alert"
            id, complete = self._store.alert(received.payload, origin.deployment)
        self._forwards.wake()
        if not self._acks:
            return complete, None
        payload = write_command("ack", alert=id, part=part, size=len(received.payload))
        return complete, Message(f"{origin.base}/command/ack", payload)

    def _confirm(self) -> None:
        """Acknowledge what the broker has the receipts of, or will never have."""
        while self._link.acks:
            mid, code, reason = self._link.acks.popleft()
            if code >= _REFUSED and not self._refused:
                say(f"the broker refuses a receipt: {reason}; may this user write to command/ack? (or --no-ack)")
            self._refused = code >= _REFUSED
            if mid in self._receipts:
                self._link.ack(self._receipts.pop(mid))

    def _part(self) -> None:
        deadline = time.monotonic() + _PARTING_S
        try:
            while self._receipts and time.monotonic() < deadline:
                self._link.wait(0.1)
                self._confirm()
        except BrokerError as error:
            log.debug("%s", error)
        self._link.disconnect()
