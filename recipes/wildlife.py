r"""Gathers the photos that the published bundles `wildlife` and `wildlife-small` are trained on.

    python -m recipes.wildlife ../shared/data --out runs/published-data
    train fit runs/published-data --exclude runs/published-data/exclude.txt --backbone mobilenet_v2 \
        --weights ../shared/weights/mobilenet_v2_1.0_notop.weights.h5 --unfreeze all \
        --name wildlife --out runs/wildlife-1
    convert --quantize int8 runs/wildlife-1 --out models/bundles/wildlife-1-int8 --force
    python -m recipes.measured models/bundles/wildlife-1-int8 ../shared/data

and the small one with `--backbone mobilenet_v3_small`, its weights, `--seed 2`, `--name wildlife-small`,
runs/wildlife-small-1 and models/bundles/wildlife-small-1-int8. When that seed was chosen, int8 of the first one lost
more in grey than `convert` lets pass.

Seen: 96.6 % of the test photos right as taken, 94.0 % turned infrared-grey (int8: 96.6 and 93.8 %); every tiger and
person in both.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from models.errors import UsageError, run
from models.images import read_image
from recipes import pedestrians, places
from recipes.gathered import Gathered, Image, new_folder, read_rows

NON_COMMERCIAL, OFTEN = "CC BY-NC-SA", "often CC BY-NC"
"""What the licence field of photos says that are left out, and of those whose rights are unclear in this way."""

ABOUT = """Animals: the set `wildlife` (web photos, mostly close portraits), with its own train, val and test folders,
but without the {nc} photos whose licence is CC BY-NC-SA (all of tigers). {leaked} tiles of `empty` are left out as
well: they show the places that the composite test clips play in.

**The rights of nearly all photos are unclear**, as with photos found by web searches. Of {often} it is known that their
repository took them from iNaturalist and other traps, where the licence of a photo is often CC BY-NC, and did not keep
it ({foxes} of foxes, which are all that there are, and {deer} of deer). Who needs a model free of these trains one on
photos of their own.

`empty` also has {empty} animal-free squares of trap frames (boxes chosen by eye, all in train) and pieces of the floor
of the pedestrian clip.

`person` is small: {extras} crops of web photos, {frames} trap frames (a square cut out of `sn007` in train, `zoo077` in
test) and {walkers} squares of pedestrians, seen from above in one black-and-white clip of {seconds:.0f} s (`vid057`),
whose first half is train, then val, then test, with a second between them. {pasted} more in train are pedestrians of
that first half, pasted onto animal-free places, so that a bright floor does not become the sign of a person. Of the
test pictures of people {real} are photos; the others are from that clip, in the same place and partly of the same
people as in train: take the recall of `person` as an upper bound. Photos of people at night were not to be had.

