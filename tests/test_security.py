"""Who may do what at the broker, over which link, and what is said when it fails: real TLS, real access rules."""

from __future__ import annotations

import json
import logging
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from edge.__main__ import main as edge_watch
from edge.doctor import check_broker, check_storage, doctor_main
from edge.listen import main as edge_listen
from edge.settings import Settings, read_settings
from edge.telling import homeassistant
from edge.telling.broker import Broker, BrokerError
from edge.telling.mqtt import Link
from edge.telling.outbox import FILE_NAME, Outbox
from edge.telling.payloads import Message, alert_messages
from edge.telling.publisher import Publisher
from edge.telling.round_trip import round_trip
from edge.telling.tls import context, handshake_problem
from edge.telling.topics import Topics
from edge.types import Deployment
from models.errors import UsageError
from tests.broker import Mosquitto, old_broker, require, wait_until
from tests.certificates import DEPLOY, MUTUAL, as_user, make, secure, url
from tests.samples import alert_of_its_own, put

ROOT = Path(__file__).resolve().parents[1]
OAK = Topics("oak")
SECRET = "pa$$ w\u00f6rd: #'\"\\ \t\u2028end "


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates for oak, elm and listener; not to be changed."""
    folder = tmp_path_factory.mktemp("certificates")
    made = make(folder, "localhost", "oak", "elm", "listener")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another authority with another oak."""
    folder = tmp_path_factory.mktemp("others")
    assert make(folder, "localhost", "oak").returncode == 0
    return folder


def credentials(folder: Path, user: str, password: str, name: str = "credentials") -> Path:
    path = folder / name
    path.write_bytes(f"{user}\n{password}\n".encode())
    path.chmod(0o600)
    return path


# Where the broker is.


