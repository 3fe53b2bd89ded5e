"""Every scheme through the command; what a missed gate leads to; and models that are no bundles, end to end."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.__main__ import main
from convert.flatbuffer import read_graph
from convert.quiet import quiet
from models.bundle import ModelBundle
from models.classifier import Classifier
from models.errors import EdgeWatchError, GateError
from models.images import read_image
from models.manifest import Speed
from models.preprocess import prepare
from tests import tiny


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """How many times as long as its float a network takes: no time decides a test."""
    ratio = {"is": 0.5}
    monkeypatch.setattr("convert.job.invoke_speed", lambda before, after: Speed(2.0, 2.0 * ratio["is"], ratio["is"], 9))
    return ratio


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: dict[str, float], tiny_parent: ModelBundle) -> Path:
    """A folder with a tiny float bundle, runs/tiny, and its photos; the command runs in it."""
    shutil.copytree(tiny_parent.path.parents[1], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def ruined(tiny_parent: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The tiny network with a feature that no answer depends on, but so large that no other is seen beside it."""
    with quiet():
        import keras

        layers = keras.layers
        model = keras.saving.load_model(tiny_parent.model, compile=False)
        wide = layers.Dense(17, activation="relu")
        last = layers.Dense(3)
        whole = keras.Model(model.inputs, last(wide(model.layers[-2].output)))
        kernel, bias = model.layers[-1].get_weights()
        wide.set_weights([np.eye(16, 17), np.array([0.0] * 16 + [1e5])])
        last.set_weights([np.concatenate([kernel, np.zeros((1, 3))]), bias])
        path = tmp_path_factory.mktemp("ruined") / "ruined.keras"
        whole.save(path)
    return path.read_bytes()


def logits(model: Path, pictures: np.ndarray) -> np.ndarray:
    with quiet():
        import keras

        return np.asarray(keras.saving.load_model(model, compile=False)(pictures.astype(np.float32), training=False))


def photos_of_test() -> list[Path]:
    return sorted(Path("photos/test").rglob("*.png"))


def shown() -> np.ndarray:
    found = [read_image(path, at_least=tiny.SIZE) for path in photos_of_test()]
    return np.stack([prepare(image, tiny.SIZE, order="BGR") for image in found])


