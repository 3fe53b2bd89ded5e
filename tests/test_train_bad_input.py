"""What a user sees of bad input and bad places to write to: one clear line, nothing half-written, no photo changed."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from models.errors import EdgeWatchError
from models.images import read_image
from train.cli import _partial, main, parser
from train.recipe import DEFAULT

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
    first = found["findings"][0]  # type: ignore[index]
    assert first["text"] == "7 photos cannot be read."
    assert first["advice"].startswith("fox/cut.png, fox/float.tiff, fox/text.jpg: expected a picture, found data that "
                                      "is none or is damaged; copy it again or delete it. fox/empty.jpg: expected a "
                                      "picture, found an empty file; copy it again or delete it. fox/gone.jpg: does")
    assert first["advice"].endswith("names it. 2 more: the reasons are in inspect.json. `train fit` leaves out what it "
                                    "cannot read.")
    damaged = "expected a picture, found data that is none or is damaged; copy it again or delete it"
    assert {entry["path"]: entry["reason"] for entry in found["broken"]} == {  # type: ignore[attr-defined]
        "fox/cut.png": damaged, "fox/text.jpg": damaged,
        "fox/float.tiff": damaged,
        "fox/empty.jpg": "expected a picture, found an empty file; copy it again or delete it",
        "fox/gone.jpg": "does not exist; correct the path, or the table that names it",
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
    assert found["broken"] == [{"path": "fox/9.png",
                                "reason": "does not exist; correct the path, or the table that names it"}]
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
    assert capsys.readouterr().err == ("train: no.csv: expected a CSV file in UTF-8, found none; save it as CSV UTF-8, "
                                       "or correct --split\n")
    assert [path.name for path in photos.parent.iterdir()] == ["my photos"]


@pytest.mark.parametrize(("option", "message"), [
    ("--exclude", "expected a text file with one photo's path a line, found none; check --exclude"),
    ("--recipe", "expected a recipe (a TOML file), found none; correct --recipe or take recipes/default.toml"),
])
def test_a_list_or_a_recipe_that_is_not_there_is_one_line(
    photos: Path, capsys: pytest.CaptureFixture[str], option: str, message: str
) -> None:
    assert main(["fit", str(photos), option, "no such file"]) == 2
    assert capsys.readouterr().err == f"train: no such file: {message}\n"


@pytest.mark.parametrize("name", ["a/b c", "a\nb"])
def test_a_name_that_is_no_name_is_refused_in_one_line(
    photos: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["fit", str(photos), *FIT, "--name", name]) == 2
    assert capsys.readouterr().err == (f"train: --name: expected a name without / and control characters, found "
                                       f"{name!r}; choose another\n")


@pytest.mark.parametrize("command", ["inspect", "fit"])
def test_a_table_with_a_header_only_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "all.csv").write_text("path,label\n\n")
    assert main([command, str(tmp_path / "all.csv")]) == 1
    assert capsys.readouterr().err == (f"train: {tmp_path}/all.csv: expected a photo in each line below the header, "
                                       f"found no such line; add the photos or name another file\n")


@pytest.mark.parametrize("command", ["inspect", "fit"])
def test_a_place_that_cannot_be_written_is_one_line(photos: Path, command: str) -> None:
    folder = photos.parent / "locked"
    folder.mkdir(mode=0o555)
    code, said = train(command, photos, *(FIT if command == "fit" else ()), "--out", folder / "x", cwd=photos.parent)
    assert code == 1
    assert said.startswith(f"train: {folder / 'x'}: cannot be written: {folder} is read-only; choose another --out")
    assert [*folder.iterdir()] == []


def test_a_class_of_which_no_photo_can_be_read_does_not_vanish(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "owl").mkdir()
    for number in range(6):
        (photos / f"owl/{number}.png").write_text("no picture")
    assert main(["fit", str(photos), *FIT, "--out", str(photos.parent / "runs/x")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"train: {photos}: expected photos of each class, found none left of owl after leaving out what "
        f"cannot be used; copy them again, or leave the class out with --exclude")
    assert [*(photos.parent / "runs").glob("*")] == []


def test_photos_that_all_belong_together_are_refused_in_one_line(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in photos.iterdir():
        first, *others = sorted(folder.iterdir())
        for other in others:
            other.write_bytes(first.read_bytes())
    assert main(["fit", str(photos), *FIT, "--out", str(photos.parent / "runs/x")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"train: {photos}: expected photos to validate and test on, found none: all photos of each class "
        f"belong together (copies, or frames of one sequence); add others")
    assert [*(photos.parent / "runs").glob("*")] == []


@pytest.mark.parametrize(("name", "kind"), [("ABOUT.md", "a text"), ("labels.csv", "a CSV file")])
def test_texts_of_another_encoding_are_refused_before_the_training(
    photos: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    (photos / name).write_bytes("name,scientific_name\nhäse,Lepus\n".encode("latin-1"))
    assert main(["fit", str(photos), *FIT, "--out", str(photos.parent / "x")]) == 2
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(f"train: {photos / name}: expected {kind} in UTF-8, found ")
    assert "can't decode byte 0xe4" in said
    assert [*photos.parent.iterdir()] == [photos]


def fit_is_refused(photos: Path, out: Path, *more: str) -> int:
    """The exit code of `train fit` that leaves all as it was."""
    before = state(photos.parent)
    code = main(["fit", str(photos), *FIT, "--out", str(out), *more])
    assert state(photos.parent) == before
    return code


def test_a_checkpoint_that_is_none_is_refused_in_one_line(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = photos.parent / "x.partial/checkpoint"
    file.mkdir(parents=True)
    assert fit_is_refused(photos, photos.parent / "x", "--force") == 1
    assert capsys.readouterr().err == (f"train: {file}: cannot be read or written: Is a directory; check it, make room "
                                       f"or choose another --out\n")


def test_an_error_names_its_own_file(photos: Path) -> None:
    out, arguments = photos.parent / "x", parser().parse_args(["fit", str(photos)])
    with pytest.raises(EdgeWatchError, match=r"^gone\.txt: cannot be read or written: No such file"), \
            _partial(out, DEFAULT, arguments):
        Path("gone.txt").read_text()
    with pytest.raises(EdgeWatchError, match=f"^{re.escape(str(out))}: cannot be written: No space left"), \
            _partial(out, DEFAULT, arguments):
        raise OSError(28, "No space left on device")
    assert [*photos.parent.iterdir()] == [photos]


@pytest.mark.parametrize(("name", "way", "message"), [
    ("logs", "", "logs: expected another name: beside the bundle logs is the folder of TensorBoard's files; choose"),
    ("x", "logs", "logs: expected a folder for TensorBoard's files that can be written, found a file; move it or"),
    ("x", "logs/x", "logs/x: expected a folder for TensorBoard's files that can be written, found a file; move it or"),
])
def test_what_is_in_the_way_of_the_curves_is_refused_at_once(
    photos: Path, capsys: pytest.CaptureFixture[str], name: str, way: str, message: str
) -> None:
    if way:
        (photos.parent / way).parent.mkdir(exist_ok=True)
        (photos.parent / way).write_text("a file")
    assert fit_is_refused(photos, photos.parent / name) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(f"train: {photos.parent}/{message}")


def test_a_folder_for_the_curves_that_is_read_only_is_refused_at_once(photos: Path) -> None:
    (photos.parent / "logs").mkdir(mode=0o555)
    code, said = train("fit", photos, *FIT, "--out", "x", cwd=photos.parent)
    assert code == 1
    assert said == ("train: logs: expected a folder for TensorBoard's files that can be written, found a read-only "
                    "one; move it or choose another --out")


def test_an_empty_folder_may_be_the_place_to_write_to(photos: Path) -> None:
    (photos.parent / "out").mkdir()
    assert main(["inspect", str(photos), "--out", str(photos.parent / "out")]) == 0
    assert {path.name for path in (photos.parent / "out").iterdir()} == {"inspect.html", "inspect.json"}


def test_inspecting_the_folder_that_one_stands_in_can_be_repeated(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos)
    for _ in range(2):
        assert main(["inspect", "."]) == 0
        assert "No photos in the class folders" not in capsys.readouterr().out
    assert (photos / "runs/inspect-my photos/inspect.html").is_file()


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
