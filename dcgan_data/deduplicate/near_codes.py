"""Look all images up, slice by slice, and put together what was found.

index/                          codes and the index of the slice in progress (``deduplicate.index``)
index/slices.json               the slices
index/found-002/00007.npy       what slice 2 found for shard 7, until it is put together
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from dcgan_data.deduplicate.index import build_index, open_index, remove_index
from dcgan_data.deduplicate.slices import Room, Slice, count_cells
from dcgan_data.errors import BadRequest
from dcgan_data.formats.atomic import save_array, write_json
from dcgan_data.formats.staging import load_array, load_notes
from dcgan_data.ops.bands import Bands, Part
from dcgan_data.ops.search import LOT, BandIndex, Limits, look_up, merge_keys, split_keys
from dcgan_data.parallel import run_tasks

_TOGETHER = 256
"""Queries whose finds are put together at a time."""
_SHARDS_OF_A_TASK = 8
"""At most, in slices: each task maps the index anew, and touches nearly all of its pages."""
_TASKS_OF_A_WORKER = 8
"""At least, so that all workers end a slice at about the same time."""
_MAIN_MAY_GROW = 0.05
"""Share of its memory by which the main process may be larger when a killed search goes on: it differs by
100 kB from run to run, and parts of bands fill the limit to the last few."""


class Queries(Protocol):
    """Who is looked up. Small and picklable: it travels to workers."""

    def view_codes(self, shard: int) -> tuple[np.ndarray, int]:
        """Codes of one shard's queries, uint8 (Q, V, 16), and ``own`` of ``look_up``."""


@dataclass(frozen=True)
class CodeSearch:
    """A search of shards of queries in slices. Small and picklable: it travels to workers."""

    queries: Queries
    """Who is looked up."""
    folder: Path
    """Of the index."""
    bands: Bands
    """How the codes are cut."""
    limits: Limits
    """What counts as near."""
    slices: tuple[Slice, ...]
    """One after another."""

    def spilled(self, number: int, shard: int) -> Path:
        """What one slice found for one shard."""
        return self.folder / f"found-{number:03d}" / f"{shard:05d}.npy"


@dataclass(frozen=True)
class Found:
    """What was found for some queries of a shard that follow one another."""

    first: int
    """Number of the first of them in its shard; the keys count from it."""
    keys: np.ndarray
    """uint64 (P,) of ``ops.search``, ascending."""
    left_out: int
    """Comparisons that the windows on crowded buckets left out."""


def plan_slices(folder: Path, room: Room) -> tuple[Slice, ...]:
    """The slices of a search; those of a run that was killed, if they fit this one's memory too.

    Otherwise what that run found slice by slice is dropped. BadRequest if memory or disk are too little.
    """
    path = folder / "slices.json"
    if path.exists():
        recorded = _read_slices(path)
        if all(map(room.fits, recorded)):
            return recorded
        _forget(folder)
    spare = replace(room, main=room.main + int(_MAIN_MAY_GROW * room.main))
    slices = tuple(spare.slices(lambda: count_cells(folder / "codes.npy", room.bands)))
    largest = max(sum(part.index_bytes for part in parts) for parts in slices)
    _check_disk(folder, largest, "the index")
    write_json(path, [[asdict(part) for part in parts] for parts in slices])
    return slices


def told_of(slices: Sequence[Slice]) -> str:
    """What a person is told of slices."""
    largest = max(sum(part.index_bytes for part in parts) for parts in slices)
    return f"search in {len(slices)} slices, each with an index of at most {largest / 1e6:,.0f} MB"


