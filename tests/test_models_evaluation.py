"""Probabilities, temperature, metrics and operating points against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation import (
    LEAST_THRESHOLD,
    Bin,
    at_threshold,
    calibrate,
    calibration_error,
    confusion,
    fit_temperature,
    measure,
    operating_point,
    operating_points,
    paired,
    precision_recall,
    reliability,
    softmax,
    wilson,
)
from models.manifest import ClassMetrics, OperatingPoint

LN3 = math.log(3)
NONE_GREY = np.zeros(4, np.bool_)


def logits(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_softmax_by_hand() -> None:
    assert softmax(logits([0, LN3])).tolist() == [pytest.approx([0.25, 0.75])]
    assert softmax(logits([0, 2 * LN3]), temperature=2).tolist() == [pytest.approx([0.25, 0.75])]
    assert softmax(logits([0, LN3])[0]).tolist() == pytest.approx([0.25, 0.75])
    assert softmax(logits([1000, 0])).tolist() == [[1, 0]]
    assert softmax(logits([0, LN3])).dtype == np.float32


@given(st.lists(st.floats(-300, 300, width=32), min_size=2, max_size=30), st.floats(0.05, 20))
def test_softmax_sums_to_one_and_keeps_the_order(row: list[float], temperature: float) -> None:
    found = softmax(logits(row), temperature)[0]
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found[int(np.argmax(row))] == found.max()


def test_temperature_by_hand() -> None:
    # Sure of itself at odds of 9 : 1, right 3 times of 4: the temperature that makes odds of 3 : 1 of it is 2.
    found = fit_temperature(logits(*[[math.log(9), 0]] * 4), np.array([0, 0, 0, 1]))
    assert found == pytest.approx(2, rel=1e-3)
    assert fit_temperature(logits(*[[LN3, 0]] * 4), np.array([0, 0, 0, 1])) == pytest.approx(1, rel=1e-3)


def test_temperature_stays_within_its_limits() -> None:
    always_right, always_wrong = np.zeros(3, np.int64), np.ones(3, np.int64)
    assert 0.05 <= fit_temperature(logits(*[[1, 0]] * 3), always_right) < 0.07
    assert fit_temperature(logits(*[[1, 0]] * 3), always_wrong) == pytest.approx(20, rel=1e-3)


def test_metrics_by_hand() -> None:
    probabilities = np.array([
        [0.7, 0.1, 0.1, 0.1],  # a, said a
        [0.2, 0.6, 0.1, 0.1],  # a, said b, a is second
        [0.1, 0.8, 0.1, 0.0],  # b, said b
        [0.4, 0.3, 0.2, 0.1],  # d, said a, d is fourth
    ], np.float32)
    found = measure(probabilities, np.array([0, 0, 1, 3]), ["a", "b", "c", "d"])
    assert (found.n, found.accuracy, found.top3) == (4, 0.5, 0.75)
    assert found.per_class == {
        "a": ClassMetrics(0.5, 0.5, 0.5, 2, 2), "b": ClassMetrics(0.5, 1.0, pytest.approx(2 / 3), 1, 2),
        "c": ClassMetrics(0, 0, 0, 0, 0), "d": ClassMetrics(0, 0, 0, 1, 0),
    }
    assert found.macro_f1 == pytest.approx((0.5 + 2 / 3 + 0) / 3), "classes without photos do not count"


def test_calibration_error_by_hand() -> None:
    # Two answers at 0.9 of which one is right, two at 0.6 that are both right.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], np.float32)
    assert calibration_error(probabilities, np.array([0, 1, 0, 0])) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    assert calibration_error(np.array([[1.0, 0.0]], np.float32), np.array([0])) == 0


def test_operating_point_is_the_lowest_threshold_that_is_precise_enough() -> None:
    scores = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.3], np.float32)
    positive = np.array([True, True, False, True, True, True])
    # From 0.5: 4 of 5 right; from 0.7: 3 of 4; from 0.8: 2 of 3; from 0.9: 2 of 2.
    assert operating_point(scores, positive, 0.8) == OperatingPoint(0.5, 0.8, 0.8, 5)
    assert operating_point(scores, positive, 0.95) == OperatingPoint(pytest.approx(0.9), 1.0, 0.4, 5)


def test_operating_point_of_a_class_that_is_never_confused_is_the_least() -> None:
    found = operating_point(np.array([0.99, 0.2], np.float32), np.array([True, False]))
    assert found == OperatingPoint(LEAST_THRESHOLD, 1.0, 1.0, 1)


def test_operating_point_that_cannot_be_reached_says_how_precise_it_is() -> None:
    scores, positive = np.array([0.9, 0.8, 0.7], np.float32), np.array([False, True, True])
    assert operating_point(scores, positive) == OperatingPoint(0.5, pytest.approx(2 / 3), 1.0, 2)


def test_operating_point_of_a_class_without_photos() -> None:
    assert operating_point(np.array([0.1], np.float32), np.array([False])) == OperatingPoint(0.5, 0.0, 0.0, 0)


def test_calibrate_fits_one_temperature_for_both_lightings() -> None:
    day, night = logits(*[[math.log(9), 0]] * 4), logits(*[[math.log(9), 0]] * 4)
    temperature, points = calibrate({"day": day, "night": night}, np.array([0, 0, 0, 1]), ["a", "b"], NONE_GREY)
    # Right three times of four allows (3 + 1) / (4 + 2), odds of 2 : 1; the logits are at odds of 9 : 1.
    assert temperature == pytest.approx(math.log(9) / math.log(2), rel=1e-3)
    assert points["a"]["day"] == points["a"]["night"] == OperatingPoint(0.5, 0.75, 1.0, 3)
    assert points["b"]["day"] == OperatingPoint(0.5, 0.0, 0.0, 1)


@pytest.mark.parametrize("count", [2, 34, 340])
def test_photos_that_are_all_right_make_no_network_surer_than_their_number_allows(count: int) -> None:
    found = logits(*[[8, 0]] * count)
    temperature, _ = calibrate({"day": found, "night": found}, np.zeros(count, int), ["a", "b"], np.zeros(count, bool))
    assert softmax(found, temperature)[0, 0] == pytest.approx((count + 1) / (count + 2), abs=1e-4)


def test_points_by_day_are_chosen_on_photos_in_colour() -> None:
    # By day the third photo, grey as taken, is called a; it is b. In grey the first two are found at lower odds.
    day = logits([math.log(19), 0], [math.log(9), 0], [math.log(9), 0], [0, math.log(9)])
    night = logits([math.log(4), 0], [math.log(4), 0], [math.log(4), 0], [0, math.log(4)])
    truth, grey = np.array([0, 0, 1, 1]), np.array([False, False, True, False])
    shares = {"day": softmax(day), "night": softmax(night)}
    found = operating_points(shares, truth, ["a", "b"], grey)
    assert found["a"]["day"] == OperatingPoint(0.5, 1.0, 1.0, 2)
    assert found["b"]["day"] == OperatingPoint(0.5, 1.0, 1.0, 1), "n counts what it rests on"
    assert found["a"]["night"] == OperatingPoint(0.5, pytest.approx(2 / 3), 1.0, 2)
    assert found["b"]["night"] == OperatingPoint(0.5, 1.0, 0.5, 2)
    found = operating_points(shares, truth, ["a", "b"], NONE_GREY)
    assert found["a"]["day"] == OperatingPoint(pytest.approx(0.95), 1.0, 0.5, 2)
    assert found["b"]["day"] == OperatingPoint(0.5, 1.0, 0.5, 2)


def test_class_that_is_never_in_colour_is_judged_on_all_photos() -> None:
    shares = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], np.float32)
    found = operating_points({"day": shares}, np.array([0, 1, 1]), ["a", "b"], np.array([True, False, False]))
    assert found["a"]["day"] == OperatingPoint(pytest.approx(0.9), 1.0, 1.0, 1)
    assert found["b"]["day"] == OperatingPoint(0.5, 1.0, 0.5, 2)


def test_temperature_is_fitted_on_grey_photos_too() -> None:
    day = logits(*[[math.log(9), 0]] * 4)
    temperature, _ = calibrate({"day": day}, np.array([0, 0, 0, 1]), ["a", "b"], np.array([False, False, False, True]))
    # Right three times of four allows (3 + 1) / (4 + 2), odds of 2 : 1; the logits are at odds of 9 : 1.
    assert temperature == pytest.approx(math.log(9) / math.log(2), rel=1e-3)


def test_reliability_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.92, 0.08], [0.6, 0.4], [1.0, 0.0]], np.float32)
    found = reliability(probabilities, np.array([0, 1, 0, 0]), bins=5)
    assert found == (Bin(1, pytest.approx(0.6), 1.0), Bin(3, pytest.approx(0.94), pytest.approx(2 / 3)))


def test_wilson_interval_as_in_the_literature() -> None:
    # Newcombe 1998, table I, method 3 (score without continuity correction).
    assert wilson(81, 263) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson(15, 148) == (pytest.approx(0.0624, abs=5e-5), pytest.approx(0.1605, abs=5e-5))
    assert wilson(0, 20) == (0.0, pytest.approx(0.1611, abs=5e-5))
    assert wilson(1, 29) == (pytest.approx(0.0061, abs=5e-5), pytest.approx(0.1718, abs=5e-5))
    assert wilson(0, 0) == (0.0, 1.0)


def test_paired_interval_as_in_the_literature() -> None:
    # Tango's interval of two tables in Fagerland, Lydersen and Laake (Statistics in Medicine 2014, and their R package
    # contingencytables), and of one in Chang et al. (PMC10763857, table 3).
    assert paired(1, 7, 21) == (pytest.approx(-0.517, abs=5e-4), pytest.approx(-0.026, abs=5e-4))
    assert paired(6, 16, 161) == (pytest.approx(-0.1240, abs=5e-5), pytest.approx(-0.0054, abs=5e-5))
    assert paired(25, 2, 102) == (pytest.approx(0.139, abs=5e-4), pytest.approx(0.321, abs=5e-4))
    # Where no answer changed it is that of Wilson for a share of none: z^2 / (n + z^2).
    assert paired(0, 0, 24) == (pytest.approx(-0.13798, abs=5e-6), pytest.approx(0.13798, abs=5e-6))
    assert paired(0, 0, 24)[1] == pytest.approx(wilson(0, 24)[1])
    assert paired(9, 0, 9)[1] == 1
    assert paired(0, 0, 0) == (-1, 1)


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    """Photos lost, photos gained, all photos."""
    n = draw(st.integers(1, 2000))
    lost = draw(st.integers(0, n))
    return lost, draw(st.integers(0, n - lost)), n


@given(tables())
def test_paired_interval_holds_what_was_seen_and_has_a_width(table: tuple[int, int, int]) -> None:
    lost, gained, n = table
    low, high = paired(lost, gained, n)
    assert -1 <= low <= (lost - gained) / n + 1e-9
    assert (lost - gained) / n - 1e-9 <= high <= 1
    assert high - low > 1e-4


@given(tables())
def test_paired_interval_turns_over_when_before_and_after_are_exchanged(table: tuple[int, int, int]) -> None:
    lost, gained, n = table
    (low, high), (other_low, other_high) = paired(lost, gained, n), paired(gained, lost, n)
    assert (other_low, other_high) == (pytest.approx(-high, abs=1e-9), pytest.approx(-low, abs=1e-9))


@given(tables())
def test_paired_interval_leaves_out_no_loss_where_mcnemars_test_does(table: tuple[int, int, int]) -> None:
    lost, gained, _ = table
    low, high = paired(*table)
    statistic = (lost - gained) ** 2 / max(1, lost + gained) - 1.959964**2
    if abs(statistic) > 1e-3:
        assert (low > 0 or high < 0) == (statistic > 0)


@given(tables(), st.integers(2, 5))
def test_paired_interval_narrows_with_more_of_the_same(table: tuple[int, int, int], times: int) -> None:
    low, high = paired(*table)
    more_low, more_high = paired(*(times * each for each in table))
    assert more_high - more_low < high - low


def test_paired_interval_keeps_its_level() -> None:
    """Of 20,000 drawn conversions that truly lose 2 of 100 photos and gain 1, about 95 % of intervals hold the loss."""
    dice = np.random.default_rng(0)
    drawn = dice.multinomial(300, [0.02, 0.01, 0.97], 20_000)
    kinds, counts = np.unique(drawn[:, :2], axis=0, return_counts=True)
    hits = [low <= 0.01 <= high for low, high in (paired(int(lost), int(gained), 300) for lost, gained in kinds)]
    assert 0.94 < float(np.dot(hits, counts)) / 20_000 < 0.97


def test_confusion_by_hand() -> None:
    assert confusion(np.array([0, 1, 1, 0]), np.array([0, 0, 1, 2]), 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_precision_recall_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.7, 0.2, 0.1], np.float32)
    found = precision_recall(scores, np.array([True, False, True, True, False, True]))
    assert found.threshold == pytest.approx((0.9, 0.7, 0.1))
    assert found.precision == pytest.approx((1.0, 3 / 4, 4 / 6))
    assert found.recall == pytest.approx((0.25, 0.75, 1.0))
    assert found.average_precision == pytest.approx(0.25 * 1 + 0.5 * 3 / 4 + 0.25 * 4 / 6)


def test_precision_recall_of_a_class_without_photos() -> None:
    found = precision_recall(np.array([0.5], np.float32), np.array([False]))
    assert (found.threshold, found.precision, found.recall, found.average_precision) == ((), (), (), None)


def test_at_threshold_by_hand() -> None:
    scores, positive = np.array([0.9, 0.8, 0.7], np.float32), np.array([True, False, True])
    assert at_threshold(scores, positive, 0.75) == OperatingPoint(0.75, 0.5, 0.5, 2)
    assert at_threshold(scores, positive, 0.95) == OperatingPoint(0.95, 0.0, 0.0, 2)
