"""The rules that hold the parts apart, and what is installed."""

from __future__ import annotations

import ast
import configparser
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "train": "train",
    "convert": "convert",
    "edge-watch": "edge",
    "edge-classify": "edge.classify",
    "edge-listen": "edge.listen",
    "edge-doctor": "edge.doctor",
}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_import_contracts_hold() -> None:
    found = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


HOMES = {
    "picamera2": {"edge/cameras/picam.py"},
    "paho": {"edge/telling/mqtt.py"},
    "av": {"edge/recording/encoder.py"},
    "gpiozero": {"edge/seeing/gpio.py"},
    "apprise": {"edge/listen/notify.py"},
    "watchfiles": {"edge/cameras/folder.py"},
    # The schema of .tflite files comes with the runtime.
    "ai_edge_litert": {"models/interpreter.py", "convert/flatbuffer.py", "convert/graph.py"},
    "tflite_runtime": {"models/interpreter.py"},
}


@pytest.mark.parametrize("library", HOMES)
def test_each_hardware_library_is_imported_in_one_module(library: str) -> None:
    importing = set()
    for package in ("models", "edge", "train", "convert"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.split(".")[0] == library for name in names):
                    importing.add(file.relative_to(ROOT).as_posix())
    assert importing <= HOMES[library]


def test_edge_runs_without_training_libraries() -> None:
    """What `edge-watch` loads for a replay, over the published model."""
    script = (
        "import sys, json, threading; from edge.__main__ import main\n"
        "import edge.daemon, edge.telling.publisher, edge.listen, edge.doctor, edge.classify, edge.truth\n"
        "import edge.recording.media, edge.recording.preview\n"
        "import edge.listen.listener, edge.listen.services, edge.listen.tell\n"
        "import edge.cameras.clip, edge.cameras.photos, edge.cameras.folder, edge.cameras.http\n"
        "import edge.cameras.capture, edge.cameras.demo\n"
        "import ai_edge_litert.interpreter\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    found = python("-c", script)
    assert found.returncode == 0, found.stderr
    heavy = {"tensorflow", "keras", "scipy", "matplotlib", "PIL", "av", "apprise", "train", "convert"}
    assert not heavy & set(json.loads(found.stdout))


@pytest.mark.parametrize(("command", "module"), COMMANDS.items())
def test_help_is_light_and_names_the_command(command: str, module: str) -> None:
    script = (
        f"import sys, runpy\nsys.argv = ['{command}', '--help']\n"
        f"try:\n    runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'numpy', 'cv2', 'tensorflow', 'keras', 'paho', 'ai_edge_litert', 'matplotlib', 'apprise'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    found = python("-W", "ignore", "-c", script)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"usage: {command}")


def test_wheel_holds_the_packages_and_the_published_bundle_and_no_tests(tmp_path: Path) -> None:
    # From a copy: building leaves a folder beside the sources, whose old files would get into the next wheel.
    source = tmp_path / "source"
    for top in ("models", "train", "convert", "edge", "tests"):
        shutil.copytree(ROOT / top, source / top, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    built = python("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source))
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.split("/")[0] for name in names if not name.startswith("edge_watch-")}
    assert tops == {"models", "train", "convert", "edge"}
    shipped = {"models/species.csv", "models/bundles/wildlife-1-int8/model.tflite", "edge/cameras/demo/tiger.py"}
    shipped |= {f"edge/telling/schemas/{name}.json" for name in ("alert", "command-look", "asyncapi")}
    assert shipped <= names
    assert not any("calibration.npz" in name or name.endswith(".keras") for name in names)


def test_every_package_is_listed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {
        file.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for top in ("models", "train", "convert", "edge")
        for file in (ROOT / top).rglob("__init__.py")
    }
    assert listed == found


def test_every_option_and_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert command in readme
    from edge.__main__ import parser

    for action in parser()._actions:
        if action.dest not in ("help", "version"):
            assert action.option_strings[-1] in readme, action.option_strings
