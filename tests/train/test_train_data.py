"""Batches are the same images in the same order, however they are read; reading ahead ends as it should."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch

from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.train import data
from dcgan_data.train.data import Batches, Share, scale
from dcgan_data.train.order import epoch_order
from dcgan_data.train.prefetch import AHEAD, THREAD_NAME, Prefetch

CPU, GPU = torch.device("cpu"), torch.device("cuda")
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
STREAMED = {"resident_bytes": 0}
PATIENCE_S = 20
"""After which a test that waits for a thread gives up."""


@dataclass
class Numbered:
    """4x4 images; the first pixel of each is its number. Remembers what was read."""

    images: int = 10
    image_size: int = 4
    read: list[list[int]] = field(default_factory=list)

    def __len__(self) -> int:
        return self.images

    def gather(self, indices: np.ndarray) -> np.ndarray:
        assert indices.dtype == np.int64
        self.read.append(indices.tolist())
        pixels = np.full((len(indices), 4, 4, 3), 200, np.uint8)
        pixels[:, 0, 0, 0] = indices
        return pixels


def numbers(pixels: torch.Tensor) -> list[int]:
    assert pixels.dtype == torch.uint8
    assert pixels.shape[1:] == (4, 4, 3)
    return pixels[:, 0, 0, 0].tolist()


def expected(batch: int, images: int = 10, batch_size: int = 4, seed: int = 1) -> list[int]:
    epoch, place = divmod(batch, images // batch_size)
    return epoch_order(seed, epoch, images, CPU)[place * batch_size :][:batch_size].tolist()


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


def assert_end(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    if reading_threads():
        gc.collect()
    assert_end(reading_threads())


def test_scale_maps_bytes_onto_minus_one_to_one() -> None:
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(2, 4, 4, 3)
    images = scale(pixels)
    assert images.shape == (2, 3, 4, 4)
    assert images.dtype == torch.float32
    assert images[0, :, 0, 0].tolist() == pytest.approx([-1, -0.6, 1])
    assert images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("how", [{}, STREAMED])
def test_batches_are_slices_of_the_epochs_orders(how: dict[str, int]) -> None:
    batches = Batches(Numbered(), batch_size=4, seed=1, device=CPU, **how)
    assert batches.per_epoch == 2
    assert batches.resident == (not how)
    for batch in (0, 1, 2, 3, 4, 9, 2, 3, 0):
        assert numbers(batches.pixels(batch)) == expected(batch)


def test_an_epoch_visits_images_once_and_another_partial_batch_is_dropped_in_each() -> None:
    batches = Batches(Numbered(5), batch_size=4, seed=0, device=CPU)
    epochs = [set(numbers(batches.pixels(epoch))) for epoch in range(40)]
    assert all(len(visited) == 4 for visited in epochs)
    assert {missing for visited in epochs for missing in set(range(5)) - visited} == set(range(5))


@pytest.mark.parametrize("how", [{}, STREAMED])
def test_ranks_read_together_what_one_process_reads(how: dict[str, int]) -> None:
    ranks = [Batches(Numbered(26), 12, 1, CPU, Share(rank, 3), **how) for rank in range(3)]
    for batch in range(5):
        parts = [numbers(rank.pixels(batch)) for rank in ranks]
        assert [len(part) for part in parts] == [4, 4, 4]
        assert [number for part in parts for number in part] == expected(batch, 26, 12)


def test_shares_that_make_no_sense_are_bugs() -> None:
    for share in ((2, 2, 1), (-1, 2, 1), (0, 0, 1), (0, 1, 0)):
        with pytest.raises(AssertionError):
            Share(*share)
    with pytest.raises(AssertionError):
        Batches(Numbered(), 4, 0, CPU, Share(0, 3))
    with pytest.raises(AssertionError):
        Batches(Numbered(3), 4, 0, CPU)


def test_a_set_in_chunks_is_the_set(make_set: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = PreparedSet.open(make_set(kept=10)).rows()
    monkeypatch.setattr(data, "_CHUNK_BYTES", 3 * 32 * 32 * 3 + 1)  # 3 images, the last chunk 1
    chunked = Batches(rows, 10, 0, CPU)
    assert torch.equal(chunked.pixels(0), torch.from_numpy(rows.gather(epoch_order(0, 0, 10, CPU).numpy())))


def test_batches_of_a_prepared_set(make_set: Callable[..., Path]) -> None:
    rows = PreparedSet.open(make_set(kept=10)).rows()
    resident = Batches(rows, batch_size=4, seed=1, device=CPU, resident_bytes=10 * 32 * 32 * 3)
    streamed = Batches(rows, batch_size=4, seed=1, device=CPU, resident_bytes=10 * 32 * 32 * 3 - 1)
    assert (resident.resident, streamed.resident) == (True, False)
    for batch in (0, 1, 2, 7, 3):
        assert torch.equal(resident.pixels(batch), streamed.pixels(batch))
    third = rows.gather(np.array(expected(3)))  # second batch of the second epoch
    assert np.array_equal(resident.pixels(3).numpy(), third)


def test_removed_images_are_never_seen(make_set: Callable[..., Path]) -> None:
    batches = Batches(PreparedSet.open(make_set(kept=8)).rows(), batch_size=4, seed=0, device=CPU)
    epoch = torch.cat([batches.pixels(0), batches.pixels(1)])
    assert not (epoch == 255).flatten(1).all(1).any()  # the duplicate is all white


def test_large_sets_stay_on_the_disk() -> None:
    source = Numbered(2**31 // 48 + 1)
    assert Batches(source, 4, 0, CPU).resident is False
    assert source.read == []  # nothing is read before it is asked for


def test_images_take_half_of_a_gpus_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    assert data._room_for_images(GPU) == 50
    assert data._room_for_images(CPU) == 2 * 2**30


@pytest.mark.parametrize("how", [{}, STREAMED])
def test_a_batch_is_the_callers_own(how: dict[str, int]) -> None:
    batches = Batches(Numbered(), 4, 1, CPU, **how)
    held = [batches.pixels(batch) for batch in range(3 * AHEAD)]
    assert [numbers(pixels) for pixels in held] == [expected(batch) for batch in range(3 * AHEAD)]
    held[0].zero_()
    assert numbers(batches.pixels(0)) == expected(0)


@dataclass
class Guided:
    """Reads its number; waits, fails and remembers as told."""

    read: list[int] = field(default_factory=list)
    errors: dict[int, Exception] = field(default_factory=dict)
    reached: dict[int, threading.Event] = field(default_factory=dict)
    waits: dict[int, threading.Event] = field(default_factory=dict)

    def __call__(self, number: int) -> np.ndarray:
        self.read.append(number)
        if number in self.reached:
            self.reached[number].set()
        if number in self.waits:
            assert self.waits[number].wait(PATIENCE_S)
        if number in self.errors:
            raise self.errors[number]
        return np.full((2, 4, 4, 3), number, np.uint8)


def prefetch(read: Guided, stride: int = 1) -> Prefetch:
    return Prefetch(read, (2, 4, 4, 3), CPU, stride)


def number_of(pixels: torch.Tensor) -> int:
    assert pixels.shape == (2, 4, 4, 3)
    assert (pixels == pixels[0, 0, 0, 0]).all()
    return int(pixels[0, 0, 0, 0])


def test_batches_are_read_before_they_are_asked_for() -> None:
    read = Guided(reached={5: threading.Event(), 6: threading.Event()})
    with closing(prefetch(read)) as ahead:
        assert number_of(ahead.get(5 - AHEAD)) == 5 - AHEAD
        assert read.reached[5].wait(PATIENCE_S)
        assert not read.reached[6].is_set()  # no further than that
        assert number_of(ahead.get(6 - AHEAD)) == 6 - AHEAD
        assert read.reached[6].wait(PATIENCE_S)


def test_each_batch_is_read_once_in_steps_of_the_stride() -> None:
    read = Guided()
    with closing(prefetch(read, stride=2)) as ahead:
        assert [number_of(ahead.get(number)) for number in (1, 3, 5, 7, 9, 11)] == [1, 3, 5, 7, 9, 11]
    assert sorted(read.read) == sorted(set(read.read))
    assert set(read.read) <= set(range(1, 11 + 2 * AHEAD + 1, 2))


def test_the_stride_is_the_shares() -> None:
    source = Numbered(100)
    batches = Batches(source, 4, 1, CPU, Share(stride=2), resident_bytes=0)
    for batch in (1, 3, 5):
        assert numbers(batches.pixels(batch)) == expected(batch, 100)
    batches.close()
    assert not any(expected(even, 100) in source.read for even in range(0, 20, 2))


def test_another_number_begins_anew() -> None:
    read = Guided()
    with closing(prefetch(read)) as ahead:
        asked = [0, 1, 40, 41, 42, 3, 3, 2]
        assert [number_of(ahead.get(number)) for number in asked] == asked


@pytest.mark.parametrize("failing", [0, 1, AHEAD, AHEAD + 1])
def test_an_error_is_raised_as_it_is_where_its_batch_is_asked_for(failing: int) -> None:
    error = OSError(5, "Input/output error")
    read = Guided(errors={failing: error})
    with closing(prefetch(read)) as ahead:
        assert [number_of(ahead.get(number)) for number in range(failing)] == list(range(failing))
        for _ in range(3):
            with pytest.raises(OSError) as caught:
                ahead.get(failing)
            assert caught.value is error
        later = [failing + 1 + n for n in range(3 * AHEAD)]
        assert [number_of(ahead.get(number)) for number in later] == later


def test_an_error_of_a_batch_that_nobody_asks_for_is_none() -> None:
    read = Guided(errors={1: OSError("gone")}, reached={1: threading.Event()})
    with closing(prefetch(read)) as ahead:
        ahead.get(0)
        assert read.reached[1].wait(PATIENCE_S)
        assert number_of(ahead.get(2)) == 2


def test_an_error_while_the_set_is_copied_is_raised() -> None:
    class Torn(Numbered):
        def gather(self, indices: np.ndarray) -> np.ndarray:
            raise OSError("images/00000.npy: gone")

    with pytest.raises(OSError, match=r"images/00000\.npy: gone"):
        Batches(Torn(), 4, 0, CPU)


def test_closing_ends_the_threads() -> None:
    for how in ({}, STREAMED):
        batches = Batches(Numbered(), 4, 1, CPU, **how)
        batches.pixels(0)
        assert bool(reading_threads()) == bool(how)  # those that copied the whole set are done
        batches.close()
        batches.close()
        assert reading_threads() == []


def test_threads_end_with_what_they_read_for() -> None:
    batches = Batches(Numbered(), 4, 1, CPU, resident_bytes=0)
    batches.pixels(0)
    threads = reading_threads()
    assert threads
    del batches
    gc.collect()
    assert_end(threads)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals as POSIX has them")
def test_ctrl_c_ends_the_waiting_and_breaks_nothing() -> None:
    asked, interrupted, go_on = threading.Event(), threading.Event(), threading.Event()
    main = threading.get_ident()

    def interrupt_once(_signal: int, _frame: FrameType | None) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    class Interrupting(Guided):
        def __call__(self, number: int) -> np.ndarray:
            if number == 1 and not interrupted.is_set():
                assert asked.wait(PATIENCE_S)
                # Again and again: a signal just before a thread begins to wait does not wake it.
                while not interrupted.wait(0.05):
                    signal.pthread_kill(main, signal.SIGINT)
                assert go_on.wait(PATIENCE_S)
            return super().__call__(number)

    before = signal.signal(signal.SIGINT, interrupt_once)
    try:
        with closing(prefetch(Interrupting())) as ahead:
            ahead.get(0)
            with pytest.raises(KeyboardInterrupt):
                asked.set()
                ahead.get(1)
            go_on.set()
            numbers_left = list(range(1, 3 * AHEAD))
            assert [number_of(ahead.get(number)) for number in numbers_left] == numbers_left
    finally:
        signal.signal(signal.SIGINT, before)


@NEEDS_GPU
@pytest.mark.parametrize("how", [{}, STREAMED])
def test_batches_on_a_gpu_are_those_of_a_cpu(make_set: Callable[..., Path], how: dict[str, int]) -> None:
    rows = PreparedSet.open(make_set(kept=50)).rows()
    there, here = Batches(rows, 8, 1, GPU, **how), Batches(rows, 8, 1, CPU)
    with closing(there):
        held = [there.pixels(batch) for batch in range(5 * AHEAD)]
        assert all(pixels.is_cuda for pixels in held)
        for batch, pixels in enumerate(held):
            assert torch.equal(pixels.cpu(), here.pixels(batch))


@NEEDS_GPU
def test_memory_is_not_reused_while_a_gpu_still_reads_it() -> None:
    images, busy = Numbered(200), torch.zeros(4096, 4096, device=GPU)
    with closing(Batches(images, 8, 1, GPU, resident_bytes=0)) as batches:
        seen = []
        for batch in range(60):
            pixels = batches.pixels(batch)
            busy = busy @ busy  # the GPU falls behind the host
            seen.append(pixels[:, 0, 0, 0].clone())
            del pixels
    assert [found.tolist() for found in seen] == [expected(batch, 200, 8) for batch in range(60)]


@NEEDS_GPU
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_host_does_not_wait_for_a_gpu() -> None:
    batches = Batches(Numbered(), 4, 1, GPU)
    batches.pixels(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in range(1, 7):  # over epochs, too
            batches.pixels(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
