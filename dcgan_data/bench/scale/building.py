"""An LMDB of N records in LSUN's layout, written from first to last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dcgan_data.bench.changes import KINDS, read_photo
from dcgan_data.bench.lmdb_writer import new_lmdb
from dcgan_data.bench.scale.composing import Composer, encode
from dcgan_data.bench.scale.truth import Truth
from dcgan_data.errors import BadInput
from dcgan_data.parallel import run_tasks
from dcgan_data.reporter import Stage
from dcgan_data.sources import open_source

_PHOTO_SIZE = (352, 256)  # width, height
_MOST_PHOTOS = 3000
"""800 MB, mapped."""
_BLOCK = 256
"""Records a task."""
_EXACT = 0.2
"""Share of the copies that are equal byte for byte."""


def collect_photos(source: Path, target: Path) -> int:
    """Decode the first photos of a source into ``target``: uint8 (P, 256, 352, 3); returns P.

    BadInput if there are fewer than two.
    """
    photos = []
    for shard in open_source(source, 1024, _MOST_PHOTOS).shards():
        for record in shard:
            try:
                photo = read_photo(record.data)
            except (OSError, ValueError, SyntaxError):  # as Pillow says that it cannot read a file
                continue
            photos.append(_filled(np.asarray(photo)))
    if len(photos) < 2:
        raise BadInput(f"{source}: {len(photos)} readable photos; at least 2 are needed to make others from")
    np.save(target, np.stack(photos))
    return len(photos)


def build_lmdb(
    directory: Path, photos: Path, truth: Truth, keys: np.ndarray, how: tuple[int, int], stage: Stage
) -> None:
    """Write one record a key; how: seed and number of worker processes."""
    seed, workers = how
    starts = range(0, len(keys), _BLOCK)
    tasks = [(photos, seed, truth.original[start : start + _BLOCK], start) for start in starts]
    with new_lmdb(directory, in_order=True) as put:
        for start, records in _in_order(run_tasks(make_records, tasks, workers)):
            for key, record in zip(keys[start : start + _BLOCK], records, strict=True):
                put(key.decode(), record)
            stage.advance(len(records))


def make_records(photos: Path, seed: int, originals: np.ndarray, start: int) -> tuple[int, list[bytes]]:
    """Encode some consecutive records; originals: int64, the picture that each of them shows."""
    cv2.setNumThreads(1)
    composer = Composer(np.load(photos, mmap_mode="r", allow_pickle=False), seed)
    records = []
    for number, original in enumerate(originals.tolist(), start):
        picture = composer.draw(original)
        records.append(
            encode(picture, original) if original == number else _copy(picture, number, original, seed)
        )
    return start, records


def _copy(picture: np.ndarray, number: int, original: int, seed: int) -> bytes:
    """A copy of a picture: the same bytes, or changed in one of the ways of ``bench dedup``."""
    rng = np.random.default_rng((seed, number, 1))
    if rng.random() < _EXACT:
        return encode(picture, original)
    kind = KINDS[rng.integers(len(KINDS))]
    return kind.change(rng, Image.fromarray(picture))


def _filled(photo: np.ndarray) -> np.ndarray:
    """Scale and crop uint8 (H, W, 3) so that it fills a photo's place."""
    width, height = _PHOTO_SIZE
    scale = max(width / photo.shape[1], height / photo.shape[0])
    size = (max(width, round(photo.shape[1] * scale)), max(height, round(photo.shape[0] * scale)))
    scaled = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return scaled[top : top + height, left : left + width]


def _in_order(results: Iterator[tuple[int, list[bytes]]]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Blocks come as they are finished; hand them on from first to last."""
    waiting: dict[int, list[bytes]] = {}
    following = 0
    for start, records in results:
        waiting[start] = records
        while following in waiting:
            block = waiting.pop(following)
            yield following, block
            following += len(block)
