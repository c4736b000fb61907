"""A recipe says how a prepared set is made: frozen dataclasses, read from TOML, strict.

Everything that changes a byte of the output is a field here; what does not (workers, device, where to)
is an option of the command. The resolved recipe is stored in ``dataset.json``.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from dcgan_data.errors import BadRequest
from dcgan_data.recipe_tables import (
    IMAGE_SIZES,
    SCORE_FLOOR,
    SOURCE_FORMATS,
    AutoencoderRecipe,
    DedupRecipe,
    FacesRecipe,
    ImageRecipe,
    SourceRecipe,
    require,
)

__all__ = [
    "FACES",
    "IMAGE_SIZES",
    "SCORE_FLOOR",
    "SOURCE_FORMATS",
    "AutoencoderRecipe",
    "DedupRecipe",
    "FacesRecipe",
    "ImageRecipe",
    "Recipe",
    "SourceRecipe",
    "differing_keys",
    "load_recipe",
    "recipe_from_dict",
]

_MOST_SIGNS, _MOST_DOTS = 1 << 16, 1000
"""In a recipe, and in a line of it."""


@dataclass(frozen=True)
class Recipe:
    """Everything that a prepared set depends on, besides its source."""

    name: str = "default"
    """For people; shown in the report."""
    seed: int = 0
    """Seeds the sample, the autoencoder and the corruption."""
    records_per_shard: int = 8192
    """Source records in one shard, whatever the number of workers."""
    source: SourceRecipe = field(default_factory=SourceRecipe)
    """[source]"""
    image: ImageRecipe = field(default_factory=ImageRecipe)
    """[image]"""
    faces: FacesRecipe = field(default_factory=FacesRecipe)
    """[faces]"""
    autoencoder: AutoencoderRecipe = field(default_factory=AutoencoderRecipe)
    """[autoencoder]"""
    dedup: DedupRecipe = field(default_factory=DedupRecipe)
    """[dedup]"""

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 4294967295")
        require(
            1 <= self.records_per_shard < 2**24,
            "records_per_shard",
            self.records_per_shard,
            "1 or more, under 16777216",
        )

    def as_dict(self) -> dict[str, Any]:
        """The resolved recipe as JSON's plain values, every default written out."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values


FACES = Recipe(name="faces", faces=FacesRecipe(crop="box"), dedup=DedupRecipe(threshold=0.83))
"""What the command ``faces`` makes if nothing else is asked for; ``pipelines/faces.toml`` says the same.

Faces are alike: of all pairs of 508 web photos' faces, different shots of a person score up to 0.79 (``box``)
or 0.82 (``aligned``)."""


def load_recipe(path: Path) -> Recipe:
    """Read a TOML recipe; BadRequest names the file, the key and the nearest valid one."""
    try:
        values = tomllib.loads(_text_of(path))
    except FileNotFoundError:
        raise BadRequest(f"{path}: no such recipe; see pipelines/*.toml for examples") from None
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path}: not a readable TOML file ({error})") from None
    except RecursionError:
        raise BadRequest(f"{path}: not a recipe (nested too deeply)") from None
    try:
        return recipe_from_dict(values)
    except BadRequest as error:
        raise BadRequest(f"{path}: {error}") from None


def _text_of(path: Path) -> str:
    """ValueError if no person has written it: names of thousands of parts take hours, and gigabytes."""
    with path.open(encoding="utf-8") as file:
        text = file.read(_MOST_SIGNS + 1)
    if len(text) > _MOST_SIGNS or max(line.count(".") for line in text.split("\n")) > _MOST_DOTS:
        raise ValueError("too long for a recipe")
    return text


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """Build a recipe from plain values; BadRequest on an unknown key, a wrong type or a bad value."""
    recipe: Recipe = _build(Recipe, values, "")
    return recipe


def differing_keys(a: dict[str, Any], b: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of what differs between two plain recipes, with both values."""
    found = []
    for key in sorted(a.keys() | b.keys()):
        old, new = a.get(key), b.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differing_keys(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} (there: {old!r}, asked: {new!r})")
    return found


def _build(cls: type[Any], values: dict[str, Any], prefix: str) -> Any:
    known = [f.name for f in fields(cls)]
    types = get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        if key not in known:
            raise BadRequest(_unknown_key(prefix + key, key, known, prefix))
        arguments[key] = _convert(types[key], value, prefix + key)
    return cls(**arguments)


def _convert(expected: type[Any], value: Any, name: str) -> Any:
    if is_dataclass(expected):
        if not isinstance(value, dict):
            raise BadRequest(f"{name}: {value!r} is not a table; write [{name}]")
        return _build(expected, value, f"{name}.")
    if expected is float and type(value) is int:
        return float(value)
    if expected == tuple[float, ...]:
        if not isinstance(value, list | tuple) or not all(type(item) in (int, float) for item in value):
            raise BadRequest(f"{name}: {value!r} is not a list of numbers")
        return tuple(float(item) for item in value)
    if type(value) is not expected:
        raise BadRequest(f"{name}: {value!r} is not of type {expected.__name__}")
    return value


def _unknown_key(full_name: str, key: str, known: list[str], prefix: str) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
    return f"{full_name}: unknown key; did you mean '{prefix}{near}'? (known: {', '.join(known)})"
