"""Every command in README.md is run, in the order of the page, on a tiny LMDB in the place of LSUN."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from dcgan_data.bench import decode as bench
from dcgan_data.cli import app
from dcgan_data.demo import make_demo_lmdb
from dcgan_data.formats.manifest import MANIFEST_SCHEMA
from dcgan_data.formats.prepared import PreparedSet

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

SMALLER = {"train": ["--width", "2", "--steps", "2", "--batch-size", "8"]}
"""Put after a command's own options, where they win: the same command, in a second."""
BRIEF = ["--image-size", "32", "--width", "2", "--batch-size", "4", "--seconds", "0.05"]
"""Of ``bench train``."""
FEWER = {"100000": "2000", "--peers": "--no-peers", "200": "1"}
"""Put in the place of a measurement's own words."""


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def commands() -> list[list[str]]:
    inline = re.findall(r"`(dcgan-data [^`]+ [^`]+)`", README)
    lines = [line for block in blocks("sh") for line in block.splitlines()] + inline
    parsed = [shlex.split(line, comments=True) for line in lines]
    return [words for words in parsed if words and words[0] == "dcgan-data"]


def judge_everything(out: Path, verdicts: Path) -> None:
    """As the report's audit mode writes it."""
    prepared = PreparedSet.open(out)
    table = prepared.manifest(["key", "status", "duplicate_of", "score"])
    judged = [
        {**row, "stratum": "", "verdict": "same"}
        for row in table.to_pylist()
        if row.pop("status") == "duplicate"
    ]
    assert judged
    head = {"format": "dcgan_data verdicts", "version": 1, "seed": 0}
    about = {**head, "content_sha256": prepared.info.content_sha256, "verdicts": judged}
    verdicts.write_text(json.dumps(about))


def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Any, encoded: Any, face: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "_MIN_SECONDS", 0.1)
    make_demo_lmdb(Path("lsun/bedroom_train_lmdb"), count=40)
    make_demo_lmdb(Path("lsun/bedroom_val_lmdb"), count=12, seed=1)
    Image.fromarray(picture(256, 256)).save("photo.jpg")
    Path("photos/somebody").mkdir(parents=True)
    Image.fromarray(face(256, 1)).save("photos/somebody/1.jpg")
    pixels = [encoded(picture(32, 32, seed)) for seed in range(20)]
    Path("cifar10").mkdir()
    pq.write_table(pa.table({"image": pixels, "label": list(range(20))}), "cifar10/train.parquet")
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    names = [words[1] for words in commands()]
    expected = {"dedup", "train", "sample", "run", "verify", "report", "query", "audit", "bench"}
    expected |= {"faces", "export", "score", "neighbours"}
    assert expected <= set(names)
    for _, *words in commands():
        if words[0] == "audit":
            judge_everything(Path("out"), Path("verdicts.json"))
        if words[0] == "bench":
            words = [FEWER.get(word, word) for word in words]
            words += BRIEF if words[1] == "train" else []
        result = CliRunner().invoke(app, [*words, *SMALLER.get(words[0], [])])
        assert result.exit_code == 0, f"{shlex.join(words)}: {result.output}"
    for block in blocks("python"):
        scope: dict[str, Any] = {}
        exec(block, scope)
        assert scope["images"][0].shape == (64, 64, 3)
        assert scope["dataset"][0].shape == (3, 64, 64)


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z]+)", "\n".join(blocks("sh"))))
    assert {"demo", "test", "lsun"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_layout_names_the_manifest_columns() -> None:
    layout = next(block for block in blocks("") if "manifest.parquet" in block)
    for name in MANIFEST_SCHEMA.names:
        if not name.startswith(("box_", "width", "height", "face_")):
            assert re.search(rf"\b{name}\b", layout), name


def test_no_picture_of_the_house_is_stale() -> None:
    """Every module that the README's table names is there."""
    table = README[README.index("| package |") : README.index("Imports go one way")]
    names = re.findall(r"`([a-z_]+(?:\.py|/))`", table)
    assert len(names) > 10
    for name in names:
        assert (ROOT / "dcgan_data" / name).exists(), name
