"""A tiny float bundle as `train fit` writes it, made in seconds from drawn photos."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import cv2
import numpy as np

from convert.quiet import quiet
from models.bundle import CALIBRATION, CARD, GOLDEN, KERAS, SPLIT, ModelBundle, file_hash, write_bundle
from models.evaluation import calibrate, measure, softmax
from models.images import read_image
from models.labels import Label, LabelMap
from models.manifest import InputSpec, Manifest, OutputSpec, Provenance, Quantization
from models.preprocess import infrared, is_infrared, prepare

SIZE = 48
NAMES = ("blank", "stripes", "wolf")
EACH = {"train": 16, "val": 6, "test": 8}
CARD_TEXT = """# tiny 1

A float model of drawings.

## Data

Drawn by code.

## Results per class

| class | n |

## Known failures

- Everything real.
"""


def draw(name: str, number: int) -> np.ndarray:
    """(64, 80, 3) uint8 BGR: noise, orange stripes, or a grey disc."""
    dice = np.random.default_rng([number, NAMES.index(name)])
    image = dice.integers(0, 256, (64, 80, 3)).astype(np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 3)
    if name == "stripes":
        for left in range(int(dice.integers(0, 8)), 80, 14):
            cv2.rectangle(image, (left, 10), (left + 6, 54), (20, 120, 240), -1)
    if name == "wolf":
        x, y = (int(place) for place in dice.integers(24, 40, 2))
        cv2.circle(image, (x, y), 18, (90, 90, 90), -1)
    return image


def draw_photos(data: Path) -> list[dict[str, str]]:
    """Draw all photos below `data` and give the rows of split.csv."""
    rows = []
    for split, each in EACH.items():
        for name in NAMES:
            (data / split / name).mkdir(parents=True)
            for number in range(each):
                path = data / split / name / f"{number:02}.png"
                cv2.imwrite(str(path), draw(name, number + 100 * list(EACH).index(split)))
                rows.append({"path": path.relative_to(data).as_posix(), "label": name, "split": split,
                             "sha256": file_hash(path)})
    return rows


def pictures(data: Path, rows: list[dict[str, str]], split: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, SIZE, SIZE, 3) uint8 RGB and (n,) class indexes of one split."""
    chosen = [row for row in rows if row["split"] == split]
    images = [prepare(read_image(data / row["path"], at_least=SIZE), SIZE, order="BGR") for row in chosen]
    return np.stack(images), np.array([NAMES.index(row["label"]) for row in chosen])


def train(images: np.ndarray, truth: np.ndarray):  # type: ignore[no-untyped-def]
    """A small network that takes raw uint8 RGB and gives logits."""
    with quiet():
        import keras

        keras.utils.set_random_seed(1)
        layers = keras.layers
        model = keras.Sequential([
            keras.Input((SIZE, SIZE, 3), name="image"),
            layers.Rescaling(1 / 127.5, -1.0),
            layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False), layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, strides=2, padding="same"), layers.ReLU(6.0),
            layers.Conv2D(16, 3, strides=2, padding="same"), layers.ReLU(6.0),
            layers.GlobalAveragePooling2D(), layers.Dense(len(NAMES)),
        ])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=False)
        model.fit(images.astype(np.float32), truth, epochs=12, batch_size=16, verbose=0)
        return model


def float_bundle(folder: Path) -> Path:
    """Draw photos into `folder`/photos, train on them and write `folder`/runs/tiny."""
    data = folder / "photos"
    rows = draw_photos(data)
    images, truth = pictures(data, rows, "train")
    model = train(images, truth)

    def logits(shown: np.ndarray) -> np.ndarray:
        return np.asarray(model(shown.astype(np.float32), training=False), np.float32)

    def by_light(shown: np.ndarray) -> dict[str, np.ndarray]:
        return {"day": logits(shown), "night": logits(np.stack([infrared(picture) for picture in shown]))}

    (val, val_truth), (test, test_truth) = pictures(data, rows, "val"), pictures(data, rows, "test")
    temperature, points = calibrate(by_light(val), val_truth, NAMES, np.array([is_infrared(shown) for shown in val]))
    metrics = {key: measure(softmax(found, temperature), test_truth, NAMES) for key, found in by_light(test).items()}
    night = np.arange(len(images)) % 4 == 0
    shown = np.stack([infrared(picture) if grey else picture for picture, grey in zip(images, night, strict=True)])
    manifest = Manifest(
        name="tiny", version="1", input=InputSpec(SIZE), output=OutputSpec(len(NAMES)), temperature=temperature,
        quantization=Quantization(), operating_points=points, metrics=metrics, verified=True, files={},
        provenance=Provenance("train fit photos", "2026-05-01T06:00:00+00:00", {"keras": "3"}, "photos",
                              {split: each * len(NAMES) for split, each in EACH.items()}, "tiny", "none", 7,
                              settings={"dropout": 0.2}),
    )
    kept = folder / "model.keras"
    with quiet():
        import keras

        keras.Model(model.inputs, model.outputs).save(kept)
    path = folder / "runs" / "tiny"
    write_bundle(path, manifest, LabelMap([Label.from_name(name, {"wolf": "Canis lupus"}) for name in NAMES]), {
        KERAS: kept,
        CALIBRATION: npz(images=shown, labels=truth, lighting=np.where(night, "night", "day")),
        GOLDEN: npz(inputs=test[:2], outputs=logits(test[:2]), runtime=np.array("keras 3")),
        SPLIT: split_csv(rows).encode(),
        CARD: CARD_TEXT.encode(),
    })
    return path


def rewritten(bundle: Path, out: Path, **files: bytes | None) -> Path:
    """A copy of a bundle with some files' content replaced, or without them; names without their suffix."""
    found = ModelBundle.open(bundle)
    kept: dict[str, bytes | Path] = {
        name: (bundle / name).read_bytes() for name in found.manifest.files if name != "labels.csv"
    }
    for stem, content in files.items():
        name = next(name for name in kept if Path(name).stem == stem)
        if content is None:
            del kept[name]
        else:
            kept[name] = content
    write_bundle(out, found.manifest, found.labels, kept)
    return out


def npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def split_csv(rows: list[dict[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, ("path", "label", "split", "sha256"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
