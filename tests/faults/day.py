"""A day without a link, in a process of its own: an alert a minute with a picture, then everything is delivered.

The outbox and the publisher ask no clock for what they do, so that the day passes as fast as the disk takes it; the
publisher goes on looking for its broker all the time. Prints what came of it as JSON.

python -m tests.faults.day FOLDER URL [--alerts N] [--live N] [--picture-bytes N]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.telling.broker import Broker
from edge.telling.outbox import FILE_NAME, Outbox
from edge.telling.payloads import alert_messages
from edge.telling.publisher import Publisher
from tests.samples import TOPICS, alert_of_its_own, jpeg

MINUTES = 24 * 60
EVERY, WARM = 60, 240
"""Memory is looked at once an hour, from the fourth hour on: before that Python and SQLite fill what they then keep."""


def resident() -> int:
    """The bytes of memory that this process holds."""
    with Path("/proc/self/statm").open(encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(samples: Sequence[tuple[int, int]]) -> float:
    """Bytes per alert, of the straight line through (alerts, bytes)."""
    at, held = np.array(samples, float).T
    return float(np.polyfit(at, held, 1)[0])


def put(outbox: Outbox, picture: bytes) -> str:
    made = alert_of_its_own(image=picture)
    assert outbox.put_alert(made, alert_messages(made))
    return made.sighting.id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("--alerts", type=int, default=MINUTES)
    parser.add_argument("--live", type=int, default=10, help="alerts while the backlog is delivered")
    parser.add_argument("--picture-bytes", type=int, default=60_000)
    options = parser.parse_args()
    picture = jpeg() + os.urandom(options.picture_bytes)
    samples, peak, ids = [], 0, []
    with Outbox(options.folder / FILE_NAME) as outbox:
        publisher = Publisher(outbox, TOPICS, Broker.parse(options.url), delays_s=(0.05, 0.2))
        publisher.start()
        for number in range(options.alerts):
            ids.append(put(outbox, picture))
            if number % EVERY == 0 and number >= WARM:
                samples.append((number, resident()))
        said: dict[str, Any] = {"ids": ids, "bytes_per_alert": slope(samples), "offline_mb": samples[-1][1] / 1e6}
        # Whoever started this says when the link is there, and when some of the backlog has come.
        print(json.dumps(said), flush=True)
        input()
        live = [put(outbox, picture) for _ in range(options.live)]
        while outbox.depth():
            peak = max(peak, resident())
            time.sleep(0.2)
        publisher.stop()
    print(json.dumps({"live": live, "peak_mb": peak / 1e6}), flush=True)


if __name__ == "__main__":
    main()
