"""The fitted weights on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.formats.autoencoder_file import read_autoencoder, write_autoencoder

TENSORS = {"b": np.arange(6.0).reshape(2, 3), "a": np.arange(3, dtype=np.float32)}
NOTES = {"seed": 1, "recipe": {"noise": "mask"}, "holdout_losses": [0.5, 0.25]}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "autoencoder.safetensors"
    write_autoencoder(path, {**TENSORS, "turned": TENSORS["b"].T}, NOTES)
    tensors, notes = read_autoencoder(path)
    assert notes == NOTES
    assert np.array_equal(tensors["turned"], TENSORS["b"].T)
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert np.array_equal(tensors[name], tensor)


def test_same_contents_same_bytes(tmp_path: Path) -> None:
    write_autoencoder(tmp_path / "1", TENSORS, NOTES)
    write_autoencoder(tmp_path / "2", dict(reversed(TENSORS.items())), dict(reversed(NOTES.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert (tmp_path / "1").stat().st_mode & 0o777 == (tmp_path / "2").stat().st_mode & 0o777
    (tmp_path / "3").write_bytes(b"")
    assert (tmp_path / "1").stat().st_mode == (tmp_path / "3").stat().st_mode  # as any other file


def message(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        read_autoencoder(path)
    return str(caught.value)


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "autoencoder.safetensors"
    assert message(path) == f"{path}: missing; run 'dcgan-data dedup {tmp_path}' to fit it"


@pytest.mark.parametrize("cut", [0, 4, 60, -1])
def test_damaged(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "autoencoder.safetensors"
    write_autoencoder(path, TENSORS, NOTES)
    path.write_bytes(path.read_bytes()[:cut])
    text = message(path)
    assert text.startswith(f"{path}: damaged (")
    assert text.endswith(f"); run 'dcgan-data dedup {tmp_path}' again")


def test_another_programs_file(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "autoencoder.safetensors"
    save_file({"a": np.zeros(3)}, path)
    assert message(path).startswith(f"{path}: damaged (")
