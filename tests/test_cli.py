"""The commands: what they print, where, and how they end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import dcgan_data
from dcgan_data.bench import decode as bench
from dcgan_data.cli import app
from dcgan_data.recipe import Recipe, recipe_from_dict

RECIPE = """\
name = "tiny"
records_per_shard = 8
[image]
size = 32
[autoencoder]
max_updates = 8
evaluate_every = 4
batch_size = 16
"""


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def fail(code: int, *words: object) -> str:
    """Standard error of a command that ends with the code; nothing may be on standard output."""
    result = run(*words)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    return str(result.stderr)


def all_commands() -> Iterator[list[str]]:
    def walk(command: Any, words: list[str]) -> Iterator[list[str]]:
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, [*words, name])
        if not hasattr(command, "commands"):
            yield words

    return walk(typer.main.get_command(app), [])


COMMANDS = list(all_commands())


def files_below(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, finished_set: Path) -> tuple[Path, dict[str, Any]]:
    """A run of two steps, and the JSON that it printed."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    options = ("--width", 4, "--steps", 2, "--batch-size", 8, "--device", "cpu", "--json")
    return run_dir, json.loads(succeed("train", "--prepared", finished_set, "--run-dir", run_dir, *options))


def test_the_commands() -> None:
    names = {" ".join(words) for words in COMMANDS}
    assert {"dedup", "prepare", "run", "report", "verify", "train", "sample", "bench decode"} <= names
    assert {"score", "neighbours", "bench train"} <= names


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_ends_in_an_example_that_can_be_parsed(words: list[str]) -> None:
    text = re.sub(r"\s+", " ", succeed(*words, "--help"))
    assert f"Example: dcgan-data {' '.join(words)}" in text
    group = typer.main.get_command(app)
    for word in words:
        group = group.commands[word]  # type: ignore[attr-defined]
    example = str(group.help).split("Example: dcgan-data ")[1].split()[len(words) :]
    group.make_context("", example).close()  # raises if an option or argument does not exist


def test_no_arguments_show_help() -> None:
    result = run()
    assert "Usage:" in result.output
    assert "dedup" in result.output


def test_version() -> None:
    assert succeed("--version") == f"dcgan-data {dcgan_data.__version__}\n"


