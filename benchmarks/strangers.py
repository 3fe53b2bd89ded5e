"""Confident wrong answers to photos of species that the model does not know, each of its classes a target in turn.

    python benchmarks/strangers.py [--data DIR] [--model BUNDLE]

A photo is answered as `edge-classify` does, and `edge-watch` with a series of photos: the whole picture, one look, from
the species' operating point for the light on. Nothing was trained on these sets. Where a class is broader than its name
(`KIN`), what belongs to it is no stranger to it; all else is, a dog to the wolf and a cow to the bison too.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET, MOST = "tiger", 0.01

KIN = {
    "bison": {"buffalo"},
    "deer": {
        "antelope", "bushbuck", "dik_dik", "duiker", "eland", "gazelle_grants", "gazelle_thomsons", "hartebeest",
        "impala", "mousedeer", "reedbuck", "steenbok", "topi", "waterbuck", "wildebeest",
    },
    "monkey": {"baboon", "vervet_monkey"},
    "pig": {"peccary", "warthog"},
    "rabbit": {"european_hare", "hare"},
}  # fmt: skip
NAMES = {"american_black_bear": "bear", "grey_fox": "fox", "lion_female": "lion", "lion_male": "lion"}
"""Names in the sets that mean a class."""
UNCLEAR = {"", "unknown", "unidentified", "rodents", "dog (with car)"}


def strangers(data: Path, labels: set[str]) -> list[tuple[str, Path]]:
    """Species and photo of each animal that is none of the labels."""
    found = []
    for name in ("animals10", "birds_coarse", "butterflies20"):
        for path in sorted((data / name).glob("*/*/*.jpg")):
            found.append(("butterfly" if name == "butterflies20" else path.parent.name, path))
    with (data / "cameratrap/manifest.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["category"] == "animal" and row["label_confidence"] != "low":
                found.append((row["species"], data / row["path"]))
    return [each for each in found if NAMES.get(each[0], each[0]) not in labels | UNCLEAR]


def main() -> None:
    """Look at every photo, and print a line for each class and one for the target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--model", type=Path, default=None)
    options = parser.parse_args()
    if not (options.data / "animals10").is_dir():
        raise SystemExit(f"--data: expected the folder with animals10 and others, found none at {options.data}")
    sys.path.insert(0, str(ROOT))
    from models.bundle import ModelBundle, default_bundle
    from models.classifier import Classifier
    from models.evaluation import wilson
    from models.images import read_image
    from models.preprocess import is_infrared

    classifier = Classifier(ModelBundle.open(options.model or default_bundle()))
    labels, points = classifier.labels, classifier.bundle.manifest.operating_points
    photos = strangers(options.data, set(labels.names))
    counts = Counter(species for species, _ in photos)
    named: Counter[tuple[str, str]] = Counter()
    for species, path in photos:
        image = read_image(path, at_least=classifier.interpreter.size)
        shares = classifier.classify(image)
        label = labels[int(shares.argmax())]
        if shares.max() >= points[label.name]["night" if is_infrared(image) else "day"].threshold:
            named[species, label.name] += 1
    print(f"{classifier.bundle.title}: {len(photos)} photos of {len(counts)} species that are no class, one look each")
    print(f"{'target':12} {'wrong':>6} {'n':>6} {'share':>7} {'95 %':>14}  taken for it")
    rates = {}
    for index in labels.of_type("animal"):
        name = labels[index].name
        apart = {species: count for species, count in counts.items() if species not in KIN.get(name, ())}
        wrong = Counter({species: named[species, name] for species in apart if named[species, name]})
        rates[name], n = wrong.total() / sum(apart.values()), sum(apart.values())
        low, high = wilson(wrong.total(), n)
        most = ", ".join(f"{species} {count} of {counts[species]}" for species, count in wrong.most_common(5))
        print(f"{name:12} {wrong.total():6} {n:6} {rates[name]:7.2%} {low:6.2%} - {high:5.2%}  {most}")
    said = Counter({species: sum(named[species, name] for name in labels.names) for species in counts})
    empty = {labels[index].name for index in labels.of_type("blank")}
    blank = sum(count for (_, name), count in named.items() if name in empty)
    print(f"any answer but unknown: {said.total()} ({said.total() / len(photos):.1%}), of which blank: {blank}")
    met = "met" if rates[TARGET] <= MOST else "NOT MET"
    print(f"{TARGET}: {rates[TARGET]:.2%} of confident wrong answers, at most {MOST:.0%} wanted: {met}")


if __name__ == "__main__":
    main()
