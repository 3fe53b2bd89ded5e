"""Standard TFLite metadata in a .tflite file, so that other tools find its labels and know what to feed it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from convert.flatbuffer import with_metadata

LABELS_FILE = "labels.txt"
_IDENTIFIER = b"M001"
# From metadata_schema.fbs 1.5.0; a field is named by its place in its table.
_TENSOR_AXIS_LABELS, _RGB, _FEATURES, _IMAGE, _NORMALIZATION = 2, 1, 1, 2, 1


def embed(model: bytes, name: str, version: str, description: str, labels: Sequence[str], size: int) -> bytes:
    """Write metadata into a .tflite file.

    The description goes into the model's own `metadata` table, `labels.txt` behind the flatbuffer as a zip archive: a
    reader of either format finds its part. Nothing that the network computes changes.

    Args:
        model: a .tflite file that takes raw uint8 RGB and gives logits.
        name: of the model.
        version: of the model.
        description: one sentence.
        labels: the classes' names, in order.
        size: pixels a side of the input.

    Returns:
        The new file.
    """
    return with_metadata(model, "TFLITE_METADATA", _metadata(name, version, description, size)) + _archive(labels)


def _archive(labels: Sequence[str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        # A fixed date: the same model gives the same bytes. Stored, not deflated: readers map it into memory.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE, (1980, 1, 1, 0, 0, 0)), "\n".join(labels) + "\n")
    return out.getvalue()


def _metadata(name: str, version: str, description: str, size: int) -> bytes:
    """The metadata flatbuffer: a uint8 RGB picture in, a logit for each line of labels.txt out."""
    builder = flatbuffers.Builder(1024)
    dimensions = _table(builder, {0: ("uint", size), 1: ("uint", size)})
    image = _table(builder, {0: ("byte", _RGB), 1: ("offset", dimensions)})
    raw = _table(builder, {0: ("offset", _floats(builder, 0.0)), 1: ("offset", _floats(builder, 1.0))})
    steps = _offsets(builder, [_table(builder, {0: ("byte", _NORMALIZATION), 1: ("offset", raw)})])
    reach = _table(builder, {0: ("offset", _floats(builder, 255.0)), 1: ("offset", _floats(builder, 0.0))})
    taken = _table(builder, {
        0: ("offset", builder.CreateString("image")),
        1: ("offset", builder.CreateString("RGB picture, 0 to 255, stretched to the input's size")),
        3: ("offset", _table(builder, {0: ("byte", _IMAGE), 1: ("offset", image)})),
        4: ("offset", steps),
        5: ("offset", reach),
    })
    file = _table(builder, {
        0: ("offset", builder.CreateString(LABELS_FILE)),
        1: ("offset", builder.CreateString("the classes, in the order of the outputs")),
        2: ("byte", _TENSOR_AXIS_LABELS),
    })
    given = _table(builder, {
        0: ("offset", builder.CreateString("logits")),
        1: ("offset", builder.CreateString("a logit for each class; softmax makes probabilities of them")),
        3: ("offset", _table(builder, {0: ("byte", _FEATURES), 1: ("offset", _table(builder, {}))})),
        6: ("offset", _offsets(builder, [file])),
    })
    graph = _table(builder, {2: ("offset", _offsets(builder, [taken])), 3: ("offset", _offsets(builder, [given]))})
    root = _table(builder, {
        0: ("offset", builder.CreateString(name)),
        1: ("offset", builder.CreateString(description)),
        2: ("offset", builder.CreateString(version)),
        3: ("offset", _offsets(builder, [graph])),
        7: ("offset", builder.CreateString("1.0.0")),
    })
    builder.Finish(root, _IDENTIFIER)
    return bytes(builder.Output())


def _table(builder: Any, fields: dict[int, tuple[str, int]]) -> int:
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, (kind, value) in fields.items():
        if kind == "offset":
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        elif kind == "uint":
            builder.PrependUint32Slot(slot, value, 0)
        else:
            builder.PrependInt8Slot(slot, value, 0)
    return int(builder.EndObject())


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, value: float) -> int:
    return int(builder.CreateNumpyVector(np.array([value], np.float32)))
