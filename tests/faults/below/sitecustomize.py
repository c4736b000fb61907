"""Read by every Python that is started below a test: sends it a signal at a moment of its progress.

Progress is counted, not timed, so that a slow machine meets the same moments: as calls of the package,
or as files that are opened, renamed, made or removed below a directory. All worker processes of a run count
together; the signal is sent once, so that what is tried again lives.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
from types import FrameType
from typing import Any

VARIABLE = "DCGAN_DATA_FAULT"
_FILE_EVENTS = frozenset(("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"))
_BEGUN_BY_JOBLIB = ("popen_loky_posix", "spawn_main")
"""Either is among the words that a worker process is started with."""


class Moment:
    """Counts what the process does; at the chosen count it gets the signal."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.at, self.signal = spec["at"], spec["signal"]
        self.below, self.package = spec["below"], spec["package"]
        with open(spec["counter"], "r+b") as file:
            self.shared = mmap.mmap(file.fileno(), 16)  # the count, and whether the signal was sent

    def count(self) -> None:
        count, sent = struct.unpack_from("qq", self.shared)
        if sent:
            return
        struct.pack_into("q", self.shared, 0, count + 1)
        if self.at and count + 1 >= self.at:
            struct.pack_into("q", self.shared, 8, os.getpid())
            os.kill(os.getpid(), self.signal)

    def on_call(self, frame: FrameType, event: str, _: object) -> None:
        if event in ("call", "c_call") and frame.f_code.co_filename.startswith(self.package):
            self.count()

    def on_audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FILE_EVENTS and str(arguments[0]).startswith(self.below):
            self.count()


def install(spec: dict[str, Any]) -> None:
    """Begin to count."""
    moment = Moment(spec)
    if spec["clock"] == "files":
        sys.addaudithook(moment.on_audit)
    else:
        sys.setprofile(moment.on_call)


if VARIABLE in os.environ and any(name in " ".join(sys.orig_argv) for name in _BEGUN_BY_JOBLIB):
    install(json.loads(os.environ[VARIABLE]))
