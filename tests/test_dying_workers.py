"""Records that end the process which decodes them, or never end: rejected, whatever the workers."""

from __future__ import annotations

import ctypes
import io
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cloudpickle import register_pickle_by_value
from PIL import Image

from dcgan_data.errors import BadInput
from dcgan_data.formats.lock import LOCK, locked
from dcgan_data.formats.staging import Staging
from dcgan_data.ops.decode import DecodeSettings
from dcgan_data.parallel import deaths_told_to
from dcgan_data.poisonous import ShardDeaths
from dcgan_data.prepare import prepare, prepare_shard
from dcgan_data.record_note import Place, read_place, record_note
from dcgan_data.sources import Record

# torch-fidelity installs a package named "tests": workers would look there for the classes of this module.
register_pickle_by_value(sys.modules[__name__])

TO_32 = DecodeSettings(32)
DIED = "worker_died: it ended the process that decoded it, twice"


class Deadly(bytes):
    """Encoded bytes that no decoder survives: who looks at them leaves a note, and dies."""

    notes: Path

    @classmethod
    def of(cls, data: bytes, notes: Path) -> Deadly:
        found = cls(data)
        found.notes = notes
        return found

    def __getitem__(self, _: Any) -> Any:
        with (self.notes / "deaths").open("a") as file:
            file.write(f"{os.getpid()}\n")
        os.kill(os.getpid(), signal.SIGKILL)


class DeadlyOnce(Deadly):
    """As if a user killed the process that happens to be at this record."""

    def __getitem__(self, index: Any) -> Any:
        return bytes(self)[index] if (self.notes / "deaths").exists() else super().__getitem__(index)


class TooLarge(Deadly):
    """Decoding them takes more memory than there is."""

    def __getitem__(self, _: Any) -> Any:
        with (self.notes / "deaths").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return bytearray(1 << 62)


class TooLargeOnce(TooLarge):
    """Memory was short while others had it."""

    def __getitem__(self, index: Any) -> Any:
        return bytes(self)[index] if (self.notes / "deaths").exists() else super().__getitem__(index)


class Endless(bytes):
    """A decoder hangs on them, in C, and holds Python's lock."""

    def __getitem__(self, _: Any) -> Any:
        ctypes.PyDLL(None).sleep(600)


class Waiting(Deadly):
    """Decoding them begins when it is allowed to."""

    def __getitem__(self, index: Any) -> Any:
        if not (self.notes / "allowed").exists():
            os.mkfifo(self.notes / "fifo")
            (self.notes / "fifo").read_bytes()
        return bytes(self)[index]


@dataclass(frozen=True)
class ListShard:
    """Records in memory."""

    records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)


class DeadlyToRead(ListShard):
    """As a database whose file was cut short."""

    def __iter__(self) -> Iterator[Record]:
        yield self.records[0]
        os.kill(os.getpid(), signal.SIGBUS)


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def shards_of(notes: Path, *kinds: type[bytes], places: Sequence[int] = (2,)) -> list[ListShard]:
    """Three shards of five records; the second has records of these kinds at these places."""
    data: list[list[bytes]] = [[png(5 * shard + number) for number in range(5)] for shard in range(3)]
    for place, kind in zip(places, kinds, strict=False):
        good = data[1][place]
        data[1][place] = kind.of(good, notes) if issubclass(kind, Deadly) else kind(good)
    return [
        ListShard([Record(f"{shard}.{number}", bad) for number, bad in enumerate(records)])
        for shard, records in enumerate(data)
    ]


