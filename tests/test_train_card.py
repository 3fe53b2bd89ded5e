"""The model card, and the operating points that `train fit` gives a bundle."""

from __future__ import annotations

import numpy as np
import pytest

from models.labels import Label, LabelMap
from models.manifest import InputSpec, Manifest, OperatingPoint, OutputSpec, Provenance, Quantization
from tests.test_train_report import NAMES, PATHS, POINT, SHORT, TRUTH, network, pictures, subject
from train.card import card
from train.report.numbers import Report, build

LABELS = LabelMap([Label(NAMES[0], "Ape", "", "animal"), Label(NAMES[1], "Bear", "", "animal"),
                   Label(NAMES[2], "Cat", "", "human")])
UNSEEN = OperatingPoint(0.5, 0.0, 0.0, 0)


def text(report: Report) -> str:
    found = report.subject
    manifest = Manifest(
        name="shapes", version="1", input=InputSpec(20), output=OutputSpec(3), temperature=1.0, verified=True, files={},
        quantization=Quantization(), operating_points={name: dict(points) for name, points in found.points.items()},
        metrics={lighting: result.metrics for lighting, result in report.results.items()},
        provenance=Provenance("train fit photos", "2026-05-01T06:00:00+00:00", {}, "photos",
                              {"train": 20, "val": 10, "test": 10}, "mobilenet", "none", 7),
    )
    return card(manifest, LABELS, report, {}, ())


@pytest.fixture(scope="module")
def made() -> str:
    points = {"ape": {"day": POINT, "night": SHORT}, NAMES[1]: {"day": POINT, "night": POINT},
              "cat": {"day": UNSEEN, "night": UNSEEN}}
    return text(build(subject(points=points), network, pictures(), np.arange(10), TRUTH, PATHS))


def test_card_has_no_numbers_where_nothing_was_measured(made: str) -> None:
    assert "| ape | animal | 5 | 80.0% | 80.0% | 0.0% | 0.0% | 0.85 / 0.50 |" in made
    assert "| cat | human | 0 | - | - | - | - | - / - |" in made
    assert "People (`cat`): there are no test pictures of them, so how well they are recognised is unknown." in made
    assert "95 % on the validation photos for: ape (night: 80%)." in made
    assert "No validation photo shows cat: the operating point of 0.50 is a guess." in made
    assert "No test photo shows cat: how well the model does there is unknown." in made


def test_card_tells_what_people_are_taken_for() -> None:
    truth = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    made = text(build(subject(), network, pictures(), np.arange(10), truth, PATHS))
    assert ("People (`cat`): 0.0% of 2 test pictures recognised as taken, 0.0% in grey. Of what is called cat, this "
            "share is one: - as taken, - in grey (-: nothing is called so).") in made


def test_card_tells_what_was_measured_of_night_and_geometry(made: str) -> None:
    assert "Test photos right: 80.0% as taken, 40.0% in infrared-grey (n = 10)." in made
    assert "- 1 of the test photos is grey as taken, in infrared or by having hardly any colour" in made
    assert "zoomed out 0.6 x 80.0%; " in made
    assert "mirrored 0.0%." in made
    assert "- Not measured: grass in front of an animal, blur, rain, and animals that are none of the classes." in made
    assert "Converted to int8, it runs on the camera's own small computer." in made
    for claim in ("recognised less often than test photos", "not on photos taken at night", "by day,"):
        assert claim not in made


def test_points_of_a_training_by_day_rest_on_photos_in_colour() -> None:
    package = pytest.importorskip("train.package")
    temperature, points = package.calibrated(network, pictures(), np.arange(10), TRUTH, NAMES)
    assert temperature > 0
    # The last bear is grey as taken, and called an ape.
    assert {name: (each["day"].n, each["night"].n) for name, each in points.items()} == {
        "ape": (5, 5), NAMES[1]: (4, 5), "cat": (0, 0)}
