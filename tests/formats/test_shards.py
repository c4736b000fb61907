"""Image shards: written in bounded memory, equal to what numpy writes, and refused when damaged."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.formats.shards import FileStamp, ShardWriter, open_shard, stamp_file

BATCH = 4


def some_images(count: int, size: int = 6) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def write(path: Path, images: np.ndarray, size: int = 6) -> list[int]:
    with path.open("wb") as file:
        writer = ShardWriter(file, size, BATCH)
        rows = [writer.append(image) for image in images]
        writer.close()
        assert not file.closed
        assert writer.rows == len(images)
    return rows


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 11])
def test_written_images_are_read_back(tmp_path: Path, count: int) -> None:
    path, images = tmp_path / "0.npy", some_images(count)
    assert write(path, images) == list(range(count))
    for found in (np.load(path), open_shard(path, count, 6)):
        assert found.dtype == np.uint8
        assert found.shape == images.shape
        assert np.array_equal(found, images)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_bytes_are_those_of_numpy(tmp_path: Path, count: int) -> None:
    images = some_images(count)
    write(tmp_path / "0.npy", images)
    expected = io.BytesIO()
    np.save(expected, images)
    assert (tmp_path / "0.npy").read_bytes() == expected.getvalue()


def test_appended_images_are_copied(tmp_path: Path) -> None:
    """The caller may reuse its array."""
    image = np.zeros((6, 6, 3), np.uint8)
    with (tmp_path / "0.npy").open("wb") as file:
        writer = ShardWriter(file, 6, BATCH)
        for level in range(6):
            image[:] = level
            writer.append(image)
        writer.close()
    assert np.load(tmp_path / "0.npy")[:, 0, 0, 0].tolist() == list(range(6))


def test_memory_map_is_read_only(tmp_path: Path) -> None:
    write(tmp_path / "0.npy", some_images(3))
    shard = open_shard(tmp_path / "0.npy", 3, 6)
    assert isinstance(shard, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        shard[0, 0, 0, 0] = 1


def message(path: Path, rows: int = 3, size: int = 6) -> str:
    with pytest.raises(BadInput) as caught:
        open_shard(path, rows, size)
    return str(caught.value)


REMEDY = "run the command that made the set again with --overwrite to rebuild it"


def test_missing_shard(tmp_path: Path) -> None:
    assert message(tmp_path / "0.npy") == f"{tmp_path}/0.npy: missing; {REMEDY}"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_what_is_no_damage_is_not_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Else a person is told to make the set again."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(OSError, match=os.strerror(number)):
        open_shard(tmp_path / "0.npy", 1, 6)


@pytest.mark.parametrize("cut", [0, 5, 100, 200, -1])
def test_cut_shard(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "0.npy"
    write(path, some_images(3))
    path.write_bytes(path.read_bytes()[:cut])
    text = message(path)
    assert text.startswith(f"{path}: not a readable shard (")
    assert text.endswith(f"); {REMEDY}")


def test_shard_of_another_shape(tmp_path: Path) -> None:
    path = tmp_path / "0.npy"
    write(path, some_images(3))
    assert message(path, 4) == f"{path}: holds uint8 (3, 6, 6, 3), expected uint8 (4, 6, 6, 3); {REMEDY}"
    assert message(path, 3, 8).startswith(f"{path}: holds uint8 (3, 6, 6, 3), expected uint8 (3, 8, 8, 3)")
    np.save(path, np.zeros((3, 6, 6, 3), np.float32))
    assert message(path).startswith(f"{path}: holds float32 (3, 6, 6, 3)")


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "0.npy", np.array([{"a": 1}], object), allow_pickle=True)
    assert "not a readable shard" in message(tmp_path / "0.npy", 1)


def test_stamp(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(data)
    assert stamp_file(tmp_path / "file") == FileStamp(len(data), hashlib.sha256(data).hexdigest())
