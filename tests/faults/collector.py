"""A subscriber that knows nothing of this project's code: it writes down whatever comes, as often as it comes."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
import uuid
from dataclasses import dataclass

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from PIL import ExifTags, Image


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message of an alert: when it came (`at`, as in the ledger), whose it is, and the digest of its bytes."""

    at: float
    id: str
    picture: bool
    digest: str


def _unique_id(picture: bytes) -> str:
    """The id that a picture says itself: EXIF's ImageUniqueID, without the hyphens."""
    with Image.open(io.BytesIO(picture)) as image:
        return str(uuid.UUID(image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ImageUniqueID]))


class Collector:
    """Listens to all alerts of all traps, with a session that the broker keeps; comes back when the broker does.

    Args:
        port: the broker's, on loopback: no fault of the network concerns this one.
    """

    def __init__(self, port: int) -> None:
        self.arrivals: list[Arrival] = []
        self.ready = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="raw-collector", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.on_connect = lambda client, *_: client.subscribe("edge-watch/#", qos=1)
        self._client.on_subscribe = lambda *_: self.ready.set()
        self._client.on_message = self._take
        self._client.reconnect_delay_set(1, 1)
        kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        kept.SessionExpiryInterval = 3600
        self._client.connect_async("127.0.0.1", port, 10, clean_start=False, properties=kept)
        self._client.loop_start()

    def _take(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        levels = message.topic.split("/")
        if levels[2] != "alert":
            return
        picture = levels[-1] == "image"
        id = dict(getattr(message.properties, "UserProperty", ())).get("id", "")
        # A trap that falls back to MQTT 3.1.1 can say it in the payload only.
        said = _unique_id(message.payload) if picture else json.loads(message.payload)["id"]
        if id not in ("", said):
            said = f"{id} and {said}"
        digest = hashlib.sha256(message.payload).hexdigest()
        self.arrivals.append(Arrival(time.monotonic(), said, picture, digest))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
