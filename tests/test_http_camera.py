"""A phone as a camera: MJPEG and single pictures from a real server, and what goes wrong with them."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Iterator

import pytest

from edge.cameras import open_camera
from edge.cameras.http import pictures, shown
from models.errors import CameraError, UsageError
from tests.webcam import Server, running


@pytest.fixture(scope="module")
def webcam() -> Iterator[Server]:
    with running() as found:
        yield found


@pytest.mark.parametrize("path", ["video", "bare", "shot.jpg", "shot.jpg?quality=80"])
def test_stream_and_single_pictures_are_told_apart_by_what_the_server_says(webcam: Server, path: str) -> None:
    stop = threading.Event()
    frames = open_camera(webcam.url(path)).frames(stop)
    found = list(itertools.islice(frames, 3))
    stop.set()
    assert list(frames) == []
    assert [frame.index for frame in found] == [0, 1, 2]
    assert {frame.image.shape for frame in found} == {(48, 64, 3)}
    bright = [int(frame.image[24].mean(axis=1).argmax()) // 8 for frame in found]
    assert len(set(bright)) > 1
    assert all(frame.timestamp.tzinfo and not frame.replay and not frame.still for frame in found)


def test_damaged_picture_is_counted_and_left_out(webcam: Server) -> None:
    stop = threading.Event()
    camera = open_camera(webcam.url("spoiled"))
    frames = camera.frames(stop)
    # Even pictures are good: their column stands at an even multiple of 8.
    assert {int(next(frames).image[24].mean(axis=1).argmax()) // 8 % 2 for _ in range(4)} == {0}
    while not camera.skipped:
        next(frames)
    stop.set()


def test_of_pictures_with_bytes_too_many_no_library_says_a_line_each(
    webcam: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    stop = threading.Event()
    frames = open_camera(webcam.url("padded")).frames(stop)
    assert [frame.index for frame in itertools.islice(frames, 3)] == [0, 1, 2]
    stop.set()
    assert list(frames) == []
    assert capfd.readouterr().err == ""


def test_stream_that_is_cut_within_a_picture_gives_none_of_it(webcam: Server) -> None:
    frames = open_camera(webcam.url("cut")).frames(threading.Event())
    found = []
    with pytest.raises(CameraError, match="found the end of the stream"):
        found.extend(frames)
    assert len(found) <= 4


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("page", "found text/html; name the camera's video address"),
        ("locked", "found 401 Unauthorized"),
    ],
)
def test_what_is_no_camera_is_one_line(webcam: Server, path: str, said: str) -> None:
    with pytest.raises(CameraError, match=said) as found:
        next(open_camera(webcam.url(path)).frames(threading.Event()))
    assert "\n" not in str(found.value)


def test_password_opens_the_camera_and_is_shown_nowhere(webcam: Server) -> None:
    camera = open_camera(webcam.url("locked?key=s3cret").replace("//", "//ranger:s3cret@"))
    stop = threading.Event()
    frames = camera.frames(stop)
    assert "s3cret" not in camera.name + next(frames).source
    stop.set()
    webcam_is_off = open_camera("http://ranger:s3cret@127.0.0.1:1/video?key=s3cret")
    with pytest.raises(CameraError, match=r"http://127\.0\.0\.1:1/video: expected a picture") as found:
        next(webcam_is_off.frames(threading.Event()))
    assert "s3cret" not in str(found.value)


@pytest.mark.parametrize("url", ["http://", "http://:80/video", "http://phone:port/video", "http://[::1/video"])
def test_address_without_a_host_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError, match="expected an address like http://HOST:PORT/video"):
        open_camera(url)


def test_name_of_a_camera_holds_no_secret() -> None:
    assert shown("http://a:b@phone:8080/video?pwd=c#d") == "http://phone:8080/video"


@pytest.mark.parametrize("boundary", ["frame", "--frame"])
@pytest.mark.parametrize("length", ["", "Content-Length: 6\r\n"])
def test_parts_of_a_stream(boundary: str, length: str) -> None:
    part = f"--frame\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode()
    stream = b"\r\n" + part + b"first\n" + b"\r\n" + part + b"second"[:6] + b"\r\n" + part + b"cut"
    found = list(pictures(io.BytesIO(stream), boundary))
    assert [each[:6] for each in found] == [b"first\n", b"second"]
