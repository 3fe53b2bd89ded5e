"""The settings file and the command line over it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.__main__ import main
from edge.options import OPTIONS
from edge.settings import Settings, read_settings
from models.errors import UsageError


def written(folder: Path, text: str) -> Path:
    file = folder / "trap.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_file_sets_and_the_command_line_goes_over_it(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        'species = ["tiger", "leopard"]\nbroker = "mqtts://example.org"\n'
        "event_gap = 15\nlatitude = 1.5\nlongitude = -2\n",
    )
    found = read_settings(file, {"event_gap": 20.0, "deployment": "oak", "source": None})
    assert found.species == ("tiger", "leopard")
    assert found.broker == "mqtts://example.org"
    assert found.event_gap == timedelta(seconds=20)
    assert (found.latitude, found.longitude, found.deployment, found.source) == (1.5, -2, "oak", None)


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/edge-watch")
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(nodename="trap7"))
    found = Settings()
    assert (found.broker, found.prefix, found.deployment) == ("mqtt://localhost:1883", "edge-watch", "trap7")
    assert (found.event_gap, found.alert_interval) == (timedelta(seconds=60), timedelta(minutes=10))
    assert found.data == Path("/var/lib/edge-watch")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("HOME", "/home/ranger")
    assert Settings().data == Path("/home/ranger/.local/share/edge-watch")


def test_every_setting_is_an_option_and_the_other_way_round() -> None:
    assert [option.name for option in OPTIONS] == [setting.name for setting in dataclasses.fields(Settings)]


def test_species_of_the_command_line_are_separated_by_commas() -> None:
    assert read_settings(None, {"species": "tiger, polar bear"}).species == ("tiger", "polar bear")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("specis = 'tiger'", "unknown key 'specis'; did you mean species?"),
        ("colour = 1", "unknown key 'colour'; known keys: species, present, exclude, source"),
        ("species = tiger", "expected TOML"),
        ("event_gap = 'long'", "event_gap: found a value of the wrong kind: 'long'"),
        ("species = [1]", "species: found a value of the wrong kind: [1]"),
        ("event_gap = -1", "event_gap: expected 0 to 31622400 seconds, found -1"),
        ("event_gap = nan", "event_gap: expected 0 to 31622400 seconds, found nan"),
        ("alert_interval = 1e20", "alert_interval: expected 0 to 31622400 seconds, found 1e+20"),
        ("threads = inf", "threads: found a value of the wrong kind: inf"),
        ("latitude = 1", "expected latitude and longitude, found one of them"),
        ("latitude = 91\nlongitude = 0", "latitude: expected -90 to 90 degrees, found 91"),
        ("threads = 0", "threads: expected 1 or more, found 0"),
        ("masks = [[0, 0, 1]]", "masks: expected boxes of left, top, width, height, found [[0, 0, 1]]"),
        ("masks = [[0.5, 0, 0.6, 1]]", "found 0.5,0,0.6,1, which is not inside it"),
        ("least_size = 1.5", "least_size: expected a share of the frame's height, found 1.5"),
        ("looks_per_second = 0", "looks_per_second: expected more than 0, up to 100, found 0"),
        ("rotate = 45", "rotate: expected 0, 90, 180, 270, found 45"),
        ("noir = 1", "noir: found a value of the wrong kind: 1"),
        ("pace = 'slow'", "pace: expected full, real, found 'slow'"),
    ],
)
def test_bad_file_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    assert main(["--settings", str(written(tmp_path, text))]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file that can be read"):
        read_settings(tmp_path / "none.toml", {})


def test_masks_of_the_file_and_of_the_command_line(tmp_path: Path) -> None:
    file = written(tmp_path, "masks = [[0, 0, 1, 0.1], [0.5, 0.5, 0.25, 0.5]]\nleast_size = 0.1\n")
    assert read_settings(file, {}).masks == ((0, 0, 1, 0.1), (0.5, 0.5, 0.25, 0.5))
    assert read_settings(file, {}).least_size == 0.1
    assert read_settings(file, {"masks": "0,0.9,1,0.1;0,0,0.5,0.5"}).masks == ((0, 0.9, 1, 0.1), (0, 0, 0.5, 0.5))
