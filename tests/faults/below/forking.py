"""Runs the command line again and again, each time in a new process that has all libraries loaded already.

Reads one JSON object a line; answers with the process's number, then with every stop and with its end. A
process that is forked here is like one that was started, but for the seconds that torch takes to load.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import struct
import sys
from typing import Any

from dcgan_data import cli

LOADED = (
    "dcgan_data.pipeline",
    "dcgan_data.verify",
    "dcgan_data.export",
    "dcgan_data.train.loop",
    "dcgan_data.deduplicate.fitting",
    "dcgan_data.deduplicate.encoding",
)


def become(asked: dict[str, Any]) -> None:
    """Turn this new process into the command: its words, limits, rights and streams."""
    for target, path in ((1, asked["stdout"]), (2, asked["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), target)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["directory"])
    for place, value in asked["constants"].items():
        module, _, name = place.rpartition(".")
        setattr(importlib.import_module(module), name, value)
    for name, limit in asked["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    if asked["bound_by_permissions"]:
        drop_powers()
    if asked["of_workers"]:
        os.environ["DCGAN_DATA_FAULT"] = json.dumps(asked["of_workers"])
    if asked["of_parent"]:
        importlib.import_module("sitecustomize").install(asked["of_parent"])
    sys.argv = ["dcgan-data", *asked["words"]]


def drop_powers() -> None:
    """Let permissions bind this process although it is root's: without capabilities it is a user like any."""
    header = struct.pack("Ii", 0x20080522, 0)  # version 3, this process
    if ctypes.CDLL(None, use_errno=True).capset(header, bytes(24)):
        raise OSError(ctypes.get_errno(), "capset")


def say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def serve() -> bool:
    """Until the input ends; True in a process that is to run the command."""
    for line in sys.stdin:
        process = os.fork()
        if not process:
            become(json.loads(line))
            return True
        say(process=process)
        while True:
            _, status = os.waitpid(process, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            say(stopped=True)
        say(ended=os.waitstatus_to_exitcode(status))
    return False


if __name__ == "__main__":
    for module in LOADED:
        importlib.import_module(module)
    if serve():
        cli.main()
