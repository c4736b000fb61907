"""Plants changed copies of real photos: an LMDB of the photos and the copies, and the truth about it.

Every choice and every copy has its own random numbers, made from the seed, the kind and the photo's place in
its source: the same whatever the number of workers and whatever other kinds there are.
"""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dcgan_data.bench.changes import KINDS, LARGEST_CUT, read_photo
from dcgan_data.bench.lmdb_writer import new_lmdb
from dcgan_data.errors import BadRequest
from dcgan_data.parallel import run_tasks
from dcgan_data.sources import Record, Shard, open_source

_RECORDS_IN_A_TASK = 64
_CHOICE, _CHANGE = 0, 1
"""What random numbers are for."""


@dataclass(frozen=True)
class PlantSettings:
    """What is planted."""

    source: Path
    """Real photos: an LSUN LMDB or a folder."""
    per_kind: int = 200
    """Copies of each kind; each kind draws its own photos."""
    limit: int = 0
    """Only the first so many photos; 0 means all."""
    seed: int = 0
    """Chooses photos and strengths."""

    def __post_init__(self) -> None:
        if self.per_kind < 1:
            raise BadRequest(f"--per-kind {self.per_kind}: expected 1 or more")
        if self.limit < 0:
            raise BadRequest(f"--limit {self.limit}: expected 0 (all) or a number of photos")
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")


@dataclass(frozen=True)
class PlantedImage:
    """What is known about one record of a planted set."""

    original: str
    """Key of the photo that it was made from; its own key if it is one."""
    kind: str
    """What was done to it; empty for a photo."""
    name: str
    """The key that the photo has in its source: what a person can look up."""


@dataclass(frozen=True)
class PlantedSet:
    """An LMDB of photos and copies, and the truth about it."""

    path: Path
    """Directory of the LMDB."""
    images: dict[str, PlantedImage]
    """By key."""
    left_out: int
    """Records of the source that were not taken: not to be read, or smaller than the image size."""

    def family(self, key: str) -> str:
        """An original and its copies are one family, named by the original's key."""
        return self.images[key].original

    def label(self, key: str) -> str:
        """For a person: the source's key, and what was done."""
        image = self.images[key]
        return f"{image.name} ({image.kind})" if image.kind else image.name

    @property
    def copies(self) -> dict[str, PlantedImage]:
        """Only the copies, by key."""
        return {key: image for key, image in self.images.items() if image.kind}


@dataclass(frozen=True)
class _Photo:
    """A photo of the source, once its header is read."""

    key: str
    name: str
    place: int
    """Number of its record in the source."""
    short_side: int


def plant(
    settings: PlantSettings, image_size: int, path: Path, workers: int, on_copies: Callable[[int], None]
) -> PlantedSet:
    """Write the photos and ``per_kind`` copies of each kind into a new LMDB at ``path``.

    image_size: photos that would be rejected at this size are left out, and copies are only made of photos
    that stay large enough for it whatever is cut off. on_copies is called with the number of copies of each
    task that is done. BadRequest if there are fewer such photos than copies of a kind.
    """
    shards = list(open_source(settings.source, _RECORDS_IN_A_TASK, settings.limit).shards())
    with new_lmdb(path) as put:
        photos = _write_photos(shards, image_size, put)
        left_out = sum(len(shard) for shard in shards) - len(photos)
        by_place = {photo.place: photo for photo in photos}
        images = {photo.key: PlantedImage(photo.key, "", photo.name) for photo in photos}
        tasks = _tasks(shards, _choose(settings, photos, image_size), settings.seed)
        for copies in run_tasks(make_copies, tasks, workers):
            for place, kind, data in copies:
                photo = by_place[place]
                key = _key(photo.name, kind)
                put(key, data)
                images[key] = PlantedImage(photo.key, kind, photo.name)
            on_copies(len(copies))
    return PlantedSet(path, images, left_out)


def make_copies(
    shard: Shard, first: int, wanted: dict[int, list[int]], seed: int
) -> list[tuple[int, str, bytes]]:
    """Make the copies that are wanted of one shard's photos.

    first: the number of the shard's first record; wanted: number of a record -> places of kinds in KINDS.
    Returns (number of the record, kind, encoded copy); nothing for a photo that cannot be decoded.
    """
    copies = []
    for place, record in enumerate(shard, first):
        photo = _decoded(record) if place in wanted else None
        if photo is None:
            continue
        for number in wanted[place]:
            rng = _generator(seed, _CHANGE, number, place)
            copies.append((place, KINDS[number].name, KINDS[number].change(rng, photo)))
    return copies


def _write_photos(
    shards: Iterable[Shard], image_size: int, put: Callable[[str, bytes], None]
) -> list[_Photo]:
    """Copy the source's photos; returns those that were taken."""
    photos = []
    place = 0
    for shard in shards:
        for record in shard:
            short_side = _short_side(record)
            if short_side >= image_size:
                photos.append(_Photo(_key(record.key, ""), record.key, place, short_side))
                put(photos[-1].key, record.data)
            place += 1
    return photos


def _choose(settings: PlantSettings, photos: list[_Photo], image_size: int) -> dict[int, list[int]]:
    """Number of a record -> the kinds, as places in KINDS, of the copies that are made of it."""
    large = [photo.place for photo in photos if int(photo.short_side * (1 - LARGEST_CUT)) > image_size]
    if len(large) < settings.per_kind:
        raise BadRequest(
            f"--per-kind {settings.per_kind}: {settings.source} holds {len(large)} photos large "
            f"enough for copies at {image_size} pixels; ask for fewer copies or name more photos"
        )
    chosen = defaultdict(list)
    for number in range(len(KINDS)):
        rng = _generator(settings.seed, _CHOICE, number)
        for place in rng.choice(large, settings.per_kind, replace=False).tolist():
            chosen[place].append(number)
    return chosen


def _tasks(shards: list[Shard], chosen: dict[int, list[int]], seed: int) -> list[tuple[object, ...]]:
    """Arguments of ``make_copies`` for every shard that has something to copy."""
    tasks: list[tuple[object, ...]] = []
    first = 0
    for shard in shards:
        wanted = {place: chosen[place] for place in range(first, first + len(shard)) if place in chosen}
        if wanted:
            tasks.append((shard, first, wanted, seed))
        first += len(shard)
    return tasks


def _generator(seed: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=purpose))


def _key(name: str, kind: str) -> str:
    """A key as LSUN has them: 40 hex digits. So the copies lie anywhere among the photos."""
    return hashlib.sha1(f"{name}\0{kind}".encode()).hexdigest()


def _short_side(record: Record) -> int:
    """In pixels, from the header; 0 if there is none to be read."""
    try:
        with Image.open(io.BytesIO(record.data)) as image:
            return min(image.size)
    except Exception:  # noqa: BLE001 (Pillow's readers raise almost anything on damaged files)
        return 0


def _decoded(record: Record) -> Image.Image | None:
    try:
        return read_photo(record.data)
    except Exception:  # noqa: BLE001 (a damaged photo: it gets no copies)
        return None
