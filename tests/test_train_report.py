"""The report: its numbers, its sentences and its page, for a network whose every answer is known."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.manifest import OperatingPoint
from train.measure import GEOMETRY, View, evenly, logits, moved
from train.report.numbers import DATA, PAGE, LeftOut, Report, Subject, build
from train.report.page import files
from train.report.summary import sensitivity, summary
from train.words import listing

NAMES = ("ape", "bear 狐 $x$ <b>", "cat")
TRUTH = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
ANSWERS = [0, 0, 0, 0, 1, 1, 1, 1, 1, 0]
ODDS = [9.0, 9.0, 9.0, 4.0, 1.5, 9.0, 9.0, 9.0, 9.0, 4.0]
"""Of the answer against the other two classes together; the third class always gets half of what is left."""
PATHS = [f"{NAMES[label]}/{row}.jpg" for row, label in enumerate(TRUTH)]
GREY = 9
"""A photo that is grey as taken."""
POINT = OperatingPoint(0.85, 0.96, 0.9, 7)
SHORT = OperatingPoint(0.5, 0.8, 1.0, 4)


def pictures() -> NDArray[np.uint8]:
    """(10, 20, 20, 3) uint8 RGB: the red channel is the photo's number, left half green, right half blue."""
    shown = np.zeros((10, 20, 20, 3), np.uint8)
    shown[..., 0] = np.arange(10)[:, None, None]
    shown[:, :, :10, 1] = shown[:, :, 10:, 2] = 200
    shown[GREY] = GREY
    return shown


