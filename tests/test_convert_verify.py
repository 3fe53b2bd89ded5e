"""The proof: two files side by side, on photos of which every answer is known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from convert.verify import Photo, find_photos, verify
from models.bundle import GOLDEN, KERAS, SPLIT, ModelBundle, file_hash, write_bundle
from models.evaluation import calibrate, calibration_error, paired, softmax
from models.interpreter import Interpreter
from models.manifest import Changed, Quantization
from tests.conversions import LABELS, manifest
from tests.networks import colours
from tests.tiny import split_csv

NAMES = ("red", "green", "blue")


def photo(folder: Path, name: str, kind: str, label: str) -> Photo:
    """A photo of 4 x 4 pixels, as the network takes it."""
    image = np.full((16, 3), 100, np.uint8)
    if kind == "narrow":
        # The float network sees that the mean of green is higher; in whole steps both are 100, and the first is red.
        image[:4, 0], image[:7, 1], image[:, 2] = 101, 101, 90
    else:
        image[:, NAMES.index(kind)] = 250
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image.reshape(4, 4, 3)[:, :, ::-1])
    return Photo(path, NAMES.index(label), name)


@pytest.fixture
def networks(tmp_path: Path) -> tuple[Interpreter, Interpreter]:
    for dtype in ("float32", "uint8"):
        (tmp_path / f"{dtype}.tflite").write_bytes(colours(dtype, 1.0, 0))
    return Interpreter(tmp_path / "float32.tflite"), Interpreter(tmp_path / "uint8.tflite")


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, list[Photo]]:
    test = [photo(tmp_path, "test/green/lost.png", "narrow", "green"),
            photo(tmp_path, "test/green/lost too.png", "narrow", "green"),
            photo(tmp_path, "test/red/gained.png", "narrow", "red"),
            photo(tmp_path, "test/blue/odd.png", "narrow", "blue"),
            *(photo(tmp_path, f"test/{name}/{number}.png", name, name) for name in NAMES for number in range(4))]
    val = [photo(tmp_path, f"val/{name}/{number}.png", name, name) for name in NAMES for number in range(2)]
    val += [photo(tmp_path, "val/red/wrong.png", "blue", "red"), photo(tmp_path, "val/red/odd.png", "narrow", "red")]
    return {"val": val, "test": test}


def test_proof_counts_what_changed(
    networks: tuple[Interpreter, Interpreter], photos: dict[str, list[Photo]]
) -> None:
    found = verify(NAMES, photos, *networks, 20.0).compared["day"]
    assert (found.n, found.float_accuracy, found.accuracy) == (16, 14 / 16, 13 / 16)
    assert (found.agreement, found.drop) == (12 / 16, 1 / 16)
    assert (found.drop_low, found.drop_high) == paired(2, 1, 16)
    assert found.changed == (
        Changed("test/green/lost.png", "green", "green", "red"),
        Changed("test/green/lost too.png", "green", "green", "red"),
        Changed("test/red/gained.png", "red", "green", "red"),
        Changed("test/blue/odd.png", "blue", "green", "red"),
    )
    assert {name: (each.recall, each.n, each.named) for name, each in found.float_per_class.items()} == {
        "red": (4 / 5, 5, 4), "green": (1, 6, 8), "blue": (4 / 5, 5, 4)}


def test_in_grey_both_see_the_same(networks: tuple[Interpreter, Interpreter], photos: dict[str, list[Photo]]) -> None:
    found = verify(NAMES, photos, *networks, 20.0)
    night = found.compared["night"]
    assert (night.accuracy, night.agreement, night.drop, night.changed) == (5 / 16, 1, 0, ())
    assert found.metrics["night"].per_class["blue"].named == 0


def test_each_network_has_its_own_temperature(
    networks: tuple[Interpreter, Interpreter], photos: dict[str, list[Photo]]
) -> None:
    found = verify(NAMES, photos, *networks, 20.0)

    def logits(network: Interpreter, side: str, grey: bool) -> np.ndarray:
        shown = [cv2.cvtColor(cv2.imread(str(each.path)), cv2.COLOR_BGR2RGB) for each in photos[side]]
        if grey:
            shown = [cv2.merge([cv2.cvtColor(each, cv2.COLOR_RGB2GRAY)] * 3) for each in shown]
        return np.stack([network.run(each) for each in shown])

    val_truth, truth = (np.array([each.label for each in photos[side]]) for side in ("val", "test"))
    both = {"day": logits(networks[1], "val", False), "night": logits(networks[1], "val", True)}
    temperature, points = calibrate(both, val_truth, NAMES, np.zeros(len(val_truth), np.bool_))
    assert found.temperature == temperature
    assert found.operating_points == points
    before, after = (logits(network, "test", False) for network in networks)
    day = found.compared["day"]
    assert day.float_calibration_error == calibration_error(softmax(before, 20.0), truth)
    assert day.calibration_error == calibration_error(softmax(after, temperature), truth)
    assert found.metrics["day"].calibration_error == day.calibration_error
    # Without one of its own the float network's is fitted in the same way; it has another validation photo wrong.
    fitted = verify(NAMES, photos, *networks).compared["day"]
    float_both = {"day": logits(networks[0], "val", False), "night": logits(networks[0], "val", True)}
    float_temperature, _ = calibrate(float_both, val_truth, NAMES, np.zeros(len(val_truth), np.bool_))
    assert float_temperature != pytest.approx(temperature, rel=0.01)
    assert fitted.float_calibration_error == calibration_error(softmax(before, float_temperature), truth)


def test_photos_are_named_relative_to_their_folder(tmp_path: Path) -> None:
    rows = []
    for split in ("val", "test"):
        path = tmp_path / "photos" / split / "deer" / "1.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((8, 8, 3), 90, np.uint8))
        rows.append({"path": f"{split}/deer/1.png", "label": "deer", "split": split, "sha256": file_hash(path)})
    write_bundle(tmp_path / "w", manifest(Quantization()), LABELS,
                 {KERAS: b"x", GOLDEN: b"x", SPLIT: split_csv(rows).encode()})
    found = find_photos(ModelBundle.open(tmp_path / "w"), tmp_path / "photos")
    assert found["test"] == [Photo(tmp_path / "photos/test/deer/1.png", 0, "test/deer/1.png")]
