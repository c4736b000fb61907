"""The steps of a repair in their order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dcgan_data.damage import find_damage
from dcgan_data.errors import BadInput, BadRequest, DamagedSet
from dcgan_data.formats.dataset import (
    INDEX,
    INDEX_COPY,
    REMEDY,
    STAGING,
    DatasetInfo,
    index_was_changed,
    read_index_copy,
    read_info,
    write_info,
)
from dcgan_data.formats.lock import locked
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.staging import REPORT, REPORT_FILES, remove_leftovers
from dcgan_data.repair.decisions import rebuild_autoencoder, rebuild_tables
from dcgan_data.repair.mending import Mending
from dcgan_data.repair.pixels import copy_from_set, rebuild_shards, rebuild_source_index
from dcgan_data.report import write_report
from dcgan_data.reporter import Reporter, SilentReporter
from dcgan_data.sources.location import Location
from dcgan_data.verify import Verification, check_contents


@dataclass(frozen=True)
class RepairSettings:
    """How to repair."""

    source: Location | None = None
    """Where the source is by now, or another prepared set with the same files; None: where the index says."""
    workers: int = 1
    """Processes."""
    memory: int = 0
    """Bytes that all processes together may use to search for copies again; 0: no limit."""

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise BadRequest(f"--workers {self.workers}: expected 1 or more")


@dataclass(frozen=True)
class Repair:
    """What came of a repair."""

    path: Path
    """The set."""
    rebuilt: tuple[str, ...]
    """Files that were put in place, in that order; each has its recorded bytes."""
    not_rebuilt: dict[str, str]
    """Why others could not be; they are as they were."""
    verification: Verification | None
    """What the check of the whole set found; None if it is not whole."""

    def require_whole(self) -> None:
        """Raise DamagedSet if a file could not be rebuilt."""
        if self.not_rebuilt:
            name, why = next(iter(self.not_rebuilt.items()))
            others = len(self.not_rebuilt) - 1
            more = f" (and {others} more {'files' if others > 1 else 'file'}, see -v)" if others else ""
            raise DamagedSet(f"{self.path / name}: not rebuilt{more}: {why}", self.not_rebuilt)


def repair(out: Path, settings: RepairSettings, reporter: Reporter | None = None) -> Repair:
    """Rebuild what can be rebuilt of a damaged set, and check all of it.

    BadInput if ``out`` is no set, or if it is damaged in a way that its recorded bytes do not show.
    """
    if read_index_copy(out) is None or (out / STAGING).exists():
        read_info(out)  # before the lock would make a directory
    reporter = reporter or SilentReporter()
    with locked(out, "OUT", reporter.say):
        rebuilt = _restore_index(out)
        prepared = PreparedSet(out, read_info(out))
        damage = find_damage(out, prepared.info, settings.workers)
        wrong = {file.name: file.what for file in damage}
        unlisted = sorted(wrong.keys() - prepared.info.files.keys())
        if unlisted:
            raise BadInput(f"{out / INDEX}: does not list {unlisted[0]}, so that nothing proves it; {REMEDY}")
        donor = _donor(settings)
        source = None if donor else settings.source  # what a donor does not have comes from where it came
        mending = Mending(prepared, wrong, source, settings.workers, settings.memory, reporter, rebuilt)
        if wrong:
            _rebuild(mending, donor)
        rebuild_source_index(mending)
        if mending.failed:
            return Repair(out, tuple(mending.rebuilt), mending.failed, None)
        remove_leftovers(out)
        verification = check_contents(prepared, settings.workers)
        return Repair(out, (*mending.rebuilt, *_write_report(out)), {}, verification)


def _restore_index(out: Path) -> list[str]:
    """Put the index back from its copy, or the copy from the index, if one of them is lost or was changed."""
    copy, info = read_index_copy(out), _info_if_whole(out)
    if copy is not None and info is None and not (out / STAGING).exists():
        write_info(out, copy)
        return [INDEX]
    if copy is None and info is not None:
        write_info(out, info)
        return [INDEX_COPY]
    return []


def _info_if_whole(out: Path) -> DatasetInfo | None:
    try:
        info = read_info(out)
    except BadInput:
        return None
    return None if index_was_changed(out) else info


def _donor(settings: RepairSettings) -> Path | None:
    """The source, if that is another prepared set."""
    place = settings.source
    return place if isinstance(place, Path) and (place / INDEX).exists() else None


def _rebuild(mending: Mending, donor: Path | None) -> None:
    with mending.workshop.open():
        if donor:
            copy_from_set(mending, donor)
        rebuild_shards(mending)
        rebuild_autoencoder(mending)
        rebuild_tables(mending)


def _write_report(out: Path) -> list[str]:
    """Write the report; names the files that were missing or are others now."""
    before = [_read(out / REPORT / name) for name in REPORT_FILES]
    write_report(out)
    after = [_read(out / REPORT / name) for name in REPORT_FILES]
    return [f"{REPORT}/{name}" for name, a, b in zip(REPORT_FILES, before, after, strict=True) if a != b]


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
