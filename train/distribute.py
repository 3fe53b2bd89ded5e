"""Fine-tuning on several devices at once, of one machine or of many, and in mixed precision.

The recipe means the same on one device as on many: its batch is that of all together. Each replica takes every n-th
picture of it, and what looks across a batch (gradients, their clipping, batch norm, dropout's dice) does so across all
replicas. So the result is that of one device, but for rounding.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.errors import EdgeWatchError, UsageError
from train.head import accuracy, right
from train.pipeline import Part
from train.quiet import quiet
from train.recipe import Recipe, for_one_device
from train.words import counted
from train.workers import Team

FAST_HALF = (7, 0)
"""The compute capability from which a GPU's float16 is much faster than its float32 (NVIDIA's Volta)."""
MIXED = "mixed_float16"


@dataclass(frozen=True, slots=True)
class Devices:
    """What fine-tuning computes on: TensorFlow's strategy, Keras' dtype policy, and the team if there are machines."""

    strategy: Any
    policy: str
    team: Team | None = None

    @property
    def plain(self) -> bool:
        """Whether there is one device, which computes in float32."""
        return self.replicas == 1 and self.policy == "float32"

    @property
    def replicas(self) -> int:
        """How many copies of the network are trained together."""
        return int(self.strategy.num_replicas_in_sync)

    @property
    def part(self) -> Part:
        """Which pictures of a batch this machine takes."""
        machines = len(self.team.task.addresses) if self.team else 1
        return Part(self.team.task.index if self.team else 0, machines, self.replicas // machines)

    @property
    def about(self) -> dict[str, str]:
        """For the bundle's provenance; nothing where it is plain."""
        return {} if self.plain else {"devices": f"{self.replicas} x {self.policy}"}

    def describe(self) -> str:
        """In words."""
        machines = f" of {self.part.machines} machines" if self.team else ""
        return f"fine-tuning on {counted(self.replicas, 'device')}{machines}, {self.policy}"


def devices(recipe: Recipe, team: Team | None = None) -> Devices:
    """All GPUs that TensorFlow sees, here or on all machines of a team; where there is none, the CPU.

    Args:
        recipe: its precision and batch.
        team: the machines; TensorFlow reads in TF_CONFIG what it needs to know of them.

    Raises:
        EdgeWatchError: the machines cannot be connected, or there are more devices than photos in a batch.
    """
    gpus = tf.config.list_physical_devices("GPU")
    many = len(tf.config.list_logical_devices("GPU")) if gpus and not team else 0
    alone = for_one_device(recipe)
    policy = MIXED if recipe.precision == "mixed" or (
        recipe.precision == "auto" and bool(gpus) and all(map(_is_fast, gpus)) and not alone) else "float32"
    if team:
        team.agree({"number of GPUs": len(gpus), "precision": policy})
        strategy = _connected()
    else:
        strategy = tf.distribute.MirroredStrategy() if many > 1 else tf.distribute.get_strategy()
    found = Devices(strategy, policy, team)
    if alone and not found.plain:
        raise UsageError(f"start_size and average=swa: expected one device and float32, found {found.describe()}; "
                         f"leave them out, or set precision=float32 and use one device")
    if found.replicas > recipe.batch:
        raise UsageError(f"batch: expected at least a photo for each of {found.replicas} devices, found "
                         f"{recipe.batch}; type --set batch={found.replicas}, or use fewer")
    return found


def _connected() -> Any:
    ends = signal.getsignal(signal.SIGTERM)
    try:
        with quiet():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise EdgeWatchError(f"TF_CONFIG: expected to connect the workers, found: {str(error).splitlines()[0][:160]}; "
                             f"check that its ports are free and open") from error
    finally:
        signal.signal(signal.SIGTERM, ends)  # TensorFlow takes it over, and then does not end.


def _is_fast(gpu: Any) -> bool:
    return tuple(tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))) >= FAST_HALF


