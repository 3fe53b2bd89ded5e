"""Ctrl-C during a training is heard even where Python swallows it."""

from __future__ import annotations

import os
import signal

import pytest

from train import stop


class Deaf:
    """Presses Ctrl-C in its destructor, where Python only prints what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # Signals are seen to between two steps of the program.
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_python_swallowed_is_raised_later() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        stop.listen()
        Deaf()  # Gone at once.
        with pytest.raises(KeyboardInterrupt):
            stop.check()
        stop.check()  # Once is enough.
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        stop.clear()
        stop.check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop.listen()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
