"""What a user sees of bad input and bad places to write to: one clear line, nothing half-written, no photo changed."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.images import read_image
from train.cli import main

ROOT = Path(__file__).parents[1]
FIT = ("--weights", "none", "--backbone", "mobilenet_v2_0.35", "--size", "64", "--epochs", "0")
LIMIT = 60_000


def noise(seed: int, side: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (side, side + 10, 3)).astype(np.uint8)


def state(folder: Path) -> dict[str, str]:
    """The sha256 of all files below a folder; links and pipes by name only."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            for path in sorted(folder.rglob("*"))}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of 6 good photos each, with names as people give them."""
    root = tmp_path / "my photos"
    for number, name in enumerate(("fox", "häse ü")):
        (root / name).mkdir(parents=True)
        for photo in range(6):
            cv2.imencode(".png", noise(10 * number + photo))[1].tofile(root / name / f"no {photo} é.png")
    return root


def inspected(data: Path, capfd: pytest.CaptureFixture[str]) -> tuple[dict[str, object], str]:
    """What `train inspect --json` finds, and what it says meanwhile; it must not change anything in DATA."""
    before = state(data if data.is_dir() else data.parent)
    assert main(["inspect", str(data), "--json", "--out", str(data.parent.parent / "out")]) == 0
    assert state(data if data.is_dir() else data.parent) == before
    out, err = capfd.readouterr()
    return json.loads(out), err


def train(*arguments: object, cwd: Path, limit: int | None = None) -> tuple[int, str]:
    """Exit code and last line on stderr of `python -m train`, where a file may not grow beyond `limit` bytes."""

    def restrict() -> None:
        ctypes.CDLL(None).prctl(24, 1)  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE: else root may write anywhere.
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run([sys.executable, "-m", "train", *map(str, arguments)], cwd=cwd,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
                          capture_output=True, text=True, timeout=280, check=False, preexec_fn=restrict)
    return done.returncode, done.stderr.strip().splitlines()[-1]


