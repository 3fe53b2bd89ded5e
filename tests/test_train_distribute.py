"""Several machines, several devices and mixed precision: the same result as one device, and an end when one is gone."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import warnings
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from models.bundle import KERAS, ModelBundle
from models.errors import EdgeWatchError, UsageError
from tests.test_train_fit import class_folders, train
from train import cli, workers
from train.partial import Partial, State
from train.pipeline import Part
from train.quiet import import_tensorflow
from train.recipe import DEFAULT
from train.workers import Task, join, read_task

ROOT = Path(__file__).parents[1]
# 24 training photos: of the last batch there is one, and nothing for the second worker.
SETTINGS = ("--backbone", "mobilenet_v1_0.25@conv_pw_5_relu", "--size", "32", "--unfreeze", "6", "--epochs", "5",
            "--set", "batch=23", "--set", "head_epochs=20", "--set", "fine_rate=1e-3", "--deterministic")


def config(ports: list[int], index: int) -> str:
    return json.dumps({"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
                       "task": {"type": "worker", "index": index}})


def free_ports(count: int) -> list[int]:
    """Ports whose next one is free, too."""
    found: list[int] = []
    while len(found) < count:
        # Below those that the system gives to whoever asks for any: they are free for a while.
        port = secrets.randbelow(12_000) + 20_000
        try:
            for each in (port, port + 1):
                socket.create_server(("", each)).close()
        except OSError:
            continue
        if not any(abs(port - other) < 2 for other in found):
            found.append(port)
    return found


def start(ports: list[int], index: int, data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "train", "fit", data, *SETTINGS, "--out", out, *more]
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=os.environ | {"TF_CONFIG": config(ports, index)})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return class_folders(tmp_path_factory.mktemp("distribute") / "photos", 12)


@pytest.fixture(scope="module")
def lively(photos: Path) -> Path:
    """Weights of a backbone whose features say something.

    Those of a new one are nearly 0, and so many gradients: then it is rounding that decides where Adam steps to.
    """
    import keras

    keras.utils.set_random_seed(1)
    backbone = keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None)
    for variable in backbone.variables:
        if "gamma" in variable.path:
            variable.assign(3.0 * variable)
    path = photos.parent / "lively.weights.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras' own, of numpy.
        backbone.save_weights(path)
    return path


@pytest.fixture(scope="module")
def alone(photos: Path, lively: Path) -> Path:
    """What one process makes of the photos."""
    out = photos.parent / "runs/alone"
    done = train("fit", photos, *SETTINGS, "--weights", lively, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def killed(photos: Path, lively: Path) -> tuple[Path, str]:
    """The bundle-to-be of two workers of which the second was killed after the first epoch, and what the chief said."""
    out = photos.parent / "runs/two"
    ports = free_ports(2)
    chief, other = (start(ports, index, photos, out, "--weights", str(lively)) for index in (0, 1))
    said = []
    assert chief.stderr is not None
    try:
        for line in chief.stderr:
            said.append(line)
            if line.startswith("fine-tuning 1/5"):
                other.send_signal(signal.SIGKILL)
        chief.communicate(timeout=60)
        other.communicate(timeout=60)
    finally:
        for process in (chief, other):
            process.kill()
    assert chief.returncode == 1, "".join(said)
    assert f"worker 1 (127.0.0.1:{ports[1]}) is gone" in said[-2]
    return out, "".join(said)


def weights(bundle: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(bundle / KERAS) as file:
        stored = h5py.File(BytesIO(file.read("model.weights.h5")))
        stored.visititems(lambda name, entry: found.update({name: entry[()]}) if isinstance(entry, h5py.Dataset) else
                          None)
    return found


def test_killed_worker_is_named_and_leaves_no_bundle(killed: tuple[Path, str]) -> None:
    out, said = killed
    assert "fine-tuning on 2 devices of 2 machines, float32" in said
    assert said.splitlines()[-2].endswith("start all workers again, with --resume if an epoch was done")
    assert said.splitlines()[-1] == (f"{out}.partial holds what was reached; the same command with --resume goes on "
                                     f"from there")
    assert not out.exists()
    assert [path.name for path in Path(f"{out}.partial").iterdir()] == ["checkpoint"]


def test_two_workers_that_were_interrupted_give_what_one_process_gives(
    photos: Path, lively: Path, alone: Path, killed: tuple[Path, str]
) -> None:
    """With augmentation, dropout, class weights, clipping and averaging; the photos of the second lie elsewhere."""
    out, _ = killed
    elsewhere = Path(shutil.copytree(photos, photos.parent / "elsewhere/photos"))
    ports = free_ports(2)
    chief = start(ports, 0, photos, out, "--resume", "--weights", str(lively))
    other = start(ports, 1, elsewhere, photos.parent / "elsewhere/two", "--resume", "--weights",
                  str(lively))
    (_, said), (last, heard) = chief.communicate(timeout=200), other.communicate(timeout=200)
    assert (chief.returncode, other.returncode) == (0, 0), said + heard
    assert re.search("going on after epoch [0-4] of fine-tuning", said), "the line comes before the checkpoint"
    assert last == (f"worker 1 (127.0.0.1:{ports[1]}): took part in fine-tuning up to epoch 5; the bundle is with "
                    f"worker 0 (127.0.0.1:{ports[0]})\n")
    assert len(heard.splitlines()) == 1, "what all know is said once"
    assert [path.name for path in (photos.parent / "elsewhere").iterdir()] == ["photos"]

    found, expected = weights(out), weights(alone)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    reports = [json.loads((bundle / "report.json").read_text()) for bundle in (out, alone)]
    for mine, theirs in zip(reports[0]["history"], reports[1]["history"], strict=True):
        assert mine == pytest.approx(theirs, abs=2e-5)
    bundle, single = ModelBundle.open(out).manifest, ModelBundle.open(alone).manifest
    assert bundle.metrics == single.metrics
    assert bundle.provenance is not None
    assert bundle.provenance.versions["devices"] == "2 x float32"


SCRIPT = """
from train.quiet import import_tensorflow
import_tensorflow()
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from train.backbones import build
from train.distribute import Copies, Devices
from train.fit import optimizer, unfreeze
from train.head import loss
from train.recipe import DEFAULT, apply

