"""A bundle on disk: every kind of damage is one line, and writing is all or nothing."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.bundle import ModelBundle, default_bundle, file_hash, newest_float, write_bundle
from models.errors import BundleError, EdgeWatchError
from models.manifest import Changed, Comparison, Gate, Quantization, Speed, digest
from tests.bundles import CLASS, LABELS, MANIFEST


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "w", MANIFEST, LABELS, {"model.tflite": b"network", "golden.npz": b"golden"})
    return tmp_path / "w"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest and its digest with it, as no accident would."""
    raw = json.loads((path / "manifest.json").read_text())
    del raw["sha256"]
    change(raw)
    (path / "manifest.json").write_text(json.dumps({**raw, "sha256": digest(raw)}))


def refused(path: Path) -> str:
    with pytest.raises(BundleError) as found:
        ModelBundle.open(path)
    assert "\n" not in str(found.value)
    assert "expected" in str(found.value)
    return str(found.value)


def test_what_is_written_is_read_again(bundle: Path) -> None:
    found = ModelBundle.open(bundle)
    assert found.manifest.files == {
        "golden.npz": file_hash(bundle / "golden.npz"), "labels.csv": file_hash(bundle / "labels.csv"),
        "model.tflite": hashlib.sha256(b"network").hexdigest(),
    }
    rounded = replace(found.manifest, files={})
    assert rounded.quantization.compared["day"].float_per_class["lion"].f1 == 0.333333
    assert replace(rounded, metrics={}, quantization=Quantization()) == replace(
        MANIFEST, metrics={}, quantization=Quantization())
    assert rounded.quantization.calibration == {"lion": {"day": 3}}
    assert found.labels == LABELS
    assert (found.title, found.is_float, found.model) == ("wildlife 2", False, bundle / "model.tflite")
    assert sorted(path.name for path in bundle.parent.iterdir()) == ["w"]


def test_changed_byte_is_refused_in_every_file(bundle: Path) -> None:
    for name in ("model.tflite", "golden.npz", "labels.csv"):
        kept = (bundle / name).read_bytes()
        (bundle / name).write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
        said = refused(bundle)
        assert said.startswith(f"{bundle / name}: expected sha256 ")
        assert said.endswith("the bundle is damaged, copy it again")
        (bundle / name).write_bytes(kept)
    ModelBundle.open(bundle)


