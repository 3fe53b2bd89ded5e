"""What a conversion says of itself: on the terminal and in the card."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convert.card import card
from convert.gates import judge
from convert.terminal import terminal_table
from models.manifest import Changed, Quantization, Scheme, Speed
from tests.conversions import LABELS, compare, manifest, quantization

PARENT = """# wildlife 2

A float model.

## Data

Photos.

## Results per class

| old | table |

## Known failures

- Everything small.
  `report.html` shows more.
"""


def found(**changes: object) -> Quantization:
    """Of 300 deer and 9 tigers by day 2 deer lost and a tiger gained, in grey nothing changed."""
    day = compare({"deer": 300, "tiger": 9}, {"deer": 2}, {"tiger": 1})
    stored = replace(quantization(day, compare({"deer": 300, "tiger": 9}, {})), **changes)  # type: ignore[arg-type]
    return replace(stored, gates=judge(stored))


def test_terminal_shows_the_proof() -> None:
    stored = found(seconds={"ranges": 8.13, "proof": 7.7})
    assert terminal_table(manifest(stored)).splitlines() == [
        "size              2.76 MB, float 8.99 MB",
        "operators         CONV_2D 35, QUANTIZE 2",
        "float tensors     0",
        "XNNPACK pieces    1, outside: QUANTIZE 2",
        "raw invoke        1.76 ms, float 3.55 ms: 0.50 x (one thread, in turn, medians of 150)",
        "",
        "                    float     int8  change        at 95 %  same answer          calibration error  photos",
        "as taken            99.7%    99.4%    -0.3   -2.0 to +1.2        99.0%               2.1% -> 3.4%     309",
        "in infrared grey   100.0%   100.0%    +0.0   -1.2 to +1.2       100.0%               2.1% -> 3.4%     309",
        "",
        "recall            photos   as taken: float     int8   in grey: float     int8",
        "deer                 300            100.0%    99.3%           100.0%   100.0%",
        "tiger                  9             88.9%   100.0%           100.0%   100.0%",
        "",
        "answers           3 changed: 2 now wrong, 1 now right, 0 wrong both times",
        "                  shows    float    int8     photo",
        "as taken          deer     deer     other    test/deer/lost0.jpg",
        "as taken          deer     deer     other    test/deer/lost1.jpg",
        "as taken          tiger    other    tiger    test/tiger/gained0.jpg",
        "",
        "seconds           ranges 8.1, proof 7.7",
        "",
        "gates",
        "met               runs in a process of its own: yes (allowed: yes)",
        "met               no float tensor: 0 (allowed: 0)",
        "met               one piece for XNNPACK: 1 (outside: QUANTIZE 2) (allowed: 1, outside only CAST and QUANTIZE)",
        "met               accuracy as taken: loss of 0.3 points (95 %: -1.2 to 2.0), 309 photos (allowed: lower bound",
        "                  at most 0.5, loss at most 1.5)",
        "met               accuracy in infrared grey: loss of 0.0 points (95 %: -1.2 to 1.2), 309 photos (allowed:",
        "                  lower bound at most 0.5, loss at most 1.5)",
        "cannot tell       recall of each class: no class lost more for sure; of tiger in infrared grey (9 photos) a",
        "                  loss of up to 29.9 points would not show (allowed: lower bound at most 0.5, loss at most",
        "                  1.5)",
        "met               not slower than its float: 0.50 x its time (allowed: 1.00 x its time)",
    ]


def test_ten_photos_are_named_and_lost_ones_first() -> None:
    many = quantization(compare({"deer": 300}, {"deer": 8}, {"deer": 4}, odd=5))
    lines = terminal_table(manifest(many)).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("answers"))
    assert lines[start] == "answers           34 changed: 16 now wrong, 8 now right, 10 wrong both times"
    assert [line.rpartition("/")[2] for line in lines[start + 2 : start + 12]] == [
        *(f"lost{number}.jpg" for number in range(8)), "lost0.jpg", "lost1.jpg"]
    assert lines[start + 12] == "                  and 24 more: see manifest.json"


def test_no_line_is_too_long() -> None:
    name = "a_class_with_a_name_of_some_length_and_some_more"
    path = f"test/{'deep/' * 30}photo.jpg"
    day = compare({name: 300}, {name: 1})
    day = replace(day, changed=(Changed(path, name, name, "another_name_of_some_length"),), n=100_000)
    stored = replace(quantization(day), operators={f"OPERATOR_OF_KIND_{number}": number for number in range(40)},
                     scheme="int16x8")
    stored = replace(stored, gates=judge(stored))
    table = terminal_table(manifest(stored))
    assert max(len(line) for line in table.splitlines()) <= 110
    assert "...eep/deep/deep/photo.jpg\n" in table
    assert f"...{name[-37:]} " in table


def test_nothing_changed_is_said_in_a_line() -> None:
    lines = terminal_table(manifest(quantization(compare({"deer": 300}, {})))).splitlines()
    assert "recall            the same for every class" in lines
    assert "answers           the same for every photo" in lines


def test_without_test_photos_nothing_is_claimed() -> None:
    stored = found(compared={}, speed=None, partitions=None)
    table = terminal_table(manifest(stored))
    assert "not verified (--no-verify): nothing is known of its accuracy" in table.splitlines()
    assert "raw invoke" not in table
    assert "cannot tell       accuracy as taken: not compared (allowed: lower bound at most 0.5)" in table
    text = card(PARENT, manifest(stored), LABELS)
    assert "**Not verified**: it was converted without its test photos" in text
    assert "| old | table |" in text, "the float model's results are all there is"
    assert "| accuracy as taken | cannot tell | not compared | lower bound at most 0.5 |" in text


def test_card_tells_of_this_model_and_keeps_what_its_parent_said() -> None:
    text = card(PARENT, manifest(found()), LABELS, 0.91)
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# wildlife 2, int8", "## Data", "## Results per class", "## Known failures", "## Conversion to int8"]
    assert lines[2] == (
        "mobilenet_v2, 224 x 224 px, 2 classes, int8: 2.76 MB (float32: 8.99 MB), in 0.50 x the time of its float32 "
        "version. Test photos right: 99.4% as taken (float: 99.7%), 100.0% in infrared grey (float: 100.0%), n = 309.")
    assert "Photos." in text
    assert "- Everything small.\n  The float bundle's `report.html` shows more.\n" in text
    assert "Counted with the float model, before the conversion:" in text
    assert "| old | table |" not in text
    assert "| deer | animal | 300 | 100.0% | 99.3% | 100.0% | 100.0% | 100.0% | 100.0% | 0.50 / 0.50 |" in lines
    assert "convert --quantize int8 runs/w" in lines
    assert ("37 operators: CONV_2D 35, QUANTIZE 2. 0 of them work on floating-point numbers. XNNPACK runs the network "
            "in one piece; outside: QUANTIZE 2.") in lines
    assert ("Raw invoke on one thread took 0.50 x the time of the same network in float32, both measured in turn in "
            "one run on the machine that converted it. The ratio holds within such a run; how long the network takes "
            "on another device was not measured.") in lines
    assert "1.76" not in text, "milliseconds of this machine say nothing of another"
    assert "| as taken | 99.7% | 99.4% | -0.3 | -2.0 to +1.2 | 99.0% | 2.1% | 3.4% | 309 |" in lines
    assert "Recall that fell, as counted: deer as taken 100.0% -> 99.3% (300 photos)." in lines
    assert "(temperature 0.88, float 0.91)." in text
    assert "| no float tensor | met | 0 | 0 |" in lines
    assert lines[-1] == "Versions: ai_edge_litert 2, keras 3."


def test_card_leaves_out_a_speed_that_says_nothing_of_the_device() -> None:
    text = card(PARENT, manifest(found(speed=Speed(3.55, 3.91, 1.1, 150, vnni=False))), LABELS)
    assert text.splitlines()[2].startswith(
        "mobilenet_v2, 224 x 224 px, 2 classes, int8: 2.76 MB (float32: 8.99 MB). Test photos right: ")
    assert "| not slower than its float | cannot tell | 1.10 x its time, but on a processor without VNNI" in text
    text = card(PARENT, manifest(found(speed=Speed(3.55, 3.2, 0.9, 150, vnni=False))), LABELS)
    assert "in 0.90 x the time of its float32 version" in text.splitlines()[2]


def test_card_names_each_lighting_in_which_a_class_fell() -> None:
    lost = compare({"deer": 300, "tiger": 9}, {"deer": 3, "tiger": 1})
    stored = quantization(compare({"deer": 300, "tiger": 9}, {"tiger": 1}), lost)
    assert ("Recall that fell, as counted: deer in infrared grey 100.0% -> 99.0% (300 photos); tiger as taken 100.0% "
            "-> 88.9% (9 photos); tiger in infrared grey 100.0% -> 88.9% (9 photos).") in card(
                PARENT, manifest(stored), LABELS)
    same = card(PARENT, manifest(quantization(compare({"deer": 300, "tiger": 9}, {}, {"tiger": 1}))), LABELS)
    assert "\nThe recall of no class fell.\n" in same


def test_card_that_says_whose_the_report_is_keeps_its_words() -> None:
    said = "  The float bundle's `report.html` shows more."
    assert card(f"# w\n\n## Known failures\n\n{said}\n", manifest(found()), LABELS).count(said) == 1


def test_precision_of_a_class_that_was_never_named_is_a_dash() -> None:
    whole = manifest(found())
    metrics = {}
    for lighting, measured in whole.metrics.items():
        never = replace(measured.per_class["tiger"], precision=0.0, recall=0.0, named=0 if lighting == "day" else 5)
        metrics[lighting] = replace(measured, per_class={**measured.per_class, "tiger": never})
    lines = card(PARENT, replace(whole, metrics=metrics), LABELS).splitlines()
    assert "| tiger | animal | 9 | - | 0.0% | 88.9% | 0.0% | 0.0% | 100.0% | 0.50 / 0.50 |" in lines


def test_recipe_is_told_step_by_step() -> None:
    recipe = {"rewrites": ["18 HARD_SWISH made x * relu6(x + 3)", "2 factors folded."], "bias correction": {
        "layers": 53, "largest shift": 0.24123}, "equalisation": False, "dead units": True, "fine-tuning": None,
        "ranges": "least error", "seed": 1}
    lines = card("", manifest(found(recipe=recipe)), LABELS).splitlines()
    assert [line for line in lines if line.startswith("- ")] == [
        "- Calibration set: 22 pictures of 2 classes (14 by day, 8 in infrared grey).",
        "- 18 HARD_SWISH made x * relu6(x + 3).",
        "- 2 factors folded.",
        "- Bias correction: layers 53, largest shift 0.241.",
        "- Dead units.",
        "- Ranges: least error.",
        "- Seed: 1.",
    ]


def test_calibration_set_without_classes_is_told() -> None:
    lines = card("", manifest(found(calibration={"unlabelled": {"day": 7, "night": 3}})), LABELS).splitlines()
    assert "- Calibration set: 10 pictures without classes (7 by day, 3 in infrared grey)." in lines
    lines = card("", manifest(found(calibration={"deer": {"day": 1}})), LABELS).splitlines()
    assert "- Calibration set: 1 pictures of 1 class (1 by day, 0 in infrared grey)." in lines


@pytest.mark.parametrize(("scheme", "label", "stored"), [
    ("none", "float32", "Weights and activations are 32-bit floating-point numbers"),
    ("int16x8", "int16x8", "Weights (by channel) are 8-bit integers, activations 16-bit integers"),
    ("dynamic", "dynamic", "Weights are 8-bit integers; activations are floating-point numbers, some made integers"),
    ("float16", "float16", "Weights are 16-bit floating-point numbers, activations 32-bit ones"),
])
def test_every_scheme_is_called_by_its_name(scheme: Scheme, label: str, stored: str) -> None:
    whole = manifest(found(scheme=scheme, calibration={}))
    whole = replace(whole, provenance=replace(whole.provenance, command="convert", backbone="unknown"))
    text = card("", whole, LABELS)
    assert text.startswith(f"# wildlife 2, {label}\n\nnetwork, 224 x 224 px, 2 classes, {label}: ")
    assert f"## Conversion to {label}\n\n{stored}" in text
    assert "int8" not in text.replace("int16x8", "").replace("uint8", "")
    table = terminal_table(whole)
    assert ("float tensors" in table) == (scheme == "int16x8")
    assert "int8" not in table.replace("int16x8", "")
    assert f"float{label:>9}  change" in table
