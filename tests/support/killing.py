"""Kill a process with SIGKILL exactly where a test wants it."""

from __future__ import annotations

import subprocess
import sys

WAIT_AT = """
import importlib, sys

module, name, nth = sys.argv[1:4]
del sys.argv[1:4]
owner = importlib.import_module(module)
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)
name = name.split(".")[-1]
original, calls = getattr(owner, name), 0

def waiting(*arguments, **options):
    global calls
    calls += 1
    if calls == int(nth):
        print("here", flush=True)
        sys.stdin.read()
    return original(*arguments, **options)

setattr(owner, name, waiting)
"""
"""What a script begins with: its first three arguments say at which call of what it says "here" and waits."""


def kill_at(module: str, name: str, nth: int, script: str, *arguments: str) -> None:
    """Run a Python script in another process until the nth call of a function, and kill that process there.

    name: of the function in its module, or of a method as ``Class.method``; script: finds the arguments in
    ``sys.argv[1:]``.
    """
    with subprocess.Popen(
        [sys.executable, "-c", WAIT_AT + script, module, name, str(nth), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert any(line == "here\n" for line in lines), "it never came to that call"
        process.kill()
        process.wait()