def test_changed_digit_of_the_manifest_is_refused(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    assert '"temperature": 1' in text
    (bundle / "manifest.json").write_text(text.replace('"temperature": 1', '"temperature": 2'))
    assert refused(bundle).endswith("the bundle is damaged or was edited, copy it again")


def test_operating_point_that_is_missing_is_refused_before_the_first_frame(bundle: Path) -> None:
    edit(bundle, lambda raw: raw["operating_points"]["lion"].pop("night"))
    assert "expected an operating point of lion for day and night" in refused(bundle)


def test_missing_file_is_named(bundle: Path) -> None:
    (bundle / "golden.npz").unlink()
    assert refused(bundle).startswith(f"{bundle / 'golden.npz'}: expected sha256 ")
    assert "found no such file" in refused(bundle)


@pytest.mark.parametrize(("change", "expected"), [
    (lambda raw: raw.update(schema_version=3), "expected schema_version 1 or 2, found 3"),
    (lambda raw: raw.update(schema_version=[2]), "expected schema_version 1 or 2, found [2]"),
    (lambda raw: raw.pop("schema_version"), "expected schema_version 1 or 2, found None"),
    (lambda raw: raw.pop("temperature"), "temperature"),
    (lambda raw: raw.update(extra=1), "extra"),
    (lambda raw: raw["input"].pop("size"), "size"),
    (lambda raw: raw["quantization"].update(odd=1), "found a difference: 'odd'"),
    (lambda raw: raw["quantization"]["compared"]["day"].pop("agreement"), "agreement"),
    (lambda raw: raw.update(metrics=[]), "expected the types of schema 2, found metrics = []"),
    (lambda raw: raw.update(input=None), "found input = None"),
    (lambda raw: raw["output"].update(classes=3), "expected 3 labels, found 2"),
    (lambda raw: raw.update(temperature="1.0"), "expected the types of schema 2, found temperature = '1.0'"),
    (lambda raw: raw.update(temperature=True), "found temperature = True"),
    (lambda raw: raw.update(temperature=float("nan")), "found temperature = nan"),
    (lambda raw: raw.update(temperature=0), "expected a temperature and an input size above 0, found 0 and 32"),
    (lambda raw: raw["input"].update(order="BGR"), "found order = 'BGR'"),
    (lambda raw: raw["input"].update(size=224.0), "found size = 224.0"),
    (lambda raw: raw.update(verified="yes"), "found verified = 'yes'"),
    (lambda raw: raw["files"].update({"x": 1}), "found files.x = 1"),
    (lambda raw: raw["operating_points"]["lion"]["day"].update(threshold=None), "found threshold = None"),
    (lambda raw: raw["quantization"].update(float_operators="0"), "found float_operators = '0'"),
    (lambda raw: raw["quantization"].update(scheme="int4"), "found scheme = 'int4'"),
    (lambda raw: raw["quantization"].update(gates=["accuracy"]), "found gates.0 = 'accuracy'"),
    (lambda raw: raw["quantization"].update(speed={"ms": 1.0}), "float_ms"),
    (lambda raw: raw["files"].pop("golden.npz"), "expected golden.npz among the bundle's files"),
    (lambda raw: raw["files"].pop("labels.csv"), "expected labels.csv among the bundle's files"),
    (lambda raw: raw["files"].pop("model.tflite"), "expected model.tflite or model.keras, found neither"),
])
def test_damaged_manifest_is_refused(bundle: Path, change: Callable[[dict[str, Any]], object], expected: str) -> None:
    edit(bundle, change)
    assert expected in refused(bundle)


CONVERTED = Quantization(
    "float16", compared={"day": Comparison(8, 0.5, 0.75, 0.875, {"lion": CLASS}, 0.125, 0.0625, -0.25, -0.5, 0.0,
                                           (Changed("test/lion/1.jpg", "lion", "tiger", "lion"),))},
    operators={"CONV_2D": 4, "MEAN": 1}, float_operators=5, float_tensors=12, target="xnnpack", partitions=2,
    outside={"MEAN": 1}, size_bytes=500, float_bytes=1000, speed=Speed(2.0, 1.5, 0.75, 150),
    gates=(Gate("accuracy as taken", None, "8 photos", "0.5"), Gate("no float tensor", False, "12", "0")),
    recipe={"rewrites": ["one", "two"], "ranges": {"pictures": 3}}, seconds={"proof": 1.5},
)


def test_everything_that_a_conversion_found_is_read_again(tmp_path: Path) -> None:
    made = write_bundle(tmp_path / "w", replace(MANIFEST, quantization=CONVERTED, metrics={}), LABELS,
                        {"model.tflite": b"network", "golden.npz": b"golden"})
    found = ModelBundle.open(made.path).manifest
    rounded = replace(CONVERTED.compared["day"], float_per_class={"lion": replace(CLASS, f1=0.333333)})
    assert found.quantization == replace(CONVERTED, compared={"day": rounded})
    assert json.loads((made.path / "manifest.json").read_text())["schema_version"] == 2


def test_file_of_schema_1_is_read_and_written_as_one_of_schema_2(bundle: Path) -> None:
    old = {"Comparison": ("float_calibration_error", "calibration_error", "drop", "drop_low", "drop_high", "changed"),
           "Quantization": ("float_tensors", "target", "partitions", "outside", "size_bytes", "float_bytes", "speed",
                            "gates", "recipe", "seconds")}

    def make_old(raw: dict[str, Any]) -> None:
        raw["schema_version"] = 1
        stored = raw["quantization"]
        compared = stored["compared"]["day"]
        for per_class in (compared["float_per_class"], raw["metrics"]["day"]["per_class"]):
            for each in per_class.values():
                del each["named"]
        for key in old["Comparison"]:
            del compared[key]
        for key in old["Quantization"]:
            del stored[key]

    written = ModelBundle.open(bundle).manifest
    edit(bundle, make_old)
    found = ModelBundle.open(bundle).manifest
    assert found == written
    assert found.schema_version == 2
    assert (found.quantization.scheme, found.quantization.partitions, found.quantization.gates) == ("int8", None, ())
    assert found.quantization.same_everywhere
    edit(bundle, lambda raw: raw.update(temperature="1"))
    assert "expected the types of schema 1, found temperature = '1'" in refused(bundle)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_manifest_that_is_no_json_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    assert "manifest.json" in refused(bundle)


def test_folder_without_a_manifest_says_what_makes_one(tmp_path: Path) -> None:
    assert "make one with `train fit` and `convert`" in refused(tmp_path)
    assert "make one with `train fit` and `convert`" in refused(tmp_path / "nowhere")


def test_force_replaces_bundles_only(bundle: Path) -> None:
    new = {"model.tflite": b"other", "golden.npz": b"golden"}
    with pytest.raises(EdgeWatchError, match="expected no such folder, found one; choose another --out or type --f"):
        write_bundle(bundle, MANIFEST, LABELS, new)
    assert (bundle / "model.tflite").read_bytes() == b"network"
    write_bundle(bundle, MANIFEST, LABELS, new, force=True)
    assert (bundle / "model.tflite").read_bytes() == b"other"
    other = bundle.parent / "holiday"
    other.mkdir()
    (other / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(EdgeWatchError, match="replaces bundles only"):
        write_bundle(other, MANIFEST, LABELS, new, force=True)
    assert (other / "photo.jpg").read_bytes() == b"mine"


def test_no_space_left_leaves_nothing_behind(tmp_path: Path) -> None:
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, kept[1]))
    try:
        with pytest.raises(EdgeWatchError, match=r"cannot be written: .*; make room or choose another --out"):
            write_bundle(tmp_path / "w", MANIFEST, LABELS, {"model.tflite": b"x" * 60_000, "golden.npz": b""})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert list(tmp_path.iterdir()) == []


