"""What belongs to each study: the trainings, and what stands beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
FREQUENT, BY_SEQUENCE = "frequent.csv", "by_sequence.csv"
"""The tables that are made of the camera-trap frames: species with enough of them, and those with sides."""


@dataclass(frozen=True, slots=True)
class Training:
    """One `train fit`.

    `data`: below --data, or a table that is made. `recipe`: a file of this folder, without its suffix. `backbone`,
    `options`: in place of what the recipe says. `exclude`: a list in this folder. `how`: what the table says of it,
    where network and photos alone do not tell.
    """

    data: str
    recipe: str
    backbone: str = ""
    options: tuple[str, ...] = ()
    exclude: str = ""
    how: str = ""

    @property
    def photos(self) -> str:
        """What the photos are called: the set, and the list of what is left out of it."""
        name = Path(self.data).stem
        return f"{name}, {Path(self.exclude).stem}" if self.exclude else name


@dataclass(frozen=True, slots=True)
class Study:
    """A public study: the trainings that repeat it here, in the order of the table's lines.

    `minutes`: what they take on two slow cores. `inspect`: a set below --data that is inspected as well. `classes`:
    whether each training that can be compared also has a table of its classes.
    """

    minutes: int
    trainings: tuple[Training, ...]
    inspect: str = ""
    classes: bool = False


def each(template: Training, *backbones: str) -> tuple[Training, ...]:
    """The same training with each of these networks; `""` is that of the recipe."""
    return tuple(replace(template, backbone=backbone) for backbone in backbones)


CUT = "mobilenet_v2@block_13_expand_relu"
"""Beside a cut InceptionV3: a network that there are weights of, cut where a picture is a sixteenth as large, too."""

STUDIES = {
    "parrots": Study(12, tuple(
        Training(data, "parrots", options=options, how=how)
        for data in ("birds_coarse", "monkeys10")
        for how, options in (("new head", ("--epochs=0",)), ("last 30 layers", ())))),
    "birds": Study(20, tuple(
        Training(data, "birds", options=options, how=how)
        for data in ("butterflies20", "monkeys10")
        for how, options in (("flattened, dense 256", ()), ("mean", ("--set=head=mean", "--set=hidden=0"))))),
    "animals10": Study(15, (
        *each(Training("animals10", "animals10"), "mobilenet_v3_large_minimalistic", "mobilenet_v3_small", "",
              "resnet50_v2"),
        *each(Training("animals10", "scratch"), "", "shallownet", "minivgg")), inspect="animals10"),
    "bigcats": Study(20, (
        *each(Training("bigcats_view.csv", "bigcats"), CUT, "mobilenet_v2", ""),
        Training("wildlife", "bigcats", CUT, exclude="two.txt"),
        Training("wildlife", "bigcats", CUT))),
    "inaturalist": Study(8, (
        *each(Training(BY_SEQUENCE, "inaturalist"), "mobilenet_v2", ""),
        *each(Training(FREQUENT, "inaturalist"), "mobilenet_v2")), classes=True),
}
