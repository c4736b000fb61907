"""A search is cut into slices that fit the memory, and that together are all of it."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcgan_data.deduplicate import slices
from dcgan_data.deduplicate.slices import Room, Slice, count_cells, resident_bytes
from dcgan_data.errors import BadRequest
from dcgan_data.formats.atomic import save_array
from dcgan_data.ops.bands import Bands

MILLION = 1_000_000


def room(memory: int, codes: int = 3 * MILLION, workers: int = 2) -> Room:
    return Room(Bands.for_codes(codes, 24, 0), codes, 28, 16, workers, memory, main=150 * MILLION)


def even(of: Room) -> np.ndarray:
    return np.full((of.bands.count, 4096), of.codes // 4096)


def check_whole(found: list[Slice], of: Room, counts: np.ndarray) -> None:
    """Every bucket of every band is in one part, in order, with the codes that are counted."""
    parts = [part for some in found for part in some]
    assert [band for band, _ in groupby(part.band for part in parts)] == list(range(of.bands.count))
    wide = of.bands.buckets // counts.shape[1]
    for band in range(of.bands.count):
        own = [part for part in parts if part.band == band]
        ends = [0, *(part.end for part in own)]
        assert ends[:-1] == [part.first for part in own] and ends[-1] == of.bands.buckets
        for part in own:
            assert part.buckets > 0
            assert part.codes == counts[band, part.first // wide : part.end // wide].sum()


def test_without_a_limit_there_is_one_slice() -> None:
    free = room(0)
    assert free.slices(lambda: pytest.fail("nothing is to be cut")) == [tuple(free.bands.whole(free.codes))]
    assert free.builders(free.bands.whole(free.codes)) == 2
    assert room(10**12).slices(lambda: pytest.fail("nothing is to be cut")) == free.slices(lambda: even(free))


@pytest.mark.parametrize(("memory", "number"), [(4000, 1), (2000, 3), (1500, 4), (1000, 8)])
def test_whole_bands_as_many_as_fit(memory: int, number: int) -> None:
    tight = room(memory * MILLION)
    found = tight.slices(lambda: pytest.fail("nothing is to be cut"))
    assert len(found) == number
    assert [part for some in found for part in some] == tight.bands.whole(tight.codes)
    assert all(tight.main + tight.bytes_of(some) <= tight.memory for some in found)


@settings(max_examples=30, deadline=None)
@given(st.integers(640, 2000), st.integers(1, 4), st.integers(0, 2**32))
def test_cut_bands_are_all_there_and_fit(memory: int, workers: int, seed: int) -> None:
    """Of 30 million codes not one band fits; a skewed tenth of them is in few cells."""
    tight = room(memory * MILLION, 30 * MILLION, workers)
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(256, 0.5), 24)
    counts = np.array([rng.multinomial(tight.codes, row) for row in share])
    try:
        found = tight.slices(lambda: counts)
    except BadRequest:
        return
    if all(len(some) == 1 and some[0].codes == tight.codes for some in found):
        return
    check_whole(found, tight, counts)
    for some in found:
        assert tight.main + tight.bytes_of(some) <= tight.memory
        building = max(map(tight.build_bytes, some))
        assert tight.main + workers * slices.PROCESS_BYTES + building <= tight.memory


def test_the_least_memory_that_is_told_does() -> None:
    tight = room(100 * MILLION, 30 * MILLION)
    counts = even(tight)
    counts[3, 7] = 2 * MILLION  # a crowd, which cannot be cut
    counts[3, 8] += tight.codes - counts[3].sum()
    with pytest.raises(BadRequest) as refused:
        tight.slices(lambda: counts)
    text = str(refused.value)
    found = re.fullmatch(
        r"--memory: 100MB are too little to search among 30,000,000 codes with 2 workers; "
        r"give at least (\d+)MB, or fewer --workers",
        text,
    )
    assert found, text
    least = int(found[1])
    check_whole(room(least * MILLION, tight.codes).slices(lambda: counts), tight, counts)
    with pytest.raises(BadRequest, match=f"give at least {least}MB"):
        room((least - 50) * MILLION, tight.codes).slices(lambda: counts)


def test_fewer_processes_build_than_search() -> None:
    large = room(2500 * MILLION, 30 * MILLION)
    whole = large.bands.whole(large.codes)[:1]
    assert large.fits(whole)
    assert large.builders(whole) == 1
    assert room(9000 * MILLION, 30 * MILLION).builders(whole) == 2


def test_cells_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (500, 16), dtype=np.uint8)
    save_array(tmp_path / "codes.npy", codes)
    bands = Bands(14, 20, 3)
    monkeypatch.setattr("dcgan_data.deduplicate.index._AT_ONCE", 77)
    counts = count_cells(tmp_path / "codes.npy", bands)
    assert counts.shape == (20, 4096)
    for band, (words, _) in enumerate(bands.cut(codes, range(20))):
        assert np.array_equal(counts[band], np.bincount((words >> np.uint64(52)).astype(int), minlength=4096))


def test_resident_memory_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(path: Path) -> bool:
        return False

    before: Any = resident_bytes()
    assert 10 * MILLION < before < 10**11
    monkeypatch.setattr(Path, "exists", no_proc)
    assert resident_bytes() >= before // 2
