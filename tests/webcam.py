"""A phone's camera app on loopback, in a process of its own so that a test can stop, freeze and kill it."""

from __future__ import annotations

import base64
import contextlib
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.broker import free_port, require, wait_for_port

WEBCAM = (sys.executable, "-m", "tests.webcam")
RTSP_CAMERA = ("/usr/bin/python3", "tests/rtsp_server.py")
HAS_RTSP = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0')\n"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
    "assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
)
COUNTER = itertools.count()
MOST_FRAMES = 10_000


def picture(number: int) -> bytes:
    """A JPEG of 64 x 48 pixels: dark, with a bright column at 8 times `number` (modulo the width)."""
    import cv2
    import numpy as np

    image = np.full((48, 64, 3), 40, np.uint8)
    left = 8 * number % 64
    image[:, left : left + 8] = 220
    return cv2.imencode(".jpg", image)[1].tobytes()


class Handler(BaseHTTPRequestHandler):
    """/video: a stream. /bare: without lengths. /same: one picture for ever. /cut: ends within its fifth picture.
    /spoiled: every second picture is damaged. /padded: each has bytes too many. /shot.jpg: one picture. /locked: asks
    for ranger and s3cret. /page: text.
    """

    def do_GET(self) -> None:
        kind = self.path.strip("/").partition("?")[0]
        if kind == "locked" and self.headers["Authorization"] != f"Basic {base64.b64encode(b'ranger:s3cret').decode()}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
        elif kind in ("shot.jpg", "page"):
            data = picture(next(COUNTER)) if kind == "shot.jpg" else b"<html>hello</html>"
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg" if kind == "shot.jpg" else "text/html")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        else:
            self.send_response(200)
            self.send_header("Content-Type", 'multipart/x-mixed-replace; boundary="--frame"')
            self.end_headers()
            with contextlib.suppress(OSError):
                self.stream(kind)

    def stream(self, kind: str) -> None:
        for number in range(MOST_FRAMES):
            data = picture(0 if kind == "same" else number)
            if kind == "spoiled" and number % 2:
                data = b"\xff\xd8\xff" + bytes(200)
            if kind == "padded":
                data = data[:-2] + b"\x11" * 8 + data[-2:]
            length = "" if kind == "bare" else f"Content-Length: {len(data)}\r\n"
            self.wfile.write(f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode())
            if kind == "cut" and number == 4:
                self.wfile.write(data[: len(data) // 2])
                return
            self.wfile.write(data + b"\r\n")
            time.sleep(0.02)

    def log_message(self, format: str, *arguments: object) -> None:
        """Be quiet."""


class Server:
    """A camera in its own process; its address stays the same when it is started again.

    Args:
        command: the process; its last argument will be the port.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.port, self._command = free_port(), command
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, path: str = "video", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        self._process = subprocess.Popen([*self._command, str(self.port)])
        wait_for_port(self.port, self._process)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def require_rtsp() -> None:
    """Skip the test where GStreamer's RTSP server is not installed."""
    there = Path(RTSP_CAMERA[0]).exists() and not subprocess.run(
        [RTSP_CAMERA[0], "-c", HAS_RTSP], check=False, stderr=subprocess.DEVNULL
    ).returncode
    require(there, "GStreamer's RTSP server (apt install python3-gi gir1.2-gst-rtsp-server-1.0 "
            "gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly)")


@contextlib.contextmanager
def running(command: Sequence[str] = WEBCAM) -> Iterator[Server]:
    """A camera that is on."""
    webcam = Server(command)
    webcam.start()
    try:
        yield webcam
    finally:
        webcam.stop()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
