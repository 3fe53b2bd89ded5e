"""`edge-watch --truth FILE`: a replay compared with what really happened."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edge.deciding.rules import checked
from edge.settings import Settings
from edge.truth.matching import Compared, compare
from edge.truth.page import DATA, PAGE, files
from edge.truth.scenes import Scene, find_scenes
from edge.truth.summary import Report, scene_lines, summary
from edge.truth.visits import Row, Visit, joined, named, read_rows, require_within, visits_by_scene
from edge.truth.witness import replay
from edge.watch import Classifier as Model
from models.bundle import ModelBundle
from models.classifier import Classifier
from models.errors import CameraError, UsageError
from models.page import require_replaceable, write_folder

OPTION = "--report"


def report(settings: Settings, truth: Path, folder: Path | None = None) -> int:
    """Replay the source and tell what was found and missed; nothing is published or stored but the report.

    Args:
        settings: the daemon's.
        truth: the visits as they were.
        folder: where `report.html` and `report.json` go, all or nothing; None for the terminal alone.

    Returns:
        0: the report was made, whatever it says.

    Raises:
        UsageError: no target, a live source, or a truth file that does not fit.
        EdgeWatchError: a source that cannot be read, or a folder that cannot be written.
    """
    if not settings.species or not settings.source:
        raise UsageError("--truth: expected --species and --source, found one of them missing; name target and clip")
    if folder is not None:
        require_replaceable(folder, (PAGE, DATA), OPTION)
    rows = read_rows(truth)
    scenes = find_scenes(settings)
    classifier = Classifier(ModelBundle.open(settings.model), settings.threads)
    # Whatever the trap may keep: a report is passed around.
    settings = dataclasses.replace(checked(settings, classifier.labels), people="drop")
    rows, notes = named(rows, classifier.labels, scenes)
    by_scene = visits_by_scene(truth, rows, scenes)
    if len(scenes) == 1 and not any(row.clip == name for row in rows for name, _ in scenes[0].names):
        notes.append(f"{truth} has no row for {scenes[0].name}: every alert is false")
    for note in notes:
        print(f"note: {note}")
    found = []
    for scene, visits in zip(scenes, by_scene, strict=True):
        try:
            compared = look(scene, visits, truth, settings, classifier)
        except CameraError as error:
            if len(scenes) == 1:
                raise
            notes.append(f"left out: {error}")
            print(f"note: {notes[-1]}", flush=True)
            continue
        found.append(compared)
        print("\n".join(scene_lines(compared)), flush=True)
    if not found:
        raise CameraError(f"{settings.source}: expected clips or photos, found none that can be read")
    made = Report(str(settings.source), str(truth), classifier.bundle.title, settings, tuple(found), tuple(notes))
    print(summary(made))
    if folder is not None:
        write_folder(folder, files(made), OPTION)
        print(f"written: {folder / PAGE}")
    return 0


def look(
    scene: Scene,
    visits: list[tuple[Row, Visit]],
    truth: Path,
    settings: Settings,
    classifier: Model,
) -> Compared:
    """Replay one scene and compare it.

    Raises:
        UsageError: visits that are not within it.
        CameraError: it gives no frame.
    """
    found = replay(scene.frames(), classifier, settings)
    if not found.frames:
        raise CameraError(f"{scene.name}: expected pictures, found none that can be read")
    require_within(truth, scene, visits, found.length)
    only = [visit for _, visit in visits]
    if scene.stills:
        only = joined(only, settings.event_gap.total_seconds())
    return compare(scene.name, only, found, settings.species)
