"""How a model is trained: every number that the result depends on, with its reason."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from models.errors import UsageError
from train.names import FROM_SCRATCH, LEAST_SIZE, parse
from train.texts import read_text

Unfreeze = int | Literal["all"]
Epochs = int | Literal["auto"]
Head = Literal["mean", "flat"]
Average = Literal["ema", "swa", "none"]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to training pictures. Shares are 0-1, of the pictures; 0 switches a thing off."""

    strong: float = 0.1
    """Share of pictures that everything below acts on at full strength; on the others geometry and light act at 0.3 of
    it. Clear views must come too: too many hard ones spoil what the backbone knows."""
    flip: float = 0.5
    """Share that is mirrored."""
    rotation: float = 15.0
    """Degrees, to either side, at most."""
    shift: float = 0.06
    """Share of the side, beyond what zooming leaves room for, at most."""
    shear: float = 5.0
    """Degrees, to either side, at most."""
    stretch: float = 1.44
    """Width against height, at most (and its inverse at least): boxes of animals are stretched to the square."""
    near: float = 1.5
    """Zoom, at most: the animal is cut off by the edge."""
    far: float = 0.52
    """Zoom, at least: a small animal; training pictures without an animal show around it."""
    brightness: float = 0.35
    contrast: float = 0.35
    gamma: float = 0.4
    """Logarithm of the exponent, at most."""
    colour: float = 0.5
    """Saturation, up and down, at most."""
    infrared: float = 0.25
    """Share turned infrared-grey: half of what a trap sees is night."""
    low_light: float = 0.05
    """Share darkened to a tenth to a half of its light, with the noise that a camera then adds."""
    noise: float = 0.1
    """Share with noise of the sensor."""
    motion_blur: float = 0.03
    """Share blurred along a line, as of something that runs at dusk."""
    occlusion: float = 0.05
    """Share that something stands before: a trunk or a branch, cut from another picture."""
    jpeg: float = 0.1
    """Share compressed hard, as traps and phones do."""
    coarse: float = 0.15
    """Share enlarged from fewer pixels: an animal far away."""

    @property
    def off(self) -> bool:
        """Whether nothing is done to any picture."""
        return replace(self, strong=0.0) == NO_AUGMENTATION


FACTORS = ("stretch", "near", "far")
"""Those that leave a picture alone when they are 1; the others do so when they are 0."""
NO_AUGMENTATION = Augmentation(**{entry.name: float(entry.name in FACTORS) for entry in fields(Augmentation)})


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings of one training; all of them stand in the bundle's provenance, and in `recipes/default.toml`."""

    backbone: str = "mobilenet_v2"
    weights: str = "imagenet"
    """`imagenet` (downloaded), `none` (random) or a `.weights.h5` file."""
    size: int = 224
    """Pixels a side of the network's input."""
    head: Head = "mean"
    """What the head learns from: the mean of each channel of the backbone's last feature map, or all its places. Where
    an animal stands says nothing of which it is, and `flat` has many times the weights."""
    hidden: int = 0
    """Units of a layer with ReLU between the features and the logits; 0: none. Pretrained features need none."""
    unfreeze: Unfreeze = "all"
    """How many of the backbone's last layers are fine-tuned."""
    epochs: Epochs = "auto"
    """Passes of fine-tuning; `auto` are 4, and with few photos more, so that there are at least 180 steps."""
    head_epochs: int = 40
    """Passes of the head over the features of the frozen backbone; they take seconds."""
    patience: int = 5
    """Epochs of fine-tuning that do not get better, after which it stops."""
    batch: int = 32
    head_rate: float = 5e-3
    fine_rate: float = 1e-4
    """Peak of the rate; much less than the head's, or pretrained features are lost before they are improved."""
    schedule: Literal["cosine", "plateau"] = "cosine"
    """How the rate falls: along a cosine to nothing, or to a fifth whenever two epochs brought nothing."""
    dropout: float = 0.2
    decay: float = 2e-3
    """Weight of the squares of the head's weights in the loss."""
    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    """`focal` looks more at photos that are still wrong (Lin et al. 2017); gamma is 2."""
    label_smoothing: float = 0.0
    sampling: Literal["natural", "balanced"] = "natural"
    """`balanced` draws every class equally often; class weights then have nothing left to do."""
    imbalance: float = 0.25
    """Class weights are (mean count / count) to this power: 0 trusts the counts, 1 makes all classes equal."""
    mixup: float = 0.0
    """Above 0 each picture of fine-tuning is laid over another, in shares drawn from Beta(mixup, mixup), and so are
    their labels (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", who take 0.1 to 0.4)."""
    cutmix: float = 0.0
    """Above 0 a box of each picture is cut from another; its share of the area is drawn from Beta(cutmix, cutmix), and
    the label's shares are the areas' (Yun et al. 2019, "CutMix", who take 1). With both each picture gets one of them.
    """
    start_size: int = 0
    """Pixels a side that fine-tuning begins with, in equal steps up to `size`; 0: `size` from the beginning. Small
    pictures are faster, and another view of the same things."""
    average: Average = "ema"
    """What is kept of the weights that fine-tuning goes through: `ema`, their running mean over about one epoch, as
    with few photos a single step's noise costs a point or two; `swa`, the mean over the second half, at a rate that no
    longer falls (Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization"); `none`."""
    teacher: str | list[str] = "none"
    """`none` or a float bundle of the same photos: fine-tuning also learns what that network says of each picture
    (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network"). Of a list of such, the mean of what they say.
    """
    teacher_share: float = 0.9
    """Of the loss; what is left of it is for the labels."""
    teacher_temperature: float = 2.0
    """Both networks' logits are divided by it: above 1 it counts more which other classes a picture resembles."""
    calibration: int = 220
    """Pictures for `convert`; about 200 are enough for the ranges of the activations."""
    seed: int = 1
    deterministic: bool = False
    """Slower, but the same seed gives the same model twice on one machine."""
    precision: Literal["auto", "float32", "mixed"] = "auto"
    """Of fine-tuning's arithmetic. `mixed` is float16 with float32 weights and logits (Micikevicius et al. 2018, "Mixed
    Precision Training"); `auto` is that on GPUs that are much faster so, else float32."""
    augmentation: Augmentation = field(default_factory=Augmentation)