class Copies:
    """A classifier as it is fine-tuned: itself where all is plain, else a copy of it on each device.

    The classifier stays float32 and on one device, for everything else.
    """

    def __init__(self, model: keras.Model, found: Devices, recipe: Recipe) -> None:
        """Copy a classifier; it must not have been compiled."""
        self._original, self._devices, self._batch = model, found, recipe.batch
        self.model = model
        self._fixed: list[Any] = []
        self._here = threading.local()  # TensorFlow prepares each replica's step in a thread of its own.
        if not found.plain:
            with found.strategy.scope():
                self.model = keras.models.clone_model(model, clone_function=self._cloned, recursive=True)
            self.assign(self.model.variables, [variable.numpy() for variable in model.variables])

    def compile(self, make: Callable[[], keras.optimizers.Optimizer], loss: Any) -> None:
        """Compile the copy with an optimizer, and make it train on all devices together."""
        replicas = self._devices.replicas
        with self._devices.strategy.scope():
            inner = make()
            optimizer = keras.optimizers.LossScaleOptimizer(inner) if self._devices.policy == MIXED else inner
            optimizer.build(self.model.trainable_variables)
        if replicas > 1:
            self.model._distribute_strategy = None  # Keras' own way ends at one machine.
        self.model.compile(optimizer, loss, weighted_metrics=None if replicas > 1 else [],
                           metrics=None if replicas > 1 else right(),
                           # Without XLA: on a CPU it trains on 4 photos a second where TensorFlow's own kernels train
                           # on 37.
                           jit_compile=False)
        if replicas > 1:
            inner._all_reduce_sum_gradients = list  # They are added up before they are clipped, see `_replica`.
            self._means = [keras.metrics.Mean(name) for name in ("loss", "accuracy")]
            self.model.means = self._means  # So that Keras resets them.
            self.model.train_step = self._train_step

    def assign(self, variables: Sequence[Any], values: Sequence[Any]) -> None:
        """Set variables, here; of a team's each worker has to set its own."""
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        for layer in self._fixed:
            layer.finalize_state()

    def begin_together(self, team: Team, history: list[dict[str, float]]) -> list[dict[str, float]]:
        """Give every worker the chief's weights, and what it has found up to here."""
        variables = [*self.model.variables, *self.model.optimizer.variables]
        values = [variable.numpy() for variable in variables]
        content, start = team.share(b"".join(value.tobytes() for value in values)), 0
        for place, value in enumerate(values):
            values[place] = np.frombuffer(content, value.dtype, value.size, start).reshape(value.shape)
            start += value.nbytes
        self.assign(variables, values)
        return list(team.gather(history)[0])

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """While this lasts, TensorFlow's errors are those of a team whose worker is gone."""
        try:
            yield
        except tf.errors.OpError as error:
            if not self._devices.team:
                raise
            self._devices.team.wait_for_bad_news()
            raise EdgeWatchError(f"expected the workers to train together, found: {error.message.splitlines()[0][:160]}"
                                 f"; start all workers again, with --resume") from error

    def agree(self, check: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What the chief finds in the classifier with the copy's present weights: all decide by the same numbers."""
        team = self._devices.team
        if team and not team.task.chief:
            return dict(team.gather(None)[0])
        if self.model is not self._original:
            self._original.set_weights(self.model.get_weights())
        found = check()
        return dict(team.gather(found)[0]) if team else found

    def _cloned(self, layer: Any) -> Any:
        settings = layer.get_config()
        if isinstance(layer, keras.layers.InputLayer):
            return layer.__class__.from_config(settings)
        # Logits and what is made of them stay float32: small differences between classes count.
        copy = layer.__class__.from_config(settings | {
            "dtype": "float32" if layer.name == "logits" else self._devices.policy})
        replicas, batch = self._devices.replicas, self._batch
        if isinstance(copy, keras.layers.BatchNormalization) and replicas > 1:
            copy._moments = lambda inputs, mask: _moments(inputs, self._here.any)
        if isinstance(copy, keras.layers.Normalization):
            self._fixed.append(copy)
        if isinstance(copy, keras.layers.Dropout) and copy.rate and replicas > 1:
            copy.call = lambda inputs, training=False: _drop(copy, inputs, batch) if training else inputs
        return copy

    def _train_step(self, data: tuple[Any, Any, Any]) -> dict[str, Any]:
        """Keras: one step, of all devices."""
        loss, right, count = (self._devices.strategy.experimental_local_results(found)[0]
                              for found in self._devices.strategy.run(self._replica, args=data))
        for means, found in zip(self._means, (loss, right / count), strict=True):
            means.update_state(found, sample_weight=count)
        return {means.name: means.result() for means in self._means}

    def _replica(self, pictures: Any, wanted: Any, weights: Any) -> tuple[Any, Any, Any]:
        """On each device: learn from its share of this machine's pictures; the batch's loss, right ones and number."""
        context, model, here = tf.distribute.get_replica_context(), self.model, self._devices.part.devices
        place = context.replica_id_in_sync_group % here
        pictures, wanted, weights = (part[place::here] for part in (pictures, wanted, weights))
        count = tf.cast(tf.shape(wanted)[0], tf.float32)
        self._here.any = tf.minimum(count, 1.0)
        # Where a short last batch leaves nothing, an empty picture that counts nowhere: TensorFlow cannot fold none.
        more = 1 - tf.minimum(tf.shape(wanted)[0], 1)
        pictures, wanted, weights = (
            tf.pad(part, [[0, more], *[[0, 0]] * (len(part.shape) - 1)]) for part in (pictures, wanted, weights))
        total = context.all_reduce("sum", count)
        with tf.GradientTape() as tape:
            logits = model(pictures, training=True)
            # Keras divides its mean by the number of replicas. But a last batch may leave some with fewer pictures than
            # others, so each counts by what it has.
            loss = model.compute_loss(pictures, wanted, logits, weights) * context.num_replicas_in_sync
            scaled = model.optimizer.scale_loss(loss * (count / total))
        gradients = tape.gradient(scaled, model.trainable_variables)
        right = self._here.any * tf.reduce_sum(accuracy(wanted, logits))
        *gradients, loss, right = context.all_reduce("sum", [*gradients, loss * (count / total), right])
        model.optimizer.apply(gradients, model.trainable_variables)
        return loss, right, total


def _moments(inputs: Any, real: Any) -> tuple[Any, Any]:
    """(channels,) mean and variance of the pictures of all replicas; those of this one count if `real` is 1, not 0.

    Keras' own (`synchronized=True`) subtracts two large numbers for the variance, and sums up one time more.
    """
    context, axes = tf.distribute.get_replica_context(), list(range(len(inputs.shape) - 1))
    count = tf.cast(tf.size(inputs) // inputs.shape[-1], inputs.dtype)
    sums = context.all_reduce("sum", real * tf.concat([tf.reduce_sum(inputs, axes), [count]], 0))
    mean = sums[:-1] / sums[-1]
    squares = tf.math.squared_difference(inputs, tf.stop_gradient(mean))  # As TensorFlow's own; the mean is the least.
    return mean, context.all_reduce("sum", real * tf.reduce_sum(squares, axes)) / sums[-1]


def _drop(layer: Any, inputs: Any, batch: int) -> Any:
    """Dropout of this replica's pictures, as one device would throw the dice for the whole batch."""
    context = tf.distribute.get_replica_context()
    replicas, rows = context.num_replicas_in_sync, tf.shape(inputs)
    dice = keras.random.dropout(tf.ones((batch, *inputs.shape[1:]), inputs.dtype), layer.rate,
                                noise_shape=layer.noise_shape, seed=layer.seed_generator)
    return inputs * dice[context.replica_id_in_sync_group :: replicas][: rows[0]]
