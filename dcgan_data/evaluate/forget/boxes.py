"""What a person drew on samples (``boxes.json``, downloaded from the page), and of which model they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.plain import read_json
from dcgan_data.train.models import Generator
from dcgan_data.train.norm import BatchNorm
from dcgan_data.train.trained import Trained

BOXES_FORMAT, BOXES_VERSION = "dcgan_data boxes", 1
MOST_SAMPLES = 1000
"""Of one page: some 12 MB at 64 px."""
_DRAW = "draw boxes in the page that 'dcgan-data forget annotate RUN' writes, and download them"


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels on one sample."""

    sample: int
    """The sample's number, from 0."""
    x: int
    """The leftmost column."""
    y: int
    """The topmost row."""
    width: int
    """Columns; at least 1."""
    height: int
    """Rows; at least 1."""


@dataclass(frozen=True)
class BoxFile:
    """The contents of ``boxes.json``."""

    model: str
    """``weights_sha256`` of the generator that drew the samples."""
    name: str
    """The same for a person: run and step."""
    seed: int
    """Of the samples."""
    samples: int
    """How many were shown."""
    image_size: int
    """Their side in pixels."""
    boxes: tuple[Box, ...]
    """In the order of drawing; at least one."""


def weights_sha256(generator: Generator) -> str:
    """What samples are a function of, beside seed and number: G's weights and standing statistics."""
    tensors = dict(generator.state_dict())
    for name, module in generator.named_modules():
        if isinstance(module, BatchNorm) and module.standing is not None:
            tensors[f"{name}.mean"], tensors[f"{name}.variance"] = module.standing
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_boxes(path: Path) -> BoxFile:
    """Read ``boxes.json``; BadInput if it is not that, holds no boxes, or one that is not on its sample."""
    raw = _read(path)
    try:
        model, name = (_typed(raw, key, str) for key in ("model", "name"))
        seed, samples, size = (
            _whole(raw, key, least) for key, least in (("seed", 0), ("samples", 1), ("image_size", 1))
        )
        if samples > MOST_SAMPLES:
            raise ValueError(f"samples is {samples}, expected {MOST_SAMPLES} or fewer")
        entries = _typed(raw, "boxes", list)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: no file of boxes ({_what(error)}); {_DRAW}") from None
    boxes = []
    for place, entry in enumerate(entries, 1):
        try:
            boxes.append(_box(entry, samples, size))
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{path}: box {place} cannot be used ({_what(error)}); {_DRAW}") from None
    if not boxes:
        raise BadInput(f"{path}: holds no boxes; {_DRAW}")
    return BoxFile(model, name, seed, samples, size, tuple(boxes))


def check_boxes(path: Path, file: BoxFile, generator: Generator, trained: Trained) -> None:
    """BadRequest unless the boxes of ``path`` were drawn on samples of this very generator."""
    if file.image_size != trained.shape.image_size:
        raise BadRequest(
            f"{path}: drawn on samples of {file.image_size} px ({file.name}), those of {trained.name} have "
            f"{trained.shape.image_size}; give the boxes of this model, or draw them: "
            f"dcgan-data forget annotate {trained.path}"
        )
    if file.model != weights_sha256(generator):
        raise BadRequest(
            f"{path}: drawn on samples of {file.name}, whose weights are not those of {trained.name}; "
            f"choose its --checkpoint, or draw boxes on this one: dcgan-data forget annotate {trained.path}"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = read_json(path)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; {_DRAW}") from None
    except ValueError as error:
        raise BadInput(f"{path}: not a JSON file ({error}); {_DRAW}") from None
    if not isinstance(raw, dict) or raw.get("format") != BOXES_FORMAT:
        raise BadInput(f"{path}: not a file of boxes (no format {BOXES_FORMAT!r}); {_DRAW}")
    if raw.get("version") != BOXES_VERSION:
        raise BadInput(
            f"{path}: version {raw.get('version')!r} of boxes, this program reads {BOXES_VERSION}; {_DRAW}"
        )
    return raw


def _box(entry: Any, samples: int, size: int) -> Box:
    if not isinstance(entry, dict):
        raise TypeError("it is no object")
    least = {"sample": 0, "x": 0, "y": 0, "width": 1, "height": 1}
    box = Box(**{field.name: _whole(entry, field.name, least[field.name]) for field in fields(Box)})
    if box.sample >= samples:
        raise ValueError(f"it is on sample {box.sample}, the last one is {samples - 1}")
    if box.x + box.width > size or box.y + box.height > size:
        raise ValueError(
            f"it ends at {box.x + box.width}, {box.y + box.height}, outside the image of {size}x{size}"
        )
    return box


def _typed(raw: dict[str, Any], name: str, kind: type[Any]) -> Any:
    if type(raw[name]) is not kind:
        raise TypeError(f"{name} is no {kind.__name__}")
    return raw[name]


def _whole(raw: dict[str, Any], name: str, least: int) -> int:
    value: int = _typed(raw, name, int)
    if value < least:
        raise ValueError(f"{name} is {value}, expected {least} or more")
    return value


def _what(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
