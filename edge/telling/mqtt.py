"""One MQTT connection; the only module that knows paho."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge.telling.broker import Broker, BrokerError
from edge.telling.payloads import Message
from edge.telling.tls import answer_problem, context, handshake_problem, hint
from models.errors import UsageError

_UNSUPPORTED_PROTOCOL = 0x84
_LOCAL_PATIENCE_S = 2.0
_SILENCES = 3
# What paho ends with where a server says what is no MQTT: it checks little of what it reads.
_NO_MQTT = (ValueError, IndexError, struct.error, MQTTException)


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came; `id` is its user property, empty over MQTT 3.1.1. It is redelivered until `Link.ack`.

    `retained`: it was published before the subscription, and kept by the broker.
    """

    topic: str
    payload: bytes
    id: str
    mid: int
    qos: int
    retained: bool = False


class Link:
    """One MQTT connection, driven by the thread that calls it; only `wake` may be called from another.

    It speaks MQTT 5, and 3.1.1 to a broker that refuses 5. Each connection is a new paho client, because an old one
    would send again what it held in memory: what is sent again is decided by the outbox alone.

    Attributes:
        acks: confirmations of QoS 1 messages, as (message id, reason code, its name).
        received: messages of subscriptions.
        denied: reasons of subscriptions that the broker refused.
        max_packet: the largest packet in bytes that the broker takes, if it says so.
        session_kept: whether the broker still knew this client when it connected.
        says_refusals: whether the broker can say that it refuses a message: over MQTT 5.

    Args:
        broker: where to connect.
        client_id: the same name for each connection.
        will: what the broker publishes should this connection end without `disconnect`.
        session_s: how long the broker keeps messages for this client while it is away; 0 for not at all.
        keepalive_s: the longest silence before the connection is checked.
        largest: messages of more bytes than this are kept back by the broker (over 3.1.1 it cannot be asked to).
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        will: Message | None = None,
        session_s: int = 0,
        keepalive_s: int = 60,
        timeout_s: float = 10.0,
        largest: int | None = None,
    ) -> None:
        self.broker = broker
        self.acks: deque[tuple[int, int, str]] = deque()
        self.received: deque[Received] = deque()
        self.denied: deque[str] = deque()
        self.max_packet: int | None = None
        self.session_kept = False
        self._client_id, self._will, self._session_s = client_id, will, session_s
        self._keepalive_s, self._timeout_s, self._largest = keepalive_s, timeout_s, largest
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._client: paho.Client | None = None
        self._answer: ReasonCode | None = None
        self._knows_5, self._silences = False, 0
        self._lost = self._broken = ""
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)

    def connect(self) -> None:
        """Connect and wait for the broker's answer.

        Raises:
            BrokerError: nothing answers in time, or the broker refuses.
        """
        # A broker that knows only 3.1.1 ought to say so; amqtt takes the properties of MQTT 5 for a long name and waits
        # for the rest of it. Silence is tried again at each connection, since a busy broker may be silent too.
        self._connect(
            MQTTProtocolVersion.MQTTv5,
            min(_LOCAL_PATIENCE_S, self._timeout_s) if self.broker.local else self._timeout_s,
        )
        # But of one that has spoken MQTT 5 silence says something of the link, not of its version.
        self._silences = self._silences + 1 if self._answer is None else 0
        silent = self._answer is None and (not self._knows_5 or self._silences > _SILENCES)
        if silent or (self._answer is not None and self._answer.value == _UNSUPPORTED_PROTOCOL):
            self._connect(MQTTProtocolVersion.MQTTv311, self._timeout_s)
        elif self._answer is not None:
            self._knows_5 = True
        if self._answer is None:
            found = "a hang-up" if self._lost else "silence"
            raise BrokerError(f"expected an MQTT broker at {self.broker}, found {found}; {hint(self.broker)}")
        if self._answer.is_failure:
            raise BrokerError(f"the MQTT broker at {self.broker} refuses: {self._answer}; see --credentials")

    @property
    def says_refusals(self) -> bool:
        return self._protocol == MQTTProtocolVersion.MQTTv5

    def _connect(self, protocol: MQTTProtocolVersion, patience_s: float) -> None:
        """Open a connection and wait for `_answer`, which stays None if none comes."""
        self.close()
        self._answer, self._lost, self._broken = None, "", ""
        self.max_packet, self._protocol = None, protocol
        for queue in (self.acks, self.received, self.denied):
            queue.clear()
        client = self._new_client()
        try:
            if protocol == MQTTProtocolVersion.MQTTv5:
                properties = _properties(PacketTypes.CONNECT)
                properties.SessionExpiryInterval = self._session_s
                if self._largest is not None:
                    properties.MaximumPacketSize = self._largest
                new = self._session_s == 0
                client.connect(
                    self.broker.host, self.broker.port, self._keepalive_s, clean_start=new, properties=properties
                )
            else:
                client.connect(self.broker.host, self.broker.port, self._keepalive_s)
        except (OSError, ValueError, MQTTException) as error:
            if self.broker.tls and isinstance(error, OSError):
                raise BrokerError(handshake_problem(self.broker, error)) from error
            raise BrokerError(f"no MQTT broker answers at {self.broker}: {error}") from error
        self._client = client
        deadline = time.monotonic() + patience_s
        with contextlib.suppress(BrokerError):
            while self._answer is None and time.monotonic() < deadline:
                self.wait(deadline - time.monotonic())
        client.on_log = client.on_socket_close = None
        if self._answer is None and (problem := answer_problem(self.broker, self._broken)):
            raise BrokerError(problem)

    def _new_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if self._protocol == MQTTProtocolVersion.MQTTv5 else self._session_s == 0,
            protocol=self._protocol,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = self._timeout_s
        if self.broker.tls:
            try:
                # Read again for each connection: a certificate may have been renewed.
                client.tls_set_context(context(self.broker.ca, self.broker.certificate, self.broker.key))
            except UsageError as error:
                raise BrokerError(str(error)) from error
        if self.broker.user is not None:
            client.username_pw_set(self.broker.user, self.broker.password)
        if self._will:
            client.will_set(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        client.on_log, client.on_socket_close = self._on_log, self._on_socket_close
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = lambda _client, _data, mid, reason, _properties: self.acks.append(
            (mid, reason.value, str(reason))
        )
        client.on_subscribe = lambda _client, _data, _mid, reasons, _properties: self.denied.extend(
            str(reason) for reason in reasons if reason.is_failure
        )
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, _client: object, _data: object, flags: paho.ConnectFlags, reason: ReasonCode, more: Properties | None
    ) -> None:
        self._answer, self.session_kept = reason, flags.session_present
        self.max_packet = getattr(more, "MaximumPacketSize", None)

    # Why TLS broke before the broker's answer is nowhere else: paho logs a failed read, and after a failed write the
    # broker's last word is still to be read.

    def _on_log(self, _client: object, _data: object, _level: int, text: str) -> None:
        self._broken += text

    def _on_socket_close(self, _client: object, _data: object, sock: object) -> None:
        if isinstance(sock, ssl.SSLSocket):
            try:
                sock.recv(1)
            except OSError as error:
                self._broken += str(error)

    def _on_disconnect(self, _client: object, _data: object, _flags: object, reason: ReasonCode, _more: object) -> None:
        self._lost = str(reason)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        id = dict(getattr(message.properties, "UserProperty", ())).get("id", "")
        self.received.append(
            Received(message.topic, bytes(message.payload), id, message.mid, message.qos, message.retain)
        )

    def wait(self, seconds: float) -> None:
        """Serve the connection until something came, `wake` was called or the time is over.

        Raises:
            BrokerError: the connection is gone.
        """
        client = self._client
        sock = client.socket() if client else None
        if client is None or sock is None:
            raise BrokerError(f"the MQTT broker at {self.broker} is gone: {self._lost or 'connection lost'}")
        # What TLS has decrypted already is not seen by select.
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            seconds = 0.0
        writers = [sock] if client.want_write() else []
        readable, writable, _ = select.select([sock, self._woken], writers, [], max(0.0, seconds))
        if self._woken in readable:
            self._woken.recv(4096)
        if sock in readable or (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            try:
                client.loop_read()
            except _NO_MQTT as error:
                raise BrokerError(f"the MQTT broker at {self.broker} says what is no MQTT: {error}") from error
        if sock in writable:
            client.loop_write()
        client.loop_misc()
        if client.socket() is None and not (self._answer and self._answer.is_failure):
            raise BrokerError(f"the MQTT broker at {self.broker} is gone: {self._lost or 'connection lost'}")

    def wake(self) -> None:
        """Make `wait` return; from any thread."""
        # An error means that it is full, so it wakes anyway, or closed, so there is nobody to wake.
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def publish(self, message: Message) -> int:
        """Send a message; return its message id, which `acks` names when a QoS 1 message is confirmed."""
        properties = None
        if self._protocol == MQTTProtocolVersion.MQTTv5 and message.id:
            properties = _properties(PacketTypes.PUBLISH)
            properties.UserProperty = ("id", message.id)
        info = self._connected().publish(message.topic, message.payload, message.qos, message.retain, properties)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            raise BrokerError(f"the MQTT broker at {self.broker} is gone: {paho.error_string(info.rc)}")
        return info.mid

    def subscribe(self, filters: Sequence[str], qos: int) -> None:
        self._connected().subscribe([(each, qos) for each in filters])

    def ack(self, received: Received) -> None:
        """Tell the broker that a message need not come again."""
        self._connected().ack(received.mid, received.qos)

    def _connected(self) -> paho.Client:
        if self._client is None:
            raise BrokerError(f"not connected to the MQTT broker at {self.broker}")
        return self._client

    def disconnect(self) -> None:
        """End the connection in order, so that the will is not published."""
        if self._client is None:
            return
        self._client.disconnect()
        deadline = time.monotonic() + 1.0
        while self._client.socket() is not None and time.monotonic() < deadline:
            try:
                self.wait(0.1)
            except BrokerError:
                break
        self.close()

    def close(self) -> None:
        """Drop the connection as it is."""
        client, self._client = self._client, None
        sock = client.socket() if client else None
        if sock is not None:
            sock.close()

    def release(self) -> None:
        """Drop the connection and everything else that the link holds; it cannot be used any more."""
        self.close()
        self._woken.close()
        self._waker.close()


def _properties(kind: int) -> Properties:
    return Properties(kind)  # type: ignore[no-untyped-call]
