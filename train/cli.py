"""The command `train`: fit, inspect and evaluate."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import EdgeWatchError, UsageError, run
from train import stop
from train.names import FAMILIES, FORMS
from train.recipe import DEFAULT, Recipe, apply, for_one_device, override, read_recipe, require_whole, teachers

if TYPE_CHECKING:
    from train.partial import Partial
    from train.workers import Team

EXAMPLES = """examples:
  train inspect photos/
  train fit photos/
  train fit photos/ --backbone mobilenet_v3_small --unfreeze 40 --exclude bad.txt --out runs/small
  train fit photos/ --out runs/small --resume
  train fit photos/ --recipe recipes/default.toml --set label_smoothing=0.1 --set augmentation.infrared=0.5
  train evaluate runs/photos-1-int8 photos/
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `train`; returns the exit code."""
    return run("train", _main, argv)


def parser() -> argparse.ArgumentParser:
    """The command line of `train`."""
    top = argparse.ArgumentParser("train", description="From labelled photos to a float bundle.", epilog=EXAMPLES,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True, metavar="fit|inspect|evaluate")

    fit = commands.add_parser("fit", help="train a model on photos", description="Train a model on photos. The result "
                              "is a float bundle, which `convert` turns into one for the edge.")
    fit.add_argument("data", metavar="DATA", type=Path,
                     help="folder with one folder of photos per class, or with train, val and test folders of such; a "
                          "CSV file with columns `path` and `label`; a COCO Camera Traps file; a Camtrap DP; or "
                          "MegaDetector's file alone")
    fit.add_argument("--exclude", type=Path, metavar="LIST",
                     help="what to leave out: one photo, folder or class a line, or a CSV file with a column `path`")
    fit.add_argument("--split", type=Path, metavar="FILE",
                     help="a split.csv, as a bundle has: its photos stand on the same side again")
    fit.add_argument("--out", type=Path, metavar="DIR", help="the new bundle (default: runs/DATA-1, -2, ...)")
    fit.add_argument("--name", help="the model's name (default: that of the --out folder)")
    fit.add_argument("--resume", action="store_true",
                     help="go on with the training that was interrupted; without --out, with the latest one of DATA")
    fit.add_argument("--force", action="store_true",
                     help="replace the bundle at --out, and forget a training that was interrupted there")
    _recipe_options(fit.add_argument_group("how to train", "These go over what --recipe says."))

    inspect = commands.add_parser("inspect", help="what is in the photos, and what is wrong with them")
    inspect.add_argument("data", metavar="DATA", type=Path, help="as for fit")
    inspect.add_argument("--out", type=Path, metavar="DIR", help="the new folder, with inspect.html and inspect.json; "
                         "replaces an earlier inspection (default: runs/inspect-DATA)")
    evaluate = commands.add_parser("evaluate", help="measure a bundle, float or int8, on labelled photos")
    evaluate.add_argument("bundle", metavar="BUNDLE", type=Path)
    evaluate.add_argument("data", metavar="DATA", type=Path,
                          help="as for fit; where it has test photos, only those count")
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="the new folder, with report.html and report.json; "
                          "replaces an earlier report (default: runs/BUNDLE-on-DATA)")
    for command in (inspect, evaluate):
        command.add_argument("--exclude", type=Path, metavar="LIST", help="photos to leave out, as for fit")
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for command in (fit, inspect, evaluate):
        command.add_argument("--detections", type=Path, metavar="FILE",
                             help="MegaDetector's boxes, to which the photos are cut (default: its file in DATA, if "
                                  "there is one)")
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return top


def _recipe_options(group: argparse._ArgumentGroup) -> None:
    """Those settings of a recipe that have an option of their own; the option's name is the setting's."""
    group.add_argument("--recipe", type=Path, metavar="FILE",
                       help="a TOML file with any of the settings in recipes/default.toml, which has the defaults")
    group.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                       help="one setting of a recipe, as label_smoothing=0.1, augmentation.flip=0 or augmentation=none "
                            "(may be given again)")
    group.add_argument("--backbone", metavar="NAME",
                       help=f"{', '.join(FAMILIES)}; {FORMS} (default: {DEFAULT.backbone})")
    group.add_argument("--weights", metavar="imagenet|none|FILE", help="what training starts from: a download, nothing "
                       f"or a .weights.h5 file (default: {DEFAULT.weights})")
    group.add_argument("--teacher", metavar="none|BUNDLE", action="append", help="a float bundle of the same photos, "
                       "usually of a larger network, to learn from as well; given again, the mean of what they say "
                       f"(default: {DEFAULT.teacher})")
    group.add_argument("--unfreeze", type=_layers, metavar="N|all",
                       help=f"fine-tune the backbone's last N layers (default: {DEFAULT.unfreeze})")
    group.add_argument("--size", type=_count, metavar="PIXELS",
                       help=f"side of the network's input; smaller is faster (default: {DEFAULT.size})")
    group.add_argument("--epochs", type=_epochs, metavar="N|auto",
                       help="passes of fine-tuning; 0 trains the head only (default: 4, and more with few photos)")
    group.add_argument("--seed", type=_count, metavar="N", help=f"default: {DEFAULT.seed}")
    group.add_argument("--deterministic", action="store_true", default=None,
                       help="slower, but the same seed gives the same model twice on one machine")


def _layers(text: str) -> int | str:
    return text if text == "all" else _count(text)


def _epochs(text: str) -> int | str:
    return text if text == "auto" else _count(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, found {text!r}")
    return int(text)


def _main(argv: Sequence[str]) -> int:
    arguments = parser().parse_args(argv)
    stop.listen()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that what is half-done is removed then, too.
    if arguments.command == "inspect":
        from train.photos.inspection import inspect

        return inspect(arguments.data, arguments.exclude, arguments.out, arguments.json, arguments.detections)
    if arguments.command == "evaluate":
        from train.evaluate import evaluate

        return evaluate(arguments.bundle, arguments.data, arguments.exclude, arguments.out, arguments.json,
                        arguments.detections)
    return _fit(arguments, shlex.join(["train", *argv]))


def say(line: str) -> None:
    """Show one line of progress at once, also in a log."""
    print(line, file=sys.stderr, flush=True)


def _fit(arguments: argparse.Namespace, command: str) -> int:
    from models.bundle import require_free
    from models.labels import Label, LabelMap, scientific_names
    from train.photos.data import check_classes
    from train.photos.find import find_photos
    from train.photos.origin import about
    from train.photos.table import read_table
    from train.teacher import open_teacher
    from train.workers import VARIABLE, join, read_task

    # All that can be refused is refused before the slow import of TensorFlow.
    recipe = recipe_of(arguments)
    task = read_task(os.environ.get(VARIABLE))
    if task and for_one_device(recipe):
        raise UsageError(f"start_size and average=swa: expected one machine, found {len(task.addresses)} in "
                         f"{VARIABLE}; leave them out, or unset {VARIABLE}")
    chief = task is None or task.chief
    data = find_photos(arguments.data, arguments.exclude, arguments.detections)
    check_classes(data)
    if arguments.split:
        read_table(arguments.split, ("path", "split"), "--split")
    scientific = scientific_names(data.root) | data.scientific
    labels, described = LabelMap(Label.from_name(name, scientific) for name in data.names), about(data)
    out, number = _target(arguments)
    name = arguments.name or out.name
    if re.search(r"[/\x00-\x1f\x7f-\x9f]", name):
        raise UsageError(f"--name: expected a name without / and control characters, found {name!r}; choose another")
    if chief:
        require_free(out, arguments.force)
    taught = tuple(open_teacher(Path(path), labels.names, recipe.size) for path in teachers(recipe))
    shown = say if chief else _unsaid
    for note in data.notes:
        shown(note)
    with ExitStack() as stack:
        team = stack.enter_context(join(task, say)) if task else None
        if team:
            team.agree(_common(recipe, arguments))
        partial = stack.enter_context(_partial(out, recipe, arguments, team)) if chief else None
        work = partial.work if partial else stack.enter_context(_work(out, team))
        shown(f"{arguments.data}: {len(data.photos)} photos of {len(data.names)} classes; the bundle goes to {out}")
        from train.quiet import import_tensorflow

        import_tensorflow()
        from train.backbones import require_layer
        from train.job import Job, train

        if not team:  # TensorFlow wants to connect machines before any network is built; then `build` refuses the same.
            require_layer(recipe.backbone, recipe.size)
        train(Job(data, labels, described, recipe, out, name, number, command, arguments.force,
                  partial, arguments.split, taught, team), work, shown)
        if partial:
            partial.finish()
    return 0


def _unsaid(line: str) -> None:
    """Show nothing: the chief of several machines says it."""


def _common(recipe: Recipe, arguments: argparse.Namespace) -> dict[str, Any]:
    """What all machines that train together must have been told; paths may differ."""
    inner = asdict(recipe.augmentation)
    flat = asdict(recipe) | {f"augmentation.{key}": value for key, value in inner.items()}
    return {key: value for key, value in flat.items() if key not in ("augmentation", "weights", "teacher")} | {
        "--resume": arguments.resume}


@contextmanager
def _work(out: Path, team: Team | None) -> Iterator[Path]:
    """A folder for what a machine that is not the chief needs meanwhile; what a killed run left there is removed."""
    folder = out.with_name(f"{out.name}.worker-{team.task.index if team else 0}")
    mark = folder / ".meanwhile"
    if folder.exists() and not mark.exists():
        raise EdgeWatchError(f"{folder}: expected no such folder, as this worker needs it meanwhile, found one; "
                             f"move it away or choose another --out")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.touch()
    except OSError as error:
        raise EdgeWatchError(f"{folder}: cannot be written: {error.strerror}; choose another --out") from error
    if team:
        team.leaving = lambda: shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _partial(
    out: Path, recipe: Recipe, arguments: argparse.Namespace, team: Team | None = None
) -> Iterator[Partial]:
    """What a training has reached, while it runs; a file that cannot be read or written ends it in one line."""
    from train.partial import SUFFIX, Partial

    try:
        partial = Partial(out, recipe, arguments.resume, arguments.force)

        def leave() -> None:
            if partial.close():
                say(f"{partial.path} holds what was reached; the same command with --resume goes on from there")

        if team:
            team.leaving = leave
        try:
            if arguments.resume and not partial.state:
                others = sorted(str(path).removesuffix(SUFFIX) for path in out.parent.glob(f"*{SUFFIX}")
                                if path != partial.path)
                raise UsageError(f"--resume: expected an unfinished training at {partial.path}, found none"
                                 + (f" there, but of {', '.join(others)} (name it with --out)" if others else "")
                                 + "; or leave --resume out to start anew")
            yield partial
        finally:
            leave()
    except OSError as error:
        # Without a name it comes from writing, and only what belongs to OUT is written.
        what = f"{error.filename}: cannot be read or written" if error.filename else f"{out}: cannot be written"
        raise EdgeWatchError(f"{what}: {error.strerror or error}; check it, make room or choose another --out"
                             ) from error


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """The recipe of a command line: what the recipe file says, over it --set, and over that the options.

    Raises:
        UsageError: something in it cannot be meant, or not together, or the weights are no file.
    """
    recipe = read_recipe(arguments.recipe) if arguments.recipe else DEFAULT
    for setting in arguments.set:
        recipe = override(recipe, setting)
    for key in ("backbone", "weights", "teacher", "unfreeze", "size", "epochs", "seed", "deterministic"):
        if (value := getattr(arguments, key)) is not None:
            # One teacher is no list.
            recipe = apply(recipe, {key: value[0] if key == "teacher" and len(value) == 1 else value}, f"--{key}")
    require_whole(recipe)
    weights = recipe.weights
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise UsageError(f"--weights: expected imagenet, none or a file, found {weights}, which does not exist; "
                         f"correct the path")
    if weights not in ("imagenet", "none") and not weights.endswith(".h5"):
        raise UsageError(f"--weights: expected a file of Keras' weights (.weights.h5 or .h5), found {weights}; save "
                         f"the backbone's weights with Keras' save_weights")
    return recipe


def _target(arguments: argparse.Namespace) -> tuple[Path, str]:
    """Where the bundle goes, and its version: with --out 1, else the first number that is free under runs/."""
    from train.partial import SUFFIX, newest
    from train.photos.data import RUNS
    from train.photos.find import data_name

    if arguments.out:
        return arguments.out, "1"
    name = arguments.name or data_name(arguments.data)
    arguments.name = name
    if arguments.resume and (found := newest(RUNS, name)):
        return found, found.name.rpartition("-")[2]
    number = 1
    while any((RUNS / f"{name}-{number}{end}").exists() for end in ("", SUFFIX)):
        number += 1
    return RUNS / f"{name}-{number}", str(number)
