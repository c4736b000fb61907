"""``bench decode``: our way from record to prepared pixels against the plain way, in one run."""

from __future__ import annotations

import io
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dcgan_data.bench.memory import peak_mb
from dcgan_data.ops.decode import DecodeSettings
from dcgan_data.parallel import run_tasks
from dcgan_data.prepare import prepare_shard
from dcgan_data.sources import Record, Shard, open_source

_TASKS_PER_WORKER = 2
"""Tasks are smaller than a real shard, so that a few thousand records keep every worker busy."""
_MIN_SECONDS = 4.0
"""Our side repeats the source until it has run for about so long."""


@dataclass(frozen=True)
class DecodeBench:
    """``bench decode``: images a second, in one run on one machine."""

    images: int
    """Records of the source."""
    image_size: int
    """Side in pixels."""
    workers: int
    """Processes of the last figure."""
    plain_images_per_s: float
    """One process: full decode with Pillow, centre crop, Lanczos, PNG in a zip."""
    one_worker_images_per_s: float
    """One process: our whole path, from record to hashed shard and manifest rows on disk."""
    ours_images_per_s: float
    """All workers: the same."""
    speedup: float
    """ours_images_per_s / plain_images_per_s."""
    plain_peak_mb: float
    """Largest resident memory of the process after the plain way."""
    worker_peak_mb: float
    """Largest resident memory of any of our workers."""


def bench_decode(source: Path, image_size: int, workers: int, limit: int = 0) -> DecodeBench:
    """Measure our decode path and the plain way on the same records. BadInput if there is no such source."""
    records = len(open_source(source, 8192, limit))
    shards = list(open_source(source, max(1, records // (_TASKS_PER_WORKER * workers)), limit).shards())
    images = sum(len(shard) for shard in shards)
    _read_once(shards)  # both sides then read from memory: this measures work, not the disk
    with tempfile.TemporaryDirectory(prefix="dcgan-data-bench-") as work:
        plain_seconds, plain_images = _run_plain(shards, image_size, Path(work) / "plain.zip")
        plain_peak = peak_mb()
        one, _ = _run_ours(shards, DecodeSettings(image_size), Path(work), 1)
        many, worker_peak = _run_ours(shards, DecodeSettings(image_size), Path(work), workers)
    plain = plain_images / plain_seconds
    return DecodeBench(
        images=images,
        image_size=image_size,
        workers=workers,
        plain_images_per_s=round(plain, 1),
        one_worker_images_per_s=round(one, 1),
        ours_images_per_s=round(many, 1),
        speedup=round(many / plain, 2),
        plain_peak_mb=round(plain_peak, 1),
        worker_peak_mb=round(worker_peak, 1),
    )


def _read_once(shards: Iterable[Shard]) -> None:
    for shard in shards:
        for _ in shard:
            pass


def _run_ours(shards: list[Shard], settings: DecodeSettings, work: Path, workers: int) -> tuple[float, float]:
    """Images a second and the largest worker's peak, worker start-up left out."""
    list(run_tasks(_warm_up, [(n,) for n in range(workers)], workers))
    images, peak, seconds = 0, 0.0, 0.0
    while seconds < _MIN_SECONDS:
        out = work / "ours"
        start = time.perf_counter()
        tasks = [(shard, index, settings, out) for index, shard in enumerate(shards)]
        for done, worker_peak in run_tasks(_measured_shard, tasks, workers):
            images += done
            peak = max(peak, worker_peak)
        seconds += time.perf_counter() - start
        shutil.rmtree(out)
    return images / seconds, peak


def _warm_up(_: int) -> None:
    """Importing this module in the worker is the work."""


def _measured_shard(shard: Shard, index: int, settings: DecodeSettings, out: Path) -> tuple[int, float]:
    return prepare_shard(shard, index, settings, out), peak_mb()


def _run_plain(shards: list[Shard], image_size: int, archive: Path) -> tuple[float, int]:
    """Seconds and number of images of the plain way, for a few seconds' worth of records.

    What scripts for this model commonly do: decode the whole picture, crop, resize, one PNG each in a zip.
    """
    start = time.perf_counter()
    images = 0
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
        for shard in shards:
            for record in shard:
                try:
                    png = _plain_png(record, image_size)
                except Exception:  # noqa: BLE001 (a damaged record, which our side rejects)
                    continue
                zipped.writestr(f"{images:08d}.png", png)
                images += 1
            if time.perf_counter() - start > 2 * _MIN_SECONDS:
                break
    return time.perf_counter() - start, images


def _plain_png(record: Record, size: int) -> bytes:
    image = Image.open(io.BytesIO(record.data)).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()
