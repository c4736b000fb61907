"""``autoencoder.safetensors``: the fitted weights with the recipe and the course of the fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.plain import checked, parse_json

_NOTES = "dcgan_data"  # one key: safetensors does not keep the order of several


def write_autoencoder(path: Path, tensors: dict[str, np.ndarray], notes: dict[str, Any]) -> None:
    """Write arrays and JSON-able notes, atomically; the same bytes for the same contents."""
    with atomic_path(path) as temporary:
        contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        # Not save_file: it makes a file that only its owner can read.
        temporary.write_bytes(save(contiguous, {_NOTES: json.dumps(notes, sort_keys=True)}))


def read_autoencoder(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and notes that were written; BadInput if the file is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            notes = checked(dict[str, Any], parse_json(file.metadata()[_NOTES]), "its header")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise ValueError("numbers that are not finite")
        return tensors, notes
    except FileNotFoundError:
        raise BadInput(f"{path}: missing; run 'dcgan-data dedup {path.parent}' to fit it") from None
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: damaged ({error}); run 'dcgan-data dedup {path.parent}' again") from None
