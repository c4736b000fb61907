"""``bench faces``: photos a second by detector and worker count, and boxes against hand-made ones."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.cutting import cut_settings, cutter
from dcgan_data.errors import BadInput
from dcgan_data.formats.manifest import KEPT
from dcgan_data.formats.plain import read_json
from dcgan_data.formats.staging import Staging
from dcgan_data.ops.faces import FaceSettings
from dcgan_data.ops.stored import BadImage
from dcgan_data.parallel import run_tasks
from dcgan_data.prepare import prepare_shard
from dcgan_data.recipe import FACES, FacesRecipe
from dcgan_data.sources import Shard, open_source

FOUND_AT = 0.4
"""Intersection over union from which a detection is a hand-made box: annotators and detectors differ in how
much of hair and chin belongs to a face."""
_TASKS_PER_WORKER = 4
Rectangle = tuple[int, int, int, int]
"""x, y, width, height in pixels."""


@dataclass(frozen=True)
class FaceRate:
    """One detector with one number of workers."""

    detector: str
    """``yunet`` or ``haar``."""
    detection_side: int
    """Pixels of YuNet's input; no matter for Haar."""
    workers: int
    """Processes."""
    photos_per_s: float
    """From record to hashed shard and manifest rows."""
    photos_with_face: int
    """Photos that gave at least one crop."""
    faces: int
    """Crops."""


@dataclass(frozen=True)
class BoxScore:
    """Detections against hand-made boxes."""

    detector: str
    """``yunet`` or ``haar``."""
    detection_side: int
    """Pixels of YuNet's input; no matter for Haar."""
    boxes: int
    """Hand-made ones."""
    found: int
    """Of these, the ones that a detection overlaps by FOUND_AT or more, each detection used once."""
    false: int
    """Detections that are no hand-made box."""


@dataclass(frozen=True)
class FacesBench:
    """``bench faces``."""

    photos: int
    """Records of the source."""
    image_size: int
    """Side of the crops in pixels."""
    rates: tuple[FaceRate, ...]
    """By detector, then workers."""
    boxes: tuple[BoxScore, ...]
    """Empty without hand-made boxes."""


def bench_faces(
    source: Path, image_size: int, workers: int, limit: int = 0, boxes: Path | None = None
) -> FacesBench:
    """Measure every detector on the photos of ``source``.

    boxes: a JSON list of {"file": key, "boxes": [[left, top, width, height], ...]} about these photos.
    BadInput if there is no such source or the list cannot be read.
    """
    truth = _read_boxes(boxes) if boxes else None
    records = len(open_source(source, 8192, limit))
    shards = list(open_source(source, max(1, records // (_TASKS_PER_WORKER * workers)), limit).shards())
    rates, scores = [], []
    for settings in _detectors(image_size):
        rates += [_measure(shards, settings, count) for count in sorted({1, workers})]
        if truth:
            scores.append(_score(shards, settings, truth))
    return FacesBench(records, image_size, tuple(rates), tuple(scores))


def _detectors(image_size: int) -> Iterator[FaceSettings]:
    """YuNet at the default side and at 320 pixels, and Haar."""
    default = FACES.faces
    for side in sorted({320, default.detection_side}):
        yield _settings(dataclasses.replace(default, detection_side=side), image_size)
    yield _settings(dataclasses.replace(default, detector="haar"), image_size)


def _settings(faces: FacesRecipe, image_size: int) -> FaceSettings:
    image = dataclasses.replace(FACES.image, size=image_size)
    settings = cut_settings(dataclasses.replace(FACES, faces=faces, image=image))
    assert isinstance(settings, FaceSettings)
    return settings


def _measure(shards: Sequence[Shard], settings: FaceSettings, workers: int) -> FaceRate:
    list(run_tasks(_warm_up, [(settings,) for _ in range(workers)], workers))
    with tempfile.TemporaryDirectory(prefix="dcgan-data-bench-") as work:
        start = time.perf_counter()
        tasks = [(shard, index, settings, Path(work)) for index, shard in enumerate(shards)]
        photos = sum(run_tasks(prepare_shard, tasks, workers))
        seconds = time.perf_counter() - start
        staging = Staging(Path(work))
        tables = [staging.read_records(index, ["key", "status"]) for index in range(len(shards))]
    rows = pa.concat_tables(tables)
    kept = rows.filter(pc.equal(rows["status"], KEPT))["key"]
    rate = round(photos / seconds, 1)
    return FaceRate(settings.detector, settings.detection_side, workers, rate, len(kept.unique()), len(kept))


def _warm_up(settings: FaceSettings) -> None:
    cutter(settings)


def _score(shards: Sequence[Shard], settings: FaceSettings, truth: Mapping[str, list[Rectangle]]) -> BoxScore:
    cut = cutter(settings)
    total = found = false = 0
    for record in (record for shard in shards for record in shard if record.key in truth):
        try:
            detected = [face.box for face in cut(record.data).images if face.box]
        except BadImage:
            detected = []
        wanted = truth[record.key]
        hits = matched(wanted, detected)
        total, found, false = total + len(wanted), found + hits, false + len(detected) - hits
    return BoxScore(settings.detector, settings.detection_side, total, found, false)


def matched(wanted: Sequence[Rectangle], detected: Sequence[Rectangle]) -> int:
    """Pairs of overlapping boxes, the best overlaps first, each box in one pair at most."""
    overlaps = sorted(
        ((_overlap(a, b), i, j) for i, a in enumerate(wanted) for j, b in enumerate(detected)), reverse=True
    )
    used_wanted, used_detected = set[int](), set[int]()
    for overlap, i, j in overlaps:
        if overlap >= FOUND_AT and i not in used_wanted and j not in used_detected:
            used_wanted.add(i)
            used_detected.add(j)
    return len(used_wanted)


def _overlap(a: Rectangle, b: Rectangle) -> float:
    """Intersection over union."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(wide, 0) * max(high, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def _read_boxes(path: Path) -> dict[str, list[Rectangle]]:
    try:
        entries = read_json(path)
        return {entry["file"]: [(x, y, w, h) for x, y, w, h in entry["boxes"]] for entry in entries}
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(
            f'{path}: not a JSON list of {{"file": ..., "boxes": [[x, y, width, height], ...]}} ({error})'
        ) from None
