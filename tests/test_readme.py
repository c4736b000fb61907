"""Every command in README.md is run, in the order of the page, on a tiny LMDB in the place of LSUN."""

from __future__ import annotations

import json
import re
import shlex
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
from PIL import Image
from typer.testing import CliRunner

from dcgan_data.bench import decode as bench
from dcgan_data.bench import roofline
from dcgan_data.cli import app
from dcgan_data.demo import make_demo_lmdb
from dcgan_data.evaluate.forget.boxes import weights_sha256
from dcgan_data.formats.manifest import MANIFEST_SCHEMA
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.train.authors import discriminator_arrays, generator_arrays
from dcgan_data.train.models import ModelShape
from dcgan_data.train.sample import open_sampler

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

SMALLER = {
    "train": ["--width", "2", "--steps", "2", "--batch-size", "8", "--held-out", "2"],
    "walk": ["--points", "2", "--frames", "8"],
    "figures": ["-n", "4", "--frames", "8"],
    "memorization": ["-n", "4", "--frames", "8"],
    "probe cifar10": ["--kmeans", "4", "--draws", "2"],
    "probe svhn": ["--validation", "10", "--draws", "2", "--search-draws", "1"],
    "mnist train": ["--epochs", "1", "--decay-epochs", "0", "--batch-size", "8", "--held-out", "10"],
    "mnist evaluate": ["--samples", "20"],
}
"""Put after a command's own options, where they win: the same command, in a second."""
BRIEF = ["--image-size", "32", "--width", "2", "--batch-size", "4", "--seconds", "0.05"]
"""Of ``bench train``."""
FEWER = {"100000": "2000", "1000000": "120", "--peers": "--no-peers", "200": "1"}
"""Put in the place of a measurement's own words."""


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]


def commands() -> list[list[str]]:
    inline = re.findall(r"`(dcgan-data [^`]+ [^`]+)`", README)
    lines = [line for block in blocks("sh") for line in block.splitlines()] + inline
    parsed = [shlex.split(line, comments=True) for line in lines]
    return [words for words in parsed if words and words[0] == "dcgan-data"]


def make_materials(picture: Any, encoded: Any, face: Any) -> None:
    """What the page's commands read, in little, under the names that they have there."""
    make_demo_lmdb(Path("lsun/bedroom_train_lmdb"), count=40)
    make_demo_lmdb(Path("lsun/bedroom_val_lmdb"), count=12, seed=1)
    Image.fromarray(picture(256, 256)).save("photo.jpg")
    Path("photos/somebody").mkdir(parents=True)
    Image.fromarray(face(256, 1)).save("photos/somebody/1.jpg")
    for directory in ("cifar10", "svhn", "mnist", "svhn-weights"):
        Path(directory).mkdir()
    for name, count in (("train", 60), ("test", 20)):
        pixels = [encoded(picture(32, 32, seed)) for seed in range(count)]
        labels = [seed % 10 for seed in range(count)]
        pq.write_table(pa.table({"image": pixels, "label": labels}), f"cifar10/{name}.parquet")
    rng = np.random.default_rng(0)
    for name, count in (("train", 1100), ("test", 20)):
        digits = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        images = rng.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        scipy.io.savemat(f"svhn/{name}_32x32.mat", {"X": images, "y": digits})
    for name, count in (("train", 60), ("t10k", 20)):
        strokes = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        Path(f"mnist/{name}-images-idx3-ubyte").write_bytes(as_idx(strokes))
        Path(f"mnist/{name}-labels-idx1-ubyte").write_bytes(as_idx(np.arange(count, dtype=np.uint8) % 10))
    shape = ModelShape(32, 2, 5)
    for name, arrays in (("gen", generator_arrays(shape)), ("discrim", discriminator_arrays(shape))):
        for number, array in enumerate(arrays, 1):
            values = rng.normal(0, 1, array).astype(np.float32)
            np.save(f"svhn-weights/200_{name}_params.jl_{number:02}.npy", values)


def as_idx(values: np.ndarray) -> bytes:
    return struct.pack(f">{values.ndim + 1}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


def draw_boxes(run: Path, boxes: Path) -> None:
    """As the page of ``forget annotate`` lets it download."""
    sampler = open_sampler(run, device="cpu")
    drawn = [{"sample": n, "x": 20, "y": 20, "width": 20, "height": 20} for n in range(6)]
    about = {"format": "dcgan_data boxes", "version": 1, "model": weights_sha256(sampler.generator)}
    shown = {"name": sampler.trained.name, "seed": 0, "samples": 10, "image_size": 64}
    boxes.write_text(json.dumps({**about, **shown, "boxes": drawn}))


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
    monkeypatch.setattr(roofline, "_SECONDS", 0.01)
    make_materials(picture, encoded, face)
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")
    names = [words[1] for words in commands()]
    expected = {"dedup", "train", "sample", "run", "verify", "report", "query", "audit", "bench"}
    expected |= {"faces", "export", "score", "neighbours", "walk", "arithmetic", "turn", "features", "forget"}
    expected |= {"memorization", "figures", "probe", "mnist", "import-authors"}
    assert expected <= set(names)
    for _, *words in commands():
        if words[0] == "audit":
            judge_everything(Path("out"), Path("verdicts.json"))
        if words[:2] == ["forget", "run"]:
            draw_boxes(Path(words[2]), Path("boxes.json"))
        if words[0] == "bench":
            words = [FEWER.get(word, word) for word in words]
            words += BRIEF if words[1] == "train" else []
        result = CliRunner().invoke(
            app, [*words, *(SMALLER.get(words[0]) or SMALLER.get(" ".join(words[:2]), []))]
        )
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
