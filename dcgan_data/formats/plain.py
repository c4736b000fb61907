"""JSON files, and the frozen dataclasses made of them, held against the types that their fields have.

A file may come from anywhere. What is checked here, once, fails here, and not later in whoever uses it.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

Made = TypeVar("Made")


def read_json(path: Path) -> Any:
    """What a JSON file holds; OSError if it cannot be read, ValueError if it is damaged."""
    return parse_json(path.read_text(encoding="utf-8"))


def read_object(path: Path) -> dict[str, Any]:
    """The same; ValueError too if it is no JSON object."""
    found: dict[str, Any] = checked(dict[str, Any], read_json(path), "the file")
    return found


def parse_json(data: bytes | str) -> Any:
    """What JSON text says; ValueError if it is damaged."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def build(cls: type[Made], values: object) -> Made:
    """A dataclass of the fields that a JSON object has for it; others are passed over, as a later version may
    have written them.

    ValueError names a field that is missing without having a default, or of another type.
    """
    known = checked(dict[str, Any], values, cls.__name__)
    kinds = get_type_hints(cls)
    names = [field.name for field in fields(cls) if field.name in known]  # type: ignore[arg-type]
    arguments = {name: checked(kinds[name], known[name], name) for name in names}
    try:
        return cls(**arguments)
    except TypeError as error:  # a field is missing
        raise ValueError(str(error).partition(" ")[2]) from None


def checked(kind: Any, value: Any, name: str) -> Any:
    """``value`` as what a type hint says, JSON's lists as tuples if it says so; else ValueError.

    Knows dataclasses, plain types, ``Any``, unions, and lists, tuples and dicts of them.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return value if isinstance(value, kind) else build(kind, value)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        return _one_of(inner, value, name)
    if origin in (dict, Mapping) and type(value) is dict:
        return {key: checked(inner[1], each, f"{name}.{key}") for key, each in value.items()}
    if origin is list and type(value) is list:
        return [checked(inner[0], each, f"{name}[{place}]") for place, each in enumerate(value)]
    if origin is tuple and isinstance(value, list | tuple):
        many = inner[-1] is Ellipsis
        if many or len(value) == len(inner):
            kinds = inner[:1] * len(value) if many else inner
            return tuple(
                checked(k, v, f"{name}[{n}]") for n, (k, v) in enumerate(zip(kinds, value, strict=True))
            )
    if kind is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is kind:
        return value
    raise ValueError(f"{name} is {_shown(value)}, expected {_name_of(kind)}")


def _one_of(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    """The first that it fits; if there is none, what is said of the last."""
    if value is None and types.NoneType in kinds:
        return None
    *others, last = (kind for kind in kinds if kind is not types.NoneType)
    for kind in others:
        try:
            return checked(kind, value, name)
        except ValueError:
            continue
    return checked(last, value, name)


def _shown(value: Any) -> str:
    return f"{type(value).__name__}" if isinstance(value, dict | list) else f"{value!r:.60}"


def _name_of(kind: Any) -> str:
    return kind.__name__ if get_origin(kind) is None else str(kind).replace("typing.", "")
