"""Certificates by the project's own script, and a mosquitto by its own configuration, on a loopback port."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from edge.telling.broker import Broker
from tests.broker import Mosquitto, require

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
MUTUAL = ("require_certificate true", "use_identity_as_username true")


def make(folder: Path, *arguments: str, at: str = "") -> subprocess.CompletedProcess[str]:
    """Run the script; with `at` (as `-11 years`) when it was, or will be, another day."""
    require(shutil.which("openssl") is not None, "openssl")
    command = [str(DEPLOY / "make-certificates.sh"), str(folder), *arguments]
    if at:
        require(shutil.which("faketime") is not None, "faketime")
        command = ["faketime", at, *command]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def secure(folder: Path, certificates: Path, *without: str, rules: str = "", more: str = "") -> Mosquitto:
    """A broker as deploy/mosquitto-tls.conf and deploy/mosquitto.acl describe it.

    Args:
        folder: the broker's.
        certificates: what `make` made.
        without: lines of the configuration that are left out.
        rules: put at the end of the access rules.
        more: put at the end of the configuration.
    """
    places = {
        "/etc/mosquitto/ca_certificates/edge-watch-ca.crt": certificates / "ca.crt",
        "/etc/mosquitto/certs/edge-watch-server.crt": certificates / "server.crt",
        "/etc/mosquitto/certs/edge-watch-server.key": certificates / "server.key",
        "/etc/mosquitto/edge-watch.acl": folder / "acl",
    }
    text = (DEPLOY / "mosquitto-tls.conf").read_text()
    for line in ("listener 8883", *without):
        assert f"\n{line}\n" in text
        text = text.replace(f"\n{line}\n", "\n")
    for there, here in places.items():
        assert there in text
        text = text.replace(there, str(here))
    acl = folder / "acl"
    acl.write_text((DEPLOY / "mosquitto.acl").read_text() + rules)
    # What mosquitto wants when it runs as root: nobody else may change who may do what.
    os.chmod(acl, 0o600)
    return Mosquitto(folder, f"{text}\n{more}\n")


def url(broker: Mosquitto) -> str:
    return broker.url.replace("mqtt://127.0.0.1", "mqtts://localhost")


def as_user(broker: Mosquitto, certificates: Path, name: str) -> Broker:
    """The broker, for one who shows the certificate of that name."""
    return Broker.parse(
        url(broker),
        ca=certificates / "ca.crt",
        certificate=certificates / f"{name}.crt",
        key=certificates / f"{name}.key",
    )
