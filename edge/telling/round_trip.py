"""Whether a trap's broker can be used: a message to oneself, and what may be heard."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from edge.telling.broker import Broker, BrokerError
from edge.telling.mqtt import Link
from edge.telling.payloads import Message
from edge.telling.topics import Topics


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What a broker did.

    Attributes:
        seconds: from publishing to receiving.
        commands_refused: why commands to the trap may not be subscribed to, empty if they may. (mosquitto grants each
            subscription of an ACL file, and then keeps back what may not be read.)
        says_refusals: whether it can say that it refuses a message.
        max_packet: the largest message that it takes, in bytes; None if it does not say.
    """

    seconds: float
    commands_refused: str
    says_refusals: bool
    max_packet: int | None


def round_trip(broker: Broker, topics: Topics, timeout_s: float = 10.0) -> RoundTrip:
    """Send a message to oneself through the broker, on `check`: no listener takes that for an alert.

    Raises:
        BrokerError: no connection, or the message did not come back in time (an access rule may forbid the topic).
    """
    topic, token = f"{topics.base}/check", uuid.uuid4().hex.encode()
    link = Link(broker, f"edge-watch-check-{token[:8].decode()}", timeout_s=timeout_s)
    try:
        link.connect()
        link.subscribe([topic, topics.command("#")], qos=1)
        started = time.monotonic()
        link.publish(Message(topic, token))
        refused: list[str] = []
        # One refused subscription may be that of the commands, and then the message comes back all the same.
        while not refused and len(link.denied) < 2 and (left := started + timeout_s - time.monotonic()) > 0:
            link.wait(left)
            if any(received.payload == token for received in link.received):
                seconds = time.monotonic() - started
                return RoundTrip(seconds, ", ".join(link.denied), link.says_refusals, link.max_packet)
            refused = [reason for _, code, reason in link.acks if code >= 0x80]
        found = ", ".join(dict.fromkeys([*link.denied, *refused])) or "no answer in time"
        raise BrokerError(
            f"a message on {topic} does not come back from {broker}: {found}; may this user use the topic?"
        )
    finally:
        link.disconnect()
        link.release()
