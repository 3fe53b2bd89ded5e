"""Which photos a training sees in an epoch, and in which order: all of it follows from the seed."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from train.photos.store import Store
from train.quiet import import_tensorflow
from train.recipe import DEFAULT, NO_AUGMENTATION

import_tensorflow()
keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402

from train import pipeline  # noqa: E402
from train.distribute import Copies, Devices  # noqa: E402
from train.fit import AUTO_EPOCHS, AUTO_STEPS, length, optimizer  # noqa: E402
from train.head import loss  # noqa: E402
from train.progress import Keeper  # noqa: E402

SIZE = 8
TRUTH = np.array([0] * 12 + [1] * 5 + [2] * 3 + [0, 1, 2])
PLAIN = replace(DEFAULT, batch=6, augmentation=NO_AUGMENTATION)


@pytest.fixture
def examples(tmp_path: Path) -> pipeline.Examples:
    """20 training photos of 12, 5 and 3 in a class, and 3 validation photos; every pixel tells the photo's row."""
    pixels = Store(tmp_path / "pixels", (23, SIZE, SIZE, 3), np.uint8)
    for row in range(23):
        pixels[row] = np.full((SIZE, SIZE, 3), 10 * row, np.uint8)
    return pipeline.Examples(pixels, TRUTH, np.arange(20), np.arange(20, 23), np.arange(12), 3)


def epochs(recipe: Any, examples: pipeline.Examples, first: int, last: int) -> list[tuple[np.ndarray, ...]]:
    return [tuple(part.numpy() for part in batch) for batch in pipeline.batches(recipe, examples, first, last)]


def test_an_epoch_without_augmentation_is_every_photo_once_as_it_is(examples: pipeline.Examples) -> None:
    found = epochs(PLAIN, examples, 0, 2)
    assert [len(pictures) for pictures, _, _ in found] == [6, 6, 6, 2] * 2
    assert all(pictures.dtype == np.float32 for pictures, _, _ in found)
    seen = [np.concatenate([pictures[:, 0, 0, 0] for pictures, _, _ in found[start : start + 4]]) // 10
            for start in (0, 4)]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(20))
    assert list(seen[0]) != list(seen[1])
    weights = pipeline.class_weights(PLAIN, examples)
    for pictures, classes, weight in found:
        assert (pictures == pictures[:, :1, :1, :1]).all()
        labels = TRUTH[(pictures[:, 0, 0, 0] // 10).astype(int)]
        np.testing.assert_array_equal(classes, np.eye(3)[labels])
        np.testing.assert_array_equal(weight, weights[labels])


@pytest.mark.parametrize("augmentation", [NO_AUGMENTATION, DEFAULT.augmentation], ids=["plain", "augmented"])
def test_an_epoch_depends_on_seed_and_number_only(examples: pipeline.Examples, augmentation: Any) -> None:
    recipe = replace(PLAIN, augmentation=augmentation)
    whole, late = epochs(recipe, examples, 0, 3), epochs(recipe, examples, 2, 3)
    assert len(whole) == 12
    for expected, found in zip(whole[8:], late, strict=True):
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(a, b)
    other = epochs(replace(recipe, seed=2), examples, 2, 3)
    assert any((a[0].shape != b[0].shape) or (a[0] != b[0]).any() for a, b in zip(other, late, strict=True))


def test_balanced_sampling_draws_every_class_equally_often_and_weighs_none(examples: pipeline.Examples) -> None:
    recipe = replace(PLAIN, sampling="balanced")
    truth = TRUTH[:20]
    for epoch in range(3):
        drawn = pipeline.order(recipe, truth, pipeline.TUNING, epoch)
        assert sorted(np.bincount(truth[drawn])) == [6, 7, 7]
        assert max(np.bincount(drawn, minlength=20)[truth == 1]) == 2, "photos of a class come in turn"
        assert set(drawn) >= set(np.flatnonzero(truth))
    np.testing.assert_array_equal(pipeline.class_weights(recipe, examples), [1, 1, 1])
    assert sum(len(pictures) for pictures, _, _ in epochs(recipe, examples, 0, 1)) == 20


def test_class_weights_are_the_inverse_counts_to_a_power(examples: pipeline.Examples) -> None:
    np.testing.assert_allclose(pipeline.class_weights(replace(PLAIN, imbalance=0.0), examples), [1, 1, 1])
    equal = pipeline.class_weights(replace(PLAIN, imbalance=1.0), examples)
    np.testing.assert_allclose(equal * [12, 5, 3], [20 / 3] * 3, rtol=1e-6)
    half = pipeline.class_weights(replace(PLAIN, imbalance=0.5), examples)
    np.testing.assert_allclose(half[2] / half[0], 2.0, rtol=1e-6)
    np.testing.assert_allclose(half @ [12, 5, 3], 20, rtol=1e-6)


def test_hard_views_are_always_the_same_and_none_without_augmentation(
    examples: pipeline.Examples, tmp_path: Path
) -> None:
    first, second = (np.asarray(pipeline.hard_views(DEFAULT, examples, tmp_path)[:]) for _ in range(2))
    assert first.shape == (3, SIZE, SIZE, 3)
    np.testing.assert_array_equal(first, second)
    assert len(pipeline.hard_views(PLAIN, examples, tmp_path)) == 0


LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]], np.float32)
SHARES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, -np.log([SHARES[0, 0], SHARES[1, 2]])),
    ({"loss": "focal"}, [-(1 - p) ** 2 * np.log(p) for p in (SHARES[0, 0], SHARES[1, 2])]),
    ({"label_smoothing": 0.3}, [-(0.1 * np.log(row).sum() + 0.7 * np.log(row[label]))
                                for row, label in zip(SHARES, (0, 2), strict=True)]),
])
def test_loss_is_that_of_its_formula_and_takes_weights(changes: dict[str, Any], expected: list[float]) -> None:
    found = loss(replace(DEFAULT, **changes))(np.eye(3, dtype=np.float32)[[0, 2]], LOGITS,
                                              sample_weight=np.array([1.0, 3.0]))
    assert float(found) == pytest.approx((expected[0] + 3 * expected[1]) / 2, rel=1e-5)


