"""`benchmarks/options.py`: results of several machines become one table, which says what is beyond the spread."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def options(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "benchmarks/options.py", *map(str, arguments)], cwd=ROOT, text=True,
                          capture_output=True, check=False)


def results(row: str, day: list[float], losses: list[float], first: int = 1) -> list[dict[str, object]]:
    return [{"data": "wildlife", "backbone": "mobilenet_v2", "row": row, "seed": seed, "n": 369,
             "right": {"day": right, "night": 0.9}, "loss": loss, "kept": "", "seconds": 60, "recipe": {}}
            for seed, (right, loss) in enumerate(zip(day, losses, strict=True), first)]


def test_results_of_several_machines_become_one_table(tmp_path: Path) -> None:
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    here.write_text(json.dumps(results("default", [0.95, 0.96, 0.97], [0.3, 0.31, 0.32])
                               + results("mixup", [0.98], [0.29])))
    there.write_text(json.dumps(results("mixup", [0.99, 0.985], [0.25, 0.31], 2)
                                + results("swa", [0.94, 0.91], [0.33, 0.4]) + results("cutmix", [0.99], [0.1])))
    done = options("--table", "--out", here, "--merge", there)
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    assert table[2:6] == [
        "| wildlife | mobilenet_v2 | default recipe | 96.0 (95.0 96.0 97.0) |  | 90.0 (90.0 90.0 90.0) |  | "
        "0.310 (0.300 0.310 0.320) |  |",
        "| wildlife | mobilenet_v2 | MixUp, 0.2 | 98.5 (98.0 99.0 98.5) | +2.5 better | 90.0 (90.0 90.0 90.0) | "
        "+0.0 within | 0.283 (0.290 0.250 0.310) | -0.027 within |",
        "| wildlife | mobilenet_v2 | CutMix, 1.0 | 99.0 (99.0) | +3.0 one seed | 90.0 (90.0) | +0.0 one seed | "
        "0.100 (0.100) | -0.210 one seed |",
        "| wildlife | mobilenet_v2 | stochastic weight averaging | 92.5 (94.0 91.0) | -3.5 worse | 90.0 (90.0 90.0) | "
        "+0.0 within | 0.365 (0.330 0.400) | +0.055 worse |",
    ]
    assert len(json.loads(here.read_text())) == 3 + 3 + 2 + 1
    assert (tmp_path / "here.md").read_text() == done.stdout


def test_what_cannot_be_trained_is_refused_before_anything_is(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "new.json", "--runs", tmp_path, "--weights-dir", "none")
    (tmp_path / "bad.json").write_text('[{"row": "mixup"}]')
    for arguments, code, message in (
        (("--sets", "nowhere", "--data", tmp_path), 2, f"--sets: expected a folder {tmp_path}/nowhere, found none"),
        (("--backbone", "mobilenet_v9", "--table"), 2, "found mobilenet_v9; choose one of them"),
        (("--seeds", "1,x"), 2, "expected whole numbers with commas between them, found '1,x'"),
        (("--table", "--merge", tmp_path / "bad.json"), 1, "bad.json: expected results of benchmarks/options.py"),
    ):
        done = options(*arguments, *out)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert message in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]
