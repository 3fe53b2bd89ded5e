"""A network that learns from a larger one: which teachers are refused, and that all it learns follows from the seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle import MANIFEST, ModelBundle, file_hash
from models.errors import EdgeWatchError
from tests.test_train_fit import class_folders, split_rows, train, train_here
from tests.test_train_resume import SETTINGS
from train.photos.data import Photo
from train.quiet import import_tensorflow
from train.recipe import DEFAULT, NO_AUGMENTATION, Augmentation
from train.teacher import open_teacher, require_same_sides

import_tensorflow()
keras = pytest.importorskip("keras")
from train.head import Taught, accuracy, loss  # noqa: E402
from train.pipeline import Examples, batches  # noqa: E402

TEACHER = ("--backbone", "mobilenet_v1_0.25@conv_pw_5_relu", "--weights", "none", "--size", "64", "--epochs", "0")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("teacher") / "photos", 10)


@pytest.fixture(scope="module")
def teacher(photos: Path) -> Path:
    """The float bundle of a head on an untrained backbone."""
    out = photos.parent / "runs/teacher"
    done = train("fit", photos, *TEACHER, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_taught_training_is_quiet_and_names_its_teachers(photos: Path, teacher: Path, tmp_path: Path) -> None:
    done = train("fit", photos, *SETTINGS, "--epochs", "1", "--set", "augmentation=none",
                 *(("--teacher", str(teacher)) * 2), "--out", tmp_path / "taught")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, "TensorFlow's converter is kept quiet"
    origin = ModelBundle.open(tmp_path / "taught").manifest.provenance
    assert origin.settings["teacher"] == [str(teacher), str(teacher)]
    assert origin.versions["teacher"] == ", ".join([f"teacher 1 ({file_hash(teacher / MANIFEST)[:12]})"] * 2)


def test_teacher_of_other_classes_or_another_size_is_refused(teacher: Path) -> None:
    names = ("empty", "round", "square")
    assert open_teacher(teacher, names, 64).is_float
    with pytest.raises(EdgeWatchError, match=r"same 2 classes, found one of 3 \(not in both: square\); train it on"):
        open_teacher(teacher, names[:2], 64)
    with pytest.raises(EdgeWatchError, match="pictures of 96 pixels a side, found 64; train it with --size 96, or"):
        open_teacher(teacher, names, 96)
    with pytest.raises(EdgeWatchError, match=r"expected a float bundle with split\.csv as teacher, found wildlife"):
        open_teacher(Path(__file__).parents[1] / "models/bundles/wildlife-1-int8", names, 64)
    with pytest.raises(EdgeWatchError, match="expected a model bundle"):
        open_teacher(teacher.parent, names, 64)


@pytest.mark.parametrize("change", ["side", "gone", "new"])
def test_teacher_that_learned_from_other_photos_is_refused(teacher: Path, change: str) -> None:
    photos = [Photo(row["path"], row["label"], row["split"], sha256=row["sha256"])  # type: ignore[arg-type]
              for row in split_rows(teacher)]
    bundle = ModelBundle.open(teacher)
    require_same_sides(bundle, reversed(photos))
    test = next(place for place, photo in enumerate(photos) if photo.split == "test")
    changed = {"side": [*photos[:test], replace(photos[test], split="train"), *photos[test + 1:]],
               "gone": photos[:-1], "new": [*photos, replace(photos[0], sha256="0" * 64)]}[change]
    with pytest.raises(EdgeWatchError, match="same photos on the same sides, found 1 photo that only one of the two"):
        require_same_sides(bundle, changed)


def test_training_with_a_teacher_of_other_sides_ends_in_one_line(photos: Path, teacher: Path, tmp_path: Path) -> None:
    done = train_here("fit", photos, *SETTINGS, "--seed", "7", "--teacher", teacher, "--out", tmp_path / "new")
    assert done.returncode == 1
    assert "expected a teacher of the same photos on the same sides" in done.stderr.splitlines()[-1]
    assert f"--split {teacher}/split.csv" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("augmentation", [NO_AUGMENTATION, DEFAULT.augmentation], ids=["plain", "augmented"])
def test_teacher_is_asked_about_the_very_pictures_that_are_learned_from(augmentation: Augmentation) -> None:
    """Here it says of each the sums of its three colours; without a teacher all else is the same."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3)).astype(np.uint8)
    truth, rows = np.array([0, 1, 2, 0, 1, 2, 0]), np.arange(7)
    alone = Examples(pixels, truth, rows, rows[:1], rows[:1], 3)
    taught = replace(alone, teacher=lambda pictures: pictures.sum(axis=(1, 2), dtype=np.float32))
    recipe = replace(DEFAULT, batch=4, augmentation=augmentation)
    found = [list(batches(recipe, examples, 0, 2)) for examples in (alone, taught)]
    assert [len(each) for each in found] == [4, 4]
    for (pictures, classes, weights), (same, wanted, also) in zip(*found, strict=True):
        np.testing.assert_array_equal(pictures, same)
        np.testing.assert_array_equal(weights, also)
        np.testing.assert_array_equal(wanted[:, :3], classes)
        np.testing.assert_array_equal(wanted[:, 3:], np.rint(pictures).sum(axis=(1, 2)))


def test_loss_is_shared_between_labels_and_teacher() -> None:
    """By hand, with two classes: logits 0 and 2, the teacher's 0 and 4, at temperature 2."""
    wanted = np.array([[1, 0, 0, 4]], np.float32)
    given = np.array([[0, 2]], np.float32)
    recipe = replace(DEFAULT, teacher_share=0.75, teacher_temperature=2.0)
    second = 1 / (1 + np.exp(-2.0))  # What the teacher, softened, gives the second class.
    soft = -((1 - second) * np.log(1 / (1 + np.e)) + second * np.log(np.e / (1 + np.e)))
    hard = np.log(1 + np.exp(2.0))
    assert float(Taught(recipe)(wanted, given)) == pytest.approx(0.25 * hard + 0.75 * 4 * soft, rel=1e-6)
    assert float(loss(recipe)(wanted[:, :2], given)) == pytest.approx(hard, rel=1e-6)
    assert accuracy(keras.ops.array(wanted), keras.ops.array(given)).numpy().tolist() == [0.0]
    assert accuracy(keras.ops.array([[0.0, 1, 9, 4]]), keras.ops.array(given)).numpy().tolist() == [1.0]
