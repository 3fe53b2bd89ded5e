"""Recipes: the settings of a training, and the published bundle's photos, of which none is on two sides."""

from __future__ import annotations

import csv
import re
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle import file_hash
from models.errors import UsageError
from recipes.wildlife import main, squares
from train.cli import main as train_main
from train.cli import parser, recipe_of
from train.names import FAMILIES
from train.photos.data import DataSet
from train.photos.find import find_photos
from train.recipe import DEFAULT, LIMITS, NO_AUGMENTATION, Augmentation, Recipe, override, read_recipe

ROOT = Path(__file__).parents[1]
DEFAULT_FILE = ROOT / "recipes/default.toml"


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DataSet]:
    shared = Path(__file__).resolve().parents[1].parent / "shared"
    if not (shared / "data").is_dir():
        pytest.skip("needs ../shared/data, which is not there")
    out = tmp_path_factory.mktemp("gathered") / "data"
    assert main([str(shared / "data"), "--out", str(out)]) == 0
    return shared / "data", find_photos(out, out / "exclude.txt")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_no_photo_has_a_non_commercial_licence_and_the_unclear_ones_are_told(gathered: tuple[Path, DataSet]) -> None:
    _, found = gathered
    licences = {row["path"]: row["licence"] for row in rows(found.root / "manifest.csv")}
    assert [photo.path for photo in found.photos if "CC BY-NC-SA" in licences[photo.path]] == []
    assert found.excluded == 59 + 18
    assert {"fox", "person"} < set(found.names)
    often = [photo.path.split("/")[1] for photo in found.photos if "often CC BY-NC" in licences[photo.path]]
    assert (often.count("fox"), often.count("deer"), len(often)) == (148, 71, 219)
    about = (found.root / "ABOUT.md").read_text()
    assert "Of 219 it is known" in about
    assert "(148 of foxes, which are all that there are, and 71 of deer)" in about


def test_nothing_of_val_test_or_the_scenes_is_trained_on(gathered: tuple[Path, DataSet]) -> None:
    data, found = gathered
    trained = {file_hash(found.root / photo.path) for photo in found.photos if photo.split == "train"}
    for row in rows(data / "wildlife/manifest.csv") + rows(data / "extras/manifest.csv"):
        assert row["split"] == "train" or row["sha256"] not in trained, row["path"]
    scenes = set(re.findall(r"cameratrap/frames/(\w+)\.jpg", (data / "scenes/clips.csv").read_text()))
    trap = {Path(row["path"]).stem: row["source_path"] for row in rows(data / "cameratrap/manifest.csv")}
    origin = {row["sha256"]: row["source_path"].partition("#")[0] for row in rows(data / "wildlife/manifest.csv")}
    assert {origin.get(digest) for digest in trained} & {trap[name] for name in scenes} == set()
    used = {Path(photo.path).stem.partition("_")[0] for photo in found.photos if photo.split == "train"}
    assert used & scenes == set()


def test_people_of_the_clip_are_split_by_time_with_a_second_between(gathered: tuple[Path, DataSet]) -> None:
    frames: dict[str, list[int]] = {}
    for photo in gathered[1].photos:
        if number := re.search(r"walker_(\d+)_", photo.path):
            frames.setdefault(str(photo.split), []).append(int(number[1]))
    assert max(frames["train"]) + 25 <= min(frames["val"])
    assert max(frames["val"]) + 25 <= min(frames["test"])


def test_squares_fill_a_box_side_by_side() -> None:
    frame = np.arange(100 * 200 * 3, dtype=np.uint32).astype(np.uint8).reshape(100, 200, 3)
    found = list(squares(frame, (0.5, 0.0, 1.0, 0.5)))
    assert [square.shape for square in found] == [(50, 50, 3), (50, 50, 3)]
    np.testing.assert_array_equal(found[1], frame[0:50, 150:200])


def test_default_recipe_file_states_every_default_with_its_reason() -> None:
    text = DEFAULT_FILE.read_text(encoding="utf-8")
    assert read_recipe(DEFAULT_FILE) == Recipe()
    stated = {line.split("=")[0].strip(): line for line in text.splitlines() if re.match(r"\w+ +=|\w+ = ", line)}
    for entry in [*fields(Recipe), *fields(Augmentation)]:
        if entry.name != "augmentation":
            assert re.search(r"  # \S", stated[entry.name]), entry.name
    assert stated["command"] == 'command = "train fit DATA --recipe recipes/default.toml"'


@pytest.mark.parametrize("file", sorted(DEFAULT_FILE.parent.glob("*.toml")), ids=lambda file: file.name)
def test_recipes_that_come_with_it_say_how_to_run_them_and_what_they_give(file: Path) -> None:
    stated = tomllib.loads(file.read_text(encoding="utf-8"))
    assert f"--recipe recipes/{file.name}" in stated["command"]
    assert stated["result"]


def test_recipe_file_goes_over_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("unfreeze = 20\n[augmentation]\nrotation = 3\n")
    found = read_recipe(path)
    assert found == replace(DEFAULT, unfreeze=20, augmentation=replace(DEFAULT.augmentation, rotation=3.0))
    assert type(found.augmentation.rotation) is float


