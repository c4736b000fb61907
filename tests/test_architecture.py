"""The rules of the house, read from the code itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "dcgan_data"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
DRIVERS = ("prepare", "deduplicate", "verify", "query", "report", "export", "bench", "demo", "evaluate")
MEASURED = {
    "dcgan_data.prepare.prepare_shard",
    *(f"dcgan_data.deduplicate.near_codes.{name}" for name in ("CodeSearch", "plan_slices", "search_slices")),
    *(f"dcgan_data.deduplicate.near_codes.{name}" for name in ("found_for", "told_of")),
    *(f"dcgan_data.deduplicate.slices.{name}" for name in ("Room", "resident_bytes")),
    "dcgan_data.demo.make_demo_lmdb",
}
"""Parts of drivers that ``bench`` takes the time of, or the photos from."""
KERNELS = ("ops", "sources", "formats")

COMMAND_LINE = {name for name in MODULES if name.startswith("dcgan_data.cli")} | {"dcgan_data.__main__"}
"""A command has one parameter for each option."""

MOST_LINES_OF_A_MODULE = 350
MOST_LINES_OF_A_FUNCTION = 40
LONG_FUNCTIONS = {"dcgan_data.train.loop"}
"""The training loop stays one readable page."""


def imports_of(module: str) -> set[str]:
    """What a module imports of this package, wherever in it; ``from m import f`` is ``m.f``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in found if name.split(".")[0] == "dcgan_data"}


def within(part: str) -> list[str]:
    return [name for name in MODULES if f"{name}.".startswith(f"dcgan_data.{part}.")]


def reaches(imported: str, part: str) -> bool:
    return f"{imported}.".startswith(f"dcgan_data.{part}.")


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node


def test_the_parser_sees_imports() -> None:
    """So that the rules below cannot hold for want of anything to look at."""
    assert "dcgan_data.ops.decode.decode_square" in imports_of("dcgan_data.cutting")
    assert reaches("dcgan_data.ops.decode.decode_square", "ops")
    assert not reaches("dcgan_data.opsy", "ops")
    assert "dcgan_data.formats.dataset" in MODULES and "dcgan_data.sources" in MODULES


@pytest.mark.parametrize("part", KERNELS)
def test_kernels_import_neither_one_another_nor_what_is_above(part: str) -> None:
    allowed = (part, "errors")
    for module in within(part):
        wrong = {name for name in imports_of(module) if not any(reaches(name, other) for other in allowed)}
        assert not wrong, f"{module} imports {wrong}"


def test_drivers_do_not_import_one_another() -> None:
    for driver in DRIVERS:
        for module in within(driver):
            wrong = {
                name
                for name in imports_of(module)
                for other in DRIVERS
                if other != driver and reaches(name, other)
            }
            if driver == "bench":
                wrong -= MEASURED
            assert not wrong, f"{module} imports {wrong}"


def test_train_reads_formats_only() -> None:
    allowed = ("train", "formats", "ops.nearest", "errors", "device")
    for module in within("train"):
        wrong = {name for name in imports_of(module) if not any(reaches(name, part) for part in allowed)}
        assert not wrong, f"{module} imports {wrong}"


def test_nothing_imports_the_command_line() -> None:
    for module in MODULES:
        if module not in COMMAND_LINE:
            wrong = {
                n
                for n in imports_of(module)
                if any(reaches(n, part) for part in ("cli", "cli_bench", "cli_options", "console", "render"))
            }
            assert not wrong, f"{module} imports {wrong}"


def test_errors_import_nothing() -> None:
    assert imports_of("dcgan_data.errors") == set()


def loaded_by(module: str) -> set[str]:
    """Top-level names in sys.modules after importing a module in a new process."""
    script = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "not_loaded"),
    [
        ("dcgan_data.verify", {"torch", "cv2", "simplejpeg"}),
        ("dcgan_data.pipeline", {"torch"}),
        ("dcgan_data.formats.prepared", {"torch", "cv2", "lmdb"}),
        ("dcgan_data.cli", {"torch", "cv2", "numpy", "pyarrow", "lmdb", "joblib", "PIL"}),
        ("dcgan_data.train.loop", {"cv2", "lmdb", "simplejpeg", "joblib", "tensorboard"}),
    ],
)
def test_what_an_import_loads(module: str, not_loaded: set[str]) -> None:
    assert not not_loaded & loaded_by(module)


def test_no_module_for_leftovers() -> None:
    names = {part for module in MODULES for part in module.split(".")}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


def test_modules_are_small() -> None:
    lengths = {module: len(path.read_text("utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: n for module, n in lengths.items() if n > MOST_LINES_OF_A_MODULE} == {}


def test_functions_are_small() -> None:
    long = {
        f"{module}.{node.name}": length
        for module, node in functions()
        if (length := (node.end_lineno or 0) - node.lineno + 1) > MOST_LINES_OF_A_FUNCTION
        and module not in LONG_FUNCTIONS
        and module not in COMMAND_LINE
    }
    assert long == {}


def test_functions_take_few_parameters() -> None:
    """Six, besides self; a command of the command line has one for each option."""
    many = {
        f"{module}.{node.name}": count
        for module, node in functions()
        if module not in COMMAND_LINE
        and (
            count := len(
                [a for a in (*node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
            )
        )
        > 6
    }
    assert many == {}
