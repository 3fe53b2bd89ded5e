"""Campaigns at once, each a process with a trap, a network, a broker and a subscriber of its own."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.faults.campaign import Campaign
from tests.faults.judge import Report, merged

AT_ONCE = 4
"""Traps with a broker and a subscriber each; one takes about a sixth of a core."""


def _one(folder: Path, visits: int, faults: Sequence[str], seed: int, receipts: bool) -> Report:
    return Campaign(folder, visits, faults, seed, receipts).run()


def several(
    folder: Path, visits: int, faults: Sequence[str], seed: int, receipts: bool, at_once: int = AT_ONCE
) -> Report:
    """So many visits and faults in all, shared between traps that run at once."""
    faults = random.Random(seed).sample(faults, len(faults))
    with ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn")) as pool:
        running = [
            pool.submit(
                _one, folder / str(number), visits // at_once + (number < visits % at_once), faults[number::at_once],
                seed + number, receipts,
            )
            for number in range(at_once)
        ]  # fmt: skip
        return merged([each.result() for each in running])
