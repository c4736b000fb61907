"""What no module may do with files that may come from anywhere; and files that would, if it did."""

from __future__ import annotations

import ast
import io
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.formats.arrays import read_array
from dcgan_data.formats.shards import open_shard
from dcgan_data.formats.source_index import read_source_index
from dcgan_data.sources import open_source
from dcgan_data.train.trained import open_trained

PACKAGE = Path(__file__).parents[2] / "dcgan_data"
RUNS_WHAT_IT_READS = {"pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "yaml", "runpy"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
"""Functions that run text."""
NEVER = {"mktemp", "system", "popen", "extractall", "read_pickle", "unpack_archive"}
"""Methods: of tempfile, os, archives, tables and shutil."""
Outcome = Callable[..., None]


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def keyword(call: ast.Call, name: str) -> Any:
    """The value of a keyword that is written out; None if there is none such."""
    values = (item.value for item in call.keywords if item.arg == name)
    return next((value.value for value in values if isinstance(value, ast.Constant)), None)


def wrong_with(call: ast.Call) -> str:
    """Why a call must not be there; empty if it may."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id if function.id in BUILT_IN else ""
    if not isinstance(function, ast.Attribute):
        return ""
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    if owner in ("np", "numpy") and function.attr == "load" and keyword(call, "allow_pickle") is not False:
        return "np.load without allow_pickle=False"
    if owner == "torch" and function.attr == "load" and keyword(call, "weights_only") is not True:
        return "torch.load without weights_only=True"
    if owner == "joblib" and function.attr == "load":
        return "joblib.load"
    if owner == "subprocess" and keyword(call, "shell"):
        return "a shell"
    return function.attr if function.attr in NEVER else ""


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("np.load(x)", True),
        ("np.load(x, allow_pickle=False)", False),
        ("np.load(x, allow_pickle=maybe)", True),
        ("torch.load(x)", True),
        ("eval(x)", True),
        ("model.eval()", False),
        ("re.compile(x)", False),
        ("archive.extractall(x)", True),
        ("subprocess.run(x, shell=True)", True),
    ],
)
def test_what_is_looked_for(code: str, wrong: bool) -> None:
    expression = ast.parse(code, mode="eval").body
    assert isinstance(expression, ast.Call)
    assert bool(wrong_with(expression)) == wrong


def test_no_module_unpickles_evaluates_or_extracts(outcome: Outcome) -> None:
    found = [(where, reason) for where, call in calls() if (reason := wrong_with(call))]
    assert found == []
    outcome(
        "hostile files", "calls that run what they read, in all modules", "there are none", len(list(calls()))
    )


def test_no_module_imports_what_runs_files() -> None:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [(path.name, name) for name in names if name.split(".")[0] in RUNS_WHAT_IT_READS]
    assert found == []


def test_no_module_names_a_place_that_others_can_write() -> None:
    texts = [
        (path.name, node.value)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in texts if text[1].startswith(("/tmp", "/var/tmp", "/dev/shm"))] == []


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """What the bombs make."""
    return tmp_path / "made by a bomb"


def test_pickles_are_bombs_here(made: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(made)))
    assert made.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_cifar_batch_with_a_bomb(tmp_path: Path, made: Path, protocol: int, outcome: Outcome) -> None:
    batch = {"data": np.zeros((1, 3072), np.uint8), "labels": [0], "bomb": Bomb(made)}
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(batch, protocol))
    with pytest.raises(BadInput):
        list(open_source(path, 8).shards())
    assert not made.exists()
    outcome("hostile files", "a CIFAR pickle that would run a command", "refused, nothing runs", 1)


def test_arrays_with_a_bomb(tmp_path: Path, made: Path, outcome: Outcome) -> None:
    array = np.array([Bomb(made)], dtype=object)
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    np.savez(tmp_path / ".source_index.npz", files=array)
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        read_array(tmp_path / "x.npy")
    with pytest.raises(BadInput, match="not a readable shard"):
        open_shard(tmp_path / "x.npy", 1, 32)
    assert read_source_index(tmp_path) is None
    assert not made.exists()
    outcome("hostile files", ".npy and .npz of Python objects", "refused, nothing runs", 3)


def test_a_torch_checkpoint_with_a_bomb(tmp_path: Path, made: Path, outcome: Outcome) -> None:
    """As torch.save makes it: a zip archive with a pickle, here under the name of our own files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(made)))
        archive.writestr("archive/version", "3\n")
    for name, data in (("zip", buffer.getvalue()), ("pickle", pickle.dumps(Bomb(made), 2))):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        with pytest.raises(BadInput, match="damaged"):
            open_trained(path)
    assert not made.exists()
    outcome("hostile files", "torch's checkpoints in place of ours", "refused, nothing runs", 2)
