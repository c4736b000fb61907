"""``dataset.json``: the index of a prepared set, written last, so that its presence means complete."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.manifest import Counts
from dcgan_data.formats.plain import build, checked, read_object
from dcgan_data.formats.shards import FileStamp, stamp_file

SCHEMA_VERSION = 3
INDEX, MANIFEST, PAIRS = "dataset.json", "manifest.parquet", "duplicates.parquet"
AUTOENCODER, IMAGES = "autoencoder.safetensors", "images"
SOURCE_INDEX = ".source_index.npz"
INDEX_COPY = ".dataset.json"
"""What ``dataset.json`` says, but for the timings, with a hash of its own: to put that back from."""
REMOVED_INDEX = f"{INDEX}.removed"
"""The index of a set while ``--overwrite`` removes it."""
STAGING = ".staging"
"""What an unfinished run works on: see ``formats.staging``."""
_NAMES = re.compile(r"images/\d{5,8}\.npy|manifest\.parquet|duplicates\.parquet|autoencoder\.safetensors")
REMEDY = "run the command that made the set again with --overwrite"

_OF_SOURCE = {"kind": str, "path": str, "records": int, "fingerprint": str, "passed_over": dict[str, int]}
"""What is read of ``source``."""
_OF_DECISION = {"rule": str, "threshold": float, "against": dict[str, Any]}
"""What is read of ``deduplication`` to check a set by; which of them there are depends on the rule."""
_OF_OTHER_SET = {"path": str, "content_sha256": str}
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError, AssertionError, OSError)
"""What is raised for an index that is none."""


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
    wrong = stamp_problem(out, name, info)
    if wrong:
        raise BadInput(f"{out / name}: {wrong}; {repair_remedy(out)}")


def stamp_problem(out: Path, name: str, info: DatasetInfo) -> str:
    """What is wrong with a file of the set, held against the index; empty if nothing is."""
    path, expected = out / name, info.files.get(name)
    if expected is None:
        return f"{INDEX} does not list it"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            return f"is {_kind_of_file(status.st_mode)}, but {INDEX} lists it as a file"
        if status.st_size != expected.bytes:
            return f"{status.st_size} bytes, {INDEX} says {expected.bytes}"
        found = stamp_file(path)
    except OSError as error:
        return f"{error.strerror}, but {INDEX} lists it"
    return "" if found == expected else f"its bytes were changed (sha256 differs from {INDEX})"


def repair_remedy(out: Path) -> str:
    """What to do about a file that is not as the index says."""
    return f"'dcgan-data verify {out} --repair' rebuilds it"


def _kind_of_file(mode: int) -> str:
    return "a directory" if stat.S_ISDIR(mode) else "a pipe or a device"


def shard_name(shard: int) -> str:
    """Relative path of a shard, for example ``images/00000.npy``."""
    return f"{IMAGES}/{shard:05d}.npy"


def write_info(out: Path, info: DatasetInfo) -> None:
    """Write ``dataset.json`` atomically, and before it its copy."""
    values = {**asdict(info), "content_sha256": info.content_sha256}
    lasting = {name: value for name, value in values.items() if name != "timings"}
    write_json(out / INDEX_COPY, {"index": lasting, "sha256": _hash_of(lasting)})
    write_json(out / INDEX, values)


def read_info(out: Path) -> DatasetInfo:
    """Read and check ``dataset.json``; BadInput says what the directory is instead of a prepared set."""
    path = out / INDEX
    try:
        return _info_from(path, read_object(path))
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(_not_a_set(out)) from None
    except _DAMAGE as error:
        remedy = _put_back(out) if _can_be_put_back(out) else "make the set again with another --out"
        raise BadInput(f"{path}: damaged ({type(error).__name__}: {error}); {remedy}") from None


def check_index_not_lost(path: Path) -> None:
    """BadInput if this is a set whose index was lost but can be put back: neither OUT nor SRC."""
    if _can_be_put_back(path):
        read_info(path)


def read_index_copy(out: Path) -> DatasetInfo | None:
    """What ``dataset.json`` said when it was written, without timings; None if its copy is not whole."""
    lasting = _read_lasting(out)
    return None if lasting is None else _info_from(out / INDEX_COPY, {**lasting, "timings": {}})


def index_was_changed(out: Path) -> bool:
    """Whether a readable ``dataset.json`` says something else than its copy, which is whole."""
    lasting = _read_lasting(out)
    raw = read_object(out / INDEX)
    return lasting is not None and {**raw, "timings": None} != {**lasting, "timings": None}


def _read_lasting(out: Path) -> dict[str, Any] | None:
    """What the copy holds; None if it is not whole, or no index, whatever its own hash says."""
    try:
        stored = read_object(out / INDEX_COPY)
        lasting: dict[str, Any] = checked(dict[str, Any], stored["index"], "index")
        if stored["sha256"] != _hash_of(lasting):
            return None
        _info_from(out / INDEX_COPY, {**lasting, "timings": {}})
        return lasting
    except _DAMAGE:
        return None


def _info_from(path: Path, raw: dict[str, Any]) -> DatasetInfo:
    version = raw["schema_version"]
    if version != SCHEMA_VERSION:
        raise BadInput(f"{path}: schema version {version}, this program reads {SCHEMA_VERSION}; {REMEDY}")
    info = build(DatasetInfo, raw)
    for name, kind in _OF_SOURCE.items():
        checked(kind, info.source.get(name), f"source.{name}")
    _check_decision(info.deduplication)
    if not 1 <= info.image_size < 1 << 16 or min(info.shard_rows, default=0) < 0:
        raise ValueError(f"images of {info.image_size} px in shards of {info.shard_rows!r:.60}")
    strange = [name for name in info.files if not _NAMES.fullmatch(name)]
    if strange:  # it would be read, and written by a repair, wherever that is
        raise ValueError(f"lists {strange[0]!r}, which no set has")
    return info


def _check_decision(found: dict[str, Any]) -> None:
    for name, kind in _OF_DECISION.items():
        if name in found or (name, found.get("rule")) == ("threshold", "near"):
            checked(kind, found.get(name), f"deduplication.{name}")
    if found.get("rule", "near") not in ("near", "exact"):
        raise ValueError(f"deduplication.rule is {found['rule']!r:.60}, expected near or exact")
    for name, kind in _OF_OTHER_SET.items() if found.get("against") else ():
        checked(kind, found["against"].get(name), f"deduplication.against.{name}")


def _hash_of(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _can_be_put_back(out: Path) -> bool:
    """Whether the index was lost, not removed by a run that is not finished."""
    return not (out / STAGING).exists() and _read_lasting(out) is not None


def _put_back(out: Path) -> str:
    return f"'dcgan-data verify {out} --repair' puts it back"


def _not_a_set(out: Path) -> str:
    if not out.is_dir():
        return f"{out}: no such directory; 'dcgan-data dedup SRC --out {out}' makes a prepared set"
    if _can_be_put_back(out):
        return f"{out}: its {INDEX} is missing; {_put_back(out)}"
    if (out / MANIFEST).exists() and not (out / STAGING).exists() and not (out / REMOVED_INDEX).exists():
        return (
            f"{out}: holds a set's files, but neither {INDEX} nor a whole copy of it ({INDEX_COPY}); "
            "make the set again with another --out"
        )
    if (out / IMAGES).is_dir():
        return (
            f"{out}: unfinished, it has no {INDEX}; run the command that was making it again to complete it"
        )
    return f"{out}: not a prepared set, it has no {INDEX}; 'dcgan-data dedup SRC --out DIR' makes one"
