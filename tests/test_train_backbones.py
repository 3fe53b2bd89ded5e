"""Every backbone: raw 0-255 RGB in, the scaling that Keras documents inside, logits out."""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import numpy as np
import pytest

from convert.flatbuffer import read_graph, require_integer
from convert.int8 import to_int8
from convert.speed import partitions
from convert.trial import try_out
from models.errors import EdgeWatchError, UsageError
from tests.backbones import saved
from tests.layers import answers, pictures
from train.names import NARROW, parse
from train.quiet import import_tensorflow

import_tensorflow()
keras = pytest.importorskip("keras")
from train.backbones import DEVIATION, build, require_layer  # noqa: E402

apps = keras.applications
KERAS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any], dict[str, Any]]] = {
    "mobilenet_v1": (apps.MobileNet, apps.mobilenet.preprocess_input, {}),
    "mobilenet_v2": (apps.MobileNetV2, apps.mobilenet_v2.preprocess_input, {}),
    "mobilenet_v3_small": (apps.MobileNetV3Small, apps.mobilenet_v3.preprocess_input, {}),
    "mobilenet_v3_small_minimalistic": (
        apps.MobileNetV3Small, apps.mobilenet_v3.preprocess_input, {"minimalistic": True}),
    "mobilenet_v3_large": (apps.MobileNetV3Large, apps.mobilenet_v3.preprocess_input, {}),
    "mobilenet_v3_large_minimalistic": (
        apps.MobileNetV3Large, apps.mobilenet_v3.preprocess_input, {"minimalistic": True}),
    "efficientnet_b0": (apps.EfficientNetB0, apps.efficientnet.preprocess_input, {}),
}
"""As Keras documents them: what builds the network with its own scaling, and what is to be called before it."""


def picture(size: int) -> np.ndarray:
    """(1, size, size, 3) float32 RGB of 0-255, always the same, with both ends of the range."""
    dice = np.random.default_rng(5)
    image = dice.integers(0, 256, (1, size, size, 3)).astype(np.float32)
    image[0, 0, 0], image[0, 0, 1] = 0.0, 255.0
    return image


def features(model: Any, image: np.ndarray) -> np.ndarray:
    """(1, channels): what comes out of the backbone inside a classifier."""
    return np.asarray(keras.Model(model.input, model.get_layer("features").output)(image, training=False))


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for rounding; untrained networks give very small numbers."""
    assert expected.std() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def documented(name: str, size: int, weights: str | None) -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
    """Keras' own network of that name, and the way from a raw picture to its pooled features."""
    family, width, _ = parse(name)
    make, preprocess, options = KERAS[family]
    options = options | ({"alpha": width} if family in NARROW else {})
    network = make(include_top=False, input_shape=(size, size, 3), weights=weights, pooling="avg", **options)
    return network, lambda image: np.asarray(network(preprocess(image.copy()), training=False))


@pytest.mark.filterwarnings("ignore:.*`input_shape` is undefined:UserWarning")
@pytest.mark.parametrize("name", [*KERAS, "mobilenet_v1_0.25", "mobilenet_v2_0.35", "mobilenet_v3_small_0.75"])
def test_backbone_scales_as_keras_documents_and_ends_in_logits(name: str) -> None:
    keras.utils.set_random_seed(7)
    model, backbone = build(name, "none", 64, classes=5)
    network, run = documented(name, 64, None)
    network.set_weights(backbone.get_weights())
    expected = run(picture(64))
    same(features(model, picture(64)), expected)
    kernel, bias = model.get_layer("logits").get_weights()
    same(np.asarray(model(picture(64), training=False)), expected @ kernel + bias)  # And no softmax.