@pytest.mark.parametrize("command", [edge_watch, edge_listen], ids=["edge-watch", "edge-listen"])
def test_unencrypted_to_another_machine_is_refused(
    command: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command(["--broker", "mqtt://192.0.2.7"]) == 2
    assert re.sub("^edge-(watch|listen): ", "", capsys.readouterr().err) == (
        "expected TLS to another machine, found mqtt://192.0.2.7 without; write mqtts:// (or give --plain, and anyone "
        "in between can read the alerts and the password)\n"
    )


def test_plain_is_for_who_means_it(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    assert Broker.of(read_settings(None, {"broker": "mqtt://192.0.2.7", "plain": True})) == Broker("192.0.2.7", 1883)
    (tmp_path / "trap.toml").write_text('broker = "192.0.2.7:1884"\nplain = true\n')
    assert Broker.of(read_settings(tmp_path / "trap.toml", {})) == Broker("192.0.2.7", 1884)
    assert [record.getMessage() for record in caplog.records] == [
        "mqtt://192.0.2.7:1883 is not encrypted: anyone in between can read the alerts and the password",
        "mqtt://192.0.2.7:1884 is not encrypted: anyone in between can read the alerts and the password",
    ]
    caplog.clear()
    assert Broker.parse(plain=True) == Broker("localhost", 1883)
    assert not caplog.records
    with pytest.raises(UsageError) as caught:
        Broker.parse("mqtts://h", plain=True)
    assert str(caught.value) == "expected one of --plain and TLS, found both (--broker mqtts://h); leave one out"


# Files.


def test_files_are_checked_before_connecting(certificates: Path, others: Path, tmp_path: Path) -> None:
    ca, oak, key = (certificates / name for name in ("ca.crt", "oak.crt", "oak.key"))
    missing, text, locked, broken = (tmp_path / name for name in ("missing", "text", "locked.key", "broken.crt"))
    text.write_text("hello\n")
    broken.write_text("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n")
    encrypt = ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(encrypt, check=True, capture_output=True)
    no_file = "expected a file that can be read, found No such file or directory; check the path and who may read it"
    for given, line in (
        ({"ca": missing}, f"--ca {missing}: {no_file}"),
        ({"key": missing, "certificate": oak}, f"--key {missing}: {no_file}"),
        ({"ca": text}, f"--ca {text}: expected PEM with a line -----BEGIN CERTIFICATE-----, found none"),
        ({"ca": key}, f"--ca {key}: expected PEM with a line -----BEGIN CERTIFICATE-----, found none"),
        ({"certificate": oak, "key": ca}, f"--key {ca}: expected PEM with a line -----PRIVATE KEY-----, found none"),
        ({"certificate": oak}, "expected --certificate and --key, found --certificate alone; give --key too"),
        ({"key": key}, "expected --certificate and --key, found --key alone; give --certificate too"),
        (
            {"certificate": oak, "key": others / "oak.key"},
            f"--key {others / 'oak.key'}: expected the key of {oak}, found that of another certificate",
        ),
        (
            {"certificate": oak, "key": locked},
            f"--key {locked}: expected a key without a passphrase, which nobody is there to type; make one with "
            f"`openssl pkey -in {locked} -out NEW`",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            Broker.parse("example.org", **given)
        assert str(caught.value) == line
    with pytest.raises(UsageError, match=f"--ca {broken}: expected certificates in PEM, found "):
        Broker.parse("example.org", ca=broken)
    with pytest.raises(UsageError) as caught:
        Broker.parse(ca=ca)
    assert str(caught.value) == (
        f"expected TLS where certificates are given ({ca}), found mqtt://localhost:1883; write mqtts://"
    )


def test_what_others_may_read_is_warned_of(
    certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = credentials(tmp_path, "oak", SECRET)
    key = tmp_path / "oak.key"
    shutil.copy(certificates / "oak.key", key)
    settings = Settings(
        broker="mqtts://localhost", credentials=given, certificate=certificates / "oak.crt", key=key
    )
    Broker.of(settings)
    assert not caplog.records
    given.chmod(0o604)
    key.chmod(0o640)
    Broker.of(settings)
    assert [record.getMessage() for record in caplog.records] == [
        f"{given} can be used by others on this computer (mode 604); type `chmod 600 {given}`",
        f"{key} can be used by others on this computer (mode 640); type `chmod 600 {key}`",
    ]


def test_service_finds_its_files_where_systemd_puts_them(
    certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "credentials.d"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert Broker.of(Settings(broker="example.org")) == Broker("example.org", 8883, tls=True)
    # systemd's access lists make a file look as if its group might read it.
    credentials(folder, "oak", SECRET, "broker").chmod(0o440)
    for name, file in (("ca", "ca.crt"), ("certificate", "oak.crt"), ("key", "oak.key")):
        shutil.copy(certificates / file, folder / name)
    files = {name: folder / name for name in ("ca", "certificate", "key")}
    assert Broker.of(Settings(broker="example.org")) == Broker("example.org", 8883, True, "oak", SECRET, **files)
    named = credentials(tmp_path, "elm", "x")
    found = Broker.of(Settings(broker="example.org", credentials=named, ca=certificates / "ca.crt"))
    assert (found.user, found.ca) == ("elm", certificates / "ca.crt")
    assert not caplog.records


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_user_and_password_are_kept_as_they_are(tmp_path: Path, ends: str) -> None:
    path = tmp_path / "credentials"
    for begin in ("", "\ufeff"):
        path.write_bytes(f"{begin} oak \u00e4{ends}{SECRET}{ends}".encode())
        found = Broker.parse(credentials=path)
        assert (found.user, found.password) == (" oak \u00e4", SECRET)
    path.write_bytes(f"oak{ends}{SECRET}".encode())
    assert Broker.parse(credentials=path).password == SECRET
    for content, line in (
        ("oak\n", f"expected the user in the first line of {path} and the password in the second"),
        ("\nx\n", f"expected the user in the first line of {path} and the password in the second"),
        ("oak\n\0", f"expected a user and a password of at most 65535 bytes in {path}, and no zero bytes"),
        ("oak\n" + 65536 * "x", f"expected a user and a password of at most 65535 bytes in {path}, and no zero bytes"),
        ("oak\ns3cret\udcff", f"cannot read the credentials file {path}: expected UTF-8, found something else"),
    ):
        path.write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(UsageError) as caught:
            Broker.parse(credentials=path)
        assert str(caught.value) == line


# Connections.


def problem(broker: Broker) -> str:
    """What is said when that broker cannot be used."""
    with pytest.raises(BrokerError) as caught:
        round_trip(broker, OAK, timeout_s=5.0)
    return str(caught.value)


def deliver(broker: Broker, folder: Path) -> None:
    """Let a trap try to deliver."""
    with Outbox(folder / FILE_NAME) as outbox:
        publisher = Publisher(outbox, OAK, broker)
        publisher.start()
        publisher.stop()


def test_certificate_that_cannot_be_trusted(
    certificates: Path, others: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trust = "to show a certificate that can be trusted, found one"
    with secure(tmp_path, certificates) as mosquitto:
        broker = url(mosquitto)
        assert problem(Broker.parse(broker)) == (
            f"expected the MQTT broker at {broker} {trust} of an authority that this system does not know; name its "
            "own with --ca FILE"
        )
        assert problem(Broker.parse(broker, ca=others / "ca.crt")) == (
            f"expected the MQTT broker at {broker} {trust} that is not from the authority in {others / 'ca.crt'}; see "
            "--ca"
        )
        caplog.clear()
        deliver(Broker.parse(broker, ca=others / "ca.crt"), tmp_path)
        assert [record.getMessage() for record in caplog.records] == [
            f"{problem(Broker.parse(broker, ca=others / 'ca.crt'))}; trying again until it is there"
        ]


def test_certificate_for_another_name(certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *more: resolve("127.0.0.1" if host == "mqtt.example.org" else host, *more)
    )
    with secure(tmp_path, certificates) as mosquitto:
        assert problem(Broker.parse(f"mqtt.example.org:{mosquitto.port}", ca=certificates / "ca.crt")) == (
            f"expected the MQTT broker at mqtts://mqtt.example.org:{mosquitto.port} to show a certificate that can be "
            "trusted, found one for another name than mqtt.example.org; give --broker a name that is in it"
        )


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ("-11 years", r"one that has expired; renew it at the broker \(this computer's clock says {} UTC\)"),
        ("+1 year", r"one that is not valid yet; is this computer's clock right\? It says {} UTC"),
    ],
)
def test_certificate_of_another_time(certificates: Path, tmp_path: Path, at: str, says: str) -> None:
    folder = tmp_path / "made"
    shutil.copytree(certificates, folder)
    for file in ("server.crt", "server.key"):
        (folder / file).unlink()
    assert make(folder, "localhost", at=at).returncode == 0
    with secure(tmp_path, folder) as mosquitto:
        found = problem(Broker.parse(url(mosquitto), ca=folder / "ca.crt"))
    expected = f"expected the MQTT broker at {url(mosquitto)} to show a certificate that can be trusted, found "
    assert found.startswith(expected)
    assert re.fullmatch(says.format(r"\d{4}-\d\d-\d\d \d\d:\d\d"), found.removeprefix(expected))


def test_tls_on_one_side_only(certificates: Path, tmp_path: Path) -> None:
    with secure(tmp_path, certificates) as mosquitto:
        assert problem(Broker.parse(mosquitto.url)) == (
            f"expected an MQTT broker at {mosquitto.url}, found a hang-up; are address and port right, or does it "
            "speak TLS (mqtts://)?"
        )
    with Mosquitto(tmp_path) as mosquitto:
        assert problem(Broker.parse(url(mosquitto), ca=certificates / "ca.crt")) == (
            f"expected TLS at {url(mosquitto)}, found a hang-up; is this a port without TLS, or of something else?"
        )


def test_port_that_says_nothing_or_something_else(certificates: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        broker = Broker.parse(f"mqtts://127.0.0.1:{server.getsockname()[1]}", ca=certificates / "ca.crt")
        with pytest.raises(BrokerError) as caught:
            round_trip(broker, OAK, timeout_s=0.2)
        assert str(caught.value) == (
            f"expected TLS at {broker}, found silence; is this a port without TLS, or of something else?"
        )

        # That connection, which nobody answered, is the first in the queue.
        server.accept()[0].close()
        answers = {b"HTTP/1.1 400 Bad Request\r\n\r\n": "something else (", b"": "a hang-up;"}

        def answer() -> None:
            for each in answers:
                with server.accept()[0] as other:
                    other.recv(4096)
                    other.sendall(each)

        thread = threading.Thread(target=answer)
        thread.start()
        found = [problem(broker) for _ in answers]
        thread.join()
    for said, expected in zip(found, answers.values(), strict=True):
        assert said.startswith(f"expected TLS at {broker}, found {expected}")
        assert said.endswith("; is this a port without TLS, or of something else?")
    unreachable = handshake_problem(broker, TimeoutError("timed out"))
    assert unreachable == f"no MQTT broker answers at {broker}: timed out"


@pytest.mark.parametrize("maximum", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_broker_that_wants_a_certificate_says_so(
    certificates: Path, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maximum: ssl.TLSVersion
) -> None:
    def up_to(*files: Path | None) -> ssl.SSLContext:
        made = context(*files)
        made.maximum_version = maximum
        return made

    monkeypatch.setattr("edge.telling.mqtt.context", up_to)
    with secure(tmp_path, certificates) as mosquitto:
        assert problem(Broker.parse(url(mosquitto), ca=certificates / "ca.crt")) == (
            f"the MQTT broker at {url(mosquitto)} wants a client's certificate; see --certificate and --key"
        )
        oak = others / "oak.crt"
        stranger = Broker.parse(url(mosquitto), ca=certificates / "ca.crt", certificate=oak, key=others / "oak.key")
        assert problem(stranger) == (
            f"the MQTT broker at {url(mosquitto)} does not accept {oak}: unknown ca; see --certificate and --key"
        )
        # That of the server is made for servers only.
        assert "does not accept" in problem(as_user(mosquitto, certificates, "server"))
        assert round_trip(as_user(mosquitto, certificates, "oak"), OAK).seconds > 0


def test_nothing_older_than_tls_1_2_is_spoken(certificates: Path) -> None:
    assert context(None, None, None).minimum_version == ssl.TLSVersion.TLSv1_2
    broker = Broker("h", 1, tls=True, ca=certificates / "ca.crt")
    old = ssl.SSLError(1, "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol (_ssl.c:1)")
    assert handshake_problem(broker, old) == "expected TLS 1.2 or newer at mqtts://h:1, found an older one"


def test_files_that_vanish_later_do_not_end_the_trap(
    certificates: Path, tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    ca = tmp_path / "ca.crt"
    shutil.copy(certificates / "ca.crt", ca)
    with secure(tmp_path, certificates, *MUTUAL, more="allow_anonymous true") as mosquitto:
        broker = Broker.parse(url(mosquitto), ca=ca)
        ca.unlink()
        publisher = Publisher(outbox, OAK, broker, delays_s=(0.05, 0.2))
        publisher.start()
        try:
            wait_until(lambda: bool(caplog.records))
            shutil.copy(certificates / "ca.crt", ca)
            wait_until(lambda: publisher.connected)
        finally:
            publisher.stop()
    assert [record.getMessage() for record in caplog.records][:2] == [
        f"--ca {ca}: expected a file that can be read, found No such file or directory; check the path and who may "
        "read it; trying again until it is there",
        f"connected to the MQTT broker at {broker} again",
    ]


# Rights.


class Client:
    """One who shows a certificate, with a session that the broker keeps."""

    def __init__(self, broker: Broker, client_id: str) -> None:
        self._link = Link(broker, client_id, session_s=3600)
        self._link.connect()

    def publish(self, topic: str, payload: bytes = b"{}", retain: bool = False) -> str:
        """The broker's answer to a message."""
        mid = self._link.publish(Message(topic, payload, retain=retain))
        while True:
            self._link.wait(10.0)
            for each, _, reason in self._link.acks:
                if each == mid:
                    return reason

    def subscribe(self, topics: str) -> None:
        self._link.subscribe([topics], qos=1)

    def heard(self, until: str) -> set[str]:
        """On which topics something came, when something has come on `until`."""
        while until not in (heard := {each.topic for each in self._link.received}):
            self._link.wait(10.0)
        return heard

    def close(self) -> None:
        self._link.disconnect()
        self._link.release()


@pytest.fixture
def enter(certificates: Path) -> Iterator[Callable[[Mosquitto, str], Client]]:
    with ExitStack() as stack:

        def connect(mosquitto: Mosquitto, name: str) -> Client:
            made = Client(as_user(mosquitto, certificates, name), f"{name}-client")
            stack.callback(made.close)
            return made

        yield connect


OURS = ("edge-watch/oak/alert/tiger", "edge-watch/oak/status", "edge-watch/oak/health", "edge-watch/oak/reply")
NOT_OURS = (
    *("edge-watch/elm/alert/tiger", "edge-watch/elm/status", "edge-watch/elm/command/look", "edge-watch", "other"),
    *("edge-watch/oakum/status", "homeassistant/device/elm/config", "homeassistant/status"),
    "edge-watch/listener/status",
)


def test_trap_writes_below_its_own_topics_only(
    certificates: Path, tmp_path: Path, enter: Callable[[Mosquitto, str], Client]
) -> None:
    with secure(tmp_path, certificates) as mosquitto:
        oak = enter(mosquitto, "oak")
        answers = {topic: oak.publish(topic) for topic in (*OURS, homeassistant.discovery_topic(OAK))}
        assert set(answers.values()) == {"No matching subscribers"}
        assert {topic: oak.publish(topic) for topic in NOT_OURS} == dict.fromkeys(NOT_OURS, "Not authorized")


def test_trap_hears_its_own_commands_and_a_listener_everything(
    certificates: Path, tmp_path: Path, enter: Callable[[Mosquitto, str], Client]
) -> None:
    kept = [f"edge-watch/{trap}/{what}" for trap in ("oak", "elm") for what in ("status", "alert/tiger")]
    with secure(tmp_path, certificates) as mosquitto:
        oak, elm, listener = (enter(mosquitto, name) for name in ("oak", "elm", "listener"))
        for topic in kept:
            trap = oak if "oak" in topic else elm
            assert trap.publish(topic, retain=True) == "No matching subscribers"
        listener.subscribe("edge-watch/#")
        assert listener.heard(kept[-1]) == set(kept)
        assert listener.publish("edge-watch/oak/alert/tiger") == "Not authorized"
        assert listener.publish("homeassistant/status") == "Not authorized"
        # mosquitto grants each subscription, and keeps back what may not be read.
        oak.subscribe("#")
        for command in ("edge-watch/elm/command/look", "edge-watch/oak/command/look"):
            assert listener.publish(command) == "Success"
        assert oak.heard(command) == {command}


@pytest.mark.parametrize("bound", [False, True], ids=["as shipped", "use_username_as_clientid"])
def test_who_takes_anothers_client_id_hears_nothing_of_it(certificates: Path, tmp_path: Path, bound: bool) -> None:
    line = "use_username_as_clientid true"
    assert f"\n#{line}\n" in (DEPLOY / "mosquitto-tls.conf").read_text()
    command = "edge-watch/oak/command/look"
    with secure(tmp_path, certificates, more=line if bound else "") as mosquitto:

        def kept_for(name: str) -> set[str]:
            """What the broker had kept for the client edge-watch-oak, when `name` connects as it."""
            own = f"edge-watch/{name}/check"
            client = Client(as_user(mosquitto, certificates, name), "edge-watch-oak")
            for topics in (own, command):
                client.subscribe(topics)
            client.publish(own)
            heard = client.heard(own) - {own}
            client.close()
            return heard

        assert kept_for("oak") == set()
        listener = Client(as_user(mosquitto, certificates, "listener"), "edge-listen")
        assert listener.publish(command) == "Success"
        listener.close()
        assert kept_for("elm") == set()
        assert kept_for("oak") == ({command} if bound else set())


def test_stolen_trap_is_shut_out(
    certificates: Path, tmp_path: Path, enter: Callable[[Mosquitto, str], Client]
) -> None:
    with secure(tmp_path, certificates) as mosquitto:
        oak, elm = enter(mosquitto, "oak"), enter(mosquitto, "elm")
        rules = tmp_path / "acl"
        stolen = "user oak\ntopic deny #\n"
        assert stolen in rules.read_text().replace("#user", "user").replace("#topic", "topic")
        rules.write_text(rules.read_text() + stolen)
        mosquitto.reload()
        wait_until(lambda: oak.publish(OURS[0]) == "Not authorized")
        assert elm.publish(NOT_OURS[0]) == "No matching subscribers"


def test_password_in_place_of_a_certificate(certificates: Path, tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "oak", SECRET], check=True, capture_output=True)
    passwords.chmod(0o600)
    with secure(tmp_path, certificates, *MUTUAL, more=f"password_file {passwords}") as mosquitto:
        given = {"ca": certificates / "ca.crt", "credentials": credentials(tmp_path, "oak", SECRET)}
        assert round_trip(Broker.parse(url(mosquitto), **given), OAK).seconds > 0
        given["credentials"].write_text("oak\nwrong\n")
        assert problem(Broker.parse(url(mosquitto), **given)) == (
            f"the MQTT broker at {url(mosquitto)} refuses: Not authorized; see --credentials"
        )


# The commands.


def test_no_password_in_what_is_printed_or_logged(
    certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "oak", "other"], check=True, capture_output=True)
    passwords.chmod(0o600)
    given = credentials(tmp_path, "oak", "s3cret")
    with secure(tmp_path, certificates, *MUTUAL, more=f"password_file {passwords}") as mosquitto:
        arguments = ["--broker", url(mosquitto), "--ca", str(certificates / "ca.crt"), "--credentials", str(given)]
        broker = Broker.parse(url(mosquitto), given, ca=certificates / "ca.crt")
        assert broker.password == "s3cret"
        command = [sys.executable, "-m", "edge.listen", *arguments, "--folder", str(tmp_path / "alerts"), "--debug"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as listener:
            assert listener.stderr is not None
            said = listener.stderr.readline()
            listener.send_signal(signal.SIGTERM)
            said += listener.stderr.read()
        assert said.startswith(f"edge-listen: the MQTT broker at {broker} refuses: Not authorized; see --credentials")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("edge.doctor.CHECKS", (("broker", check_broker),))
            with pytest.raises(BrokerError) as caught:
                doctor_main([*arguments, "--deployment", "oak", "--debug"])
            assert doctor_main([*arguments, "--deployment", "oak"]) == 1
        caplog.set_level(logging.DEBUG)
        deliver(broker, tmp_path)
    printed = capfd.readouterr()
    told = [repr(broker), str(broker), said, *printed, caplog.text]
    told += [str(each) for each in (caught.value, caught.value.__cause__, caught.value.__context__)]
    assert [each for each in told if "s3cret" in each] == []
    assert f"FAIL  broker: the MQTT broker at {broker} refuses: Not authorized; see --credentials" in printed.out
    assert "refuses: Not authorized" in caplog.text


def test_alert_comes_from_a_trap_to_a_listener_by_their_certificates(
    certificates: Path, tmp_path: Path, outbox: Outbox
) -> None:
    folder = tmp_path / "alerts"
    with secure(tmp_path, certificates) as mosquitto:
        command = [sys.executable, "-m", "edge.listen", "--broker", url(mosquitto), "--folder", str(folder)]
        for option, file in (("--ca", "ca.crt"), ("--certificate", "listener.crt"), ("--key", "listener.key")):
            command += [option, str(certificates / file)]
        command.append("--count=1")
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as listener:
            wait_until(lambda: "Sending SUBACK to edge-listen" in mosquitto.log)
            publisher = Publisher(outbox, OAK, as_user(mosquitto, certificates, "oak"))
            publisher.start()
            alert = replace(alert_of_its_own(), deployment=Deployment("oak"))
            outbox.put_alert(alert, alert_messages(alert))
            printed, said = listener.communicate(timeout=60)
            wait_until(lambda: outbox.depth() == 0)
            publisher.stop()
        assert listener.returncode == 0, said
    assert printed.count("\n") == 1
    stored = sorted(path.suffix for path in folder.iterdir() if alert.sighting.id in path.name)
    assert stored == [".jpg", ".json"]
    [text] = folder.glob("*.json")
    assert json.loads(text.read_text())["id"] == alert.sighting.id


def settings(folder: Path, mosquitto: Mosquitto, **more: object) -> Settings:
    return Settings(broker=mosquitto.url, deployment="oak", data=folder / "data", **more)  # type: ignore[arg-type]


def check(folder: Path, mosquitto: Mosquitto) -> str:
    """What `edge-doctor` says of the broker, with N for each time it took."""
    return re.sub(r"\d+ ms", "N ms", check_broker(settings(folder, mosquitto)))


def test_doctor_says_how_much_the_broker_takes(tmp_path: Path) -> None:
    with Mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 20000") as mosquitto:
        assert check(tmp_path, mosquitto) == (
            f"{mosquitto.url}, a message there and back in N ms; messages of at most 20 kB: larger pictures are made "
            "to fit"
        )


def test_doctor_says_that_no_command_comes_through(tmp_path: Path) -> None:
    rules = {
        "defaultACLAccess": {"publishClientSend": True, "publishClientReceive": True, "unsubscribe": True},
        "roles": [
            {
                "rolename": "all",
                "acls": [{"acltype": "subscribePattern", "topic": "edge-watch/+/check", "allow": True}],
            }
        ],
        "groups": [{"groupname": "all", "roles": [{"rolename": "all"}]}],
        "anonymousGroup": "all",
    }
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    plugin = next(Path("/usr").glob("lib*/**/mosquitto_dynamic_security.so"), None)
    require(plugin is not None, "mosquitto's plugin for dynamic security")
    config = f"allow_anonymous true\nplugin {plugin}\nplugin_opt_config_file {tmp_path / 'rules.json'}"
    with Mosquitto(tmp_path, config) as mosquitto:
        assert check(tmp_path, mosquitto) == (
            f"{mosquitto.url}, a message there and back in N ms; but no command comes through: Not authorized for "
            "edge-watch/oak/command/#"
        )


def test_doctor_says_that_an_old_broker_cannot_say_what_it_refuses(tmp_path: Path) -> None:
    with old_broker(tmp_path) as broker:
        assert check(tmp_path, broker) == (
            f"{broker.url}, a message there and back in N ms; MQTT 3.1.1 only: what it refuses is lost without a word"
        )


def test_doctor_says_what_may_not_be_told(certificates: Path, tmp_path: Path) -> None:
    given = {"ca": certificates / "ca.crt", "certificate": certificates / "elm.crt", "key": certificates / "elm.key"}
    with secure(tmp_path, certificates) as mosquitto, pytest.raises(BrokerError) as caught:
        check_broker(Settings(broker=url(mosquitto), deployment="oak", **given))  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"a message on edge-watch/oak/check does not come back from {url(mosquitto)}: Not authorized; may this user "
        "use the topic?"
    )


def test_doctor_says_why_messages_wait(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Outbox(data / FILE_NAME) as outbox:
        for _ in range(4):
            put(outbox, image=None)
        first, second, third, _ = (stored.row for stored in outbox.pending(10))
        outbox.refused(first, "Packet too large", 0.0)
        outbox.refused(second, "Not authorized", 0.0)
        outbox.unheard(third)
    found = check_storage(Settings(data=data, record="nothing"))
    assert re.sub(r"[\d.]+ GB", "N GB", found) == (
        f"{data} takes alerts, 4 messages wait, 2 of them because the broker refuses them: Not authorized, 1 of them "
        "because nobody is subscribed to them, N GB free"
    )
