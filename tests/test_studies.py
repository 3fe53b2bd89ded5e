"""The public studies: what each trains, the tables that it makes, and one from beginning to end on drawn photos."""

from __future__ import annotations

import argparse
import csv
import re
from collections import Counter
from pathlib import Path

import pytest

from models.errors import EdgeWatchError
from recipes.studies import table, trapped
from recipes.studies.__main__ import main, study
from recipes.studies.fitting import FULL, SHORT, Place, command, name, weights_file
from recipes.studies.plan import FOLDER, STUDIES, Study, Training
from recipes.studies.table import Result
from tests.tiny import draw_photos
from train.cli import parser, recipe_of
from train.names import parse
from train.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_each_recipe_can_be_read_and_says_its_command(path: Path) -> None:
    parse(read_recipe(path).backbone)
    text = path.read_text(encoding="utf-8")
    assert re.search(r'^command = "train fit \S+ --recipe recipes/studies/' + path.name + '"$', text, re.MULTILINE)
    assert re.search(r"^result = ", text, re.MULTILINE)
    assert any(training.recipe == path.stem for each in STUDIES.values() for training in each.trainings)


@pytest.mark.parametrize("called", STUDIES)
def test_each_training_of_a_study_is_one_that_train_fit_takes(called: str, tmp_path: Path) -> None:
    for backbone in (*FULL, "mobilenet_v3_large_minimalistic"):
        weights_file(tmp_path, backbone).touch()
    names = []
    for training in STUDIES[called].trainings:
        words = command(training, Place(Path("data"), str(tmp_path), tmp_path))
        found = recipe_of(parser().parse_args(words))
        assert not training.backbone or found.backbone == training.backbone
        assert not training.exclude or (FOLDER / training.exclude).is_file()
        names.append(name(training))
    assert len(set(names)) == len(names)


def test_a_network_without_weights_is_trained_for_a_moment_only(tmp_path: Path) -> None:
    (tmp_path / "mobilenet_v2_1.0_notop.weights.h5").touch()
    place = Place(tmp_path, str(tmp_path), tmp_path)
    assert set(SHORT) <= set(command(Training("photos", "inaturalist"), place))
    known = command(Training("photos", "inaturalist", "mobilenet_v2"), place)
    assert f"--weights={tmp_path}/mobilenet_v2_1.0_notop.weights.h5" in known
    assert not set(SHORT) & set(known)
    assert "--weights=imagenet" in command(Training("photos", "inaturalist"), Place(tmp_path, "imagenet", tmp_path))
    cut = command(Training("photos", "bigcats", "mobilenet_v2@block_13_expand_relu"), place)
    assert f"--weights={tmp_path}/mobilenet_v2_1.0_notop.weights.h5" in cut
    assert not any(word.startswith("--weights") for word in command(Training("photos", "scratch"), place))


def made_up(training: Training, weights: str, right: tuple[int, int], **settings: object) -> Result:
    """A result over 8 test photos of a deer and 4 of a fox, of which so many are right."""
    deer, fox = right
    day = {
        "metrics": {"n": 12, "accuracy": (deer + fox) / 12, "macro_f1": 0.5}, "interval": [0.402, 0.861],
        "confusion": [[deer, 8 - deer], [4 - fox, fox]],
        "classes": {"deer": {"n": 8, "right": deer, "wrong": 8 - deer},
                    "fox": {"n": 4, "right": fox, "wrong": 4 - fox}},
    }
    report = {"names": ["deer", "fox"], "kept": "fine-tuned, epoch 3", "doubts": ["2 photos are in train, too"],
              "results": {"day": day, "night": {"metrics": {"n": 12, "accuracy": 0.25}}}}
    stated = {"backbone": "mobilenet_v2", "weights": weights, "size": 160, "seed": 1, **settings}
    return Result(training, stated, report, {"deer": 40, "fox": 7})


KNOWN = made_up(Training("photos", "inaturalist", how="all"), "some.weights.h5", (7, 2))
UNKNOWN = made_up(Training("photos", "inaturalist", exclude="two.txt"), "none", (8, 0), backbone="lenet", size=96)


def test_the_table_says_what_the_bundles_say() -> None:
    assert table.document([KNOWN, UNKNOWN], "", True, "python -m recipes.studies some") == """\
| photos | classes | network | how | weights | px | test photos | right | 95 % interval | macro-F1 | in grey | kept |
|---|---|---|---|---|---|---|---|---|---|---|---|
| photos | 2 | mobilenet_v2 | all | ImageNet | 160 | 12 | 75.0 | 40-86 | 50.0 | 25.0 | fine-tuned, epoch 3 |
| photos, two | 2 | lenet |  | none: not comparable | 96 | 12 | 66.7 | 40-86 | 50.0 | 25.0 | fine-tuned, epoch 3 |

Not comparable: there were no weights for this network, so it learned from nothing, with small pictures and for one \
epoch. It shows that the network can be trained, and nothing else.

- photos: 2 photos are in train, too
- photos, two: 2 photos are in train, too

`mobilenet_v2`, photos:

| class | trained on | test photos | right | wrong | taken for |
|---|---|---|---|---|---|
| deer | 40 | 8 | 7 | 1 | fox 1 |
| fox | 7 | 4 | 2 | 2 | deer 2 |

Per cent of the test photos; seed 1. Made by `python -m recipes.studies some`.
"""


