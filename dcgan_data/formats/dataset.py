"""``dataset.json``: the index of a prepared set, written last, so that its presence means complete."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.manifest import Counts
from dcgan_data.formats.shards import FileStamp, stamp_file

SCHEMA_VERSION = 3
INDEX, MANIFEST, PAIRS = "dataset.json", "manifest.parquet", "duplicates.parquet"
AUTOENCODER, IMAGES = "autoencoder.safetensors", "images"
SOURCE_INDEX = ".source_index.npz"
REMEDY = "run the command that made the set again with --overwrite"


@dataclass(frozen=True)
class DatasetInfo:
    """The contents of ``dataset.json``. Everything but ``timings`` is the same bytes for every run."""

    recipe: dict[str, Any]
    """The recipe as resolved, every default written out."""
    source: dict[str, Any]
    """Kind, path, number of records, fingerprint, and files that were passed over."""
    image_size: int
    """Side of the stored images in pixels."""
    shard_rows: list[int]
    """Images in each shard."""
    counts: Counts
    """read = kept + duplicate + rejected."""
    rejected: dict[str, int]
    """Rejected rows by reason."""
    deduplication: dict[str, Any]
    """The rule, its thresholds and what was found; empty for a set that was only prepared."""
    libraries: dict[str, str]
    """Versions of what the pixels and codes depend on."""
    files: dict[str, FileStamp]
    """Every file of the set but this one, by relative path."""
    timings: dict[str, float]
    """Seconds by stage, of the run that finished the set."""
    schema_version: int = SCHEMA_VERSION
    """Raised when a reader of older sets would be wrong."""

    @property
    def content_sha256(self) -> str:
        """One hash for the whole set: equal for two sets if and only if all their files are."""
        lines = "".join(f"{name} {stamp.sha256}\n" for name, stamp in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


def check_stamp(out: Path, name: str, info: DatasetInfo) -> None:
    """BadInput unless a file of the set has the size and hash that the index says."""
    path, expected = out / name, info.files.get(name)
    if expected is None:
        raise BadInput(f"{out / INDEX}: does not list {name}; {REMEDY}")
    try:
        found = stamp_file(path)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}, but dataset.json lists it; {REMEDY}") from None
    if found.bytes != expected.bytes:
        raise BadInput(f"{path}: {found.bytes} bytes, dataset.json says {expected.bytes}; {REMEDY}")
    if found.sha256 != expected.sha256:
        raise BadInput(f"{path}: its bytes were changed (sha256 differs from dataset.json); {REMEDY}")


def shard_name(shard: int) -> str:
    """Relative path of a shard, for example ``images/00000.npy``."""
    return f"{IMAGES}/{shard:05d}.npy"


def write_info(out: Path, info: DatasetInfo) -> None:
    """Write ``dataset.json`` atomically."""
    write_json(out / INDEX, {**asdict(info), "content_sha256": info.content_sha256})


def read_info(out: Path) -> DatasetInfo:
    """Read and check ``dataset.json``; BadInput says what the directory is instead of a prepared set."""
    path = out / INDEX
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        version = raw["schema_version"]
        if version != SCHEMA_VERSION:
            raise BadInput(f"{path}: schema version {version}, this program reads {SCHEMA_VERSION}; {REMEDY}")
        known = {field.name: raw[field.name] for field in fields(DatasetInfo)}
        known["counts"] = Counts(**raw["counts"])
        known["files"] = {name: FileStamp(**stamp) for name, stamp in raw["files"].items()}
        return DatasetInfo(**known)
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(_not_a_set(out)) from None
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, OSError) as error:
        raise BadInput(f"{path}: damaged ({type(error).__name__}: {error}); rebuild the set") from None


def _not_a_set(out: Path) -> str:
    if not out.is_dir():
        return f"{out}: no such directory; 'dcgan-data dedup SRC --out {out}' makes a prepared set"
    if (out / IMAGES).is_dir():
        return (
            f"{out}: unfinished, it has no {INDEX}; run the command that was making it again to complete it"
        )
    return f"{out}: not a prepared set, it has no {INDEX}; 'dcgan-data dedup SRC --out DIR' makes one"
