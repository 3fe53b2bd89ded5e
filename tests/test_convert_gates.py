"""The gates of a conversion: each is met and missed where it should be, and says what it cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from convert.gates import failure, judge, missed
from models.errors import EdgeWatchError, GateError, run
from models.manifest import Gate, Quantization, Scheme, Speed
from tests.conversions import compare, quantization

GOOD = quantization(compare({"deer": 300, "tiger": 300}, {}))


def gates(found: Quantization, **options: Any) -> dict[str, Gate]:
    return {gate.name: gate for gate in judge(found, **options)}


def lost(count: int, photos: int, gained: int = 0) -> Quantization:
    """One class alone: what is lost of all photos is lost of it."""
    return quantization(compare({"tiger": photos}, {"tiger": count}, {"tiger": gained}))


def test_every_gate_of_a_good_conversion_is_met() -> None:
    assert judge(GOOD) == (
        Gate("runs in a process of its own", True, "yes", "yes"),
        Gate("no float tensor", True, "0", "0"),
        Gate("one piece for XNNPACK", True, "1 (outside: QUANTIZE 2)", "1, outside only CAST and QUANTIZE"),
        Gate("accuracy as taken", True, "loss of 0.0 points (95 %: -0.6 to 0.6), 600 photos",
             "lower bound at most 0.5, loss at most 1.5"),
        Gate("accuracy in infrared grey", True, "loss of 0.0 points (95 %: -0.6 to 0.6), 600 photos",
             "lower bound at most 0.5, loss at most 1.5"),
        Gate("recall of each class", True, "no class lost more", "lower bound at most 0.5, loss at most 1.5"),
        Gate("not slower than its float", True, "0.50 x its time", "1.00 x its time"),
    )
    assert missed(judge(GOOD)) == ()


@pytest.mark.parametrize(("away", "photos", "back", "met"), [
    (0, 348, 0, True),
    (5, 348, 0, True),  # A loss of 1.4 points, for sure more than 0.3.
    (6, 348, 0, False),  # 1.7 points: above three times 0.5, though for sure it is only more than 0.5.
    (12, 348, 7, True),  # 1.4 points, and for sure none at all.
    (3, 200, 0, True),  # 1.5 points are not above 1.5.
    (4, 200, 0, False),
    (3, 199, 0, None),  # 1.5 points of too few photos to tell.
    (9, 199, 5, None),  # 2.0 points, which chance explains.
    (5, 199, 0, False),  # For sure more than 0.5.
    (20, 2000, 0, False),  # 1.0 point, and for sure more than 0.5.
    (20, 2000, 12, True),
    (0, 24, 0, None),
    (0, 300, 30, True),
])
def test_accuracy(away: int, photos: int, back: int, met: bool | None) -> None:
    found = gates(lost(away, photos, back))
    assert found["accuracy as taken"].met is met
    assert found["accuracy in infrared grey"].met is met
    assert found["recall of each class"].met is met


def test_few_photos_say_what_they_cannot_tell() -> None:
    found = gates(lost(0, 24))
    # 13.8 points: with no change in n photos, the interval ends at 3.84 / (n + 3.84).
    assert found["accuracy as taken"] == Gate(
        "accuracy as taken", None, "loss of 0.0 points (95 %: -13.8 to 13.8), 24 photos: a loss of up to 13.8 points "
        "would not show", "lower bound at most 0.5")
    assert found["recall of each class"].found == (
        "no class lost more for sure; of tiger as taken (24 photos) a loss of up to 13.8 points would not show")


def test_lightings_are_judged_apart() -> None:
    found = gates(quantization(compare({"deer": 400}, {}), compare({"deer": 400}, {"deer": 9})))
    assert found["accuracy as taken"].met is True
    assert found["accuracy in infrared grey"].met is False
    said = "loss of 2.2 points (95 %: 1.2 to 4.2), 400 photos"
    assert found["accuracy in infrared grey"].found == said
    assert found["recall of each class"].found == f"deer in infrared grey {said}"


def test_gain_is_a_loss_below_0() -> None:
    assert gates(lost(0, 300, 3))["accuracy as taken"].found == "loss of -1.0 points (95 %: -2.9 to 0.3), 300 photos"


def test_photos_that_are_wrong_both_times_are_no_loss() -> None:
    found = gates(quantization(compare({"deer": 300}, {}, odd=50)))
    assert found["accuracy as taken"].found == "loss of 0.0 points (95 %: -1.3 to 1.3), 300 photos"
    assert missed(tuple(found.values())) == ()


@pytest.mark.parametrize(("points", "met"), [(0.1, False), (0.5, True), (3, True)])
def test_most_that_may_be_lost_can_be_set(points: float, met: bool) -> None:
    found = gates(lost(5, 348), max_drop=points)["accuracy as taken"]
    assert found.met is met
    assert found.allowed == f"lower bound at most {points:g}, loss at most {3 * points:g}"


def test_class_that_lost_is_named_though_the_whole_lost_little() -> None:
    found = gates(quantization(compare({"deer": 900, "tiger": 38, "wolf": 0}, {"tiger": 6})))
    assert found["accuracy as taken"].met is True
    assert found["recall of each class"].met is False
    assert found["recall of each class"].found == (
        "tiger as taken loss of 15.8 points (95 %: 5.2 to 30.4), 38 photos; "
        "tiger in infrared grey loss of 15.8 points (95 %: 5.2 to 30.4), 38 photos")


def test_three_of_ten_photos_cannot_tell() -> None:
    found = gates(quantization(compare({"deer": 900, "wolf": 10, "fox": 9}, {"wolf": 3})))["recall of each class"]
    assert found.met is None
    assert "of wolf as taken (10 photos) a loss of up to 60.3 points would not show" in found.found


def test_class_that_can_be_told_least_of_is_named() -> None:
    found = gates(quantization(compare({"deer": 150, "fox": 6}, {"deer": 1})))["recall of each class"]
    assert found.found.endswith("of fox as taken (6 photos) a loss of up to 39.0 points would not show")


def test_of_many_classes_that_lost_the_worst_five_are_named() -> None:
    away = {f"c{number}": number for number in range(10, 17)}
    found = gates(quantization(compare(dict.fromkeys(away, 40), away)))["recall of each class"]
    parts = found.found.split("; ")
    assert [part.partition(" loss")[0] for part in parts] == [
        "c16 as taken", "c16 in infrared grey", "c15 as taken", "c15 in infrared grey", "c14 as taken", "9 more"]


def test_what_was_not_compared_cannot_be_told() -> None:
    found = gates(replace(GOOD, compared={}, speed=None, partitions=None, float_tensors=None))
    assert {name: gate.met for name, gate in found.items()} == {
        "runs in a process of its own": True, "no float tensor": None, "one piece for XNNPACK": None,
        "accuracy as taken": None, "accuracy in infrared grey": None, "recall of each class": None,
        "not slower than its float": None,
    }
    assert missed(tuple(found.values())) == ()


@pytest.mark.parametrize(("name", "changes"), [
    ("no float tensor", {"float_tensors": 3}),
    ("one piece for XNNPACK", {"partitions": 19, "outside": {"HARD_SWISH": 18}}),
    ("one piece for XNNPACK", {"outside": {"QUANTIZE": 2, "CONV_2D": 3}}),
    ("one piece for XNNPACK", {"partitions": 0}),
    ("not slower than its float", {"speed": Speed(1.0, 1.01, 1.006, 150)}),
])
def test_one_gate_is_missed(name: str, changes: Mapping[str, Any]) -> None:
    assert [gate.name for gate in missed(judge(replace(GOOD, **changes)))] == [name]


def test_hundredth_of_its_floats_time_is_within_what_is_measured() -> None:
    assert gates(replace(GOOD, speed=Speed(1.0, 1.0, 1.004, 150)))["not slower than its float"].met is True


@pytest.mark.parametrize("ratio", [0.5, 1.7])
def test_time_of_an_invoke_that_is_hardly_any_cannot_tell(ratio: float) -> None:
    small = gates(replace(GOOD, speed=Speed(0.02, 0.02 * ratio, ratio, 150)))["not slower than its float"]
    longer = "0.034" if ratio == 1.7 else "0.020"
    assert small == Gate("not slower than its float", None, f"{ratio:.2f} x its time, but in {longer} ms an invoke: "
                         "mostly what every invoke costs", "1.00 x its time")
    assert gates(replace(GOOD, speed=Speed(0.02, 0.08, 4.0, 150)))["not slower than its float"].met is False


def test_processor_without_vnni_cannot_tell_that_int8_is_slower() -> None:
    def found(ratio: float, vnni: bool | None) -> Gate:
        return gates(replace(GOOD, speed=Speed(1.0, ratio, ratio, 150, vnni)))["not slower than its float"]

    assert found(1.14, False) == Gate(
        "not slower than its float", None, "1.14 x its time, but on a processor without VNNI, which XNNPACK's int8 for "
        "x86-64 is made for: that says nothing of the device", "1.00 x its time")
    assert [found(1.14, True).met, found(1.14, None).met, found(1.5, False).met] == [False, False, False]
    assert [found(0.9, False).met, found(1.004, False).met] == [True, True]


@pytest.mark.parametrize(("scheme", "target", "asked"), [
    ("int8", "xnnpack", {"no float tensor", "one piece for XNNPACK", "not slower than its float"}),
    ("int8", "any", {"no float tensor"}),
    ("int16x8", "xnnpack", set()),
    ("dynamic", "any", {"not slower than its float"}),
    ("float16", "xnnpack", set()),
    ("none", "xnnpack", set()),
])
def test_gates_are_those_of_scheme_and_target(scheme: Scheme, target: Any, asked: set[str]) -> None:
    slow = replace(GOOD, scheme=scheme, target=target, float_tensors=5, partitions=0, speed=Speed(1.0, 33.0, 33.0, 15))
    always = {"runs in a process of its own", "accuracy as taken", "accuracy in infrared grey", "recall of each class"}
    assert set(gates(slow)) == always | asked
    assert {gate.name for gate in missed(judge(slow))} == asked


def test_failure_names_gates_layers_and_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    found = judge(replace(lost(30, 300), partitions=19, outside={"HARD_SWISH": 18}))
    layers = [(f"layer{number}", 0.5 / number) for number in range(1, 9)]
    error = failure(found, "int8", layers)
    assert isinstance(error, GateError)
    said, allowed = "loss of 10.0 points (95 %: 7.1 to 13.9), 300 photos", "lower bound at most 0.5, loss at most 1.5"
    assert str(error).splitlines() == [
        "expected int8 to meet its 7 gates, found 4 missed; nothing is written",
        "  one piece for XNNPACK: found 19 (outside: HARD_SWISH 18); allowed 1, outside only CAST and QUANTIZE",
        f"  accuracy as taken: found {said}; allowed {allowed}",
        f"  accuracy in infrared grey: found {said}; allowed {allowed}",
        f"  recall of each class: found tiger as taken {said}; tiger in infrared grey {said}; allowed {allowed}",
        ("layers that lose most (how far their rounding moves the logits, as a share of their spread, "
         "before any fine-tuning):"),
        "   50.0%  layer1",
        "   25.0%  layer2",
        "   16.7%  layer3",
        "   12.5%  layer4",
        "   10.0%  layer5",
        "next: --fine-tune always, if it was not; calibrate with photos of your own (--calibration DIR)",
        "next: --for any, if it is to run on something else than XNNPACK; or train a network of other layers",
        "next: else --on-miss ladder, which writes the model as float16 instead",
    ]

    def main(_: object) -> int:
        raise error

    assert run("convert", main, []) == 1
    assert capsys.readouterr().err == f"convert: {error}\n"


@pytest.mark.parametrize(("scheme", "changes", "steps"), [
    ("int8", {"float_tensors": 1}, ["train a network of other layers",
                                    "else --on-miss ladder, which writes the model as float16 instead"]),
    ("dynamic", {"speed": Speed(1.0, 3.0, 3.0, 15)},
     ["--quantize int8 or float16: XNNPACK does not run all layers of a dynamic network"]),
    ("int16x8", {"compared": lost(30, 300).compared},
     ["calibrate with more pictures (--samples N, --calibration DIR)"]),
    ("dynamic", {"compared": lost(30, 300).compared},
     ["--quantize int8, which measures the ranges of the activations beforehand"]),
    ("float16", {"compared": lost(30, 300).compared},
     ["train the model again: floating-point numbers should lose nothing"]),
])
def test_next_step_depends_on_what_was_missed(scheme: Scheme, changes: Mapping[str, Any], steps: list[str]) -> None:
    error: EdgeWatchError = failure(judge(replace(GOOD, scheme=scheme, **changes)), scheme)
    assert [line[6:] for line in str(error).splitlines() if line.startswith("next: ")] == steps
    assert "layers that lose most" not in str(error)
