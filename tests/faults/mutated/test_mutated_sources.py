"""Damaged archives, tables and pickles as sources: read, with reasons for records, or refused in one line."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

from dcgan_data.sources import open_source

ROOT = Path(__file__).parents[3]
Damaged = Callable[[int, int, dict[str, bytes]], bytes]
Reading = Any
"""Of conftest.py."""
JPEG = b"\xff\xd8\xff" + bytes(range(200))


def read_all(path: Path, index: Mapping[str, np.ndarray] | None = None) -> list[Any]:
    """As ``prepare`` reads a source, but for the pictures themselves."""
    source = open_source(path, 3, index=index)
    records = [record for shard in source.shards() for record in shard]
    assert len(records) == len(source)
    return records


def tar_of(members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def parquet_of(compression: str = "snappy", dictionary: bool = True) -> bytes:
    pictures = [JPEG + bytes([number]) for number in range(20)]
    images = pa.array([{"bytes": data, "path": None} for data in pictures])
    labels = pa.array([f"class {number % 3}" for number in range(20)])
    table = pa.table({"image": images, "label": labels.dictionary_encode() if dictionary else labels})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression, row_group_size=8, use_dictionary=dictionary)
    return buffer.getvalue()


def cifar_of(count: int = 4) -> bytes:
    planes = np.random.default_rng(0).integers(0, 256, (count, 3072), dtype=np.uint8)
    return pickle.dumps({"data": planes, "labels": list(range(count))}, protocol=2)


def matlab_of(packed: bool) -> bytes:
    pictures = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    variables = {"X": pictures, "y": np.arange(1, 4, dtype=np.uint8)[:, None]}
    scipy.io.savemat(buffer, variables, do_compression=packed)
    return buffer.getvalue()


PICTURES = {f"cat/{number}.jpg": JPEG + bytes([number]) for number in range(8)}
LISTED = json.dumps({"labels": [[name, 1] for name in PICTURES], "label_names": ["a", "b"]}).encode()
LONG_NAME = {"directory/" * 30 + "x.jpg": JPEG}
SAMPLES = {f"{number:03d}.{kind}": JPEG for number in range(4) for kind in ("jpg", "cls", "json")}
WHOLE: dict[str, dict[str, bytes]] = {
    "x.tar": {
        "plain": tar_of(PICTURES),
        "WebDataset": tar_of(SAMPLES),
        "GNU": tar_of({**PICTURES, **LONG_NAME}, tarfile.GNU_FORMAT),
        "long names": tar_of({**PICTURES, **LONG_NAME, "\u00e9\u00e9.jpg": JPEG}),
        "tar of tars": tar_of({"n01.tar": tar_of(PICTURES), "n02.tar": tar_of(PICTURES)}),
    },
    "x.zip": {
        "deflated": zip_of(PICTURES),
        "stored": zip_of(PICTURES, zipfile.ZIP_STORED),
        "StyleGAN": zip_of({**PICTURES, "dataset.json": LISTED}),
    },
    "x.parquet": {
        "snappy": parquet_of(),
        "zstd": parquet_of("zstd", dictionary=False),
        "plain": parquet_of("none"),
    },
    "data_batch_1": {"CIFAR-10": cifar_of()},
    "train_32x32.mat": {"packed": matlab_of(packed=True), "plain": matlab_of(packed=False)},
}


@pytest.mark.parametrize("name", WHOLE)
def test_damaged_sources(
    tmp_path: Path,
    name: str,
    long_form: bool,
    mutated: Damaged,
    reading: Reading,
    outcome: Callable[..., None],
) -> None:
    path = tmp_path / name
    count = 3000 if long_form else 100

    def read(data: bytes) -> None:
        path.write_bytes(data)
        read_all(path)

    for whole in WHOLE[name].values():
        path.write_bytes(whole)
        assert len(read_all(path)) >= 3
    for number in range(count):
        reading(read, mutated(0, number, WHOLE[name]), number)
    assert reading.happened["refused"] > 0
    outcome("damaged sources", f"{path.suffix or 'CIFAR pickle'}", "read, or refused in one line", count)