@pytest.mark.parametrize(("name", "size", "last"), [
    ("resnet50_v2@conv2_block3_out", 32, (4, 4, 256)), ("inception_v3@mixed0", 96, (9, 9, 256)),
])
def test_cut_network_scales_as_keras_documents_and_becomes_one_of_integers(
    tmp_path: Path, name: str, size: int, last: tuple[int, ...]
) -> None:
    keras.utils.set_random_seed(7)
    model, backbone = build(name, "none", size, classes=5)
    assert (backbone.layers[-1].name, backbone.output.shape[1:]) == (name.partition("@")[2], last)
    preprocess = {"resnet50_v2": apps.resnet_v2, "inception_v3": apps.inception_v3}
    shown = preprocess[name.partition("@")[0]].preprocess_input(picture(size))
    same(features(model, picture(size)), np.asarray(backbone(shown, training=False)).mean(axis=(1, 2)))
    integers(model, size, tmp_path)


def integers(model: Any, size: int, folder: Path) -> None:
    """An untrained network as integers answers as it does, in one piece for XNNPACK."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_variance.assign(np.linspace(0.5, 1.5, layer.moving_variance.shape[0]))
    model_file, shown = saved(model), pictures(8, size)
    made = to_int8(model_file, shown, tuning="never").content
    require_integer(read_graph(made), size, 5)
    (folder / "model.tflite").write_bytes(made)
    try_out(folder / "model.tflite")
    assert partitions(folder / "model.tflite") == (1, {"CAST": 1, "QUANTIZE": 1})
    expected = answers(model_file, shown)
    assert np.abs(answers(made, shown) - expected).max() < 0.3 * expected.std()


@pytest.mark.parametrize(("name", "hidden", "weights"), [
    # C1, C3, C5 and F6 as in the paper's section II.B, but with three colours, and C3 of all maps.
    ("lenet", 84, {"c1": 6 * 76, "c3": 16 * 151, "c5": 48120, "hidden": 10164, "logits": 85 * 5}),
    ("shallownet", 0, {"conv": 32 * 28, "logits": (32 * 32 * 32 + 1) * 5}),
    ("minivgg", 512, {"conv1_1": 32 * 28, "norm1_1": 4 * 32, "conv1_2": 32 * 289, "norm1_2": 4 * 32,
                      "conv2_1": 64 * 289, "norm2_1": 4 * 64, "conv2_2": 64 * 577, "norm2_2": 4 * 64,
                      "hidden": (8 * 8 * 64 + 1) * 512, "logits": 513 * 5}),
])
def test_small_networks_are_those_that_were_published_and_become_integers(
    tmp_path: Path, name: str, hidden: int, weights: dict[str, int]
) -> None:
    keras.utils.set_random_seed(7)
    model, backbone = build(name, "none", 32, classes=5, head="flat", hidden=hidden)
    found = {layer.name: layer.count_params() for layer in [*backbone.layers, *model.layers]
             if layer is not backbone and layer.count_params()}
    assert found == weights
    integers(model, 32, tmp_path)


def test_layer_that_is_not_there_is_refused_with_those_that_are_near() -> None:
    with pytest.raises(UsageError) as found:
        require_layer("mobilenet_v1_0.25@conv_pw_13_rel", 32)
    assert str(found.value) == ("--backbone mobilenet_v1_0.25@conv_pw_13_rel: expected a layer of mobilenet_v1_0.25, "
                                "found none of that name; near are conv_pw_13_relu, conv_pw_3_relu, conv_pw_1_relu")
    require_layer("mobilenet_v1_0.25@conv_pw_13_relu", 32)


FILES = {
    "mobilenet_v1": "mobilenet_v1_1.0_notop", "mobilenet_v1_0.25": "mobilenet_v1_0.25_128_notop",
    "mobilenet_v2": "mobilenet_v2_1.0_notop", "mobilenet_v2_0.35": "mobilenet_v2_0.35_notop",
    "mobilenet_v3_small": "mobilenet_v3_small_1.0_notop",
    "mobilenet_v3_large_minimalistic": "mobilenet_v3_large_minimalistic_notop",
}


@pytest.mark.filterwarnings("ignore:.*`input_shape` is undefined:UserWarning")
@pytest.mark.parametrize(("name", "file"), FILES.items())
def test_weights_from_a_file_give_the_features_that_keras_gives(shared: Path, name: str, file: str) -> None:
    path = str(shared / "weights" / f"{file}.weights.h5")
    expected = documented(name, 96, path)[1](picture(96))
    same(features(build(name, path, 96, classes=2)[0], picture(96)), expected)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Of Keras, saving this network.
def test_efficientnet_from_a_file_is_scaled_as_with_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras scales once more for `imagenet` only; weights of the same origin in a file must not go without."""
    keras.utils.set_random_seed(7)
    made = apps.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    scaling = next(layer for layer in made.layers if isinstance(layer, keras.layers.Normalization))
    scaling.adapt_mean.assign([0.485, 0.456, 0.406])
    scaling.adapt_variance.assign(DEVIATION)  # As in Keras' file.
    file = tmp_path / "efficientnet.weights.h5"
    made.save_weights(file)
    # In place of the download.
    monkeypatch.setattr("keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: str(file))
    expected = documented("efficientnet_b0", 64, "imagenet")[1](picture(64))
    model, _ = build("efficientnet_b0", str(file), 64, classes=2)
    same(features(model, picture(64)), expected)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    same(features(again, picture(64)), expected)
    same(features(build("efficientnet_b0", "imagenet", 64, classes=2)[0], picture(64)), expected)


def test_width_that_imagenet_has_no_weights_of_is_refused() -> None:
    with pytest.raises(EdgeWatchError, match=r"that there are such weights of, found mobilenet_v2_0\.4 \("):
        build("mobilenet_v2_0.4", "imagenet", 64, classes=2)


@pytest.mark.parametrize(("raised", "reason"), [
    (URLError(OSError(-2, "Name or service not known")), "Name or service not known"),
    (URLError("no host given"), "no host given"),
    (HTTPError("https://there", 404, "Not Found", Message(), None), "HTTP Error 404: Not Found"),
])
def test_download_that_fails_gives_one_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: OSError, reason: str
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", fail)
    monkeypatch.setattr("keras.src.backend.config.keras_home", lambda: str(tmp_path))
    with pytest.raises(EdgeWatchError) as found:
        build("mobilenet_v2_0.35", "imagenet", 96, classes=2)
    assert str(found.value) == (f"--weights imagenet: expected a download, found none: {reason}; connect to the "
                                f"internet, or name a file with --weights FILE")


@pytest.mark.parametrize(("name", "expected"), [
    ("mobilenet_v2", ("mobilenet_v2", 1.0, "")),
    ("mobilenet_v2_0.35", ("mobilenet_v2", 0.35, "")),
    ("mobilenet_v1_0.25", ("mobilenet_v1", 0.25, "")),
    ("mobilenet_v3_large_minimalistic_0.75", ("mobilenet_v3_large_minimalistic", 0.75, "")),
    ("efficientnet_b0", ("efficientnet_b0", 1.0, "")),
    ("inception_v3@mixed5", ("inception_v3", 1.0, "mixed5")),
    ("mobilenet_v2_0.35@block_13_expand_relu", ("mobilenet_v2", 0.35, "block_13_expand_relu")),
])
def test_parse_tells_family_width_and_layer(name: str, expected: tuple[str, float, str]) -> None:
    assert parse(name) == expected


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2_", "mobilenet_v2_0", "mobilenet_v2_3", "mobilenet_v2_a",
                                  "efficientnet_b0_0.5", "efficientnet_b1", "", "inception_v3@", "@mixed5",
                                  "resnet50_v2_0.5", "vgg@pool1"])
def test_parse_refuses_and_lists_the_families(name: str) -> None:
    with pytest.raises(UsageError, match=r"expected mobilenet_v1, mobilenet_v2, .*, minivgg, found .*; choose one"):
        parse(name)
