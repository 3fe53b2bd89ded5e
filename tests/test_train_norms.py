"""Batch norm of fine-tuning: the same as Keras', and measured anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from train.quiet import import_tensorflow

import_tensorflow()
keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402

from train.norms import Norms, fuse  # noqa: E402


def learned(norm: Any, inputs: Any, steps: int = 2) -> dict[str, Any]:
    """What a layer answers, passes back and keeps in some steps of learning; the weights that it answers with then."""
    norm.build(inputs.shape)
    for number, variable in enumerate(norm.trainable_variables):
        variable.assign(np.linspace(0.5 + number, 2.0, inputs.shape[-1]))
    for _ in range(steps):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(inputs)
            answer = norm(inputs, training=True)
            loss = tf.reduce_sum(answer**3)
    kept = {"mean": norm.moving_mean.numpy(), "variance": norm.moving_variance.numpy()}
    found = {"answer": answer, "back": tape.gradient(loss, inputs), **kept, "asked": norm(inputs, training=False)}
    return found | {str(index): tape.gradient(loss, each) for index, each in enumerate(norm.trainable_variables)}


@pytest.mark.parametrize("settings", [{}, {"scale": False}, {"center": False}, {"axis": 3, "momentum": 0.5}])
@pytest.mark.parametrize("shape", [(4, 5, 3, 6), (6, 1, 1, 6), (8, 6)])
def test_fused_layer_learns_as_kerass_own(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    inputs = tf.constant(np.random.default_rng(1).normal(3.0, 2.0, shape).astype(np.float32))
    settings = {"epsilon": 1e-3, **settings} | ({"axis": -1} if len(shape) == 2 else {})
    own, fused = (keras.layers.BatchNormalization(**settings) for _ in range(2))
    fuse(fused)
    wanted, found = learned(own, inputs), learned(fused, inputs)
    assert wanted.keys() == found.keys()
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=2e-4, err_msg=key)
    assert not np.allclose(found["mean"], 0.0)


def test_frozen_fused_layer_keeps_what_it_knows() -> None:
    norm = keras.layers.BatchNormalization(trainable=False)
    fuse(norm)
    picture = np.full((1, 2, 2, 1), 7.0, np.float32)
    np.testing.assert_allclose(norm(picture, training=True), picture, rtol=1e-3)
    np.testing.assert_array_equal(norm.moving_mean, [0.0])


def test_statistics_are_the_mean_over_all_pictures_and_frozen_ones_stay() -> None:
    free, frozen = keras.layers.BatchNormalization(), keras.layers.BatchNormalization(trainable=False)
    model = keras.Sequential([keras.Input((1, 1, 2)), free, frozen])
    one, other = (np.array(rows, np.float32).reshape(-1, 1, 1, 2) for rows in ([[1, 0], [3, 0]], [[8, 4]]))
    norms = Norms(model)
    for _ in range(2):  # What was there before counts for nothing.
        norms.measure([(one,), (other,)])
        np.testing.assert_allclose(free.moving_mean, [(2 * 2 + 8) / 3, 4 / 3], rtol=1e-6)
        np.testing.assert_allclose(free.moving_variance, [2 / 3, 0], rtol=1e-6)
    assert free.momentum == 0.99
    np.testing.assert_array_equal(frozen.moving_mean, [0, 0])