def network(shown: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Answers as listed; what is turned grey is a bear for sure, what is mirrored a cat."""
    found = []
    for picture in shown:
        row = int(picture[10, 10, 0])
        answer, odds = (ANSWERS[row], ODDS[row]) if row < 10 else (1, 99.0)
        if row < 10 and row != GREY and picture[10, 0, 2] == 200:
            answer, odds = 2, 9.0
        shares = np.full(3, 1 / (odds + 1) / 2)
        shares[answer] = odds / (odds + 1)
        found.append(np.log(shares))
    return np.array(found, np.float32)


def subject(**changes: object) -> Subject:
    points = {name: {"day": POINT, "night": POINT} for name in NAMES} | {"cat": {"day": SHORT, "night": POINT}}
    return replace(Subject("shapes 1", "float", "runs/shapes", "photos", NAMES, 1.0, points,
                           LeftOut(("a.jpg: no picture",), 2, 3, ("a note",))), **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def report() -> Report:
    return build(subject(), network, pictures(), np.arange(10), TRUTH, PATHS)


def test_classes_count_right_wrong_and_false_alarms(report: Report) -> None:
    ape, bear, cat = report.results["day"].classes.values()
    assert (ape.n, ape.right, ape.wrong, ape.false_alarms) == (5, 4, 1, 1)
    assert (ape.precision, ape.recall, ape.f1) == (0.8, 0.8, pytest.approx(0.8))
    assert (bear.n, bear.right, bear.wrong, bear.false_alarms) == (5, 4, 1, 1)
    assert (cat.n, cat.precision, cat.recall, cat.average_precision, cat.curve.recall) == (0, None, None, None, ())
    assert report.results["day"].confusion == [[4, 1, 0], [1, 4, 0], [0, 0, 0]]
    assert report.results["night"].confusion == [[0, 5, 0], [1, 4, 0], [0, 0, 0]], "9 is grey already: as by day"
    assert report.results["day"].metrics.accuracy == 0.8
    assert report.results["day"].interval == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


def test_operating_points_are_tried_on_the_test_photos(report: Report) -> None:
    point = report.points["ape"]["day"]
    assert (point.threshold, point.precision, point.recall, point.n, point.reached) == (0.85, 0.96, 0.9, 7, True)
    # Three apes at 0.9; the fourth at 0.8.
    assert (point.test_precision, point.test_recall, point.test_n) == (1.0, 0.6, 5)
    cat = report.points["cat"]["day"]
    assert (cat.reached, cat.test_precision, cat.test_recall, cat.test_n) == (False, None, None, 0)


def test_mistakes_come_surest_first(report: Report) -> None:
    assert [(found.path, found.truth, found.answer, found.row) for found in report.mistakes] == [
        (PATHS[9], NAMES[1], "ape", 9), (PATHS[4], "ape", NAMES[1], 4)]
    assert [found.probability for found in report.mistakes] == [pytest.approx(0.8), pytest.approx(0.6)]


def test_photos_that_are_grey_as_taken_are_counted_apart(report: Report) -> None:
    assert report.grey_as_taken is not None
    assert (report.grey_as_taken.n, report.grey_as_taken.right, report.grey_classes) == (1, 0, {NAMES[1]: 1})
    assert report.in_colour is not None
    assert (report.in_colour.n, report.in_colour.right, report.in_colour.accuracy) == (9, 8, pytest.approx(8 / 9))
    assert report.in_colour.interval == (pytest.approx(0.5650, abs=1e-4), pytest.approx(0.9801, abs=1e-4))
    coloured = build(subject(), network, pictures(), np.arange(9), TRUTH[:9], PATHS)
    assert coloured.grey_as_taken is None
    assert ">in colour</td>" not in files(coloured, pictures())[PAGE], "it would say the same as the first row"
    grey = build(subject(), network, pictures(), np.array([GREY]), TRUTH[[GREY]], [PATHS[GREY]])
    assert grey.in_colour is None
    assert any(line.endswith("None is in colour.") for line in summary(grey))
    assert grey.points["ape"]["day"].test_precision is None


def test_points_by_day_are_tried_on_photos_in_colour() -> None:
    low = replace(POINT, threshold=0.5)
    found = build(subject(points={name: {"day": low, "night": low} for name in NAMES}), network, pictures(),
                  np.arange(10), TRUTH, PATHS)
    # Four apes; the bear that is called ape is grey as taken.
    ape, bear = found.points["ape"]["day"], found.points[NAMES[1]]["day"]
    assert (ape.test_precision, ape.test_recall, ape.test_n) == (1.0, 0.8, 5)
    assert (bear.test_precision, bear.test_recall, bear.test_n) == (0.8, 1.0, 4)
    assert found.points[NAMES[1]]["night"].test_n == 5


def test_what_was_not_measured_is_no_number(report: Report) -> None:
    unseen = OperatingPoint(0.5, 0.0, 0.0, 0)
    points = {name: {"day": POINT, "night": POINT} for name in NAMES[:2]} | {"cat": {"day": unseen, "night": unseen}}
    found = build(subject(points=points), network, pictures(), np.arange(10), TRUTH, PATHS)
    cat = found.points["cat"]["day"]
    assert (cat.n, cat.precision, cat.recall, cat.reached) == (0, None, None, False)
    [day] = [line for line in summary(found) if line.startswith("Operating points by day")]
    assert day == ("Operating points by day: 2 of 3 classes reach a precision of 95 % on the validation photos; on the "
                   "test photos it holds for 2 of the 2 that name any. No validation photo shows cat: the point is a "
                   "guess.")
    assert (report.results["day"].classes["cat"].f1, report.results["day"].classes["cat"].precision) == (None, None)
    metrics = json.loads(files(found, pictures())[DATA])["results"]["day"]["metrics"]
    assert metrics["per_class"]["cat"] == {"precision": None, "recall": None, "f1": None, "n": 0}
    assert metrics["per_class"]["ape"] == {"precision": 0.8, "recall": 0.8, "f1": 0.8, "n": 5}
    assert metrics["accuracy"] == 0.8


def test_geometry_compares_the_same_photos(report: Report) -> None:
    assert (report.unmoved.n, report.unmoved.right) == (10, 8)
    changed = {view.name: (view.accuracy, view.lost, view.won) for view in report.moved}
    assert changed.pop("mirrored") == (0.0, 8, 0)
    assert set(changed.values()) == {(0.8, 0, 0)}
    assert len(changed) == 9
    assert sensitivity(report) == (
        "As they are, 80.0% of 10 test photos are right. More are lost than chance explains when they are mirrored "
        "(0.0%: 8 lost, 0 won). At a trap, expect worse answers for an animal that looks the other way.")
    few = replace(report, moved=tuple(replace(view, accuracy=0.5, lost=3, won=0) for view in report.moved))
    assert sensitivity(few).endswith("than chance may explain; the lowest share is 50.0% (shifted right 10 %: 3 lost, "
                                     "0 won).")


def test_views_move_pictures_as_they_say() -> None:
    picture = np.zeros((21, 21, 3), np.uint8)
    picture[7, 8] = 255

    def brightest(view: View) -> tuple[int, int]:
        return divmod(int(view(picture)[..., 0].argmax()), 21)

    where = {geometry.name: brightest(geometry.view) for geometry in GEOMETRY}
    assert where["shifted right 10 %"] == (7, 10)
    assert where["shifted down 10 %"] == (9, 8)
    assert where["mirrored"] == (7, 12)
    assert where["zoomed in 1.25 x"] == (6, 7)
    assert where["1.2 x higher"] == (6, 8)
    assert where["turned right 10°"] == (7, 9)
    assert np.array_equal(moved(1.0, 1.0)(picture), picture)


def test_logits_come_in_the_order_of_the_rows_whatever_the_batch() -> None:
    rows = np.array([7, 0, 4])
    found = logits(network, pictures(), rows, batch=2)
    assert found.argmax(axis=1).tolist() == [ANSWERS[row] for row in rows]
    assert logits(network, pictures(), rows, GEOMETRY[-1].view).argmax(axis=1).tolist() == [2, 2, 2]


def test_a_few_photos_are_drawn_evenly_from_the_classes() -> None:
    truth = np.array([0] * 50 + [1] * 3 + [2] * 20)
    drawn = evenly(truth, 15)
    assert np.bincount(truth[drawn]).tolist() == [6, 3, 6]
    assert drawn.tolist() == sorted(set(drawn.tolist())) == evenly(truth, 15).tolist()
    assert evenly(truth, 400).tolist() == list(range(73))


def test_summary_tells_numbers_and_what_they_rest_on(report: Report) -> None:
    said = summary(report)
    bear = NAMES[1]
    assert said == (
        "Of 10 test photos, 8 got the right name as taken: 80.0%. So many photos only tell that the true share is "
        "between 49.0% and 94.3% (95 % interval), for photos like these. Turned infrared-grey, 40.0% are right "
        "(between 16.8% and 68.7%).",
        "No test photo shows cat: how well the model does there is unknown, and the means leave it out.",
        f"Weakest as taken: ape (4 of 5 photos right, so between 37.6% and 96.4%) and {bear} (4 of 5 photos right, so "
        f"between 37.6% and 96.4%).",
        "Infrared-grey costs most for ape (4 right as taken, 0 in grey, of 5).",
        f"Commonest confusions as taken: ape called {bear}: 1 of 5; {bear} called ape: 1 of 5.",
        f"Commonest confusions in infrared-grey: ape called {bear}: 5 of 5; {bear} called ape: 1 of 5.",
        f"1 of the test photos is grey as taken, in infrared or by having hardly any colour ({bear} 1): 0 right, 0.0% "
        f"(between 0.0% and 79.3%). Of the 9 in colour, 8 are right: 88.9% (between 56.5% and 98.0%).",
        "On the photos as taken the model is surer than it is right: 85.0% sure on average, 80.0% right. Its "
        "probabilities are off by 19.0% on average (expected calibration error; 19.0% without its temperature of "
        "1.00).",
        "Operating points by day: 2 of 3 classes reach a precision of 95 % on the validation photos, not cat; on the "
        "test photos it holds for 2 of the 2 that name any.",
        "Operating points in infrared-grey: 3 of 3 classes reach a precision of 95 % on the validation photos; on the "
        "test photos it holds for 0 of the 1 that name any.",
        "Left out: 1 that could not be read, 2 that a list excludes and 3 that the model was trained on.",
    )


def test_summary_says_first_why_numbers_may_be_too_good_and_which_weights_were_kept() -> None:
    found = build(subject(doubts=("photos of ape are divided by sequence",), kept="fine-tuned, epoch 3"), network,
                  pictures(), np.arange(10), TRUTH, PATHS)
    said = summary(found)
    assert said[0].startswith("Of 10 test photos, ")
    assert said[1] == "Photos of ape are divided by sequence."
    assert said[-2] == "The bundle holds these weights: fine-tuned, epoch 3."
    written = json.loads(files(found, pictures())[DATA])
    assert (written["kept"], written["doubts"]) == ("fine-tuned, epoch 3", ["photos of ape are divided by sequence"])


def test_model_that_is_as_sure_as_it_is_right_is_called_so() -> None:
    # Four answers, 75 % sure each, of which three are right.
    shown, truth = np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 0, 0, 1])
    logits_of_three_in_four = np.log(np.array([0.75, 0.125, 0.125], np.float32))
    found = build(subject(), lambda asked: np.tile(logits_of_three_in_four, (len(asked), 1)), shown, np.arange(4),
                  truth, PATHS[:4])
    assert any("the model is about as sure as it is right: 75.0% sure on average, 75.0% right" in line
               for line in summary(found))


def test_long_lists_are_cut() -> None:
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"], "or") == "a, b or c"
    assert listing([str(number) for number in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 others"


def test_temperature_is_shown_before_and_after() -> None:
    found = build(subject(temperature=2.0), network, pictures(), np.arange(10), TRUTH, PATHS).results["day"]
    assert (found.before_temperature.temperature, found.after_temperature.temperature) == (1.0, 2.0)
    # Before: 7 answers at 0.9, all right; 2 at 0.8, one right; 1 at 0.6, wrong.
    assert found.before_temperature.error == pytest.approx((7 * 0.1 + 2 * 0.3 + 0.6) / 10)
    assert [(each.n, each.accuracy) for each in found.before_temperature.bins] == [(1, 0.0), (2, 0.5), (7, 1.0)]
    assert found.after_temperature.error != pytest.approx(found.before_temperature.error)


def sections(html: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", html)


def test_page_has_every_section_and_stands_alone(report: Report) -> None:
    written = files(report, pictures())
    html = written[PAGE]
    assert sections(html) == ["Each class", "Operating points", "What is taken for what", "Precision and recall",
                              "Can its probabilities be believed?", "Shifted, zoomed, stretched, turned",
                              "The surest mistakes", "Left out, and other notes"]
    assert [found[1] for found in re.findall(r"<tr>(<td[^>]*>)(.*?)</td>", html)[:4]] == [
        "as taken", "in infrared-grey", "in colour", "grey as taken"]
    assert html.count("data:image/svg+xml") == 5
    assert html.count("data:image/jpeg") == 2
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert "<b>" not in html, "names are text"
    assert "bear 狐 $x$ &lt;b&gt;/9.jpg" in html
    assert '<span class="bad">0.50 *</span>' in html
    assert "a note" in html
    assert "a.jpg: no picture" in html
    for line in summary(report):
        assert line.replace("<", "&lt;").replace(">", "&gt;") in html


def test_json_has_all_that_the_page_shows(report: Report) -> None:
    found = json.loads(files(report, pictures())[DATA], parse_constant=pytest.fail)
    assert found["schema_version"] == 1
    assert found["summary"] == list(summary(report))
    assert set(found) == {"schema_version", "summary", "title", "kind", "bundle", "data", "names", "temperature",
                          "left_out", "history", "kept", "doubts", "results", "points", "in_colour", "grey_as_taken",
                          "grey_classes", "unmoved", "moved", "mistakes"}
    assert (found["in_colour"]["n"], found["in_colour"]["right"], found["grey_as_taken"]["n"]) == (9, 8, 1)
    assert found["results"]["day"]["confusion"] == [[4, 1, 0], [1, 4, 0], [0, 0, 0]]
    assert found["results"]["day"]["classes"]["ape"]["curve"]["recall"] == [0.6, 0.8, 1.0]
    assert found["left_out"] == {"unreadable": ["a.jpg: no picture"], "excluded": 2, "trained_on": 3,
                                 "notes": ["a note"]}


def test_learning_curves_are_drawn_where_there_is_a_history(report: Report) -> None:
    history = [{"loss": 1.0, "accuracy": 0.5, "val_loss": float("nan"), "val_accuracy": 0.4},
               {"loss": 0.5, "accuracy": 0.7, "val_loss": 0.6, "val_accuracy": 0.8}]
    written = files(replace(report, subject=subject(history=history, kept="the head alone")), pictures())
    assert "The bundle holds these weights: the head alone. The dot marks the epoch" in written[PAGE]
    assert "How it learned" in sections(written[PAGE])
    assert json.loads(written[DATA], parse_constant=pytest.fail)["history"][0]["val_loss"] is None


@pytest.mark.parametrize("row", [0, 4], ids=["right", "wrong"])
def test_one_photo_is_enough(row: int) -> None:
    found = build(subject(), network, pictures(), np.array([row]), TRUTH[[row]], [PATHS[row]])
    written = files(found, pictures())
    assert summary(found)[0].startswith("Of 1 test photo, ")
    assert ("No test photo was named wrongly as taken." in written[PAGE]) == (row == 0)
    json.loads(written[DATA], parse_constant=pytest.fail)


def test_many_classes_are_drawn_where_they_are_confused() -> None:
    names = tuple(f"species {number}" for number in range(120))
    shown = np.zeros((120, 8, 8, 3), np.uint8)
    shown[..., 0] = np.arange(120)[:, None, None]
    answers = {**{number: number for number in range(120)}, 7: 8, 9: 7}

    def sure(asked: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.eye(120, dtype=np.float32)[[answers[int(picture[4, 4, 0])] for picture in asked]] * 9

    found = build(subject(names=names, points={name: {"day": POINT, "night": POINT} for name in names}), sure, shown,
                  np.arange(120), np.arange(120), [f"{number}.jpg" for number in range(120)])
    html = files(found, shown)[PAGE]
    assert "Only the 3 classes with most confusions are drawn, of 120" in html
    assert "Only the 40 weakest classes are drawn, of 120" in html