def test_dedup_with_all_defaults(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = succeed("dedup", source, "--max-rejected", "100%")
    assert text.splitlines() == [
        "out: 20 read = 15 kept + 2 duplicates + 3 rejected, 64x64 px",
        "  rejected: not_an_image 1",
        "  rejected: too_small 1",
        "  rejected: truncated 1",
        "look:  out/report/index.html",
        "train: dcgan-data train --prepared out --preset fast",
    ]
    stored = json.loads((tmp_path / "out" / "dataset.json").read_text())["recipe"]
    assert stored == Recipe().as_dict()


def test_progress_goes_to_stderr(tmp_path: Path, source: Path, recipe_file: Path) -> None:
    result = run(
        "run", recipe_file, "--source", source, "--out", tmp_path / "out", "--max-rejected", "1", "-v"
    )
    assert f"20 records (lsun {source}) -> {tmp_path}/out, 32x32 px" in result.stderr
    for stage in ("decode: 20 of 20 images", "fit: ", "encode: 18 of 18 images"):
        assert stage in result.stderr
    assert "decode" not in result.stdout.split("time:")[0]
    assert "time:  prepare " in result.stdout
    assert "  rule: near" in result.stdout


def test_prepare_json(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    text = succeed("prepare", source, "--out", out, "--image-size", "32", "--max-rejected", "50%", "--json")
    found = json.loads(text)
    assert (found["read"], found["kept"], found["duplicate"], found["rejected"]) == (20, 18, 0, 2)
    assert found["out"] == str(out)
    assert found["rejected_by_reason"] == {"not_an_image": 1, "truncated": 1}
    assert re.fullmatch(r"[0-9a-f]{64}", found["content_sha256"])


def test_options_reach_the_recipe(tmp_path: Path, source: Path) -> None:
    options = ("--limit", 5, "--seed", 9, "--image-size", 32, "--workers", 1)
    succeed("prepare", source, "--out", tmp_path / "out", *options)
    stored = json.loads((tmp_path / "out" / "dataset.json").read_text())["recipe"]
    assert (stored["source"]["limit"], stored["seed"], stored["image"]["size"]) == (5, 9, 32)
    assert stored["dedup"]["rule"] == "none"


def test_run_takes_the_recipes_source(tmp_path: Path, source: Path, recipe_file: Path) -> None:
    recipe_file.write_text(f"{RECIPE}\n[source]\npath = {json.dumps(str(source))}\nlimit = 4\n")
    assert "4 read = 4 kept" in succeed("run", recipe_file, "--out", tmp_path / "out")
    assert "3 read = 3 kept" in succeed("run", recipe_file, "--out", tmp_path / "3", "--limit", 3)


def test_dedup_of_a_set_stays_in_place(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    succeed("prepare", source, "--out", "set", "--image-size", 32, "--max-rejected", "20%")
    assert "15 kept + 3 duplicates" in succeed("dedup", "set", "--max-rejected", "20%")
    assert files_below(tmp_path / "out") == set()


def test_dedup_against_another_set(tmp_path: Path, near_source: Path, near_set: Path) -> None:
    """Every image of a source is a copy of what a set made from it keeps; but flat ones are not compared."""
    words = ("dedup", near_source, "--out", tmp_path / "new", "--image-size", 32, "--max-rejected", "10%")
    found = json.loads(succeed(*words, "--against", near_set, "--threshold", 0.6, "--json"))
    assert (found["read"], found["kept"], found["duplicate"], found["rejected"]) == (24, 3, 20, 1)
    assert "20 removals are proved from the pixels" in succeed("verify", tmp_path / "new")
    assert fail(1, "dedup", tmp_path / "new", "--threshold", 0.9).startswith(
        f"error: {tmp_path}/new: was compared with {near_set}; give --against again to decide anew, "
    )


def test_decisions_reach_the_recipe(tmp_path: Path, near_source: Path) -> None:
    wishes = tmp_path / "wishes.csv"
    wishes.write_text("key,value\n06,1\n")
    words = ("dedup", near_source, "--out", tmp_path / "out", "--dry-run", "--json")
    options = ("--threshold", 0.6, "--keep", f"{wishes}:value", "--multiplicity")
    found = json.loads(succeed(*words, *options))["recipe"]["dedup"]
    wanted = {"rule": "near", "threshold": 0.6, "keep": f"{wishes}:value", "multiplicity": True}
    assert found == {**Recipe().as_dict()["dedup"], **wanted}
    recipe = json.loads(succeed(*words, "--exact"))["recipe"]
    assert (recipe["dedup"]["rule"], recipe["autoencoder"]["inputs"]) == ("exact", "rgb")


def test_dry_run_prints_the_recipe_and_writes_nothing(
    tmp_path: Path, source: Path, recipe_file: Path
) -> None:
    before = files_below(tmp_path)
    text = succeed("run", recipe_file, "--source", source, "--out", tmp_path / "out", "--dry-run")
    assert recipe_from_dict(tomllib.loads(text)) == recipe_from_dict(tomllib.loads(RECIPE))
    assert f"# 20 records (lsun {source}) -> {tmp_path}/out" in text
    values = json.loads(succeed("dedup", source, "--out", tmp_path / "out", "--dry-run", "--json"))
    assert values["recipe"] == Recipe().as_dict()
    assert values["source"]["records"] == 20
    assert values["disk_bytes"] == 20 * (64 * 64 * 3 + 300 + 1024 + 28 * 16 + 20 * 24 + 33)
    assert files_below(tmp_path) == before


def test_report_and_verify(copied_set: Path) -> None:
    page = copied_set / "report" / "index.html"
    page.unlink()
    assert succeed("report", copied_set) == f"{page}\n"
    assert page.exists()
    assert succeed("verify", copied_set) == (
        f"{copied_set}: good. 6 files have their recorded bytes, 20 rows add up, "
        "3 removals are proved from the pixels\n"
    )
    assert json.loads(succeed("verify", copied_set, "--json")) == {
        "files": 6,
        "rows": 20,
        "removals": 3,
        "notes": [],
    }


def test_train_json(trained: tuple[Path, dict[str, Any]]) -> None:
    run_dir, summary = trained
    assert summary["steps"] == 2
    assert summary["run_dir"] == str(run_dir)
    assert Path(summary["grid"]).exists() and Path(summary["checkpoint"]).exists()


def test_train_again_and_resume(trained: tuple[Path, dict[str, Any]], finished_set: Path) -> None:
    run_dir, _ = trained
    options = ("--width", 4, "--steps", 2, "--batch-size", 8, "--device", "cpu")
    words = ("train", "--prepared", finished_set, "--run-dir", run_dir, *options)
    assert fail(1, *words).startswith(f"error: {run_dir}: ")
    assert f"{run_dir}: 2 steps in " in succeed(*words, "--resume")


def test_train_default_run_directory(
    tmp_path: Path, finished_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = succeed("train", "--prepared", finished_set, "--width", 2, "--steps", 1, "--batch-size", 4)
    assert "dcgan-data sample runs/set -n 64 -o grid.png" in text
    assert (tmp_path / "runs" / "set").is_dir()


def test_sample(tmp_path: Path, trained: tuple[Path, dict[str, Any]]) -> None:
    grids = [tmp_path / f"{name}.png" for name in ("a", "b", "c")]
    for grid, seed in zip(grids, (3, 3, 4), strict=True):
        options = ("-n", 6, "-o", grid, "--seed", seed, "--device", "cpu")
        assert succeed("sample", trained[0], *options) == f"{grid}\n"
    with Image.open(grids[0]) as image:
        assert image.format == "PNG"
    assert grids[0].read_bytes() == grids[1].read_bytes() != grids[2].read_bytes()


def test_bench_decode(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_MIN_SECONDS", 0.01)
    words = ("bench", "decode", "--source", source, "--image-size", 32, "--workers", 1)
    found = json.loads(succeed(*words, "--json"))
    assert {"ours_images_per_s", "plain_images_per_s", "speedup"} <= set(found)
    text = succeed(*words)
    assert text.startswith("20 images to 32 px\nplain way, 1 process")
    assert re.search(r"^speedup +[\d.]+ times the plain way$", text, re.MULTILINE)


def test_bench_dedup() -> None:
    found = json.loads(succeed("bench", "dedup", "--codes", 500, "--codes", 1000, "--json"))
    assert [line["codes"] for line in found["scale"]] == [500, 1000]
    assert "1,000" in succeed("bench", "dedup", "--codes", 1000)


ONE_LINE = re.compile(r"error: [^\n]+\n")


def test_one_line_for_every_mistake(tmp_path: Path, source: Path, recipe_file: Path) -> None:
    out = tmp_path / "out"
    lost = tmp_path / "lost"
    misspelt = tmp_path / "misspelt.toml"
    misspelt.write_text("[image]\nsise = 3\n")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"1")
    for words, expected in (
        (("dedup", lost, "--out", out), f"{lost}: no such file or directory; expected an LSUN LMDB"),
        (("dedup", photo, "--out", out), f"{photo}: a single file; expected an LSUN LMDB"),
        (("dedup", source, "--out", source / "out"), f"--out {source}/out: lies inside the source {source}"),
        (("dedup", source, "--out", tmp_path), f"{tmp_path}: not empty and not a prepared set"),
        (("dedup", source, "--out", photo), f"{photo}: "),
        (
            ("dedup", source, "--out", out, "--image-size", 48),
            "image.size: 48 is not allowed; expected one of",
        ),
        (("dedup", source, "--out", out, "--workers", 0), "--workers 0: expected 1 or more"),
        (("dedup", source, "--out", out, "--limit", -1), "source.limit: -1 is not allowed"),
        (("dedup", source, "--out", out, "--seed", -1), "seed: -1 is not allowed"),
        (
            ("dedup", source, "--out", out, "--max-rejected", "few"),
            "--max-rejected few: expected a share such",
        ),
        (
            ("dedup", source, "--out", out, "--max-rejected", "200%"),
            "--max-rejected 2.0: expected a share from",
        ),
        (("dedup", source, "--out", out, "--device", "tpu"), "--device tpu: expected one of auto, cpu, cuda"),
        (("run", lost), f"{lost}: no such recipe; see pipelines/*.toml for examples"),
        (("run", misspelt), f"{misspelt}: image.sise: unknown key; did you mean 'image.size'?"),
        (("run", recipe_file), f"{recipe_file}: names no source; give one with --source"),
        (("report", lost), f"{lost}: no such directory; 'dcgan-data dedup SRC --out {lost}' makes"),
        (("verify", tmp_path), f"{tmp_path}: not a prepared set, it has no dataset.json"),
        (("train", "--prepared", lost), f"{lost}: no such directory"),
        (("sample", lost), f"{lost}"),
        (("bench", "decode", "--source", lost), f"{lost}: no such file or directory"),
    ):
        text = fail(1, *words)
        assert ONE_LINE.fullmatch(text), text
        assert text.startswith(f"error: {expected}"), text
    assert not out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu(finished_set: Path, tmp_path: Path, source: Path) -> None:
    expected = "error: device cuda: torch sees no GPU here; use --device cpu, or auto\n"
    run_dir = tmp_path / "run"
    assert fail(1, "train", "--prepared", finished_set, "--run-dir", run_dir, "--device", "cuda") == expected
    assert fail(1, "dedup", source, "--out", tmp_path / "out", "--device", "cuda") == expected


def test_a_damaged_set_is_named(copied_set: Path) -> None:
    (copied_set / "images" / "00001.npy").unlink()
    assert f"error: {copied_set}/images/00001.npy: " in fail(1, "verify", copied_set)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("dedup", "src", "--bogus"), "No such option"),
        (("dedup",), "Missing argument"),
        (("bogus",), "No such command"),
        (("dedup", "src", "--workers", "many"), "Invalid value"),
        (("train",), "Missing option"),
    ],
)
def test_usage_errors_end_with_2(words: tuple[str, ...], expected: str) -> None:
    assert expected in fail(2, *words)


def test_too_many_rejected_ends_with_3_and_keeps_everything(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    text = fail(3, "prepare", source, "--out", out, "--image-size", 32)
    last = text.splitlines()[-1]
    assert last.startswith(
        f"error: {out}: 2 of 20 records were rejected (not_an_image 1, truncated 1), over "
    )
    assert "--max-rejected 0.01" in last
    assert "18 kept" not in text
    assert "20 rows add up" in succeed("verify", out)


def test_an_interrupt_ends_with_130(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dcgan_data.pipeline.run_job", interrupted)
    assert fail(130, "dedup", source, "--out", tmp_path / "out") == (
        "interrupted: what is finished is kept; the same command goes on (train: with --resume)\n"
    )


def test_a_bug_keeps_its_traceback(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("dcgan_data.pipeline.run_job", broken)
    assert isinstance(run("dedup", source, "--out", tmp_path / "out").exception, RuntimeError)


def test_the_program_itself(tmp_path: Path) -> None:
    """Exit code and streams as a shell sees them."""
    done = subprocess.run(
        [sys.executable, "-m", "dcgan_data", "dedup", str(tmp_path / "lost")], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {tmp_path}/lost: no such file or directory; expected an LSUN")
    assert done.stderr.count("\n") == 1


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dcgan_data", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "dedup" in done.stdout
    imported = {
        line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time")
    }
    assert "dcgan_data.cli" in imported
    heavy = {"torch", "cv2", "numpy", "pyarrow", "lmdb", "PIL", "joblib", "simplejpeg", "safetensors"}
    assert not heavy & {name.split(".")[0] for name in imported}


@pytest.mark.parametrize(
    ("name", "said"),
    [("a" * 300, "File name too long"), ("loop", "Too many levels of symbolic links")],
)
def test_paths_that_cannot_be(tmp_path: Path, picture: Any, encoded: Any, name: str, said: str) -> None:
    """One line, whichever option they are given to."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(encoded(picture(64, 64)))
    path = str(tmp_path / name)
    for words in (["prepare", path], ["prepare", str(tmp_path / "photos"), "--out", path], ["verify", path]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1, result.output
        assert result.output.count("\n") == 1 and result.output.startswith("error: "), result.output
        assert isinstance(result.exception, SystemExit), words
    result = CliRunner().invoke(app, ["prepare", path])
    assert said in result.output or "links" in result.output


def test_an_out_that_is_no_text(tmp_path: Path, picture: Any, encoded: Any) -> None:
    photos = tmp_path / os.fsdecode(b"photos \xff")
    photos.mkdir()
    (photos / "1.png").write_bytes(encoded(picture(64, 64)))
    out = tmp_path / os.fsdecode(b"out \xff")
    words = [sys.executable, "-m", "dcgan_data", "prepare", str(photos), "--out", str(out)]
    done = subprocess.run(words, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    assert rb"out \udcff: 1 read = 1 kept" in done.stdout
    assert (out / "manifest.parquet").exists()