def contents(out: Path) -> dict[str, bytes]:
    """Pixels and rows; of how they came about, only what is to be rejected."""
    return {
        str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


def reasons(out: Path, shard: int = 1) -> list[str | None]:
    found: list[str | None] = Staging(out).read_records(shard, ["reason"])["reason"].to_pylist()
    return found


def undisturbed(tmp_path: Path, rejected: dict[int, str]) -> dict[str, bytes]:
    """What comes of good shards, if it is known which records are to be rejected."""
    out = tmp_path / "undisturbed"
    for record, reason in rejected.items():
        Staging(out).reject_record(1, record, reason)
    out.mkdir(exist_ok=True)
    assert list(prepare(shards_of(tmp_path), TO_32, out, 1)) == [0, 5, 5, 5]
    return contents(out)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_a_poisonous_record_is_rejected(tmp_path: Path, out: Path) -> None:
    told: list[str] = []
    with deaths_told_to(told.append):
        done = list(prepare(shards_of(tmp_path, Deadly), TO_32, out, 1, max_seconds=60))
    assert done == [0, 5, 5, 5]
    assert reasons(out) == [None, None, DIED, None, None]
    assert len(set((tmp_path / "deaths").read_text().split())) == 2
    assert told == [
        "a worker process died while at shard 1 (perhaps for lack of memory); trying it again by itself",
        f"shard 1: record 2, counted from 0, is rejected ({DIED}; if memory was short, make the set again "
        "with more of it and --overwrite); trying again without it",
    ]
    assert contents(out) == undisturbed(tmp_path, {2: DIED})


def test_a_record_for_which_memory_was_short_is_tried_again(tmp_path: Path, out: Path) -> None:
    list(prepare(shards_of(tmp_path, TooLargeOnce), TO_32, out, 1, max_seconds=60))
    assert contents(out) == undisturbed(tmp_path, {})


def test_a_record_for_which_memory_is_always_too_short(tmp_path: Path, out: Path) -> None:
    list(prepare(shards_of(tmp_path, TooLarge), TO_32, out, 1, max_seconds=60))
    assert contents(out) == undisturbed(tmp_path, {2: DIED})


def test_this_process_does_not_die_for_lack_of_memory(tmp_path: Path, out: Path) -> None:
    with pytest.raises(MemoryError):
        list(prepare(shards_of(tmp_path, TooLarge), TO_32, out, 1))
    assert reasons(out, 0) == [None] * 5


def test_two_poisonous_records_in_a_shard_of_three_workers(tmp_path: Path, out: Path) -> None:
    list(prepare(shards_of(tmp_path, Deadly, Deadly, places=(0, 4)), TO_32, out, 3))
    assert reasons(out) == [DIED, None, None, None, DIED]
    assert len((tmp_path / "deaths").read_text().split()) == 4
    assert contents(out) == undisturbed(tmp_path, {0: DIED, 4: DIED})


def test_a_rejected_record_is_known_by_its_bytes(tmp_path: Path, out: Path) -> None:
    Staging(out).reject_record(1, 2, DIED)
    prepare_shard(shards_of(tmp_path, Deadly)[1], 1, TO_32, out)
    row = Staging(out).read_records(1).to_pylist()[2]
    assert (row["key"], row["status"], row["row"], row["bytes"]) == ("1.2", "rejected", None, len(png(7)))
    assert row["sha256"]


def test_a_worker_killed_once_changes_nothing(tmp_path: Path, out: Path) -> None:
    list(prepare(shards_of(tmp_path, DeadlyOnce), TO_32, out, 2))
    assert (tmp_path / "deaths").exists()
    assert contents(out) == undisturbed(tmp_path, {})


def test_an_endless_record_is_rejected(tmp_path: Path, out: Path) -> None:
    """With one worker too, and though the decoder holds Python's lock."""
    told: list[str] = []
    with deaths_told_to(told.append):
        list(prepare(shards_of(tmp_path, Endless), TO_32, out, 1, max_seconds=0.3))
    assert reasons(out) == [None, None, "too_slow: over 0.3 seconds", None, None]
    assert told[0] == (
        "a worker process died while at shard 1 (a record took over 0.3 seconds); trying it again by itself"
    )
    assert told[1] == (
        "shard 1: record 2, counted from 0, is rejected (too_slow: over 0.3 seconds; a larger [image] "
        "max_seconds in the recipe, and --overwrite, give it more time); trying again without it"
    )
    assert contents(out) == undisturbed(tmp_path, {2: "too_slow: over 0.3 seconds"})


def test_reading_has_no_limit(tmp_path: Path) -> None:
    """A slow network is no fault of a record: the alarm is off while the next one is read."""

    def records() -> Iterator[int]:
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
        yield 1
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0

    with record_note(tmp_path / "note", 50) as note:
        for number, record in note.follow(records()):
            assert (number, record) == (0, 1)
            assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
            assert read_place(tmp_path / "note") == Place(0, decoding=True, slow=False)
        assert read_place(tmp_path / "note") == Place(1, decoding=False, slow=False)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert read_place(tmp_path / "note") is None


def test_an_error_leaves_neither_alarm_nor_note(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bug"), record_note(tmp_path / "note", 50) as note:
        for _ in note.follow([1]):
            raise ValueError("bug")
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert read_place(tmp_path / "note") is None
    (tmp_path / "note").write_bytes(b"")
    assert read_place(tmp_path / "note") is None


def test_a_source_that_cannot_be_read_is_no_records_fault(tmp_path: Path, out: Path) -> None:
    with pytest.raises(BadInput) as caught:
        list(prepare([DeadlyToRead([Record("a", png(0))])], TO_32, out, 1, max_seconds=60))
    assert str(caught.value) == (
        "shard 0: the process that worked on it died 3 times, while it read or wrote; the source may be "
        "damaged, such as a database that was cut short; what is finished is kept: look at the source, or "
        "fetch it again, and run the same command again"
    )


def run_elsewhere(notes: Path, out: Path, workers: int, *kinds: str, places: str = "2") -> list[str]:
    here = Path(__file__)
    script = f"import sys; sys.path.insert(0, {str(here.parent)!r}); import {here.stem} as t; t.main()"
    return [sys.executable, "-c", script, str(notes), str(out), str(workers), places, *kinds]


def main() -> None:
    """Prepare shards in a process that can be killed."""
    notes, out, workers, places, *kinds = sys.argv[1:]
    chosen = [globals()[kind] for kind in kinds]
    list(
        prepare(
            shards_of(Path(notes), *chosen, places=[int(p) for p in places]), TO_32, Path(out), int(workers)
        )
    )


def test_a_run_without_workers_dies_but_not_twice(tmp_path: Path, out: Path) -> None:
    """One worker and no limit: the run itself dies, and the next one has that shard done elsewhere."""
    died = subprocess.run(run_elsewhere(tmp_path, out, 1, "Deadly"), check=False)
    assert died.returncode == -signal.SIGKILL
    assert read_place(Staging(out).note(1)) == Place(2, decoding=True, slow=False)
    assert sorted(prepare(shards_of(tmp_path, Deadly), TO_32, out, 1)) == [5, 5, 5]
    assert str(os.getpid()) not in (tmp_path / "deaths").read_text().split()
    assert contents(out) == undisturbed(tmp_path, {2: DIED})


def test_a_killed_run_knows_what_was_rejected(tmp_path: Path, out: Path) -> None:
    command = run_elsewhere(tmp_path, out, 2, "Deadly", "Waiting", places="23")
    with subprocess.Popen(command) as parent:
        while not (tmp_path / "fifo").exists():
            assert parent.poll() is None
            time.sleep(0.01)
        parent.kill()
    assert Staging(out).rejected_records(1) == {2: DIED}
    with locked(out, "--out"):  # waits for its workers
        (tmp_path / "allowed").touch()
        list(prepare(shards_of(tmp_path, Deadly, Waiting, places=(2, 3)), TO_32, out, 2))
    (out / LOCK).unlink()
    assert len((tmp_path / "deaths").read_text().split()) == 2
    assert contents(out) == undisturbed(tmp_path, {2: DIED})


def test_every_record_is_too_slow(tmp_path: Path) -> None:
    """On a machine that has too much to do: no memory is short."""
    staging = Staging(tmp_path)
    deaths = ShardDeaths(staging, [7], 0.5, own_process=())
    note = staging.note(7)
    note.parent.mkdir(parents=True)
    for record in range(3):
        note.write_bytes(struct.pack("<q?", record, True) + b"the stack, written by the alarm")
        if record == 0:
            assert deaths.suspect(0) == "a record took over 0.5 seconds"
        elif record == 1:
            assert deaths.died_again(0) == "shard 7: its process died again; trying once more"
    with pytest.raises(BadInput) as caught:
        deaths.died_again(0)
    assert str(caught.value) == (
        "shard 7: the process that worked on it died 3 times, each time at another record that took over "
        "0.5 seconds; what is finished is kept: use fewer --workers, or allow more time with [image] "
        "max_seconds in a recipe, and run the same command again"
    )
