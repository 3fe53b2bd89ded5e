"""Tell a trap a command, and wait for what it says."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

from edge.listen.messages import printable
from edge.telling.broker import Broker, BrokerError
from edge.telling.commands import MalformedCommandError, write_command
from edge.telling.mqtt import Link
from edge.telling.payloads import Message
from edge.telling.topics import Topics
from models.errors import EdgeWatchError, UsageError

_NO_SUBSCRIBERS = 0x10
_REFUSED = 0x80
_CONFIRM_S = 10.0
"""How long the broker may take to confirm a command."""


def tell(broker: Broker, topics: Topics, command: str, values: Mapping[str, Any], wait_s: float) -> str:
    """Publish a command; return the trap's answer, or why there is none yet.

    The broker keeps the command for a trap without a connection, so no answer in time is no error. Of the command
    `status` the answer is the health that follows.

    Args:
        broker: where to.
        topics: the trap's.
        command: one of `edge.telling.commands`.
        values: what it says, besides `id` and `issued`.
        wait_s: for the answer.

    Raises:
        UsageError: a value that the command cannot have.
        BrokerError: no connection, or the broker refuses.
        EdgeWatchError: no trap listens there, nothing is known of it, or it answers that it did not do it.
    """
    id = str(uuid.uuid4())
    try:
        payload = write_command(command, id=id, **values)
    except MalformedCommandError as error:
        raise UsageError(f"{command}: {error}") from None
    link = Link(broker, f"edge-listen-tell-{id[:8]}")
    try:
        link.connect()
        link.subscribe([topics.reply, topics.status, topics.health], qos=1)
        _publish(link, Message(topics.command(command), payload), topics)
        return _answer(link, topics, id, wait_s, command == "status")
    finally:
        link.disconnect()
        link.release()


def _publish(link: Link, message: Message, topics: Topics) -> None:
    link.publish(message)
    deadline = time.monotonic() + _CONFIRM_S
    while not link.acks:
        if time.monotonic() > deadline:
            raise BrokerError(f"the MQTT broker at {link.broker} does not confirm the command; try again")
        link.wait(0.5)
    _, code, reason = link.acks.popleft()
    if code >= _REFUSED:
        raise BrokerError(f"the MQTT broker at {link.broker} refuses {message.topic}: {reason}; see --credentials")
    if code == _NO_SUBSCRIBERS:
        raise EdgeWatchError(
            f"no trap {printable(topics.deployment)} listens at {link.broker}; expected its --deployment and --prefix"
        )


def _answer(link: Link, topics: Topics, id: str, wait_s: float, wants_health: bool) -> str:
    name, deadline = printable(topics.deployment), time.monotonic() + wait_s
    status = health = says = ""
    while True:
        while link.received:
            received = link.received.popleft()
            link.ack(received)
            if received.topic == topics.status:
                status = printable(received.payload[:20].decode(errors="replace"))
            elif received.topic == topics.health:
                # What the broker had kept is no answer.
                health = health if received.retained else _shown(received.payload)
            elif (found := _read_object(received.payload)).get("id") == id:
                says = printable(str(found.get("says")), 300)
                if found.get("done") is not True:
                    raise EdgeWatchError(f"{name} did not: {says}")
        if says and (health or not wants_health):
            return f"{name}: {says}\n{health}" if wants_health else f"{name}: {says}"
        left = deadline - time.monotonic()
        if left <= 0:
            break
        link.wait(left)
    if says:
        return f"{name}: {says}\nno health from {name} in {wait_s:g} s"
    if not status:
        # Whoever hears all topics, as a dashboard does, is a subscriber to the broker, too.
        raise EdgeWatchError(
            f"nothing is known of a trap {name} at {link.broker}; expected its --deployment and --prefix"
        )
    return f"no answer from {name} in {wait_s:g} s (it is {status}); the broker keeps the command for it"


def _shown(health: bytes) -> str:
    """A line for each value, as docs/mqtt.md names them."""
    values = {key: json.dumps(value, ensure_ascii=False) for key, value in _read_object(health).items()}
    return "\n".join(f"{printable(key)}: {printable(value, 1000)}" for key, value in values.items())


def _read_object(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
