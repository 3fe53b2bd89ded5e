"""`make test-picamera2`: the daemon's own camera, by the real picamera2 and libcamera's virtual camera."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.cameras import open_camera
from edge.telling.outbox import FILE_NAME
from tests.broker import require
from tests.test_recovery import AGAIN, IMPATIENT, LOST, RECOVERS_S, SEES, Watching

HERE = Path(__file__).resolve().parent
LAB = HERE.parents[1] / ".picamera"
WIDTH, HEIGHT = 1280, 720
SIZES = ((WIDTH, HEIGHT), (320, 180))


@pytest.fixture(scope="module", autouse=True)
def _lab() -> None:
    there = os.geteuid() == 0 and shutil.which("unshare") is not None and (LAB / "installed").exists()
    require(there, "the Debian that root makes with mmdebstrap (make test-picamera2)")


@pytest.fixture
def work(tmp_path: Path, shared: Path) -> Path:
    """A folder with six trap photos, by day and by infrared, that the virtual camera shows one after another."""
    photos = sorted((shared / "data/cameratrap/frames").glob("*.jpg"))
    chosen = [photo for photo in photos if min(cv2.imread(str(photo)).shape[:2]) >= 400][:60:10]
    show(tmp_path, [cv2.resize(cv2.imread(str(photo)), (WIDTH, HEIGHT)) for photo in chosen])
    return tmp_path


def show(folder: Path, pictures: list[np.ndarray], sizes: tuple[tuple[int, int], ...] = SIZES) -> None:
    """Make the virtual camera: what it shows, and in which sizes."""
    (folder / "frames").mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"frames/{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    formats = [{"width": width, "height": height, "frame_rates": [5]} for width, height in sizes]
    camera = {"supported_formats": formats, "frames": {"path": "/work/frames/"}, "model": "trap",
              "location": "CameraLocationExternal"}  # fmt: skip
    # JSON is YAML.
    (folder / "virtual.yaml").write_text(f"%YAML 1.1\n---\n{json.dumps({'Virtual0': camera})}\n")


def inside(work: Path, *command: str) -> list[str]:
    return ["bash", str(HERE / "run.sh"), str(LAB / "root"), str(work), *command]


def frames(work: Path, *arguments: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Pictures and luma planes of the daemon's camera, and what was said."""
    command = inside(work, "python", "tests/picamera/inside/frames.py", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    with np.load(work / "frames.npz") as found:
        return found["images"], found["lumas"], done.stderr


class Inside(Watching):
    """A daemon in that Debian, and what it says."""

    def __init__(
        self, work: Path, *options: str, environment: tuple[str, ...] = (), program: tuple[str, ...] = ("-m", "edge")
    ) -> None:
        fixed = ("--source", "picamera", "--data", "/work/data", "--broker", "mqtt://127.0.0.1:9")
        command = inside(work, "env", *environment, "python", *program, *fixed, *options)
        self.start(command, os.environ)

    def child(self) -> int:
        """The process that reads the camera."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        [found] = [int(child) for child in children if b"edge.cameras.picam" in command_line(child)]
        return found


def command_line(process: str | int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


@contextlib.contextmanager
def watching(work: Path, *options: str, **more: tuple[str, ...]) -> Iterator[Inside]:
    daemon = Inside(work, *options, **more)
    try:
        yield daemon
    finally:
        daemon.process.terminate()
        code = daemon.ends()
    assert code == 0


@contextlib.contextmanager
def another_program(work: Path) -> Iterator[None]:
    """The camera is used by somebody else."""
    command = inside(work, "python", "tests/picamera/inside/hold.py")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"held\n"
            yield
        finally:
            process.kill()


def difference(picture: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(picture.astype(np.int16) - other).mean())


@pytest.mark.parametrize("degrees", [0, 90])
def test_frames_are_the_photos_and_luma_is_the_same_view(work: Path, degrees: int) -> None:
    upright = [cv2.imread(str(photo)) for photo in sorted((work / "frames").glob("*.jpg"))]
    photos = [cv2.rotate(photo, cv2.ROTATE_90_CLOCKWISE) for photo in upright] if degrees else upright
    images, lumas, said = frames(work, "30", str(degrees))
    assert said == ""
    assert images.shape[1:] == photos[0].shape
    assert lumas.shape[1:] == ((320, 180) if degrees else (180, 320))
    shown = set()
    for image, luma in zip(images, lumas, strict=True):
        differences = [difference(image, photo) for photo in photos]
        nearest = int(np.argmin(differences))
        shown.add(nearest)
        assert differences[nearest] < 3
        # libcamera scales more coarsely than we would.
        lumas_of_photos = [cv2.resize(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), luma.shape[::-1]) for photo in photos]
        differences = [difference(cv2.blur(luma, (5, 5)), cv2.blur(other, (5, 5))) for other in lumas_of_photos]
        assert int(np.argmin(differences)) == nearest
        assert differences[nearest] < 3
    assert len(shown) >= 3


def test_camera_with_one_size_of_pictures_says_that_the_picture_is_scaled(work: Path) -> None:
    photos = [cv2.imread(str(photo)) for photo in sorted((work / "frames").glob("*.jpg"))]
    show(work, photos, SIZES[:1])
    images, lumas, said = frames(work, "3")
    assert "expected a second picture for motion of a quarter of 1280x720, found NV12 of 1280x720" in said
    assert images.shape == (3, HEIGHT, WIDTH, 3)
    assert lumas.size == 0


def test_animal_that_walks_past_is_an_alert_in_the_outbox(tmp_path: Path, shared: Path) -> None:
    clip = open_camera(str(shared / "data/scenes/dev01_tiger_day_cross.mp4"))
    # Each is shown four times, at five a second; the tiger comes at 8.4 s.
    show(tmp_path, [frame.image for frame in clip.frames(threading.Event())][20::2])
    with watching(tmp_path, "--species", "tiger") as daemon:
        daemon.until("watching picamera for tiger")
        daemon.until("alert: tiger", 60)
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / FILE_NAME)) as outbox:
        [(count,)] = outbox.execute("SELECT count(*) FROM messages WHERE topic LIKE '%/alert/tiger'")
    assert count == 1


def test_camera_that_another_program_uses_is_one_line(work: Path) -> None:
    with another_program(work):
        daemon = Inside(work)
        daemon.until("edge-watch: ")
        assert daemon.ends() == 1
    assert len(daemon.said) == 1
    assert "expected a camera that is free, found Failed to acquire camera: Device or resource busy" in daemon.said[0]


def test_camera_that_another_program_frees_is_watched(work: Path) -> None:
    # As after a start anew: then even the first opening is tried again.
    with contextlib.ExitStack() as using:
        using.enter_context(another_program(work))
        with watching(work, environment=("EDGE_WATCH_RESTARTS=1",)) as daemon:
            daemon.until(LOST)
            using.close()
            daemon.until(AGAIN)


def test_no_camera_is_one_line(work: Path) -> None:
    daemon = Inside(work, environment=("LIBCAMERA_PIPELINES_MATCH_LIST=none",))
    daemon.until("edge-watch: ")
    assert daemon.ends() == 1
    assert len(daemon.said) == 1
    assert "picamera: expected a camera that is free, found No camera number 0 found" in daemon.said[0]


def test_camera_that_stops_is_told_and_watched_again(work: Path) -> None:
    with watching(work) as daemon:
        daemon.until(SEES)
        (work / "stopped").touch()
        daemon.until("picamera: expected a frame within 9 s, found none")
        (work / "stopped").unlink()
        daemon.until(AGAIN)


def test_program_that_begins_anew_finds_the_camera_free(work: Path) -> None:
    script = f"import sys; from edge.__main__ import main; {IMPATIENT}\nsys.exit(main(sys.argv[1:]))"
    with watching(work, program=("-c", script)) as daemon:
        daemon.until(SEES)
        (work / "stopped").touch()
        daemon.until("the program begins anew")
        (work / "stopped").unlink()
        daemon.until(SEES)


def test_camera_that_stops_for_good_does_not_keep_the_daemon_from_ending(work: Path) -> None:
    with watching(work) as daemon:
        daemon.until(SEES)
        (work / "stopped").touch()


def test_reader_that_hangs_is_killed_and_frames_come_again(work: Path) -> None:
    with watching(work) as daemon:
        daemon.until(SEES)
        hanging = daemon.child()
        os.kill(hanging, signal.SIGSTOP)
        daemon.until("picamera: expected a camera, found no frame for 10 s")
        daemon.until(AGAIN)
        assert not Path(f"/proc/{hanging}").exists()
        assert daemon.child() != hanging


def test_reader_ends_with_a_daemon_that_is_killed(work: Path) -> None:
    daemon = Inside(work)
    daemon.until(SEES)
    reader = daemon.child()
    daemon.process.kill()
    daemon.ends()
    until = time.monotonic() + RECOVERS_S
    while Path(f"/proc/{reader}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{reader}").exists()


def test_what_is_mounted_for_a_run_is_seen_by_no_other_process(work: Path) -> None:
    with another_program(work):
        assert str(LAB) not in Path("/proc/mounts").read_text()
    assert str(LAB) not in Path("/proc/mounts").read_text()