recipe = apply(DEFAULT, {
    "backbone": "mobilenet_v1_0.25@conv_pw_5_relu", "size": 32, "batch": 7, "fine_rate": 1e-3}, "test")
dice = np.random.default_rng(0)
data = tf.data.Dataset.from_tensor_slices((
    dice.uniform(0, 255, (8, 32, 32, 3)).astype("f"), np.eye(3, dtype="f")[np.arange(8) % 3],
    dice.uniform(0.5, 1.5, 8).astype("f"))).batch(7)
found = {}
for name, strategy, policy in (("one", tf.distribute.get_strategy(), "float32"),
                               ("two", tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]), "float32"),
                               ("mixed", tf.distribute.get_strategy(), "mixed_float16")):
    keras.utils.set_random_seed(1)
    model, backbone = build(recipe.backbone, "none", 32, 3, recipe.dropout, recipe.decay)
    for variable in backbone.variables:
        if "gamma" in variable.path:
            variable.assign(3.0 * variable)
    model.get_layer("logits").kernel.assign(dice.normal(size=(64, 3)) if not found else first)
    first = model.get_layer("logits").kernel.numpy()
    unfreeze(backbone, 6)
    copies = Copies(model, Devices(strategy, policy), recipe)
    copies.compile(lambda: optimizer(recipe, 2, 3), loss(recipe))
    history = copies.model.fit(data, epochs=3, verbose=0, shuffle=False).history
    copies.agree(dict)
    found[name] = history, model.get_weights()
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    if name == "mixed":
        assert copies.model.get_layer("features").compute_dtype == "float16"
        assert copies.model.get_layer("logits").compute_dtype == "float32"
one, two, mixed = (found[name] for name in ("one", "two", "mixed"))
for key in one[0]:
    np.testing.assert_allclose(two[0][key], one[0][key], rtol=1e-5)
