"""Runs `train fit` for a study, unless its bundle is there already."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.bundle import ModelBundle
from models.errors import EdgeWatchError
from recipes.studies.plan import BY_SEQUENCE, FOLDER, FREQUENT, Training
from train.cli import parser, recipe_of
from train.names import LEAST_SIZE
from train.partial import SUFFIX
from train.photos.find import find_photos
from train.recipe import DEFAULT, read_recipe

ROOT = FOLDER.parents[1]
FULL = {"mobilenet_v1": "mobilenet_v1_1.0", "mobilenet_v1_0.25": "mobilenet_v1_0.25_128",
        "mobilenet_v2": "mobilenet_v2_1.0", "mobilenet_v3_small": "mobilenet_v3_small_1.0"}
"""Networks that the files of weights in --weights-dir have another name for."""
SHORT = ("--weights=none", "--epochs=1", "--set=head_epochs=5")
"""For a network that there are no weights of: enough to see that it can be trained, and with it the least `size`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a study finds photos and weights, and where its bundles go; `weights` may also be `imagenet`."""

    data: Path
    weights: str
    out: Path
    fresh: bool = False


def command(training: Training, place: Place) -> list[str]:
    """What `train` is called with."""
    data = (place.out if training.data in (FREQUENT, BY_SEQUENCE) else place.data) / training.data
    words = ["fit", str(data), f"--recipe={FOLDER / training.recipe}.toml"]
    if training.backbone:
        words.append(f"--backbone={training.backbone}")
    words += [*_weights(training, place), *training.options]
    if training.exclude:
        words.append(f"--exclude={FOLDER / training.exclude}")
    return [*words, f"--out={place.out / name(training)}"]


def name(training: Training) -> str:
    """What the bundle is called."""
    backbone = training.backbone or read_recipe(FOLDER / f"{training.recipe}.toml").backbone
    return re.sub(r"[^a-z0-9._]+", "-", " ".join(filter(None, (training.photos, backbone, training.how))))


def _weights(training: Training, place: Place) -> Sequence[str]:
    recipe = read_recipe(FOLDER / f"{training.recipe}.toml")
    if recipe.weights == "none":  # It is meant to learn from nothing.
        return ()
    backbone = (training.backbone or recipe.backbone).partition("@")[0]
    if place.weights == "imagenet":
        return ("--weights=imagenet",)
    path = weights_file(Path(place.weights), backbone)
    return (f"--weights={path}",) if path.is_file() else (*SHORT, f"--size={LEAST_SIZE.get(backbone, 32)}")


def weights_file(folder: Path, backbone: str) -> Path:
    """Where the weights of a network are, if there are such."""
    return folder / f"{FULL.get(backbone, backbone)}_notop.weights.h5"


def fitted(training: Training, place: Place, say: Callable[[str], None]) -> ModelBundle:
    """The bundle of a training: the one that is there if it is of the same recipe and photos, else a new one.

    Raises:
        EdgeWatchError: the training failed.
    """
    words, out = command(training, place), place.out / name(training)
    if out.exists() and not place.fresh:
        bundle = ModelBundle.open(out)
        if same(bundle, words):
            say(f"{out.name}: kept, trained {bundle.manifest.provenance.created}")
            return bundle
        say(f"{out.name}: is there, but trained with other settings or photos")
    return train(words, out, place.fresh, say)


def train(words: list[str], out: Path, fresh: bool, say: Callable[[str], None]) -> ModelBundle:
    """Run `train fit` by itself: what is at `out` is replaced, and a training that was interrupted goes on.

    Args:
        words: what `train` is called with.
        out: where the bundle goes.
        fresh: start anew what was interrupted, too.
        say: shows a line.

    Raises:
        EdgeWatchError: the training failed.
    """
    if out.exists() or fresh:
        words = [*words, "--force"]
    if out.with_name(out.name + SUFFIX).exists() and not fresh:
        words = [*words, "--resume"]
    say(f"{out.name}: {shlex.join(['train', *words])}")
    # In a process group of its own: Ctrl-C would end it early with a bundle that looks finished.
    process = subprocess.Popen([sys.executable, "-m", "train", *words], process_group=0,
                               env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        code = process.wait()
    finally:
        if process.poll() is None:  # Whatever ended this one ends that one, too.
            process.terminate()
            process.wait()
    if code:
        raise EdgeWatchError(f"{out.name}: expected `train fit` to end with 0, found {code}; see what it said above, "
                             f"and type --fresh to start all anew")
    return ModelBundle.open(out)


def same(bundle: ModelBundle, words: Sequence[str]) -> bool:
    """Whether a bundle was trained with the recipe and on the photos that this command line says.

    What was no setting yet when it was trained counts as its default, which is to do without it.
    """
    arguments, origin = parser().parse_args(words), bundle.manifest.provenance
    stated = dataclasses.asdict(DEFAULT) | origin.settings
    data = find_photos(arguments.data, arguments.exclude)
    return (plain(stated) == plain(dataclasses.asdict(recipe_of(arguments)))
            and Path(origin.data).resolve() == data.root.resolve() and origin.excluded == data.excluded
            and bundle.labels.names == data.names
            and sum(origin.photos.values()) + origin.left_out == len(data.photos))


def plain(value: Any) -> Any:
    """Settings as a manifest keeps them: as JSON, with six digits."""
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 6))
