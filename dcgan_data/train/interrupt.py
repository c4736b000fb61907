"""Let Ctrl-C and SIGTERM end a run between two steps, never inside one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PYTHONS_OWN = (signal.default_int_handler, signal.SIG_DFL)


@contextmanager
def deferred_interrupts() -> Iterator[threading.Event]:
    """Inside the block, Ctrl-C and SIGTERM set the yielded event instead of ending the program.

    A state that is saved half way through an update could not be resumed exactly. A second Ctrl-C ends the
    program as usual: who presses it twice does not want to wait. A second SIGTERM does not: a job's every
    process may hear it from the scheduler, and again from torchrun. Another handler than Python's own is
    left alone, and so is a thread that never receives signals.
    """
    pending = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pending
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    mine = [number for number in _SIGNALS if before[number] in _PYTHONS_OWN]

    def remember(number: int, _frame: FrameType | None) -> None:
        pending.set()
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    for number in mine:
        signal.signal(number, remember)
    try:
        yield pending
    finally:
        for number in mine:
            signal.signal(number, before[number])