def search_slices(
    search: CodeSearch, room: Room, shards: Sequence[int], hold: Path | None = None
) -> Iterator[tuple[int, int | None]]:
    """Index every slice; if there are several, look all shards up in each, and leave what is found on disk.

    Yields (slice, None) when its index is there, then (slice, shard) as they are done. What a killed run has
    done is not done again.
    """
    if len(search.slices) == 1:
        build_index(search.folder, search.bands, search.slices[0], room.builders(search.slices[0]), hold)
        yield 0, None
        return
    for number, parts in enumerate(search.slices):
        todo = [shard for shard in shards if not search.spilled(number, shard).exists()]
        yield from ((number, shard) for shard in sorted({*shards} - {*todo}))
        if todo:
            build_index(search.folder, search.bands, parts, room.builders(parts), hold)
            yield number, None
            many = max(1, min(_SHARDS_OF_A_TASK, len(todo) // (_TASKS_OF_A_WORKER * room.workers)))
            tasks = [(search, number, todo[at : at + many]) for at in range(0, len(todo), many)]
            for shards_done in run_tasks(spill_shards, tasks, room.workers, hold=hold):
                yield from ((number, shard) for shard in shards_done)
        remove_index(search.folder, parts)
        if todo:  # else the next slices' finds may be there, and need no room
            _check_spills(search, number, shards)


def spill_shards(search: CodeSearch, number: int, shards: Sequence[int]) -> Sequence[int]:
    """Look some shards up in one slice, and put what is found on disk; returns the shards."""
    indexes = open_index(search.folder, search.slices[number])
    for shard in shards:
        found = list(_look_up_lots(search, shard, indexes))
        head = np.array([len(found), sum(lot.left_out for lot in found), *(len(lot.keys) for lot in found)])
        array = np.concatenate([head.astype(np.uint64), *(lot.keys for lot in found)])
        save_array(search.spilled(number, shard), array)
    return shards


def found_for(search: CodeSearch, shard: int) -> Iterator[Found]:
    """All that was found for one shard, some queries at a time, in order."""
    if len(search.slices) == 1:
        every = [_look_up_lots(search, shard, open_index(search.folder, search.slices[0]))]
    else:
        every = [_read_spill(search.spilled(number, shard)) for number in range(len(search.slices))]
    for lot in zip(*every, strict=True):
        left_out = sum(found.left_out for found in lot)
        for number, some in enumerate(zip(*(split_keys(f.keys, _TOGETHER) for f in lot), strict=True)):
            keys = merge_keys(some) if len(some) > 1 else some[0]
            yield Found(lot[0].first, keys, left_out if number == 0 else 0)


def forget_found(search: CodeSearch, shard: int) -> None:
    """Delete what slices have found for a shard, once it is put together."""
    for number in range(len(search.slices)):
        search.spilled(number, shard).unlink(missing_ok=True)


def _look_up_lots(search: CodeSearch, shard: int, indexes: list[tuple[Part, BandIndex]]) -> Iterator[Found]:
    views, own = search.queries.view_codes(shard)
    for first in range(0, max(len(views), 1), LOT):
        its_own = own + first if own >= 0 else own
        keys, left_out = look_up(views[first : first + LOT], search.bands, indexes, search.limits, its_own)
        yield Found(first, keys, left_out)


def _read_spill(path: Path) -> Iterator[Found]:
    """What one slice found, by lots; all that was left out is said of the first."""
    array = load_array(path, mapped=True)
    lots, left_out = array[:2].tolist()
    ends = np.cumsum([2 + lots, *array[2 : 2 + lots].tolist()]).tolist()
    for number, (start, end) in enumerate(pairwise(ends)):
        yield Found(number * LOT, np.asarray(array[start:end]), left_out if number == 0 else 0)


def _check_spills(search: CodeSearch, number: int, shards: Iterable[int]) -> None:
    """Whether the disk holds what the other slices will find, by what this one has found."""
    spilled = sum(search.spilled(number, shard).stat().st_size for shard in shards)
    after = search.slices[number + 1 :]
    if after:
        index = max(sum(part.index_bytes for part in parts) for parts in after)
        _check_disk(search.folder, spilled * len(after) + index, "what is found, and the index")


def _check_disk(folder: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BadRequest(
            f"{folder}: needs about {-(-needed // 1_000_000):,} MB more for {what}, {free // 1_000_000:,} "
            "are free; make room, and run the same command again: what is finished is kept"
        )


def _read_slices(path: Path) -> tuple[Slice, ...]:
    return tuple(tuple(Part(**part) for part in parts) for parts in load_notes(path))


def _forget(folder: Path) -> None:
    """Delete the index and what was found in slices."""
    for found in folder.glob("found-*"):
        shutil.rmtree(found)
    for parts in _read_slices(folder / "slices.json"):
        remove_index(folder, parts)
    (folder / "slices.json").unlink()
