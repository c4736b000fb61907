"""Let Ctrl-C end a run between two updates, never inside one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupts() -> Iterator[threading.Event]:
    """Inside the block, Ctrl-C sets the yielded event instead of raising KeyboardInterrupt.

    A state that is saved half way through an update could not be resumed exactly. Another handler
    than Python's own is left alone, and so is a thread that never receives the signal.
    """
    pending = threading.Event()
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pending
        return

    def remember(_signal: int, _frame: FrameType | None) -> None:
        pending.set()

    signal.signal(signal.SIGINT, remember)
    try:
        yield pending
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
