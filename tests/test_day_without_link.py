"""A day without a link at an alert a minute: memory stays flat, and afterwards everything comes in its order."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.broker import Mosquitto, Subscriber
from tests.samples import TOPICS

REPOSITORY = Path(__file__).parents[1]
TEXT, PICTURE = TOPICS.alert("Bengal tiger"), TOPICS.image("Bengal tiger")
ALERTS, LIVE, UNDER_WAY = 1440, 10, 8
BEFORE = 100
"""So much of the backlog has come when something happens again."""
FLAT = 1000
"""Bytes of memory for each more alert that waits: one with its picture has 20,000."""


@contextlib.contextmanager
def stopped(child: subprocess.Popen[str]) -> Iterator[None]:
    """A process that does nothing meanwhile; whatever happens, it goes on, or nobody could wait for its end."""
    child.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        child.send_signal(signal.SIGCONT)


def test_a_day_without_a_link(tmp_path: Path, mosquitto: Mosquitto) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.faults.day",
        str(tmp_path / "trap"),
        mosquitto.url,
        "--picture-bytes",
        "20000",
    ]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        said = json.loads(child.stdout.readline())
        # The trap comes back after the subscriber, however slow this machine is: what nobody is subscribed to waits.
        with contextlib.ExitStack() as stack:
            with stopped(child):
                stack.enter_context(mosquitto)
                subscriber = stack.enter_context(Subscriber(mosquitto))
            subscriber.until(lambda: len(subscriber.received) >= BEFORE)
            child.stdin.write("\n")
            child.stdin.flush()
            subscriber.until(lambda: len(subscriber.on(PICTURE)) == ALERTS + LIVE, 120)
            said |= json.loads(child.stdout.readline())
        assert child.wait(20) == 0
    texts, pictures = ([each.id for each in subscriber.on(topic)] for topic in (TEXT, PICTURE))
    old, live = said["ids"], said["live"]
    assert said["bytes_per_alert"] < FLAT, said
    # Each once, and the older first.
    assert [id for id in texts if id in set(old)] == old
    assert [id for id in pictures if id in set(old)] == old
    assert [id for id in texts if id in set(live)] == live
    came = [(each.topic == PICTURE, each.id) for each in subscriber.received if each.topic in (TEXT, PICTURE)]
    # All texts of the backlog before all of its pictures, but for what was under way together.
    last_text = max(place for place, (picture, id) in enumerate(came) if not picture and id in set(old))
    first_picture = min(place for place, (picture, id) in enumerate(came) if picture and id in set(old))
    assert first_picture > last_text - UNDER_WAY
    # What happens now waits for nothing but what is under way: most of the backlog comes after it.
    assert max(came.index((False, id)) for id in live) < len(came) // 2
