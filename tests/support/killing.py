"""Scripts in processes of their own, killed with SIGKILL exactly where a test wants it."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from functools import cache

AT = """
import importlib, sys

module, name, nth = sys.argv[1:4]
del sys.argv[1:4]
owner = importlib.import_module(module)
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)
name = name.split(".")[-1]
original, calls = getattr(owner, name), 0

def stopping(*arguments, **options):
    global calls
    calls += 1
    if calls == int(nth):
        stop()
    return original(*arguments, **options)

setattr(owner, name, stopping)
"""
"""What a script begins with whose first three arguments say at which call of what it does ``stop()``."""
WAIT_AT = (
    """
def stop():
    print("here", flush=True)
    sys.stdin.read()
"""
    + AT
)
"""The same for a script that then says "here" and waits until it may go on."""
_DIE_AT = (
    """
def stop():
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""
    + AT
)

_SERVE = """
import importlib, json, os, sys

for module in ("pipeline", "repair", "train.loop", "train.conditional.loop", "deduplicate.encoding"):
    importlib.import_module("dcgan_data." + module)
importlib.import_module("torch._dynamo")  # which every optimizer loads
for line in sys.stdin:
    asked = json.loads(line)
    process = os.fork()
    if not process:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        sys.argv = ["-c", *asked["arguments"]]
        exec(compile(asked["script"], "<script>", "exec"), {"__name__": "__main__"})
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""


@cache
def _server(threads: str | None) -> subprocess.Popen[str]:
    """A process with all libraries loaded, from which others are forked; they take seconds to load.

    threads: OMP_NUM_THREADS, which is read only then.
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen([sys.executable, "-c", _SERVE], text=True, **pipes)
    atexit.register(server.communicate)
    return server


def kill_at(module: str, name: str, nth: int, script: str, *arguments: str) -> None:
    """Run a Python script in another process, which is killed at the nth call of a function.

    name: of the function in its module, or of a method as ``Class.method``; script: finds the arguments in
    ``sys.argv[1:]``.
    """
    ended = run_script(_DIE_AT + script, module, name, str(nth), *arguments)
    assert ended == -signal.SIGKILL, "it never came to that call"


def run_script(script: str, *arguments: str) -> int:
    """Run a Python script in another process, which finds them in ``sys.argv[1:]``; returns its exit code."""
    server = _server(os.environ.get("OMP_NUM_THREADS"))
    assert server.stdin and server.stdout
    server.stdin.write(json.dumps({"script": script, "arguments": arguments}) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())