def test_incomplete_bundle_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"expected golden.npz"):
        write_bundle(tmp_path / "w", MANIFEST, LABELS, {"model.tflite": b"x"})
    assert list(tmp_path.iterdir()) == []


def test_file_in_the_way_of_the_parent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeWatchError, match=r"cannot be written: .*file is a file; choose another --out"):
        write_bundle(tmp_path / "file" / "w", MANIFEST, LABELS, {"model.tflite": b"x", "golden.npz": b""})


def test_newest_float_bundle(tmp_path: Path) -> None:
    with pytest.raises(EdgeWatchError, match="expected a float bundle, found none; make one with `train fit PHOTOS`"):
        newest_float(tmp_path)
    float_manifest = replace(MANIFEST, quantization=Quantization())
    for name, seconds in (("a", 100), ("deep/b", 300), ("c", 200)):
        files = {"model.keras": b"x", "golden.npz": b""}
        write_bundle(tmp_path / name, float_manifest, LABELS, files)
        os.utime(tmp_path / name / "manifest.json", (seconds, seconds))
    write_bundle(tmp_path / "int8", MANIFEST, LABELS, {"model.tflite": b"x", "golden.npz": b""})
    assert newest_float(tmp_path) == tmp_path / "deep/b"


def test_published_bundle_opens_and_is_verified() -> None:
    found = ModelBundle.open(default_bundle())
    assert found.manifest.verified
    assert found.manifest.quantization.scheme == "int8"
    assert found.manifest.quantization.float_operators == 0
    assert "tiger" in found.labels.names
    assert found.labels.of_type("human")
    assert found.labels.of_type("blank")
