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

IMAGE_SIZES = (32, 64, 128, 256)
SCORE_FLOOR = 0.5
"""Pairs that score less are checked, but not recorded; no threshold can be lower."""


@dataclass(frozen=True)
class SourceRecipe:
    """[source]: which records are read."""

    path: str = ""
    """Where the images are; the command's SRC or --source wins. Relative to the current directory."""
    limit: int = 0
    """Read only the first so many records; 0 reads all."""

    def __post_init__(self) -> None:
        _require(0 <= self.limit < 2**40, "source.limit", self.limit, "0 (all) or a number of records")


@dataclass(frozen=True)
class ImageRecipe:
    """[image]: how a record becomes pixels (DCGAN paper, sec. 4)."""

    size: int = 64
    """Side of the stored square in pixels: 32, 64, 128 or 256."""
    filter: str = "fast"
    """``fast``: scaled JPEG decode, then area average. ``quality``: Lanczos from at least twice the size."""
    max_pixels: int = 50_000_000
    """Records whose header promises more pixels are rejected unread (decompression bombs)."""

    def __post_init__(self) -> None:
        _require(self.size in IMAGE_SIZES, "image.size", self.size, f"one of {IMAGE_SIZES}")
        _require(self.filter in ("fast", "quality"), "image.filter", self.filter, "'fast' or 'quality'")
        _require(self.max_pixels > 0, "image.max_pixels", self.max_pixels, "a positive number of pixels")


