"""Finding the broker: its URL, credentials, TLS, and the round trip that proves it works."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from edge.telling.broker import Broker, BrokerError
from edge.telling.outbox import Outbox
from edge.telling.payloads import alert_messages
from edge.telling.round_trip import round_trip
from models.errors import UsageError
from tests.broker import Mosquitto, Subscriber, free_port, require, start_publisher
from tests.samples import TOPICS, alert_of_its_own, sighting

REPOSITORY = Path(__file__).parents[1]


def test_credentials_come_from_a_file(tmp_path: Path, outbox: Outbox) -> None:
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(tmp_path / "passwords"), "trap", "s3cret"], check=True)
    os.chmod(tmp_path / "passwords", 0o600)
    credentials = tmp_path / "credentials"
    credentials.write_text("trap\ns3cret\n")
    with Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {tmp_path / 'passwords'}") as broker:
        assert round_trip(Broker.parse(broker.url, credentials), TOPICS).seconds > 0
        credentials.write_text("trap\nwrong\n")
        with pytest.raises(BrokerError, match="refuses: Not authorized; see --credentials"):
            round_trip(Broker.parse(broker.url, credentials), TOPICS)


def test_round_trip_names_what_is_wrong(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(BrokerError, match=f"no MQTT broker answers at mqtt://127.0.0.1:{port}: "):
        round_trip(Broker.parse(f"mqtt://127.0.0.1:{port}"), TOPICS)
    rules = tmp_path / "acl"
    rules.write_text("topic read #\n")
    os.chmod(rules, 0o600)
    broker = Mosquitto(tmp_path, f"allow_anonymous true\nacl_file {rules}")
    with broker, pytest.raises(BrokerError, match=r"not come back .* Not authorized; may this user use the topic"):
        round_trip(Broker.parse(broker.url), TOPICS)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("localhost", Broker("localhost", 1883)),
        ("localhost:1884", Broker("localhost", 1884)),
        ("127.0.0.1", Broker("127.0.0.1", 1883)),
        ("[::1]", Broker("::1", 1883)),
        ("mqtt://localhost:1883", Broker("localhost", 1883)),
        ("mqtt://", Broker("localhost", 1883)),
        ("mqtts://localhost", Broker("localhost", 8883, tls=True)),
        ("example.org", Broker("example.org", 8883, tls=True)),
        ("example.org:8884", Broker("example.org", 8884, tls=True)),
        ("192.0.2.7", Broker("192.0.2.7", 8883, tls=True)),
        ("127.example.org", Broker("127.example.org", 8883, tls=True)),
        ("mqtts://example.org", Broker("example.org", 8883, tls=True)),
        ("mqtts://[2001:db8::7]:9000/", Broker("2001:db8::7", 9000, tls=True)),
    ],
)
def test_broker_url(url: str, expected: Broker) -> None:
    assert Broker.parse(url) == expected
    assert Broker.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "url",
    ["", "http://localhost", "mqtt://h:99999", "mqtt://h/topic", "h/topic", "mqtt://[::1", "::1", "my host", "h:port"],
)
def test_broker_url_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match=r"expected a broker like mqtt://localhost:1883 or mqtts://example.org:8883"):
        Broker.parse(url)


def test_password_in_a_url_is_refused_and_not_repeated() -> None:
    for url in ("mqtt://ranger:s3cret@example.org", "ranger:s3cret@h", "mqtts://ranger:s3cret/#?@h", "mqtt://@s3cret["):
        with pytest.raises(UsageError, match="--credentials FILE") as caught:
            Broker.parse(url)
        assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(Broker("h", 1, user="ranger", password="s3cret"))


@pytest.mark.parametrize("content", [None, "", "only-a-user\n", b"\xff\xfe"])
def test_credentials_file_that_is_none(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "credentials"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError, match="credentials"):
        Broker.parse("mqtt://localhost", path)


def test_tls_is_checked_against_the_systems_authorities(
    tmp_path: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(shutil.which("openssl") is not None, "openssl")
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    command = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=test"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    with Mosquitto(tmp_path, f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}") as broker:
        secure = broker.url.replace("mqtt://", "mqtts://")
        with pytest.raises(BrokerError, match="found one of an authority that this system does not know"):
            round_trip(Broker.parse(secure), TOPICS)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert round_trip(Broker.parse(secure), TOPICS).seconds > 0
        with Subscriber(Broker.parse(secure)) as subscriber:
            thread = start_publisher(outbox, secure)
            made = [alert_of_its_own(image=sighting().image + bytes(300_000)) for _ in range(5)]  # type: ignore[operator]
            for each in made:
                outbox.put_alert(each, alert_messages(each))
            subscriber.until(lambda: outbox.depth() == 0)
            thread.stop()


def test_tls_to_a_port_without_it_is_an_error(mosquitto: Mosquitto) -> None:
    with mosquitto, pytest.raises(BrokerError, match=r"expected TLS at mqtts://.*, found a hang-up"):
        round_trip(Broker.parse(mosquitto.url.replace("mqtt://", "mqtts://")), TOPICS)