DEFAULT = Recipe()
NOTES = ("command", "result")
"""Texts that a recipe file may have beside the settings: how to run it, and what it should give."""


SHARE = (0.0, 1.0)
STEP = LEAST = 32
"""Pixels: sizes are multiples of it, as networks halve a picture five times, and no less."""
LIMITS: dict[str, tuple[float, float]] = {
    "size": (LEAST, 512), "start_size": (0, 512), "hidden": (0, 4096), "mixup": (0, 10), "cutmix": (0, 10),
    "head_epochs": (1, 10_000), "patience": (1, 10_000), "batch": (1, 4096), "dropout": (0, 0.9),
    "label_smoothing": (0, 0.9), "calibration": (1, 100_000), "strong": SHARE, "flip": SHARE, "rotation": (0, 180),
    "shift": SHARE, "shear": (0, 60), "stretch": (1, 4), "near": (1, 10), "far": (0.1, 1), "brightness": SHARE,
    "contrast": SHARE, "colour": SHARE, "infrared": SHARE, "low_light": SHARE, "noise": SHARE, "motion_blur": SHARE,
    "occlusion": SHARE, "jpeg": SHARE, "coarse": SHARE, "epochs": (0, 100_000), "head_rate": SHARE, "fine_rate": SHARE,
    "decay": SHARE, "imbalance": (0, 4), "seed": (0, 2**32 - 1), "gamma": (0, 3),
    "teacher_share": SHARE, "teacher_temperature": (0.1, 100),
}
"""The least and the most that a setting may be if it is a number; `unfreeze` is at least 0."""


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file: the settings it names, over the defaults.

    Raises:
        UsageError: no such file, no TOML, or something in it that is unknown or of the wrong type.
    """
    text = read_text(path, "a recipe (a TOML file)", "correct --recipe or take recipes/default.toml")
    try:
        stated = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: expected a recipe (a TOML file), found: {error}; "
                         f"correct it or take recipes/default.toml") from error
    for note in NOTES:
        if not isinstance(found := stated.pop(note, ""), str):
            raise UsageError(f"{path}: expected {note} to be a text, found {found!r}; correct it or leave it out")
    return apply(DEFAULT, stated, str(path))


def override(recipe: Recipe, setting: str) -> Recipe:
    """A recipe with one setting changed.

    Args:
        recipe: what it is changed in.
        setting: `KEY=VALUE`, where a key may be `augmentation.flip`; a value is written as in TOML, words without
            quotes.

    Raises:
        UsageError: not of that form, an unknown setting, or a value of the wrong type.
    """
    key, equals, value = setting.partition("=")
    if not equals:
        raise UsageError(f"--set: expected KEY=VALUE, found {setting}; as in --set label_smoothing=0.1")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    table, dot, inner = key.strip().partition(".")
    return apply(recipe, {table: {inner: parsed}} if dot else {table: parsed}, "--set")


def apply(recipe: Recipe, stated: Mapping[str, Any], source: str) -> Recipe:
    """A recipe with the stated settings in place of its own; `source` is named in errors.

    `augmentation` is a table of its settings, or `none`.

    Raises:
        UsageError: an unknown setting, or a value of the wrong type or out of its limits.
    """
    _require_known(stated, source)
    changes = dict(stated)
    if changes.get("augmentation") == "none":
        changes["augmentation"] = NO_AUGMENTATION
    if isinstance(inner := changes.get("augmentation"), Mapping):
        changes["augmentation"] = replace(recipe.augmentation, **_checked(Augmentation, inner, source, "augmentation."))
    return replace(recipe, **_checked(Recipe, changes, source))


def teachers(recipe: Recipe) -> list[str]:
    """The bundles to learn from."""
    return [] if recipe.teacher == "none" else [recipe.teacher] if isinstance(recipe.teacher, str) else recipe.teacher


def for_one_device(recipe: Recipe) -> bool:
    """Whether something in it can only be done by one device in float32."""
    return recipe.start_size > 0 or recipe.average == "swa"


def require_whole(recipe: Recipe) -> None:
    """Refuse settings each of which can be meant, but not together.

    Raises:
        UsageError: there are no such weights of the backbone, it needs larger pictures, or they cannot grow.
    """
    family = parse(recipe.backbone)[0]
    if family in FROM_SCRATCH and recipe.weights != "none":
        raise UsageError(f"--weights: expected none, as there are no weights of {family}, found {recipe.weights}; type "
                         f"--weights none")
    if recipe.size < (least := LEAST_SIZE.get(family, 0)):
        raise UsageError(f"--size: expected at least {least} for {family}, found {recipe.size}; type --size {least}")
    if recipe.start_size and recipe.head == "flat":
        raise UsageError(f"start_size: expected 0, as flattened features are those of one size, found "
                         f"{recipe.start_size}; leave it out or set head=mean")
    if recipe.start_size and not max(LEAST, LEAST_SIZE.get(family, 0)) <= recipe.start_size < recipe.size:
        raise UsageError(f"start_size: expected 0 or from {max(LEAST, LEAST_SIZE.get(family, 0))} to less than size "
                         f"({recipe.size}), found {recipe.start_size}; correct it")


def _checked(kind: type, stated: Mapping[str, Any], source: str, prefix: str = "") -> dict[str, Any]:
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for key, value in stated.items():
        fitting = float(value) if hints[key] is float and type(value) is int else value
        if not _fits(fitting, hints[key]):
            raise UsageError(f"{source}: expected {prefix}{key} to be {_words(hints[key])}, found {value!r}; "
                             f"correct it")
        if key in LIMITS and not isinstance(fitting, str):
            low, high = LIMITS[key]
            if not low <= fitting <= high:
                raise UsageError(f"{source}: expected {prefix}{key} from {low:.10g} to {high:.10g}, found {value}; "
                                 f"correct it")
        if key in ("size", "start_size") and fitting % STEP:
            raise UsageError(f"{source}: expected {key} to be a multiple of {STEP}, found {value}; correct it")
        if key == "teacher" and isinstance(value, list) and (not value or "none" in value):
            raise UsageError(f"{source}: expected {key} to be none or bundles, found {value!r}; correct it")
        if key == "backbone":
            parse(str(fitting))
        found[key] = fitting
    return found


def _require_known(stated: Mapping[str, Any], source: str) -> None:
    """Refuse settings that there are not, all at once, each with the one that may be meant."""
    inner = stated.get("augmentation")
    keys = [*stated, *(f"augmentation.{key}" for key in inner)] if isinstance(inner, Mapping) else [*stated]
    known = [entry.name for entry in fields(Recipe)] + [f"augmentation.{entry.name}" for entry in fields(Augmentation)]
    last = {name.rpartition(".")[2]: name for name in known}
    unknown: dict[str, str] = {}
    for key in keys:
        if key not in known:
            meant = get_close_matches(key.rpartition(".")[2], last, 1)
            unknown[key] = f"{key} (did you mean {last[meant[0]]}?)" if meant else key
    if unknown:
        guessed = all(key != said for key, said in unknown.items())
        expected = "settings of a recipe" if guessed else f"one of {', '.join(known)}"
        raise UsageError(f"{source}: expected {expected}, found {', '.join(unknown.values())}; correct the "
                         f"name{'s' if len(unknown) > 1 else ''}")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is list:
        return type(value) is list and all(_fits(each, get_args(kind)[0]) for each in value)
    if get_args(kind):
        return any(_fits(value, choice) for choice in get_args(kind))
    return type(value) is kind and (kind not in (int, float) or value >= 0)


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    if get_origin(kind) is list:
        return "a list of such"
    if get_args(kind):
        return " or ".join(_words(choice) for choice in get_args(kind))
    return {int: "a whole number of at least 0", float: "a number of at least 0", str: "a text",
            bool: "true or false"}.get(kind, "a table of its settings, or none")