@dataclass(frozen=True)
class AutoencoderRecipe:
    """[autoencoder]: the 3072-128-3072 de-noising, dropout, ReLU autoencoder (paper, sec. 4.1.1).

    The paper gives the shape and the kinds of regularisation; every number below is this project's.
    """

    inputs: str = "luma"
    """``luma``: the three channels all carry the luminance, so that neither colours nor their loss change the
    code. ``rgb``: the colours themselves, as in the paper; ``dedup --exact`` uses this."""
    standardise: bool = True
    """Bring every image to mean 0 and standard deviation 1 first, so that brightness and contrast
    do not change the code."""
    noise: str = "mask"
    """Corruption of the input while fitting: ``mask`` (values set to 0) or ``gauss`` (noise added)."""
    noise_level: float = 0.2
    """Share of masked values, or standard deviation of the Gaussian noise in units of the input's."""
    dropout: float = 0.5
    """Share of the 128 code units dropped while fitting."""
    max_images: int = 200_000
    """Fit on a seeded sample of at most so many images."""
    holdout: float = 0.05
    """Share of that sample kept out of fitting, to stop on; at most 2,000 images."""
    batch_size: int = 128
    """Images in one update."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    max_updates: int = 8000
    """Never more updates than this ..."""
    max_epochs: int = 400
    """... and never more passes over the sample."""
    evaluate_every: int = 100
    """Updates between looks at the held-out reconstruction loss."""
    patience: int = 3
    """Stop after so many looks in a row without a loss that is lower by half a percent."""

    def __post_init__(self) -> None:
        _require(self.inputs in ("luma", "rgb"), "autoencoder.inputs", self.inputs, "'luma' or 'rgb'")
        _require(self.noise in ("mask", "gauss"), "autoencoder.noise", self.noise, "'mask' or 'gauss'")
        _require(self.noise_level >= 0, "autoencoder.noise_level", self.noise_level, "0 or more")
        masks_all = self.noise == "mask" and self.noise_level >= 1
        _require(not masks_all, "autoencoder.noise_level", self.noise_level, "less than 1 for 'mask'")
        _require(0 <= self.dropout < 1, "autoencoder.dropout", self.dropout, "0 or more, less than 1")
        _require(0 < self.holdout < 1, "autoencoder.holdout", self.holdout, "between 0 and 1")
        for name in ("max_images", "batch_size", "max_updates", "max_epochs", "evaluate_every", "patience"):
            _require(getattr(self, name) >= 1, f"autoencoder.{name}", getattr(self, name), "1 or more")
        _require(
            0 < self.learning_rate < 1, "autoencoder.learning_rate", self.learning_rate, "between 0 and 1"
        )


@dataclass(frozen=True)
class DedupRecipe:
    """[dedup]: which images count as the same, and which of them stays."""

    rule: str = "near"
    """``near``: codes find candidates, a check of the pixels decides. ``exact``: all 128 bits collide, as in
    the paper (sec. 4.1.1). ``none``: nothing is removed."""
    threshold: float = 0.73
    """Images whose best alignment scores at least this are copies (``near``)."""
    keep: str = "best"
    """Which copy stays. ``best``: largest source, then sharpest, then least compressed, then smallest key.
    ``first``: first in the source. ``FILE:COLUMN``: the highest value of a column of a CSV or parquet file
    with the columns ``key`` and that one, then as ``best``."""
    multiplicity: bool = False
    """Record in the column ``weight`` how many images each kept one stands for."""
    mirror: bool = True
    """Whether mirrored copies are duplicates."""
    min_contrast: float = 4.0
    """Images whose 32x32 pixels have a smaller standard deviation (grey levels, of 255) say too little for
    a code: they are duplicates only if their pixels are equal."""
    radius: int = 16
    """Images are compared when their codes, under some view, differ in at most so many of the 128 bits."""
    zooms: tuple[float, ...] = (0.94, 0.88, 0.8)
    """Views: central parts of the image, as shares of its side."""
    shift: float = 1.5
    """Views: moved by so many pixels of 32 in four directions, also at a zoom of 0.9; 0: none."""
    aspect: float = 1.05
    """Views: stretched by this either way; 1: none."""
    bands: int = 24
    """Bands of code bits in which near codes are looked up."""
    window: int = 16
    """Codes of one crowded bucket that a code is compared with."""
    max_candidates: int = 32
    """Nearest codes of an image whose pixels are checked."""

    def __post_init__(self) -> None:
        _require(self.rule in ("near", "exact", "none"), "dedup.rule", self.rule, "'near', 'exact' or 'none'")
        lowest = f"{SCORE_FLOOR} to 1 (pairs that score less are not recorded)"
        _require(SCORE_FLOOR <= self.threshold <= 1, "dedup.threshold", self.threshold, lowest)
        named = self.keep in ("best", "first") or bool(self.keep.rpartition(":")[0])
        _require(named, "dedup.keep", self.keep, "'best', 'first' or FILE:COLUMN")
        _require(self.min_contrast >= 0, "dedup.min_contrast", self.min_contrast, "0 or more")
        _require(0 <= self.radius <= 32, "dedup.radius", self.radius, "0 to 32 bits")
        good = all(0.7 <= zoom < 1 for zoom in self.zooms)
        _require(good, "dedup.zooms", self.zooms, "shares of the side, 0.7 to less than 1")
        _require(0 <= self.shift <= 4, "dedup.shift", self.shift, "0 to 4 pixels")
        _require(1 <= self.aspect <= 1.3, "dedup.aspect", self.aspect, "1 to 1.3")
        _require(1 <= self.bands <= 128, "dedup.bands", self.bands, "1 to 128")
        for name in ("window", "max_candidates"):
            _require(1 <= getattr(self, name) <= 4096, f"dedup.{name}", getattr(self, name), "1 to 4096")


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
    autoencoder: AutoencoderRecipe = field(default_factory=AutoencoderRecipe)
    """[autoencoder]"""
    dedup: DedupRecipe = field(default_factory=DedupRecipe)
    """[dedup]"""

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 4294967295")
        _require(
            1 <= self.records_per_shard < 2**24,
            "records_per_shard",
            self.records_per_shard,
            "1 or more, under 16777216",
        )

    def as_dict(self) -> dict[str, Any]:
        """The resolved recipe as JSON's plain values, every default written out."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values


def load_recipe(path: Path) -> Recipe:
    """Read a TOML recipe; BadRequest names the file, the key and the nearest valid one."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadRequest(f"{path}: no such recipe; see pipelines/*.toml for examples") from None
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path}: not a readable TOML file ({error})") from None
    try:
        return recipe_from_dict(values)
    except BadRequest as error:
        raise BadRequest(f"{path}: {error}") from None


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


def _require(condition: bool, name: str, value: Any, expected: str) -> None:
    if not condition:
        raise BadRequest(f"{name}: {value!r} is not allowed; expected {expected}")