Gathered by `{command}`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Gather the photos; returns the exit code."""
    return run("recipes.wildlife", _main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("recipes.wildlife", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder that holds wildlife, extras, cameratrap, videos and scenes")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the new folder of class folders")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    arguments = parser.parse_args(argv)
    data, out = arguments.data, arguments.out
    for name in ("wildlife", "extras", "cameratrap", "videos", "scenes"):
        if not (data / name).is_dir():
            raise UsageError(f"{data}: expected the folders wildlife, extras, cameratrap, videos and scenes, "
                             f"found no {name}; name the folder that holds them")
    with new_folder(out) as folder:
        gather(data, folder, shlex.join(["python", "-m", "recipes.wildlife", *argv]))
    print(f"{out}: gathered; next: see `python -m recipes.wildlife --help`", file=sys.stderr)
    return 0


def gather(data: Path, folder: Path, command: str) -> None:
    """Fill `folder` with train, val and test folders, `manifest.csv`, `exclude.txt` and `ABOUT.md`."""
    found = Gathered(folder)
    trap = {row["path"]: row for row in read_rows(data / "cameratrap/manifest.csv")}
    counts = _animals(data, found, trap)
    counts["extras"] = _extras(data, found)
    counts["empty"] = _places(data, found, trap)
    counts["frames"] = _trap_people(data, found, trap)
    counts["real"] = sum(row["split"] == "test" and row["class"] == "person" for row in found.rows)
    floors = [folder / row["path"] for row in found.of("train") if row["class"] == "empty"]
    clip = pedestrians.read(data / "videos/vid057.mp4")
    counts["walkers"], counts["pasted"] = _pedestrians(clip, found, [read_image(path) for path in floors])
    found.finish(ABOUT.format(**counts, seconds=len(clip) / 25, command=command))


def _animals(data: Path, found: Gathered, trap: dict[str, dict[str, str]]) -> dict[str, int]:
    """Copy `wildlife`; list the photos that must not be used. Returns counts by their name in `ABOUT`."""
    scenes = (data / "scenes/clips.csv").read_text(encoding="utf-8")
    behind = {trap[name]["source_path"] for name in re.findall(r"data/(cameratrap/\S+)", scenes)}
    counts = {"nc": 0, "leaked": 0, "often": 0, "foxes": 0, "deer": 0}
    for row in read_rows(data / "wildlife/manifest.csv"):
        name = Path(row["path"]).name
        target = found.place(row["split"], row["class"], name, f"wildlife: {row['source_repo']}", row["licence"])
        shutil.copyfile(data / row["path"], target)
        path = target.relative_to(found.folder).as_posix()
        if NON_COMMERCIAL in row["licence"]:
            found.exclude.append(path)
            counts["nc"] += 1
        elif row["split"] == "train" and row["class"] == "empty" and row["source_path"].partition("#")[0] in behind:
            found.exclude.append(path)
            counts["leaked"] += 1
        elif OFTEN in row["licence"]:
            counts["often"] += 1
            counts["foxes"] += row["class"] == "fox"
            counts["deer"] += row["class"] == "deer"
    return counts


def _extras(data: Path, found: Gathered) -> int:
    rows = read_rows(data / "extras/manifest.csv")
    for row in rows:
        name = Path(row["path"]).name
        shutil.copyfile(data / row["path"], found.place(
            row["split"], "person", name, f"extras: {row['source_repo']}", row["licence"]))
    return len(rows)


def _places(data: Path, found: Gathered, trap: dict[str, dict[str, str]]) -> int:
    count = 0
    for name, boxes in places.WITHOUT_ANIMALS.items():
        row = trap[f"cameratrap/frames/{name}.jpg"]
        frame = read_image(data / row["path"])
        for number, square in enumerate(square for box in boxes for square in squares(frame, box)):
            found.save(square, "train", "empty", f"{name}_{number}.jpg",
                       f"cameratrap: {row['source_repo']}", row["licence"])
            count += 1
    return count


def _trap_people(data: Path, found: Gathered, trap: dict[str, dict[str, str]]) -> int:
    for name, (split, box) in places.PEOPLE.items():
        row = trap[f"cameratrap/frames/{name}.jpg"]
        square = next(squares(read_image(data / row["path"]), box))
        found.save(square, split, "person", f"{name}.jpg", f"cameratrap: {row['source_repo']}", row["licence"])
    return len(places.PEOPLE)


def squares(frame: Image, box: tuple[float, float, float, float]) -> Iterator[Image]:
    """The squares, as large as fit and next to one another, in a box (left, top, right, bottom; shares 0-1)."""
    height, width = frame.shape[:2]
    left, top = round(box[0] * width), round(box[1] * height)
    right, bottom = round(box[2] * width), round(box[3] * height)
    side = min(right - left, bottom - top)
    for x in range(left, right - side + 1, side):
        for y in range(top, bottom - side + 1, side):
            yield frame[y : y + side, x : x + side]


def _pedestrians(clip: Sequence[Image], found: Gathered, floors: Sequence[Image]) -> tuple[int, int]:
    source, licence = "videos: roboflow/supervision vid057", "MIT repo; video licence not stated"
    walkers = 0
    for split, frame, walker in pedestrians.walkers(clip):
        found.save(walker, split, "person", f"walker_{frame:03}_{walkers:03}.jpg", source, licence)
        walkers += 1
    for number, (split, floor) in enumerate(pedestrians.floors(clip)):
        found.save(floor, split, "empty", f"floor_{number:03}.jpg", source, licence)
    pasted = 0
    for picture in pedestrians.pasted(clip, floors):
        found.save(picture, "train", "person", f"pasted_{pasted:03}.jpg", source, licence)
        pasted += 1
    return walkers, pasted


if __name__ == "__main__":
    raise SystemExit(main())
