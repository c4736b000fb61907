"""Which columns of a parquet file hold the images and the labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dcgan_data.errors import BadInput
from dcgan_data.sources.location import Location

_IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo")
_LABEL_NAMES = ("label", "labels", "fine_label", "class", "cls", "text", "caption")
_MOST_LISTED = 20


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are read."""

    image: str
    """Its type is binary, or a struct with a binary ``bytes``."""
    label: str | None
    """Its type is integer, floating-point or string."""


def choose_columns(path: Location, schema: pa.Schema, asked: tuple[str, str]) -> Columns:
    """The columns that are asked for, else what their names and types suggest."""
    images = [field.name for field in schema if _may_hold_images(field.type)]
    labels = [field.name for field in schema if _may_hold_labels(field.type)]
    listed = ", ".join(f"{field.name} ({field.type})" for field in list(schema)[:_MOST_LISTED])
    more = f" and {len(schema) - _MOST_LISTED} more" if len(schema) > _MOST_LISTED else ""
    for setting, name, usable in (("image", asked[0], images), ("label", asked[1], labels)):
        if name and usable.count(name) != 1:
            raise BadInput(
                f"{path}: no single column {name!r} that may hold {setting}s; it has {listed}{more}; "
                f"name one of them with {setting}_column in the recipe's [source]"
            )
    image = asked[0] or _first(_IMAGE_NAMES, images) or (images[0] if len(images) == 1 else "")
    if not image:
        found = "several columns may" if images else "no column can"
        raise BadInput(
            f"{path}: {found} hold the images; it has {listed}{more}; "
            "name one with image_column in the recipe's [source]"
        )
    return Columns(image, asked[1] or _first(_LABEL_NAMES, labels))


def has_label_lists(schema: pa.Schema) -> bool:
    """Whether the column that has the name of a label holds several for a picture: then it is none."""
    lists = [field.name for field in schema if _is_list(field.type)]
    labels = [field.name for field in schema if _may_hold_labels(field.type)]
    return _first(_LABEL_NAMES, [*labels, *lists]) in lists


def _first(names: Iterable[str], among: Sequence[str]) -> str | None:
    return next((name for name in names if among.count(name) == 1), None)


def _may_hold_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _may_hold_labels(kind: pa.DataType) -> bool:
    types: Any = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    return types.is_integer(kind) or types.is_floating(kind) or any(is_text(kind) for is_text in texts)


def _is_list(kind: pa.DataType) -> bool:
    types: Any = pa.types
    views = (types.is_list_view, types.is_large_list_view)
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list, *views)
    return any(is_list(kind) for is_list in lists)