def test_networks_that_are_meant_to_learn_from_nothing_are_comparable() -> None:
    alone = made_up(Training("photos", "scratch"), "none", (7, 4))
    assert table.document([alone], "found:\n\n1 photo\n", False, "it") == """\
| photos | classes | network | weights | px | test photos | right | 95 % interval | macro-F1 | in grey | kept |
|---|---|---|---|---|---|---|---|---|---|---|
| photos | 2 | mobilenet_v2 | none, as there | 160 | 12 | 91.7 | 40-86 | 50.0 | 25.0 | fine-tuned, epoch 3 |

- photos: 2 photos are in train, too

```
found:

1 photo
```

Per cent of the test photos; seed 1. Made by `it`.
"""


def listed(folder: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """A table of frames: path, species, sequence, confidence."""
    (folder / "trap").mkdir()
    with (folder / "trap/labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "species", "sequence", "station", "timestamp", "label_confidence"])
        writer.writerows((path, species, sequence, "A", "2009-04-21 00:40:00", sure)
                         for path, species, sequence, sure in rows)
    return folder / "trap/labels.csv"


def test_frames_of_frequent_species_are_divided_by_sequence(tmp_path: Path) -> None:
    rows = [(f"trap/deer{number}.jpg", "deer", f"s{number // 2}", "high") for number in range(20)]
    rows += [(f"trap/fox{number}.jpg", "fox", "", "high") for number in range(15)]
    rows += [("trap/hare.jpg", "hare", "", "high"), ("trap/dark.jpg", "fox", "", "low")]
    rows.append(("trap/none.jpg", "", "", "high"))
    (tmp_path / "out").mkdir()
    trapped.write_tables(listed(tmp_path, rows), tmp_path / "out")
    with (tmp_path / "out/by_sequence.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert found[0] | {"split": ""} == {"path": "../trap/deer0.jpg", "label": "deer", "location": "A", "sequence": "s0",
                                        "timestamp": "2009-04-21 00:40:00", "split": ""}
    assert Counter((row["label"], row["split"]) for row in found) == {
        ("deer", "train"): 12, ("deer", "val"): 4, ("deer", "test"): 4,
        ("fox", "train"): 11, ("fox", "val"): 2, ("fox", "test"): 2}
    assert len({(row["sequence"], row["split"]) for row in found if row["label"] == "deer"}) == 10
    frequent = (tmp_path / "out/frequent.csv").read_text().splitlines()
    assert frequent[:2] == ["path,label,location,sequence,timestamp",
                            "../trap/deer0.jpg,deer,A,s0,2009-04-21 00:40:00"]
    assert len(frequent) == 36


def test_a_table_that_does_not_do_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    path = listed(tmp_path, [(f"{number}.jpg", "deer", "", "high") for number in range(15)])
    with pytest.raises(EdgeWatchError, match="expected two species with 15 frames each, found fewer"):
        trapped.frequent(path)
    path.write_text("path,species\n1.jpg,deer\n")
    with pytest.raises(EdgeWatchError, match="found no sequence, station, timestamp, label_confidence; name another"):
        trapped.frequent(path)


@pytest.mark.parametrize(("words", "said"), [
    (["--data", "nowhere"], "--data: expected nowhere/birds_coarse, found none; name the folder that has it"),
    (["--weights-dir", "nowhere"], "--weights-dir: expected imagenet or a folder, found nowhere; correct it"),
])
def test_what_is_missing_is_said_in_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for data in ("birds_coarse", "monkeys10"):
        (tmp_path / data).mkdir()
    assert main(["parrots", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 2
    assert capsys.readouterr().err == f"recipes.studies: {said}\n"
    assert not (tmp_path / "out").exists()


def test_a_study_runs_to_its_end_and_does_not_train_twice(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    draw_photos(tmp_path / "data/drawn")
    quick = ("--epochs=0", "--set=augmentation=none")
    tiny = Study(1, (Training("drawn", "inaturalist", "mobilenet_v1_0.25", quick),), inspect="drawn")
    (tmp_path / "weights").mkdir()
    options = argparse.Namespace(study="tiny", data=tmp_path / "data", weights_dir=str(tmp_path / "weights"),
                                 out=tmp_path / "out", fresh=False)
    first = study(tiny, options, "tiny")
    assert "\n| drawn | 3 | mobilenet_v1_0.25 | none: not comparable | 32 | 24 | " in first
    assert "drawn: 90 photos of 3 classes, 0 excluded" in first
    assert (tmp_path / "out/tiny/table.md").read_text(encoding="utf-8") == first
    assert (tmp_path / "out/tiny/drawn-mobilenet_v1_0.25/report.html").is_file()
    assert " drawn-mobilenet_v1_0.25: train fit " in capfd.readouterr().err
    assert study(tiny, options, "tiny") == first
    said = capfd.readouterr().err
    assert "drawn-mobilenet_v1_0.25: kept, trained " in said
    assert "train fit" not in said


def test_the_docs_have_each_study_with_its_command() -> None:
    page, readme = ((ROOT / path).read_text(encoding="utf-8") for path in ("docs/studies.md", "README.md"))
    for called in STUDIES:
        (section,) = (part for part in page.split("\n## ") if f"Made by `python -m recipes.studies {called}`" in part)
        assert "\n|---|" in section
    assert "python -m recipes.studies" in readme
    assert "docs/studies.md" in readme