@pytest.mark.parametrize(("scheme", "folder", "dtype", "off"), [
    ("int8", "tiny-int8", "uint8", 0.1), ("int16x8", "tiny-int16x8", "float32", 0.1),
    ("dynamic", "tiny-dynamic", "float32", 0.1), ("float16", "tiny-float16", "float32", 0.01),
    ("none", "tiny-float32", "float32", 1e-4),
])
def test_bundle_of_every_scheme_classifies_as_its_parent(
    scheme: str, folder: str, dtype: str, off: float, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--quantize", scheme]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[-1] == f"runs/{folder}: written"
    bundle = ModelBundle.open(Path("runs") / folder)
    stored = bundle.manifest.quantization
    assert (stored.scheme, bundle.manifest.input.dtype, bundle.manifest.output.dtype) == (scheme, dtype, dtype)
    assert (stored.speed is None) == (scheme == "int16x8"), "it is 33 times slower than float, for who asks for it"
    assert any(gate.name == "not slower than its float" for gate in stored.gates) == (scheme in ("int8", "dynamic"))
    assert bool(stored.calibration) == (scheme in ("int8", "int16x8"))
    assert all(gate.met is not False for gate in stored.gates)
    classifier = Classifier(bundle)
    expected = logits(Path("runs/tiny/model.keras"), shown())
    found = np.stack([classifier.logits(read_image(path)) for path in photos_of_test()])
    assert np.abs(found - expected).max() < off * expected.std()
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.95
    for path in photos_of_test()[:3]:
        assert classifier.classify_file(path).sum() == pytest.approx(1)
    card = (bundle.path / "CARD.md").read_text()
    assert card.startswith(f"# tiny 1, {'float32' if scheme == 'none' else scheme}\n")


def test_int8_ports_compute_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    for io in ("uint8", "int8"):
        assert main(["--quantize", "int8", "--io", io, "--out", io, "--no-verify", "--fine-tune", "never"]) == 0
        manifest = ModelBundle.open(Path(io)).manifest
        assert (manifest.input.dtype, manifest.output.dtype) == (io, io)
    first, second = (Classifier(ModelBundle.open(Path(io))) for io in ("uint8", "int8"))
    assert read_graph(Path("int8/model.tflite").read_bytes()).operators.get("QUANTIZE") is None
    for path in photos_of_test():
        assert np.array_equal(first.logits(read_image(path)), second.logits(read_image(path)))


# Gates


def convert_ruined(content: bytes, *arguments: str) -> int:
    tiny.rewritten(Path("runs/tiny"), Path("runs/ruined"), model=content)
    return main(["--quantize", "int8", "runs/ruined", "--fine-tune", "never", *arguments])


def test_missed_gate_ends_with_1_names_what_to_do_and_writes_nothing(
    ruined: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert convert_ruined(ruined) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "convert: expected int8 to meet its 7 gates, found 3 missed; nothing is written"
    assert said[1].startswith("  accuracy as taken: found loss of ")
    assert "allowed lower bound at most 0.5" in said[1]
    assert said[2].startswith("  accuracy in infrared grey: found loss of ")
    assert said[3].startswith("  recall of each class: found ")
    assert said[4] == ("layers that lose most (how far their rounding moves the logits, as a share of their spread, "
                       "before any fine-tuning):")
    # The layer with the feature beside which no other is seen.
    assert "dense" in said[5]
    assert all(line.count(";") == 0 for line in said[5:] if "%" in line), "one name a layer"
    assert said[-2].startswith("next: --fine-tune always")
    assert said[-1] == "next: else --on-miss ladder, which writes the model as float16 instead"
    assert sorted(path.name for path in Path("runs").iterdir()) == ["ruined", "tiny"]


def test_ladder_goes_down_to_float16_and_says_so(ruined: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert_ruined(ruined, "--on-miss", "ladder") == 0
    printed = capsys.readouterr().out.splitlines()
    assert "on the ladder, next: float16" in printed
    assert "not int8, see above: this is float16" in printed
    start = printed.index("expected int8 to meet its 7 gates, found 3 missed")
    assert printed.index("on the ladder, next: float16") > start
    assert not any("nothing is written" in line or line.startswith("next: ") for line in printed)
    assert printed[-1] == "runs/ruined-float16: written"
    assert sum(line.startswith("calibrating") for line in printed) == 1, "float16 needs no pictures"
    assert sorted(path.name for path in Path("runs").iterdir()) == ["ruined", "ruined-float16", "tiny"]
    bundle = ModelBundle.open(Path("runs/ruined-float16"))
    stored = bundle.manifest.quantization
    assert (stored.scheme, stored.calibration) == ("float16", {})
    assert stored.recipe["ladder"].startswith("int8 missed accuracy as taken (loss of ")
    assert "pictures" not in stored.recipe
    assert bundle.manifest.provenance.settings["quantize"] == "float16"
    assert "--quantize int8" in bundle.manifest.provenance.command
    assert (bundle.path / "CARD.md").read_text().startswith("# tiny 1, float16\n")
    found = np.stack([Classifier(bundle).logits(read_image(path)) for path in photos_of_test()])
    expected = logits(Path("runs/tiny/model.keras"), shown())
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.95


def test_ladder_renames_what_was_asked_for_and_overwrites_nothing(
    ruined: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine-float16").mkdir()
    Path("mine-float16/notes.txt").write_text("mine")
    assert convert_ruined(ruined, "--on-miss", "ladder", "--out", "mine") == 1
    assert "mine-float16: expected no such folder, found one" in capsys.readouterr().err
    assert [path.name for path in Path("mine-float16").iterdir()] == ["notes.txt"]
    assert not Path("mine").exists()


def test_ladder_takes_a_layer_that_has_no_int8(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        import keras

        # Without training it is chance what it answers, and whether that looks like one trained on other numbers.
        keras.utils.set_random_seed(1)
        image = keras.Input((48, 48, 3))
        found = keras.layers.LeakyReLU()(keras.layers.Conv2D(8, 5, strides=4)(image))
        keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(found))).save("leaky.keras")
    tiny.rewritten(Path("runs/tiny"), Path("runs/leaky"), model=Path("leaky.keras").read_bytes())
    assert main(["--quantize", "int8", "runs/leaky", "--no-verify"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "found LEAKY_RELU (" in said
    assert not Path("runs/leaky-int8").exists()
    assert main(["--quantize", "int8", "runs/leaky", "--no-verify", "--on-miss", "ladder"]) == 0
    printed = capsys.readouterr().out
    assert "\non the ladder, next: float16\n" in printed
    assert "--quantize" not in printed, "what to do does not hold any more"
    bundle = ModelBundle.open(Path("runs/leaky-float16"))
    reason = bundle.manifest.quantization.recipe["ladder"]
    assert reason.startswith("expected layers that can be made integer, found LEAKY_RELU (")
    assert reason.endswith(")")
    Classifier(bundle)


def test_ladder_ends_where_the_disk_is_full(
    ruined: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(model: bytes, *_: Any) -> bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, kept[1]))
        return model

    monkeypatch.setattr("convert.job.embed", full)
    try:
        code = convert_ruined(ruined, "--on-miss", "ladder")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    printed = capsys.readouterr()
    assert code == 1
    assert printed.err.startswith("convert: ")
    assert printed.err.endswith("found: File too large; make room or set TMPDIR\n")
    assert printed.err.count("\n") == 1
    assert "float16" not in printed.out
    assert sorted(path.name for path in Path("runs").iterdir()) == ["ruined", "tiny"]


def test_ladder_ends_at_a_photo_that_has_gone(
    ruined: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = photos_of_test()[0]

    def meanwhile(model: bytes, *_: Any) -> bytes:
        gone.unlink()
        return model

    monkeypatch.setattr("convert.job.embed", meanwhile)
    assert convert_ruined(ruined, "--on-miss", "ladder") == 1
    printed = capsys.readouterr()
    assert printed.err == f"convert: {gone}: does not exist; correct the path, or the table that names it\n"
    assert "float16" not in printed.out
    assert sorted(path.name for path in Path("runs").iterdir()) == ["ruined", "tiny"]


def test_allowed_drop_is_that_of_the_command(ruined: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert_ruined(ruined, "--max-drop", "100") == 0
    stored = ModelBundle.open(Path("runs/ruined-int8")).manifest
    assert stored.quantization.compared["day"].drop > 0.3
    assert stored.provenance.settings["max_drop"] == 100
    assert "allowed: lower bound at most 100" in " ".join(capsys.readouterr().out.split())


def test_without_comparing_a_ruined_network_is_not_found_out(ruined: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert_ruined(ruined, "--no-verify") == 0
    assert "not verified (--no-verify): nothing is known of its accuracy" in capsys.readouterr().out
    manifest = ModelBundle.open(Path("runs/ruined-int8")).manifest
    assert manifest.verified is False
    assert {gate.name for gate in manifest.quantization.gates if gate.met is None} == {
        "accuracy as taken", "accuracy in infrared grey", "recall of each class"}


@pytest.mark.parametrize("target", ["xnnpack", "any"])
def test_slow_network_is_refused_for_xnnpack_only(
    target: str, speed: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    speed["is"] = 1.5
    code = main(["--quantize", "int8", "--for", target, "--no-verify", "--fine-tune", "never"])
    assert (code, Path("runs/tiny-int8").exists()) == ((1, False) if target == "xnnpack" else (0, True))
    said = capsys.readouterr().err
    assert ("not slower than its float: found 1.50 x its time; allowed 1.00 x its time" in said) == (code == 1)
    assert ("next: --for any" in said) == (code == 1)


def test_debug_shows_the_traceback_of_a_missed_gate(ruined: bytes) -> None:
    with pytest.raises(GateError, match="accuracy as taken"):
        convert_ruined(ruined, "--debug")


# No bundle


@pytest.fixture(params=["model.keras", "model.h5", "exported"])
def bare(request: pytest.FixtureRequest) -> str:
    with quiet():
        import keras

        model = keras.saving.load_model("runs/tiny/model.keras", compile=False)
        if request.param == "exported":
            model.export("exported")
        else:
            model.save(request.param)
    Path("names.txt").write_text("\n".join(tiny.NAMES) + "\n")
    return str(request.param)


def test_bare_model_becomes_a_proven_bundle(bare: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--quantize", "int8", bare, "--labels", "names.txt", "--calibration", "photos/train", "--data", "photos"]
    assert main(command) == 0
    name = Path(bare).stem
    bundle = ModelBundle.open(Path(f"runs/{name}-int8"))
    manifest = bundle.manifest
    assert capsys.readouterr().out.splitlines()[-1] == f"runs/{name}-int8: written"
    assert bundle.labels.names == tiny.NAMES
    assert (manifest.verified, manifest.name, manifest.input.size) == (True, name, tiny.SIZE)
    assert manifest.quantization.compared["day"].n == 24
    assert manifest.quantization.compared["day"].float_accuracy > 0.9
    assert manifest.quantization.recipe["pictures"]["source"] == "photos/train"
    assert sum(sum(counts.values()) for counts in manifest.quantization.calibration.values()) == 48
    assert manifest.provenance.parent["path"] == bare
    classifier = Classifier(bundle)
    found = [classifier.labels.names[int(classifier.classify_file(path).argmax())] for path in photos_of_test()]
    assert np.mean([name == path.parent.name for name, path in zip(found, photos_of_test(), strict=True)]) > 0.9


def test_interrupted_half_way_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("convert.job.golden", interrupt)
    before = sorted(Path().rglob("*"))
    assert main(["--quantize", "none", "--no-verify"]) == 130
    assert capsys.readouterr().err == "convert: interrupted\n"
    assert sorted(Path().rglob("*")) == before


def test_file_that_the_runtime_dies_of_is_not_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut(model: bytes, *_: Any) -> bytes:
        return model[: len(model) // 3]

    monkeypatch.setattr("convert.job.embed", cut)
    assert main(["--quantize", "int8", "--no-verify", "--fine-tune", "never"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("convert: int8.tflite: expected the runtime to run it, found")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["tiny"]


def test_debug_shows_the_traceback_of_a_bad_model() -> None:
    tiny.rewritten(Path("runs/tiny"), Path("runs/odd"), model=b"not a zip archive")
    with pytest.raises(EdgeWatchError, match="expected a Keras model"):
        main(["--quantize", "none", "runs/odd", "--no-verify", "--debug"])
