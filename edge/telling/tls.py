"""TLS to the broker: the certificates on this side, and in plain words why a connection failed."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UsageError

if TYPE_CHECKING:
    from edge.telling.broker import Broker

# OpenSSL's numbers, from x509_vfy.h.
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNTRUSTED = {2, 18, 19, 20, 21}
_OTHER_NAME = {62, 64}


class _Socket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            # paho would leave it to the garbage collector.
            self.close()
            raise


def context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """What a connection is checked against and shows of itself; the files are read now.

    Args:
        ca: certificates of the authorities to trust, in place of the system's; PEM.
        certificate: this client's, with those between it and the authority if there are any; PEM.
        key: its key, without a passphrase; PEM.

    Raises:
        UsageError: a file that cannot be read or is not what it should be, or a key that is not the certificate's.
    """
    for option, path, mark in (
        ("ca", ca, "BEGIN CERTIFICATE"),
        ("certificate", certificate, "BEGIN CERTIFICATE"),
        ("key", key, "PRIVATE KEY"),
    ):
        if path is not None:
            _check_file(option, path, mark)
    try:
        made = ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise UsageError(f"--ca {ca}: expected certificates in PEM, found {_what(error)}") from error
    made.minimum_version, made.sslsocket_class = ssl.TLSVersion.TLSv1_2, _Socket
    if (certificate is None) != (key is None):
        given, missing = ("--key", "--certificate") if certificate is None else ("--certificate", "--key")
        raise UsageError(f"expected --certificate and --key, found {given} alone; give {missing} too")
    if certificate is not None:
        try:
            # Without this, OpenSSL would ask the terminal for the passphrase.
            made.load_cert_chain(certificate, key, password=lambda: "")
        except ssl.SSLError as error:
            raise UsageError(_pair_problem(certificate, key, error)) from error
    return made


def _check_file(option: str, path: Path, mark: str) -> None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            f"--{option} {path}: expected a file that can be read, found {error.strerror}; check the path and who may "
            "read it"
        ) from error
    if mark not in text:
        raise UsageError(f"--{option} {path}: expected PEM with a line -----{mark}-----, found none")


def _pair_problem(certificate: Path, key: Path | None, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"--key {key}: expected the key of {certificate}, found that of another certificate"
    if "ENCRYPTED" in Path(str(key)).read_text(encoding="utf-8", errors="replace"):
        return (
            f"--key {key}: expected a key without a passphrase, which nobody is there to type; make one with `openssl "
            f"pkey -in {key} -out NEW`"
        )
    return f"--certificate {certificate}, --key {key}: expected a certificate and its key in PEM, found {_what(error)}"


def _what(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def handshake_problem(broker: Broker, error: OSError) -> str:
    """In one line, why no TLS connection came about; for errors that `answer_problem` knows, too."""
    if isinstance(error, ssl.SSLCertVerificationError):
        expected = f"expected the MQTT broker at {broker} to show a certificate that can be trusted"
        return f"{expected}, found {_certificate_problem(broker, error)}"
    if known := answer_problem(broker, str(error)):
        return known
    # Without TLS a broker hangs up at what it takes for rubbish, or waits for more of it.
    if isinstance(error, TimeoutError) and "handshake" in str(error):
        found = "silence"
    elif isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
        found = "a hang-up"
    elif isinstance(error, ssl.SSLError):
        found = f"something else ({_what(error)})"
    else:
        return f"no MQTT broker answers at {broker}: {error}"
    return f"expected TLS at {broker}, found {found}; is this a port without TLS, or of something else?"


def _certificate_problem(broker: Broker, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _UNTRUSTED:
        if broker.ca is None:
            return "one of an authority that this system does not know; name its own with --ca FILE"
        return f"one that is not from the authority in {broker.ca}; see --ca"
    if error.verify_code in _OTHER_NAME:
        return f"one for another name than {broker.host}; give --broker a name that is in it"
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if error.verify_code == _EXPIRED:
        return f"one that has expired; renew it at the broker (this computer's clock says {now})"
    if error.verify_code == _NOT_YET_VALID:
        return f"one that is not valid yet; is this computer's clock right? It says {now}"
    return f"one that is not: {error.verify_message}"


def answer_problem(broker: Broker, text: str) -> str | None:
    """In one line, what a broker said by a TLS alert instead of an answer; None if `text` names no such alert."""
    found = re.search(r"\[SSL: \w*ALERT_(\w+)\]", text)
    if found is None:
        return f"expected TLS 1.2 or newer at {broker}, found an older one" if "UNSUPPORTED_PROTOCOL" in text else None
    alert = found[1].lower().replace("_", " ")
    if alert == "protocol version":
        return f"the MQTT broker at {broker} speaks another TLS than 1.2 and 1.3"
    # Before TLS 1.3 a missing certificate was a handshake that failed.
    if alert == "certificate required" or (alert == "handshake failure" and broker.certificate is None):
        return f"the MQTT broker at {broker} wants a client's certificate; see --certificate and --key"
    if broker.certificate is not None:
        return f"the MQTT broker at {broker} does not accept {broker.certificate}: {alert}; see --certificate and --key"
    return f"the MQTT broker at {broker} ended TLS: {alert}"


def hint(broker: Broker) -> str:
    """What to look at when something took the connection and then did not answer as a broker does."""
    if not broker.tls:
        return "are address and port right, or does it speak TLS (mqtts://)?"
    if broker.certificate is None:
        return "are address and port right, or does it want a client's certificate (--certificate, --key)?"
    return "are address and port right?"