@pytest.mark.parametrize(("content", "message"), [
    ("command = 3", "expected command to be a text, found 3; correct it or leave it out"),
    ("epoch = 3", "found epoch (did you mean epochs?); correct the name"),
    ("epoch = 3\nlabel_smooting = 0\nquux = 1\n[augmentation]\nfilp = 1",
     "found epoch (did you mean epochs?), label_smooting (did you mean label_smoothing?), quux, augmentation.filp (did "
     "you mean augmentation.flip?); correct the names"),
    ("command = 'x'\nresult = 'y'\nepochs = '3'", "expected epochs to be a whole number of at least 0 or auto, found"),
    ("[augmentation]\nfilp = 1", "expected settings of a recipe, found augmentation.filp (did you mean "
     "augmentation.flip?); correct the name"),
    ("command = 'x", "expected a recipe"),
    (b"\xff\xfe", "expected a recipe"),
])
def test_recipe_file_that_cannot_be_meant_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=re.escape(message)) as found:
        read_recipe(path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(("setting", "expected"), [
    ("label_smoothing=0.1", {"label_smoothing": 0.1}),
    ("schedule=plateau", {"schedule": "plateau"}),
    ("unfreeze=all", {"unfreeze": "all"}),
    ("unfreeze=7", {"unfreeze": 7}),
    ("epochs=auto", {"epochs": "auto"}),
    ("seed=4294967295", {"seed": 4294967295}),
    ("deterministic=true", {"deterministic": True}),
    ("augmentation=none", {"augmentation": NO_AUGMENTATION}),
    ("augmentation.far=1", {"augmentation": replace(DEFAULT.augmentation, far=1.0)}),
])
def test_set_changes_one_setting(setting: str, expected: dict[str, object]) -> None:
    assert override(DEFAULT, setting) == replace(DEFAULT, **expected)


@pytest.mark.parametrize(("setting", "message"), [
    ("epochs", "expected KEY=VALUE, found epochs"),
    ("size=100", "expected size to be a multiple of 32, found 100"),
    ("size=1024", "expected size from 32 to 512, found 1024"),
    ("augmentation.flip=1.5", "expected augmentation.flip from 0 to 1, found 1.5"),
    ("augmentation.near=0", "expected augmentation.near from 1 to 10, found 0"),
    ("batch=0", "expected batch from 1 to 4096"),
    ("dropout=1", "expected dropout from 0 to 0.9"),
    ("seed=-1", "expected seed to be a whole number of at least 0"),
    ("seed=4294967296", "expected seed from 0 to 4294967295, found 4294967296; correct it"),
    ("epochs=100001", "expected epochs from 0 to 100000, found 100001"),
    ("head_rate=1e30", "expected head_rate from 0 to 1, found 1e+30"),
    ("fine_rate=1.5", "expected fine_rate from 0 to 1, found 1.5"),
    ("decay=2", "expected decay from 0 to 1, found 2"),
    ("imbalance=1e9", "expected imbalance from 0 to 4, found 1000000000.0"),
    ("augmentation.gamma=4", "expected augmentation.gamma from 0 to 3, found 4"),
    ("loss=hinge", "expected loss to be cross_entropy or focal, found 'hinge'"),
    ("augmentation=nothing", "expected augmentation to be a table of its settings, or none, found 'nothing'"),
    ("flip=0.5", "expected settings of a recipe, found flip (did you mean augmentation.flip?); correct the name"),
    ("label_smooth=0.1", "found label_smooth (did you mean label_smoothing?)"),
    ("augmentation.dropout=0", "found augmentation.dropout (did you mean dropout?)"),
    ("backbone=mobilenet_v4", "found mobilenet_v4"),
])
def test_set_refuses_what_cannot_be_meant(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        override(DEFAULT, setting)


def test_every_number_but_unfreeze_has_limits_and_defaults_keep_them() -> None:
    for recipe in (DEFAULT, DEFAULT.augmentation):
        for entry in fields(recipe):
            value = getattr(recipe, entry.name)
            if type(value) in (int, float):
                low, high = LIMITS[entry.name]
                assert low <= value <= high, entry.name


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no weights")
    with pytest.raises(UsageError, match=re.escape("Keras' weights (.weights.h5 or .h5), found")):
        recipe_of(parser().parse_args(["fit", "photos", "--weights", str(tmp_path / "notes.txt")]))


def test_augmentation_is_off_when_nothing_is_done() -> None:
    assert not DEFAULT.augmentation.off
    assert NO_AUGMENTATION.off
    assert replace(NO_AUGMENTATION, strong=1.0).off, "strength alone does nothing"
    for entry in fields(Augmentation):
        value = {"stretch": 1.1, "near": 1.1, "far": 0.9}.get(entry.name, 0.1)
        assert replace(NO_AUGMENTATION, **{entry.name: value}).off == (entry.name == "strong")


def test_options_go_over_set_and_set_over_the_recipe_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('command = "x"\nresult = "y"\nepochs = 1\nseed = 2\nbatch = 4\nweights = "none"\n')
    line = ["fit", "photos", "--recipe", str(path), "--set", "epochs=5", "--set", "seed=6", "--epochs", "0"]
    found = recipe_of(parser().parse_args(line))
    assert found == replace(DEFAULT, epochs=0, seed=6, batch=4, weights="none")
    assert recipe_of(parser().parse_args(["fit", "photos"])) == DEFAULT


def test_help_lists_every_backbone_and_the_readme_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_main(["fit", "--help"])
    said = capsys.readouterr().out
    assert all(name in " ".join(said.split()) for name in FAMILIES)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    options = set(re.findall(r"--[a-z]+", said)) - {"--help"}
    assert options > {"--recipe", "--set", "--resume", "--deterministic"}
    assert [option for option in options if option not in readme] == []
