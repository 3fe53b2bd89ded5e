"""MixUp, CutMix, growing sizes, means of weights and ensembles of teachers: what each computes, and that it resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import UsageError
from train.partial import Partial, State
from train.quiet import import_tensorflow
from train.recipe import DEFAULT, NO_AUGMENTATION, Recipe, apply, override, require_whole, teachers
from train.teacher import together

import_tensorflow()
keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402

from train.averaging import Swa  # noqa: E402
from train.backbones import at_size, build  # noqa: E402
from train.fit import fit, optimizer, sizes  # noqa: E402
from train.head import loss  # noqa: E402
from train.mixing import mix, throw  # noqa: E402
from train.pipeline import Examples, Part, batches  # noqa: E402

SIZE = 8
PLAIN = replace(DEFAULT, batch=4, augmentation=NO_AUGMENTATION)


@pytest.fixture
def examples() -> Examples:
    """10 photos, of which each pixel tells the row, of 3 classes with weights of their own."""
    pixels = np.repeat(10 * np.arange(10), SIZE * SIZE * 3).reshape(10, SIZE, SIZE, 3).astype(np.uint8)
    return Examples(pixels, np.array([0] * 6 + [1] * 3 + [2]), np.arange(10), np.arange(3), np.arange(0), 3)


# Two pictures in one


def test_mixup_and_cutmix_by_hand() -> None:
    """Two pictures, 1 and 5 all over; a quarter is its own, once laid over and once around a box in a corner."""
    pictures = np.stack([np.full((4, 4, 3), value, np.float32) for value in (1, 5)])
    classes, weights = np.eye(2, dtype=np.float32), np.array([1, 3], np.float32)
    # Share, cut, across, down; the order makes each the other's partner.
    dice = np.array([[0.25, 0, 0, 0, 0.9], [0.75, 1, 0, 0, 0.1]], np.float32)
    found, wanted, weight = (each.numpy() for each in mix(pictures, classes, weights, dice))
    np.testing.assert_allclose(found[0], 0.25 * 1 + 0.75 * 5)
    # A box of half the side about a corner: a quarter of it, one place, lies within.
    box = np.full((4, 4, 3), 5.0)
    box[0, 0] = 1.0
    np.testing.assert_allclose(found[1], box)
    np.testing.assert_allclose(weight, [0.25 * 1 + 0.75 * 3, 15 / 16 * 3 + 1 / 16 * 1])
    np.testing.assert_allclose(wanted[0], np.array([0.25 * 1, 0.75 * 3]) / weight[0])
    np.testing.assert_allclose(wanted[1], np.array([1 / 16 * 1, 15 / 16 * 3]) / weight[1])


@pytest.mark.parametrize("changes", [{}, {"loss": "focal"}, {"label_smoothing": 0.2}])
def test_loss_of_a_mixture_is_that_of_both_pictures_in_their_shares(changes: dict[str, Any]) -> None:
    dice = np.array([[0.3, 0, 0, 0, 0.9], [0.6, 0, 0, 0, 0.1]], np.float32)
    classes, weights = np.eye(3, dtype=np.float32)[[0, 2]], np.array([0.5, 2], np.float32)
    _, wanted, weight = mix(np.zeros((2, 4, 4, 3), np.float32), classes, weights, dice)
    each = loss(replace(DEFAULT, **changes)).call
    logits = tf.constant([[2.0, 0.0, -1.0], [0.5, 0.3, 1.0]])
    own, other = (each(tf.constant(labels), logits).numpy() for labels in (classes, classes[::-1]))
    expected = dice[:, 0] * weights * own + (1 - dice[:, 0]) * weights[::-1] * other
    np.testing.assert_allclose(weight * each(wanted, logits), expected, rtol=1e-5)


def test_dice_follow_from_seed_and_epoch_and_shares_from_alpha() -> None:
    recipe = replace(PLAIN, mixup=0.2)
    np.testing.assert_array_equal(throw(recipe, 1, 3, 50), throw(recipe, 1, 3, 50))
    assert all((throw(recipe, 1, 3, 50) != other).any() for other in (
        throw(recipe, 1, 4, 50), throw(replace(recipe, seed=2), 1, 3, 50)))
    share, cut, *_ = throw(recipe, 1, 0, 4000).T
    assert not cut.any()
    # Of Beta(a, a) the variance is 1 / (4 (2 a + 1)).
    assert (share.mean(), share.var()) == (pytest.approx(0.5, abs=0.02), pytest.approx(1 / 4 / 1.4, abs=0.01))
    both = throw(replace(recipe, cutmix=1.0), 1, 0, 4000)
    assert both[:, 1].mean() == pytest.approx(0.5, abs=0.03)
    assert both[both[:, 1] > 0, 0].var() == pytest.approx(1 / 12, abs=0.01)
    assert throw(replace(PLAIN, cutmix=1.0), 1, 0, 20)[:, 1].all()


@pytest.mark.parametrize(("changes", "augmentation"), [
    ({"mixup": 0.4}, NO_AUGMENTATION), ({"cutmix": 1.0}, NO_AUGMENTATION),
    ({"mixup": 0.4, "cutmix": 1.0}, replace(NO_AUGMENTATION, flip=0.5)),
], ids=["mixup", "cutmix", "both, augmented"])
def test_mixed_epoch_depends_on_its_number_only_and_the_teacher_sees_the_mixture(
    examples: Examples, changes: dict[str, float], augmentation: Any
) -> None:
    recipe = replace(PLAIN, augmentation=augmentation, **changes)  # type: ignore[arg-type]
    taught = replace(examples, teacher=lambda shown: shown.mean(axis=(1, 2), dtype=np.float32))
    whole, late = list(batches(recipe, taught, 0, 3)), list(batches(recipe, examples, 2, 3))
    assert [len(pictures) for pictures, *_ in late] == [4, 4, 2]
    for (pictures, wanted, weights), (same, classes, also) in zip(whole[6:], late, strict=True):
        np.testing.assert_array_equal(pictures, same)
        np.testing.assert_array_equal(wanted[:, :3], classes)
        np.testing.assert_array_equal(weights, also)
        np.testing.assert_allclose(wanted[:, 3:], np.rint(pictures).mean(axis=(1, 2)), rtol=1e-5)
        np.testing.assert_allclose(classes.numpy().sum(axis=1), 1.0, rtol=1e-5)
    unmixed = list(batches(replace(PLAIN, augmentation=augmentation), examples, 2, 3))
    assert any((a[0] != b[0]).numpy().any() for a, b in zip(unmixed, late, strict=True))


@pytest.mark.parametrize("changes", [{}, {"mixup": 0.4}, {"cutmix": 1.0}], ids=["plain", "mixup", "cutmix"])
def test_machines_together_learn_from_the_batches_of_one(examples: Examples, changes: dict[str, float]) -> None:
    """10 photos in batches of 4 for 3 machines; of the last batch the third has nothing, and asks no teacher."""
    taught = replace(examples, teacher=lambda shown: shown.mean(axis=(1, 2), dtype=np.float32))
    recipe = replace(PLAIN, **changes)  # type: ignore[arg-type]
    parts = [list(batches(recipe, taught, 0, 2, part=Part(index, 3))) for index in range(3)]
    assert [len(pictures) for pictures, *_ in parts[2][:3]] == [1, 1, 0]
    for whole, *shares in zip(batches(recipe, taught, 0, 2), *parts, strict=True):
        for one, *several in zip(whole, *shares, strict=True):
            np.testing.assert_array_equal(one[0::3], several[0])
            np.testing.assert_array_equal(one[1::3], several[1])
            np.testing.assert_array_equal(one[2::3], several[2])


# Growing sizes


@pytest.mark.parametrize(("start", "size", "done", "epochs", "expected"), [
    (0, 224, 0, 4, [(0, 4, 224)]),
    (128, 224, 0, 4, [(0, 1, 128), (1, 2, 160), (2, 3, 192), (3, 4, 224)]),
    (128, 224, 0, 1, [(0, 1, 224)]),
    (32, 64, 0, 4, [(0, 2, 32), (2, 4, 64)]),
    (32, 64, 1, 4, [(1, 2, 32), (2, 4, 64)]),
    (32, 64, 3, 4, [(3, 4, 64)]),
    (32, 64, 4, 4, []),
])
def test_sizes_grow_evenly_and_the_last_epoch_is_whole(
    start: int, size: int, done: int, epochs: int, expected: list[tuple[int, int, int]]
) -> None:
    assert list(sizes(replace(DEFAULT, start_size=start, size=size), done, epochs)) == expected


def test_pictures_shrink_after_the_teacher_saw_them(examples: Examples) -> None:
    seen: list[tuple[int, ...]] = []

    def teacher(shown: np.ndarray) -> np.ndarray:
        seen.append(shown.shape[1:])
        return shown.mean(axis=(1, 2), dtype=np.float32)

    pictures, wanted, _ = next(iter(batches(PLAIN, replace(examples, teacher=teacher), 0, 1, 4)))
    assert pictures.shape == (4, 4, 4, 3)
    assert set(seen) == {(SIZE, SIZE, 3)}
    np.testing.assert_allclose(pictures[:, 0, 0], wanted[:, 3:], rtol=1e-5)


def test_smaller_network_is_made_of_the_very_same_layers() -> None:
    model, backbone = build("mobilenet_v1_0.25", "none", 64, 3, hidden=4)
    small = at_size(model, backbone, 32)
    assert small.input.shape == (None, 32, 32, 3)
    assert [id(variable) for variable in small.weights] == [id(variable) for variable in model.weights]
    assert [id(each) for each in small.trainable_variables] == [id(each) for each in model.trainable_variables]
    alone, _ = build("mobilenet_v1_0.25", "none", 32, 3, hidden=4)
    alone.set_weights(model.get_weights())
    shown = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(small(shown, training=False), alone(shown, training=False), rtol=1e-4, atol=1e-6)


# Means of weights


def test_swa_is_the_mean_since_its_epoch_and_training_goes_on_from_where_it_was() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    measured: list[int] = []
    mean = Swa(1, measured.append, [])
    mean.set_model(model)
    shown, steps = [], iter([1.0, 2.0, 4.0, 6.0, 11.0, 3.0])
    for epoch in range(3):
        mean.on_epoch_begin(epoch)
        if epoch == 2:
            assert model.get_weights()[0] == 6.0
        for batch in range(2):
            model.set_weights([np.full((1, 1), next(steps), np.float32)])
            mean.on_train_batch_end(batch)
        mean.on_epoch_end(epoch)
        shown.append(model.get_weights()[0].item())
        if epoch == 1:
            state = mean.state()
    assert shown == [2.0, 5.0, 6.0]
    assert measured == [1, 2]
    other = Swa(1, measured.append, state)
    other.set_model(model)
    model.set_weights([np.full((1, 1), 5.0, np.float32)])
    other.on_epoch_begin(2)
    assert model.get_weights()[0] == 6.0
    for batch, value in enumerate((11.0, 3.0)):
        model.set_weights([np.full((1, 1), value, np.float32)])
        other.on_train_batch_end(batch)
    other.on_epoch_end(2)
    assert model.get_weights()[0] == 6.0


def test_rate_of_swa_falls_to_half_and_stays() -> None:
    rate = optimizer(replace(DEFAULT, average="swa", fine_rate=1e-3), steps=10, epochs=6)._learning_rate
    assert float(rate(5)) == pytest.approx(1e-3)
    assert [float(rate(step)) for step in (30, 45, 60)] == pytest.approx([5e-4] * 3)
    assert optimizer(replace(DEFAULT, average="none"), 10, 6).use_ema is False


# Ensembles


def test_teachers_together_say_the_mean_of_their_softened_probabilities() -> None:
    logits = [np.array([[0.0, 2.0], [900.0, 0.0]], np.float32), np.array([[4.0, 0.0], [800.0, 0.0]], np.float32)]
    networks = [lambda _, said=said: said for said in logits]  # type: ignore[misc]
    found = together(networks, 2.0)(np.zeros((2, 4, 4, 3), np.uint8))
    softened = [np.exp(said[0] / 2) / np.exp(said[0] / 2).sum() for said in logits]
    np.testing.assert_allclose(np.exp(found[0] / 2) / np.exp(found[0] / 2).sum(), np.mean(softened, axis=0), rtol=1e-6)
    assert np.isfinite(found).all(), "also of what is all but impossible"
    assert together(networks[:1], 2.0) is networks[0]


@pytest.mark.parametrize(("setting", "expected"), [
    ("teacher=none", []), ("teacher=runs/a", ["runs/a"]), ('teacher=["runs/a", "runs/b"]', ["runs/a", "runs/b"]),
])
def test_teachers_are_none_one_or_several(setting: str, expected: list[str]) -> None:
    assert teachers(override(DEFAULT, setting)) == expected


@pytest.mark.parametrize(("changes", "message"), [
    ({"teacher": []}, "expected teacher to be none or bundles, found []"),
    ({"teacher": ["none", "runs/a"]}, "expected teacher to be none or bundles, found ['none', 'runs/a']"),
    ({"teacher": [1]}, "expected teacher to be a text or a list of such, found [1]"),
    ({"average": "mean"}, "expected average to be ema or swa or none, found 'mean'"),
    ({"mixup": 11}, "expected mixup from 0 to 10, found 11"),
    ({"cutmix": -1}, "expected cutmix to be a number of at least 0, found -1"),
    ({"start_size": 100}, "expected start_size to be a multiple of 32, found 100"),
    ({"start_size": 128, "head": "flat"}, "start_size: expected 0, as flattened features are those of one size, found"),
    ({"start_size": 224}, "start_size: expected 0 or from 32 to less than size (224), found 224"),
    ({"start_size": 64, "backbone": "inception_v3"}, "start_size: expected 0 or from 96 to less than size (224)"),
])
def test_options_that_cannot_be_meant_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as found:
        require_whole(apply(DEFAULT, changes, "recipe.toml"))
    assert message in str(found.value)
    assert "\n" not in str(found.value)


# All of it at once, interrupted


class StoppedError(Exception):
    """In place of a power failure."""


def test_training_with_options_goes_on_as_if_never_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after two epochs of four: the first at the larger size, and the first that is averaged, are to come."""
    dice = np.random.default_rng(0)
    truth = np.arange(12) % 3
    pixels = (dice.integers(0, 60, (15, 64, 64, 3)) + 90 * np.eye(3, dtype=int)[np.arange(15) % 3][:, None, None]
              ).astype(np.uint8)
    examples = Examples(pixels, np.append(truth, [0, 1, 2]), np.arange(12), np.arange(12, 15), np.arange(0), 3,
                        lambda shown: shown.mean(axis=(1, 2), dtype=np.float32) / 50)
    recipe = apply(PLAIN, {
        "backbone": "minivgg@norm1_1", "weights": "none", "size": 64, "start_size": 32, "epochs": 4,
        "average": "swa", "mixup": 0.2, "cutmix": 1.0, "head_epochs": 1, "deterministic": True, "fine_rate": 1e-2,
        "teacher": ["runs/a", "runs/b"],
    }, "test")
    whole = trained(recipe, examples, tmp_path / "whole", False)
    save = Partial.save

    def die(self: Partial, state: State) -> None:
        save(self, state)
        if len(state.history) == 3:
            raise StoppedError

    monkeypatch.setattr(Partial, "save", die)
    with pytest.raises(StoppedError):
        trained(recipe, examples, tmp_path / "parts", False)
    monkeypatch.setattr(Partial, "save", save)
    parts = trained(recipe, examples, tmp_path / "parts", True)
    assert whole.history == parts.history
    assert len(whole.history) == 5
    for key, expected in whole.arrays.items():
        assert all(np.array_equal(a, b) for a, b in zip(expected, parts.arrays[key], strict=True)), key
    assert whole.arrays["average"][0] == 2 * 3, "two epochs of three steps are averaged"


def trained(recipe: Recipe, examples: Examples, out: Path, resume: bool) -> State:
    """What a training ends with."""
    partial = Partial(out, recipe, resume=resume)
    partial.begin("", {})
    try:
        fit(recipe, examples, partial.work, lambda _: None, partial)
    finally:
        partial.close()
    again = Partial(out, recipe, resume=True)
    again.close()
    assert again.state is not None
    return again.state
