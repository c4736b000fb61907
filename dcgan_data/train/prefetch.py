"""Read images ahead of need, on other threads, and send them to a GPU beside its other work.

The threads only read: they call nothing of CUDA, so they cannot disturb a recording of CUDA graphs.
Copies to the GPU are begun by the thread that asks, on a stream of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

READERS = 4
"""Threads that read: a disk answers several requests in hardly more time than one."""
AHEAD = 4
"""Batches that are read ahead."""
THREAD_NAME = "read-ahead"


class Prefetch:
    """Numbered batches of images in steady steps, each read before it is asked for."""

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        shape: tuple[int, int, int, int],
        device: torch.device,
        stride: int = 1,
    ) -> None:
        """Prepare to read; the threads start with the first ``get``.

        read: number to uint8 (n, S, S, 3), a new array at each call; called on several threads at once.
        shape: of the largest batch, (N, S, S, 3). stride: from one number asked for to the next.
        """
        self._read = read
        self._stride = stride
        # The executor's threads do not keep it alive: they end when this object is collected.
        self._readers = ThreadPoolExecutor(READERS, THREAD_NAME)
        self._pending: deque[_Pending] = deque()
        # One more than are read at a time: its images are still on their way to the GPU.
        self._free: deque[_Place] = deque(_place(shape, device) for _ in range(AHEAD + 1))

    def get(self, number: int) -> Tensor:
        """Batch ``number``, uint8 (n, S, S, 3) on the device, the caller's own.

        Waits for the reading, not for the GPU. Whatever the reading raised is raised here, again if
        the same number is asked for again. Another number than the expected one begins anew from there.
        """
        if not self._pending or self._pending[0].number != number:
            self._begin(number)
        head = self._pending[0]
        head.reading.result()
        # Only now: after an exception (Ctrl-C while it waits, too) all is as it was.
        self._pending.popleft()
        images = head.place.hand_over()
        self._free.append(head.place)
        self._begin_reading(number + AHEAD * self._stride)
        return images

    def close(self) -> None:
        """End the threads, when they have done what they are at."""
        self._readers.shutdown(cancel_futures=True)

    def _begin(self, number: int) -> None:
        wait([pending.reading for pending in self._pending])
        self._free.extend(pending.place for pending in self._pending)
        self._pending.clear()
        for ahead in range(AHEAD):
            self._begin_reading(number + ahead * self._stride)

    def _begin_reading(self, number: int) -> None:
        place = self._free.popleft()
        place.wait_until_free()
        reading = self._readers.submit(_read_into, place, self._read, number)
        self._pending.append(_Pending(number, place, reading))


class _Place(Protocol):
    """Where one batch waits to be asked for."""

    def wait_until_free(self) -> None:
        """Return when the last images handed over have left."""

    def fill(self, images: np.ndarray) -> None:
        """Take uint8 (n, S, S, 3), on a reading thread."""

    def hand_over(self) -> Tensor:
        """The images on the device."""


@dataclass(frozen=True)
class _Pending:
    """A batch that is being read, or has been."""

    number: int
    """Which."""
    place: _Place
    """Where its images go."""
    reading: Future[None]
    """Done when they are there."""


def _read_into(place: _Place, read: Callable[[int], np.ndarray], number: int) -> None:
    place.fill(read(number))


def _place(shape: tuple[int, int, int, int], device: torch.device) -> _Place:
    return _PinnedMemory(shape, device) if device.type == "cuda" else _OrdinaryMemory()


class _OrdinaryMemory:
    """For a CPU: batches stay where they were read."""

    def __init__(self) -> None:
        self._images = np.empty(0, np.uint8)

    def wait_until_free(self) -> None:
        """There is nothing to wait for: each batch has memory of its own."""

    def fill(self, images: np.ndarray) -> None:
        self._images = images

    def hand_over(self) -> Tensor:
        return torch.from_numpy(self._images)


class _PinnedMemory:
    """For a GPU: memory that it reads by itself, while the host goes on."""

    def __init__(self, shape: tuple[int, int, int, int], device: torch.device) -> None:
        self._device = device
        self._memory = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        self._count = 0
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # Blocking: the thread sleeps while it waits.
        self._copied = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def wait_until_free(self) -> None:
        # The copy was begun a batch ago and waited for nothing: it is long done.
        self._copied.synchronize()

    def fill(self, images: np.ndarray) -> None:
        self._count = len(images)
        # By numpy: torch would bring a team of threads of its own to each reading thread.
        np.copyto(self._memory.numpy()[: self._count], images)

    def hand_over(self) -> Tensor:
        with torch.cuda.stream(self._copies):
            images = self._memory[: self._count].to(self._device, non_blocking=True)
            self._copied.record()
        user = torch.cuda.current_stream(self._device)
        user.wait_event(self._copied)
        # The memory belongs to the copying stream: it must not be given out again before its user is done.
        images.record_stream(user)
        return images