assert one[0]["loss"][0] > one[0]["loss"][2] + 0.01, one[0]
for a, b, c in zip(one[1], two[1], mixed[1]):
    np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
    assert a.dtype == c.dtype == np.float32
np.testing.assert_allclose(mixed[0]["loss"][0], one[0]["loss"][0], rtol=0.2)
assert any((a != c).any() for a, c in zip(one[1], mixed[1]))
"""


def test_two_devices_and_mixed_precision_give_what_one_gives() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("text", "found"), [
    ("{", "no JSON: Expecting property name"),
    ("[]", "none of `cluster` and `task`"),
    ('{"cluster": {"worker": ["a:1", "b:1"]}}', "no `task`"),
    ('{"task": {"type": "worker", "index": 0}}', "no `cluster`"),
    ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}', "task worker 2 of 2"),
    ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "ps", "index": 0}}', "ps, where there are only chief"),
    ('{"cluster": {"worker": ["a", "b:1"]}, "task": {"type": "worker", "index": 0}}', "the address 'a', which is no"),
    ('{"cluster": {"chief": "a:1", "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}', "addresses that are"),
    ('{"cluster": {"worker": 3}, "task": {"type": "worker", "index": 0}}', "addresses that are no list"),
    ('{"cluster": {"worker": ["[::1]:1", "b:1"]}, "task": {"type": "worker", "index": 0}}', "the address '[::1]:1'"),
    ('{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}', "an address twice among a:1"),
])
def test_tf_config_that_cannot_be_meant_is_refused_in_one_line(text: str, found: str) -> None:
    with pytest.raises(UsageError, match=r"^TF_CONFIG: expected as \{.*; correct it, or unset it") as error:
        read_task(text)
    assert f", found {found}" in str(error.value)
    assert "\n" not in str(error.value)


def test_chief_comes_first_and_a_machine_alone_is_no_team() -> None:
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    of = [read_task(json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}}))
          for kind, index in (("chief", 0), ("worker", 0), ("worker", 1))]
    assert of == [Task(index, ("a:1", "b:1", "c:1")) for index in range(3)]
    assert read_task(None) is None
    assert read_task(config([1], 0)) is None


def test_devices_share_each_batch() -> None:
    """Two machines with two devices each, 10 photos in batches of 7."""
    places = [Part(index, 2, 2).places(10, 7).tolist() for index in range(2)]
    assert places == [[0, 1, 4, 5, 7, 8], [2, 3, 6, 9]]


@pytest.mark.parametrize("change", [{"start_size": 32}, {"average": "swa"}])
def test_what_one_device_alone_can_do_is_refused_in_mixed_precision(change: dict[str, Any]) -> None:
    import_tensorflow()
    from train.distribute import devices

    assert devices(replace(DEFAULT, **change)).plain
    with pytest.raises(UsageError, match=r"start_size and average=swa: expected one device and float32, found .*mixed"):
        devices(replace(DEFAULT, precision="mixed", **change))


def test_what_one_device_alone_can_do_is_refused_at_once_on_several_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TF_CONFIG", config([1, 2], 0))
    assert cli.main(["fit", "nowhere", "--weights", "none", "--set", "average=swa"]) == 2
    assert capsys.readouterr().err == ("train: start_size and average=swa: expected one machine, found 2 in TF_CONFIG; "
                                       "leave them out, or unset TF_CONFIG\n")


def test_a_folder_that_a_worker_needs_is_only_removed_if_it_is_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "mine.worker-0"
    with cli._work(tmp_path / "mine", None) as work:
        assert work == folder
        kept = shutil.copytree(folder, tmp_path / "killed")  # As a run that is killed leaves it.
    assert not folder.exists()
    kept.rename(folder)
    with cli._work(tmp_path / "mine", None):
        assert [path.name for path in folder.iterdir()] == [".meanwhile"]
    folder.mkdir()
    (folder / "manifest.json").touch()
    with pytest.raises(EdgeWatchError, match="expected no such folder"), cli._work(tmp_path / "mine", None):
        pass
    assert [path.name for path in folder.iterdir()] == ["manifest.json"]


def test_another_precision_does_not_go_on_with_a_training(tmp_path: Path) -> None:
    """As where `auto` meant a GPU before, and now there is none."""
    partial = Partial(tmp_path / "mine", DEFAULT)
    partial.begin("", {"precision": "mixed_float16"})
    partial.save(State([], {}))
    partial.close()
    again = Partial(tmp_path / "mine", DEFAULT, resume=True)
    with pytest.raises(EdgeWatchError, match="found precision float32 instead of mixed_float16; go on with the same"):
        again.begin("", {"precision": "float32"})
    again.close()


@pytest.mark.parametrize("change", [{"epochs": 0}, {"unfreeze": 0}])
def test_other_workers_have_nothing_to_do_where_only_the_head_is_trained(change: dict[str, int]) -> None:
    import_tensorflow()
    import tensorflow as tf

    from train.distribute import Devices
    from train.fit import fit
    from train.pipeline import Examples

    recipe = replace(DEFAULT, backbone="minivgg@norm1_1", weights="none", size=32, **change)  # type: ignore[arg-type]
    team = SimpleNamespace(task=Task(1, ("a:1", "b:1")))  # The chief does not wait for it, either.
    rows = np.arange(3)
    examples = Examples(np.zeros((3, 32, 32, 3), np.uint8), rows, rows, rows, rows[:0], 3)
    found = fit(recipe, examples, Path("nowhere"), print, found=Devices(tf.distribute.get_strategy(), "float32", team))
    assert found.history == []


def test_workers_that_differ_are_told_in_which_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = free_ports(2)
    addresses = tuple(f"127.0.0.1:{port}" for port in ports)
    errors: dict[int, str] = {}

    def work(index: int) -> None:
        try:
            with join(Task(index, addresses), lambda line: None) as team:
                assert team.share(b"from 0" if index == 0 else b"") == b"from 0"
                assert team.gather(index) == [0, 1]
                team.agree({"batch": 8, "seed": 1})
                team.agree({"batch": 8 * (index + 1), "seed": 1})
        except EdgeWatchError as error:
            errors[index] = str(error)

    both = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(20)
    expected = (f"worker 1 ({addresses[1]}): expected the same as worker 0 ({addresses[0]}), found batch 16 instead of "
                f"8; start all workers with one command, on the same photos")
    assert errors == {0: expected, 1: expected}


def test_worker_that_never_comes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WAIT", 0.3)
    ports = free_ports(2)
    addresses = tuple(f"127.0.0.1:{port}" for port in ports)
    with pytest.raises(EdgeWatchError, match=f"all workers within 0 s, found nothing of worker 1 .*{ports[1]}"):
        join(Task(0, addresses), lambda line: None)
    with pytest.raises(EdgeWatchError, match=f"worker 0 .* to listen on port {ports[0] + 1} within 0 s, found"):
        join(Task(1, addresses), lambda line: None)


def test_worker_that_hangs_is_named_and_all_others_end() -> None:
    ports = free_ports(3)
    script = textwrap.dedent("""
        import sys, time
        from train import workers
        workers.SILENCE, workers.BEAT = 5.0, 0.5
        with workers.join(workers.read_task(sys.argv[1]), print) as team:
            print("together", flush=True)
            team.gather(None)
            time.sleep(100)
    """)
    three = [subprocess.Popen([sys.executable, "-c", script, config(ports, index)], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) for index in range(3)]
    for process in three:
        assert process.stdout is not None
        assert "waiting for the others" in process.stdout.readline()
        assert process.stdout.readline() == "together\n"
    three[2].send_signal(signal.SIGSTOP)
    ended = [process.communicate(timeout=30)[1] for process in three[:2]]
    three[2].kill()
    three[2].communicate()
    assert [process.returncode for process in three[:2]] == [1, 1]
    assert ended == [f"train: worker 2 (127.0.0.1:{ports[2]}) is gone: no sign of life for 5 s; start all workers "
                     f"again, with --resume if an epoch was done\n"] * 2
