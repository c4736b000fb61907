"""The measurements measure what they say; their figures are not asserted."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcgan_data.bench import decode
from dcgan_data.bench.decode import bench_decode
from dcgan_data.errors import BadInput
from dcgan_data.sources import open_source


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_MIN_SECONDS", 0.01)


def test_decode_measures_both_ways(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = bench_decode(source, 32, 2)
    assert (result.images, result.image_size, result.workers) == (20, 32, 2)
    figures = dataclasses.asdict(result)
    assert all(value > 0 for value in figures.values())
    ratio = result.ours_images_per_s / result.plain_images_per_s
    assert result.speedup == pytest.approx(ratio, rel=0.05, abs=0.006)  # rounded to two places
    assert list(tmp_path.iterdir()) == []  # nothing is left


def test_decode_of_the_first_records(source: Path) -> None:
    assert bench_decode(source, 32, 1, limit=6).images == 6


def test_decode_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no images"):
        bench_decode(tmp_path, 32, 1)


def test_the_plain_way_is_the_plain_way(
    tmp_path: Path, source: Path, records: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full decode, centre crop, Lanczos, one PNG each; damaged records are left out there too."""
    monkeypatch.setattr(decode, "_MIN_SECONDS", 100.0)
    seconds, images = decode._run_plain(list(open_source(source, 8).shards()), 32, tmp_path / "plain.zip")
    assert seconds > 0
    with zipfile.ZipFile(tmp_path / "plain.zip") as archive:
        assert len(archive.namelist()) == images == 18
        with Image.open(io.BytesIO(archive.read("00000000.png"))) as image:
            found = np.asarray(image)
    with Image.open(io.BytesIO(records[b"00"])) as image:
        wanted = image.crop((12, 0, 84, 72)).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(found, np.asarray(wanted))


def test_ours_repeats_until_it_ran_long_enough(source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    calls: list[int] = []
    measured = decode._measured_shard

    def counted(*arguments: Any) -> tuple[int, float]:
        calls.append(1)
        return measured(*arguments)

    monkeypatch.setattr(decode, "_measured_shard", counted)
    monkeypatch.setattr(decode, "_MIN_SECONDS", 0.1)
    shards = list(open_source(source, 20).shards())
    rate, peak = decode._run_ours(shards, decode.DecodeSettings(32), tmp_path, 1)
    assert rate > 0
    assert peak > 1
    assert len(calls) > 1
    assert list(tmp_path.iterdir()) == []