@pytest.mark.parametrize(("epochs", "photos", "expected"), [
    (3, 65, (3, 3)),
    ("auto", 32 * AUTO_STEPS, (AUTO_EPOCHS, AUTO_STEPS)),
    ("auto", 32, (AUTO_STEPS, 1)),
    ("auto", 32 * 3 - 1, (-(-AUTO_STEPS // 3), 3)),
])
def test_few_photos_get_more_epochs_unless_the_recipe_says_how_many(
    epochs: int | str, photos: int, expected: tuple[int, int]
) -> None:
    assert length(replace(DEFAULT, epochs=epochs, batch=32), photos) == expected


def test_rate_rises_for_half_an_epoch_and_falls_along_a_cosine() -> None:
    recipe = replace(DEFAULT, fine_rate=1e-3)
    rate = optimizer(recipe, steps=10, epochs=5)._learning_rate
    assert float(rate(0)) == pytest.approx(5e-5)
    assert float(rate(5)) == pytest.approx(1e-3)
    assert float(rate(5 + 45 // 2)) == pytest.approx(5e-4, rel=0.05)
    assert float(rate(50)) == pytest.approx(0.0, abs=1e-9)
    assert float(optimizer(replace(recipe, schedule="plateau"), 10, 5).learning_rate) == pytest.approx(1e-3)


def test_plateau_lowers_the_rate_to_a_fifth_whenever_two_epochs_brought_nothing() -> None:
    recipe = replace(DEFAULT, schedule="plateau", fine_rate=1e-3)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer(recipe, 10, 9), "mse")
    keeper = Keeper(recipe, dict, print)
    keeper.set_model(model)
    rates = []
    for reached in (0.1, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4):  # The first is the head's, which does not count.
        keeper.history.append({"val_accuracy": 0.5, "val_loss": reached})
        keeper.on_epoch_begin(len(keeper.history) - 1)
        rates.append(float(model.optimizer.learning_rate))
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-3, 1e-3, 2e-4, 2e-4, 4e-5], rtol=1e-5)


def test_kept_are_the_weights_that_do_best_on_clear_views() -> None:
    """Fine-tuning is guided by all views, hard ones among them; what is kept must not cost clear ones."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    found = {"val_accuracy": 0.5, "val_loss": 0.5, "loss": 1.0, "accuracy": 0.5}
    clear = iter((0.30, 0.35, 0.29, 0.31))
    keeper = Keeper(DEFAULT, lambda: found | {"clear_loss": next(clear)}, lambda line: None)
    model.set_weights([np.full((1, 1), 0.0, np.float32)])
    keeper.keep_head(model, {"loss": 1.0, "accuracy": 0.5})
    assert keeper.best() == ("a new head on the untouched backbone", [np.zeros((1, 1), np.float32)])
    keeper.tuned = [np.full((1, 1), 4.0, np.float32)]
    keeper.history.append(found | {"clear_loss": next(clear), "val_loss": 0.2})
    for share in (0.25, 0.5):
        keeper.try_mix(model, share)
    kept, weights = keeper.best()
    assert kept == "25 % of the way from the new head on the untouched backbone to fine-tuned"
    np.testing.assert_array_equal(weights[0], [[1.0]])


def test_step_of_training_is_traced_once() -> None:
    class Counted(keras.losses.Loss):  # type: ignore[misc]
        calls = 0

        def call(self, wanted: Any, logits: Any) -> Any:
            Counted.calls += 1
            return keras.losses.mean_squared_error(wanted, logits)

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    copies = Copies(model, Devices(tf.distribute.get_strategy(), "float32"), PLAIN)
    copies.compile(lambda: optimizer(PLAIN, 2, 2), Counted())
    history = copies.model.fit(np.ones((4, 2)), np.eye(3)[[0, 1, 2, 0]], batch_size=2, epochs=2, verbose=0).history
    assert set(history) == {"loss", "accuracy"}
    assert Counted.calls == 1


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_store_that_was_interrupted_while_it_was_made_goes_quietly(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "photos", (3, Interrupting()), np.uint8)  # type: ignore[arg-type]
    gc.collect()
    assert not (tmp_path / "photos").exists()


class Interrupting:
    """A length at which Ctrl-C is pressed."""

    def __int__(self) -> int:
        raise KeyboardInterrupt

    __index__ = __int__
