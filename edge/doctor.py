"""`edge-doctor`: is this device ready, and if not, what to type.

edge-doctor
edge-doctor --source usb:0 --broker 192.0.2.7
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from edge.options import add_options
from edge.settings import Settings, read_settings
from models import __version__
from models.errors import EdgeWatchError, run

PROGRAM = "edge-doctor"
Check = Callable[[Settings], str]


def parser() -> argparse.ArgumentParser:
    """The command line: the options of `edge-watch`."""
    made = argparse.ArgumentParser(PROGRAM, description="Check that this device is ready to watch.")
    add_options(made)
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return made


def doctor_main(argv: Sequence[str]) -> int:
    """Run every check, whatever the others say.

    Returns:
        0 if all passed, else 1.
    """
    options = vars(parser().parse_args(argv))
    debug, file = options.pop("debug"), options.pop("settings")
    settings = read_settings(file, options)
    failed = 0
    for name, check in CHECKS:
        try:
            print(f"ok    {name}: {check(settings)}", flush=True)
        except EdgeWatchError as error:
            if debug:
                raise
            failed += 1
            print(f"FAIL  {name}: {error}", flush=True)
    print("ready" if not failed else f"not ready: {failed} of {len(CHECKS)} checks failed")
    return 1 if failed else 0


def check_runtime(settings: Settings) -> str:
    """A TFLite runtime is installed."""
    from models.interpreter import load_runtime

    _, name, version = load_runtime()
    return f"{name} {version}"


def check_model(settings: Settings) -> str:
    """Every hash of the bundle fits, the golden pictures give the golden outputs here, and it knows the species."""
    import numpy as np

    from edge.deciding.rules import checked
    from models.bundle import ModelBundle
    from models.classifier import Classifier

    classifier = Classifier(ModelBundle.open(settings.model), settings.threads)
    checked(settings, classifier.labels)
    started, runs = time.perf_counter(), 10
    picture = np.zeros((720, 1280, 3), np.uint8)
    for _ in range(runs):
        classifier.classify(picture)
    each = (time.perf_counter() - started) / runs * 1000
    title, classes = classifier.bundle.title, len(classifier.labels)
    return f"{title}, {classes} classes, hashes and golden outputs fit, {each:.0f} ms a look"


def check_camera(settings: Settings) -> str:
    """The source gives a frame."""
    from edge.cameras import default_source, open_camera

    source, data = settings.source or default_source(), settings.data
    camera, stop = open_camera(source, data=data, rotate=settings.rotate, noir=settings.noir), threading.Event()
    if camera.name.startswith("watch:"):
        return f"{camera.name} is there; what comes into it is read"
    frames = camera.frames(stop)
    try:
        frame = next(frames)
    finally:
        stop.set()
        _close(frames)
    height, width = frame.image.shape[:2]
    return f"{camera.name} gives {width} x {height} pictures"


def check_trigger(settings: Settings) -> str:
    """The pin of a motion sensor can be read."""
    from edge.seeing.outside import Looks, by_command, open_trigger
    from edge.telling.topics import Topics

    if settings.trigger is None:
        return "none but motion in the picture"
    moves = open_trigger(settings.trigger, Looks())()
    pins = [name.strip() for name in settings.trigger.split(",") if name.strip() != "mqtt"]
    said = [f"{', '.join(pins)} can be read and {'tells' if moves else 'does not tell'} of motion"] if pins else []
    if by_command(settings.trigger):
        said.append(f"commands are heard on {Topics(settings.deployment, settings.prefix).look}")
    return "; ".join(said)


def check_storage(settings: Settings) -> str:
    """Alerts can be stored, and clips encoded if there are to be some."""
    import shutil

    from edge.recording.video import require_encoder
    from edge.telling.outbox import FILE_NAME, Outbox

    if settings.record == "clip" or settings.preview is not None:
        require_encoder("--record clip and --preview")
    with Outbox(settings.data / FILE_NAME, shared=True) as outbox:
        counts = outbox.counts()
        outbox.run(lambda db: None)  # A transaction shows whether it can be written.
    said = [f"{settings.data} takes alerts", f"{counts.depth} messages wait"]
    for count, why in (
        (counts.refused, f"because the broker refuses them: {counts.refused_why}"),
        (counts.unheard, "because nobody is subscribed to them"),
        (counts.awaiting, "for a subscriber's receipt"),
    ):
        if count:
            said.append(f"{count} of them {why}")
    free = shutil.disk_usage(settings.data).free / 1e9
    return ", ".join([*said, f"{free:.1f} GB free"])


def check_broker(settings: Settings) -> str:
    """A message goes to the broker and comes back, and commands may be heard."""
    from edge.telling.broker import Broker
    from edge.telling.round_trip import round_trip
    from edge.telling.topics import Topics

    broker = Broker.of(settings)
    topics = Topics(settings.deployment, settings.prefix)
    found = round_trip(broker, topics)
    said = [f"{broker}, a message there and back in {found.seconds * 1000:.0f} ms"]
    if found.commands_refused:
        said.append(f"but no command comes through: {found.commands_refused} for {topics.command('#')}")
    if not found.says_refusals:
        said.append("MQTT 3.1.1 only: what it refuses is lost without a word")
    if found.max_packet is not None:
        said.append(f"messages of at most {found.max_packet / 1000:.0f} kB: larger pictures are made to fit")
    return "; ".join(said)


CHECKS: tuple[tuple[str, Check], ...] = (
    ("runtime", check_runtime),
    ("model", check_model),
    ("camera", check_camera),
    ("trigger", check_trigger),
    ("storage", check_storage),
    ("broker", check_broker),
)


def _close(frames: Iterator[object]) -> None:
    close = getattr(frames, "close", None)
    if close is not None:
        close()


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `edge-doctor`."""
    return run(PROGRAM, doctor_main, argv)


if __name__ == "__main__":
    sys.exit(main())
