"""The files of deploy/ that make a broker safe: certificates, access rules and configurations."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edge.listen.messages import LARGEST_PICTURE, LARGEST_TEXT
from edge.telling.payloads import Message
from tests.broker import Mosquitto, Subscriber
from tests.certificates import DEPLOY, make


def names_of(certificate: Path, *what: str) -> str:
    command = ["openssl", "x509", "-in", str(certificate), "-noout", *what]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_one_command_makes_all_and_keeps_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    found = make(folder, "mqtt.example.org,192.0.2.7,2001:db8::7", "oak", "listener")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines() == [
        *(f"made  {folder}/{name}.crt" for name in ("ca", "server", "oak", "listener")),
        "",
        "The broker is DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:mqtt.example.org, IP "
        "Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7",
        "On its machine:",
        "  sudo install -m 644 ca.crt /etc/mosquitto/ca_certificates/edge-watch-ca.crt",
        "  sudo install -m 644 server.crt /etc/mosquitto/certs/edge-watch-server.crt",
        "  sudo install -m 600 -o mosquitto server.key /etc/mosquitto/certs/edge-watch-server.key",
        "On the trap oak (--deployment oak; deploy/edge-watch.service takes them from there):",
        "  sudo install -m 644 -D ca.crt /etc/edge-watch/ca.crt",
        "  sudo install -m 644 -D oak.crt /etc/edge-watch/trap.crt",
        "  sudo install -m 600 -D oak.key /etc/edge-watch/trap.key",
        "For listener: ca.crt, listener.crt and listener.key (--ca, --certificate, --key)",
        "Keep ca.key where nobody else can read it, and on none of these machines.",
    ]
    assert names_of(folder / "oak.crt", "-subject").replace(" ", "") == "subject=CN=oak\n"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert folder.stat().st_mode & 0o077 == 0
    public = {f"{name}.crt" for name in ("ca", "server", "oak", "listener")}
    assert set(before) == public | {name.replace(".crt", ".key") for name in public}
    assert {path.name for path in folder.iterdir() if path.stat().st_mode & 0o077} == public
    again = make(folder, "mqtt.example.org", "elm", "oak")
    assert again.stdout.splitlines()[:4] == [
        f"kept  {folder}/ca.crt",
        f"kept  {folder}/server.crt",
        f"made  {folder}/elm.crt",
        f"kept  {folder}/oak.crt",
    ]
    assert {name: (folder / name).read_bytes() for name in before} == before


NAME = "expected a name of letters, digits, _ and -, found '{}'; only these stand in topics as they are"
HOSTS = "expected names or addresses of the broker with commas between them and no ports, found '{}'"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["localhost", "oak", "trap 7"], NAME.format("trap 7")),
        (["localhost", "a/b"], NAME.format("a/b")),
        (["localhost", "+"], NAME.format("+")),
        (["localhost", "oak.7"], NAME.format("oak.7")),
        (["localhost", "-x"], NAME.format("-x")),
        (["localhost", ""], NAME.format("")),
        (["localhost", "eiche\u00e4"], NAME.format("eiche\u00e4")),
        (["localhost", "n" * 65], f"expected a name of at most 64 letters, found 65: {'n' * 65}"),
        (["localhost", "ca"], "expected a trap's name, found ca, which is a file of its own; choose another"),
        (["localhost:8883", "oak"], HOSTS.format("localhost:8883")),
        (["a,,b", "oak"], HOSTS.format("a,,b")),
        (["a b", "oak"], HOSTS.format("a b")),
        ([], "expected a folder, the broker's names and then users, as: certificates mqtt.example.org oak"),
    ],
)
def test_script_refuses_in_one_line_before_it_makes_anything(tmp_path: Path, arguments: list[str], line: str) -> None:
    found = make(tmp_path / "made", *arguments)
    assert (found.returncode, found.stdout, found.stderr) == (2, "", f"make-certificates.sh: {line}\n")
    assert not (tmp_path / "made").exists()


def test_script_makes_no_second_half_of_a_pair_and_no_other_server(tmp_path: Path) -> None:
    make(tmp_path, "localhost", "oak")
    key = (tmp_path / "ca.key").read_bytes()
    found = make(tmp_path, "example.org", "elm")
    assert (found.returncode, found.stderr) == (
        1,
        f"make-certificates.sh: expected example.org in {tmp_path}/server.crt, found other names; delete server.crt "
        "and server.key, and begin again\n",
    )
    (tmp_path / "ca.key").unlink()
    found = make(tmp_path, "localhost", "elm")
    assert (found.returncode, found.stderr) == (
        1,
        f"make-certificates.sh: expected ca.crt and ca.key in {tmp_path}, found ca.crt alone; bring or delete the "
        "other\n",
    )
    assert not (tmp_path / "elm.crt").exists()
    (tmp_path / "ca.key").write_bytes(key)
    assert make(tmp_path, "localhost", "elm").returncode == 0


def settings_of(file: str) -> list[str]:
    lines = (DEPLOY / file).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_broker_with_and_without_tls_keeps_the_same() -> None:
    kept = settings_of("mosquitto.conf")[:7]
    assert kept == settings_of("mosquitto-tls.conf")[:7]
    assert f"max_packet_size {LARGEST_PICTURE + LARGEST_TEXT}" in kept
    assert settings_of("mosquitto.conf")[7:] == ["listener 1883 127.0.0.1", "allow_anonymous true"]


def test_what_the_broker_has_confirmed_survives_its_crash_but_for_the_last_changes(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path, "\n".join(settings_of("mosquitto.conf")).replace("listener 1883 127.0.0.1\n", ""))
    with broker:
        with Subscriber(broker, ["a"], "away"):
            pass
        texts = [f"message {number}".encode() for number in range(250)]
        with Subscriber(broker, ["b"], "sender") as sender:
            for text in texts:
                sender.publish(Message("a", text))
        broker.kill()
        broker.start()
        with Subscriber(broker, ["a"], "away") as back:
            # Said to be the last 200 at most; by default mosquitto writes after half an hour only.
            back.until(lambda: len(back.on("a")) >= 50)
            assert [each.payload for each in back.on("a")] == texts[: len(back.on("a"))]


def test_service_names_the_files_that_the_script_says() -> None:
    unit = (DEPLOY / "edge-watch.service").read_text()
    for name, file in (("broker", "broker"), ("ca", "ca.crt"), ("certificate", "trap.crt"), ("key", "trap.key")):
        assert f"\n#LoadCredential={name}:/etc/edge-watch/{file}\n" in unit