def test_files_that_are_no_pictures_are_named_and_left_out(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fox = photos / "fox"
    png = cv2.imencode(".png", noise(1))[1].tobytes()
    (fox / "cut.png").write_bytes(png[: len(png) // 2])
    (fox / "empty.jpg").write_bytes(b"")
    (fox / "text.jpg").write_text("no picture")
    (fox / "float.tiff").write_bytes(cv2.imencode(".tiff", np.full((90, 90, 3), 0.5, np.float32))[1].tobytes())
    (fox / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    (fox / "folder.jpg").mkdir()
    os.mkfifo(fox / "pipe.jpg")
    with (fox / "huge.tif").open("wb") as file:
        file.write(b"II*\0")
        file.truncate(200_000_000)
    found, err = inspected(photos, capfd)
    damaged = "expected a picture, found data that is none or is damaged; copy it again or delete it"
    assert {entry["path"]: entry["reason"] for entry in found["broken"]} == {  # type: ignore[attr-defined]
        "fox/cut.png": damaged, "fox/text.jpg": damaged,
        "fox/float.tiff": damaged,
        "fox/empty.jpg": "expected a picture, found an empty file; copy it again or delete it",
        "fox/gone.jpg": "cannot be read: No such file or directory; check the path and its permissions",
        "fox/pipe.jpg": "expected a picture, found a pipe or a device; leave it out",
        "fox/huge.tif": "expected a picture of at most 64 MB, found 200 MB; shrink it or leave it out",
    }
    assert (found["photos"], found["classes"]["fox"]["photos"]) == (19, 13)  # type: ignore[index]
    assert "WARN" not in err
    assert "libpng" not in err


def test_missing_photos_of_a_table_are_named_and_left_out(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [f"{path.relative_to(photos)},{path.parent.name}" for path in sorted(photos.rglob("*.png"))]
    (photos / "all.csv").write_text("\n".join(["path,label", *rows, "fox/9.png,fox"]))
    found, _ = inspected(photos / "all.csv", capfd)
    assert [entry["path"] for entry in found["broken"]] == ["fox/9.png"]  # type: ignore[attr-defined]
    assert (found["photos"], found["root"]) == (13, str(photos))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def kinds() -> dict[str, tuple[bytes, tuple[int, int, int]]]:
    """Files of rare kinds that show one colour, and that colour: BGR."""
    orange = Image.new("RGB", (32, 32), (200, 30, 60))
    green = Image.new("RGB", (32, 32), (0, 255, 0))
    deep = np.zeros((32, 32, 3), np.uint16)
    deep[:] = (300, 32896, 65535)  # BGR; of 16 bits the upper 8 are kept.
    first_of = {"save_all": True, "append_images": [green], "duration": 100}
    bgr = (60, 30, 200)
    return {
        "cmyk.jpg": (encoded(orange.convert("CMYK"), "JPEG", quality=100), bgr),
        "cmyk.tif": (encoded(orange.convert("CMYK"), "TIFF"), bgr),
        "deep.png": (cv2.imencode(".png", deep)[1].tobytes(), (1, 128, 255)),
        "deep.tif": (cv2.imencode(".tiff", deep)[1].tobytes(), (1, 128, 255)),
        "deep grey.png": (cv2.imencode(".png", deep[..., 1])[1].tobytes(), (128, 128, 128)),
        "deep grey.tif": (cv2.imencode(".tiff", deep[..., 1])[1].tobytes(), (128, 128, 128)),
        "animated.webp": (encoded(orange, "WEBP", lossless=True, **first_of), bgr),
        "animated.png": (encoded(orange, "PNG", **first_of), bgr),
        "palette.png": (encoded(orange.quantize(4), "PNG"), bgr),
        "clear.png": (encoded(Image.new("RGBA", (32, 32), (200, 30, 60, 0)), "PNG"), bgr),
        "grey and clear.png": (encoded(Image.new("LA", (32, 32), (200, 30)), "PNG"), (200, 200, 200)),
    }


@pytest.mark.parametrize("name", kinds())
def test_rare_kinds_of_files_show_the_right_colours(tmp_path: Path, name: str) -> None:
    content, colour = kinds()[name]
    (tmp_path / name).write_bytes(content)
    image = read_image(tmp_path / name)
    assert image.shape == (32, 32, 3)
    tolerance = 1 if name == "cmyk.jpg" else 0
    assert np.abs(image.astype(int) - colour).max() <= tolerance


def test_all_rare_kinds_are_read_and_not_changed(photos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, (content, _) in kinds().items():
        (photos / "fox" / name).write_bytes(content)
    found, _ = inspected(photos, capfd)
    assert found["broken"] == []
    assert found["photos"] == 12 + len(kinds())


@pytest.mark.parametrize(("change", "message"), [
    ("hare/", "expected photos in each class folder, found none in hare; add photos (.bmp .jpeg .jpg .png .tif .tiff "
     ".webp) or remove the folder"),
    ("-häse ü", "expected at least 2 classes, found 1 (fox); add a folder of other photos, such as `empty`"),
    ("-", "expected one folder of photos per class (or train, val and test folders of them), found no photos in such "
     "folders; put each class into a folder of its own"),
    ("hare/1.png", "expected at least 5 photos of each class, found fewer of hare (1); add photos, remove the class or "
     "leave it out with --exclude"),
])
def test_classes_that_cannot_be_trained_are_refused_before_anything_is_written(
    photos: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    if change.startswith("-"):
        for path in [*(photos.rglob("*.png") if change == "-" else (photos / change[1:]).glob("*"))]:
            path.unlink()
        for path in [path for path in photos.iterdir() if not [*path.iterdir()]]:
            path.rmdir()
    elif change.endswith("/"):
        (photos / change).mkdir()
    else:
        (photos / change).parent.mkdir()
        cv2.imwrite(str(photos / change), noise(99))
    before = state(photos.parent)
    assert main(["fit", str(photos), *FIT, "--out", str(photos.parent / "runs/x")]) == 1
    assert capsys.readouterr().err == f"train: {photos}: {message}\n"
    assert state(photos.parent) == before


def test_a_split_that_is_not_there_is_refused_before_anything_is_written(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(photos), *FIT, "--split", "no.csv", "--out", str(photos.parent / "runs/x")]) == 2
    assert capsys.readouterr().err.startswith("train: no.csv: expected a CSV file in UTF-8, found [Errno 2]")
    assert [path.name for path in photos.parent.iterdir()] == ["my photos"]


@pytest.mark.parametrize("command", ["inspect", "fit"])
def test_a_place_that_cannot_be_written_is_one_line(photos: Path, command: str) -> None:
    folder = photos.parent / "locked"
    folder.mkdir(mode=0o555)
    code, said = train(command, photos, *(FIT if command == "fit" else ()), "--out", folder / "x", cwd=photos.parent)
    assert code == 1
    assert said.startswith(f"train: {folder / 'x'}: cannot be written: {folder} is read-only; choose another --out")
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize("command", ["inspect", "fit"])
def test_a_full_disk_is_one_line_and_leaves_nothing(photos: Path, command: str) -> None:
    before = state(photos)
    code, said = train(command, photos, *(FIT if command == "fit" else ()), "--out", "runs/x", cwd=photos.parent,
                       limit=LIMIT)
    assert code == 1
    assert "File too large" in said
    assert said.startswith("train: ")
    assert said.endswith("choose another --out")
    assert state(photos) == before
    assert [*(photos.parent / "runs").glob("*")] == []
