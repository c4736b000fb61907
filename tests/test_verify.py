"""Every kind of tampering is named."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dcgan_data.errors import BadInput, DamagedSet
from dcgan_data.formats.dataset import MANIFEST, read_info, shard_name, write_info
from dcgan_data.formats.manifest import MANIFEST_SCHEMA, Counts, read_table, table_writer
from dcgan_data.formats.shards import stamp_file
from dcgan_data.verify import verify

REMEDY = "run the command that made the set again with --overwrite"


def mend(out: Path) -> str:
    return f"'dcgan-data verify {out} --repair' rebuilds it"


def message(out: Path) -> str:
    with pytest.raises(BadInput) as caught:
        verify(out)
    return str(caught.value)


def flip_byte(path: Path, place: int = -7) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def restamp(out: Path, name: str, **changes: Any) -> None:
    """Make ``dataset.json`` agree with a changed file."""
    info = read_info(out)
    files = {**info.files, name: stamp_file(out / name)}
    write_info(out, dataclasses.replace(info, files=files, **changes))


def forge(out: Path, change: Callable[[list[dict[str, Any]]], None], **changes: Any) -> None:
    """Rewrite the manifest, with a stamp that fits."""
    rows = read_table(out / MANIFEST, MANIFEST_SCHEMA).to_pylist()
    change(rows)
    with table_writer(out / MANIFEST, MANIFEST_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA))
    restamp(out, MANIFEST, **changes)


def row(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return next(row for row in rows if row["key"] == key)


def test_a_good_set(finished_set: Path) -> None:
    assert dataclasses.asdict(verify(finished_set)) == {
        "files": 6,
        "rows": 20,
        "removals": 3,
        "notes": (),
    }


def test_a_forgery_that_changes_nothing_is_good(copied_set: Path) -> None:
    """So that the forgeries below fail for what they change."""
    forge(copied_set, lambda rows: None)
    assert verify(copied_set).rows == 20


@pytest.mark.parametrize(
    "name",
    [
        "images/00000.npy",
        "images/00002.npy",
        "manifest.parquet",
        "duplicates.parquet",
        "autoencoder.safetensors",
    ],
)
def test_a_changed_byte(copied_set: Path, name: str) -> None:
    flip_byte(copied_set / name)
    assert message(copied_set) == (
        f"{copied_set}/{name}: its bytes were changed (sha256 differs from dataset.json); {mend(copied_set)}"
    )


@pytest.mark.parametrize("name", ["images/00001.npy", "autoencoder.safetensors"])
def test_a_changed_length(copied_set: Path, name: str) -> None:
    path = copied_set / name
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-10])
    assert message(copied_set) == f"{path}: {size - 10} bytes, dataset.json says {size}; {mend(copied_set)}"


@pytest.mark.parametrize("name", ["images/00001.npy", "manifest.parquet", "autoencoder.safetensors"])
def test_a_lost_file(copied_set: Path, name: str) -> None:
    (copied_set / name).unlink()
    assert message(copied_set) == (
        f"{copied_set}/{name}: No such file or directory, but dataset.json lists it; {mend(copied_set)}"
    )


def test_all_damaged_files_are_found(copied_set: Path) -> None:
    flip_byte(copied_set / "images/00001.npy")
    (copied_set / "duplicates.parquet").unlink()
    (copied_set / "autoencoder.safetensors").write_bytes(b"")
    with pytest.raises(DamagedSet) as caught:
        verify(copied_set, workers=2)
    size = read_info(copied_set).files["autoencoder.safetensors"].bytes
    assert caught.value.files == {
        "autoencoder.safetensors": f"0 bytes, dataset.json says {size}",
        "duplicates.parquet": "No such file or directory, but dataset.json lists it",
        "images/00001.npy": "its bytes were changed (sha256 differs from dataset.json)",
    }
    assert str(caught.value) == (
        f"{copied_set}/autoencoder.safetensors: 0 bytes, dataset.json says {size}, "
        f"and 2 more files are damaged (-v); {mend(copied_set)}"
    )


@pytest.mark.parametrize(
    ("put", "what"),
    [
        (Path.mkdir, "is a directory, but dataset.json lists it as a file"),
        (os.mkfifo, "is a pipe or a device, but dataset.json lists it as a file"),
        (lambda path: path.symlink_to("/nowhere"), "No such file or directory, but dataset.json lists it"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links, but dataset.json lists it"),
    ],
)
def test_something_else_than_a_file(copied_set: Path, put: Callable[[Path], object], what: str) -> None:
    path = copied_set / "images/00001.npy"
    path.unlink()
    put(path)
    assert message(copied_set) == f"{path}: {what}; {mend(copied_set)}"


def test_no_directory_of_images(copied_set: Path) -> None:
    shutil.rmtree(copied_set / "images")
    (copied_set / "images").write_bytes(b"a file")
    with pytest.raises(DamagedSet, match="and 2 more files are damaged") as caught:
        verify(copied_set)
    assert set(caught.value.files.values()) == {"Not a directory, but dataset.json lists it"}


def test_a_file_that_may_not_be_read(copied_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root, who runs the tests in CI, may read everything."""

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("dcgan_data.formats.dataset.stamp_file", refuse)
    assert message(copied_set).startswith(
        f"{copied_set}/autoencoder.safetensors: Permission denied, but dataset.json lists it, and 5 more"
    )


def test_a_file_that_no_index_may_list(copied_set: Path) -> None:
    """It would be read, and written by a repair, wherever that is."""
    index = copied_set / "dataset.json"
    values = json.loads(index.read_text())
    values["files"]["../../notes.txt"] = values["files"]["manifest.parquet"]
    index.write_text(json.dumps(values))
    assert message(copied_set) == (
        f"{index}: damaged (ValueError: lists '../../notes.txt', which no set has); "
        f"'dcgan-data verify {copied_set} --repair' puts it back"
    )


@pytest.mark.parametrize("key", ["seed", "content_sha256"])
def test_an_index_that_was_changed(copied_set: Path, key: str) -> None:
    index = copied_set / "dataset.json"
    values = json.loads(index.read_text())
    (values["recipe"] if key in values["recipe"] else values)[key] = 7
    index.write_text(json.dumps(values))
    assert message(copied_set) == (
        f"{index}: was changed (.dataset.json, its copy, says otherwise); {mend(copied_set)}"
    )


def test_an_index_that_is_lost(copied_set: Path) -> None:
    (copied_set / "dataset.json").unlink()
    assert message(copied_set) == (
        f"{copied_set}: its dataset.json is missing; 'dcgan-data verify {copied_set} --repair' puts it back"
    )
    (copied_set / ".staging").mkdir()  # removed by a run that is not finished
    assert message(copied_set).startswith(f"{copied_set}: unfinished, it has no dataset.json; run the")


def test_what_should_be_known_of_a_good_set(copied_set: Path, tmp_path: Path) -> None:
    (copied_set / "images/00001.npy").rename(tmp_path / "elsewhere.npy")
    (copied_set / "images/00001.npy").symlink_to(tmp_path / "elsewhere.npy")
    (copied_set / ".staging").mkdir()
    (copied_set / "images/00007.npy").write_bytes(b"")
    (copied_set / "images/00000.npy.0123abcd.tmp").write_bytes(b"")
    (copied_set / ".dataset.json").write_text("{}")
    (copied_set / ".source_index.npz").write_text("damaged")
    assert verify(copied_set).notes == (
        "images/00000.npy.0123abcd.tmp: left by a run that was killed",
        ".staging: left by a run that was killed",
        f"images/00001.npy: a link to {tmp_path}/elsewhere.npy, without which the set is not whole",
        "images/00007.npy: none of the set's files",
        f".dataset.json: no whole copy of dataset.json; 'dcgan-data verify {copied_set} --repair' makes one",
        ".source_index.npz: cannot be read; it only makes opening the source quicker",
    )


def test_changed_counts(copied_set: Path) -> None:
    info = read_info(copied_set)
    write_info(copied_set, dataclasses.replace(info, counts=Counts(20, 16, 2, 2)))
    assert message(copied_set) == (
        f"{copied_set}: the manifest has {{'kept': 15, 'duplicate': 3, 'rejected': 2}}, "
        f"dataset.json says {{'kept': 16, 'duplicate': 2, 'rejected': 2}}; {REMEDY}"
    )


def test_counts_that_do_not_add_up(copied_set: Path) -> None:
    index = copied_set / "dataset.json"
    values = json.loads(index.read_text())
    values["counts"]["kept"] += 1
    index.write_text(json.dumps(values))
    assert message(copied_set).startswith(f"{index}: damaged (AssertionError: Counts(read=20, kept=16,")


def test_a_lost_manifest_row(copied_set: Path) -> None:
    forge(copied_set, lambda rows: rows.pop())
    assert f"{copied_set}: the manifest has {{'kept': 15, 'duplicate': 3, 'rejected': 1}}" in message(
        copied_set
    )


def test_a_status_that_does_not_exist(copied_set: Path) -> None:
    forge(copied_set, lambda rows: row(rows, "00").update(status="hidden"))
    assert "'hidden': 1" in message(copied_set)


@pytest.mark.parametrize("changes", [{"row": 5}, {"shard": 1}])
def test_an_image_that_two_rows_or_none_claim(copied_set: Path, changes: dict[str, Any]) -> None:
    forge(copied_set, lambda rows: row(rows, "02").update(changes))
    expected = f"{copied_set}: the manifest does not list the 8 images of shard 0 in order"
    assert message(copied_set) == expected


def test_a_row_of_a_shard_that_there_is_not(copied_set: Path) -> None:
    counts = read_info(copied_set).counts
    more = dataclasses.replace(counts, read=counts.read + 1, kept=counts.kept + 1)
    forge(copied_set, lambda rows: rows.append({**row(rows, "00"), "key": "x", "shard": 99}), counts=more)
    assert message(copied_set) == (
        f"{copied_set}: the manifest has an image, x, of shard 99, which there is not; {REMEDY}"
    )


def test_a_kept_row_without_pixels(copied_set: Path) -> None:
    forge(copied_set, lambda rows: row(rows, "18 text").update(status="kept"), counts=Counts(20, 16, 3, 1))
    assert message(copied_set) == f"{copied_set}: 18 text is kept, but has no pixels"


def test_a_rejected_row_with_pixels(copied_set: Path) -> None:
    forge(copied_set, lambda rows: row(rows, "02").update(status="rejected"), counts=Counts(20, 14, 3, 3))
    assert message(copied_set) == f"{copied_set}: 02 is rejected, but has pixels"


def test_a_shard_of_another_length(copied_set: Path) -> None:
    name = shard_name(2)
    np.save(copied_set / name, np.zeros((3, 32, 32, 3), np.uint8))
    restamp(copied_set, name)
    assert message(copied_set).startswith(
        f"{copied_set}/{name}: holds uint8 (3, 32, 32, 3), expected uint8 (2, 32, 32, 3); run the command"
    )


@pytest.mark.parametrize(
    ("key", "changes", "named"),
    [
        ("17 copy", {"duplicate_of": "16 copy"}, "16 copy"),  # itself removed
        ("17 copy", {"duplicate_of": "04"}, "04"),  # kept, but of no group
        ("17 copy", {"duplicate_of": "15 larger"}, "15 larger"),  # kept, of another group
        ("17 copy", {"duplicate_of": "18 text"}, "18 text"),  # rejected
        ("17 copy", {"duplicate_of": "nobody"}, "nobody"),
        ("17 copy", {"duplicate_of": None}, "None"),
        ("17 copy", {"group": None}, "03"),
    ],
)
def test_a_removal_that_names_no_kept_row_of_its_group(
    copied_set: Path, key: str, changes: dict[str, Any], named: str
) -> None:
    forge(copied_set, lambda rows: row(rows, key).update(changes))
    assert message(copied_set) == (
        f"{copied_set}: {key} is removed for {named}, which is not a kept row of its group"
    )


def test_a_manifest_with_other_columns(copied_set: Path) -> None:
    import pyarrow.parquet as pq

    path = copied_set / MANIFEST
    pq.write_table(pq.read_table(path).drop_columns(["code"]), path)
    restamp(copied_set, MANIFEST)
    assert message(copied_set) == f"{path}: not the expected columns (differing: ['code'])"


def test_no_set_at_all(tmp_path: Path) -> None:
    assert message(tmp_path).startswith(f"{tmp_path}: not a prepared set, it has no dataset.json")


@pytest.mark.parametrize(
    ("key", "changes", "claim"),
    [
        ("06", {"score": 0.99}, "06 is removed for 06 grainy (0.990 at "),
        ("02 jpeg", {"view": "zoom 0.95x0.95"}, "02 jpeg is removed for 02 (0."),
        ("02 jpeg", {"view": "mirror"}, "02 jpeg is removed for 02 (0."),
        ("02 jpeg", {"duplicate_of": "03", "group": 3}, "02 jpeg is removed for 03 (0."),
        (
            "07",
            {
                "status": "duplicate",
                "duplicate_of": "03",
                "group": 3,
                "view": "identity",
                "distance": 0,
                "score": 0.9,
            },
            "07 is removed for 03 (0.900 at 'identity')",
        ),
    ],
)
def test_a_removal_that_the_pixels_do_not_bear_out(
    copied_near_set: Path, key: str, changes: dict[str, Any], claim: str
) -> None:
    """Files, counts and groups agree with the forgery: only the proof can notice."""
    more = changes.get("status") == "duplicate"

    def change(rows: list[dict[str, Any]]) -> None:
        row(rows, key).update(changes)
        if "group" in changes:
            row(rows, key)["group"] = row(rows, changes["duplicate_of"])["group"]

    forge(copied_near_set, change, counts=Counts(24, 15 - more, 8 + more, 1))
    found = message(copied_near_set)
    assert found.startswith(f"{copied_near_set}: {claim}")
    assert found.endswith(f"), but their pixels do not bear that out; {REMEDY}")


def test_a_view_that_is_none(copied_near_set: Path) -> None:
    forge(copied_near_set, lambda rows: row(rows, "02 jpeg").update(view="upside down"))
    assert message(copied_near_set) == f"{copied_near_set}: the manifest has no view: 'upside down'; {REMEDY}"


def test_a_threshold_above_a_removals_score(copied_near_set: Path) -> None:
    info = read_info(copied_near_set)
    findings = {**info.deduplication, "threshold": 0.88}
    write_info(copied_near_set, dataclasses.replace(info, deduplication=findings))
    assert message(copied_near_set).startswith(f"{copied_near_set}: 06 is removed for 06 grainy (0.")


@pytest.mark.parametrize("changes", [{"distance": 1}, {"score": 0.9}, {"view": "mirror"}])
def test_a_removal_that_rests_on_no_recorded_pair(copied_near_set: Path, changes: dict[str, Any]) -> None:
    """Equal pixels prove it, whatever is said of them; but nothing else was recorded than identity and 1."""
    forge(copied_near_set, lambda rows: row(rows, "03 equal").update(changes))
    assert message(copied_near_set) == (
        f"{copied_near_set}: a removal rests on the pair of 03 and 03 equal, "
        f"but duplicates.parquet has none like it; {REMEDY}"
    )


NOT_REMOVED = {"status": "kept", "duplicate_of": None, "view": None, "distance": None, "score": None}


def test_a_removal_that_is_undone(copied_near_set: Path) -> None:
    forge(copied_near_set, lambda rows: row(rows, "06").update(NOT_REMOVED), counts=Counts(24, 16, 7, 1))
    found = message(copied_near_set)
    assert found.startswith(f"{copied_near_set}: 06")
    assert found.endswith(f" are both kept, but duplicates.parquet has them as copies; {REMEDY}")


def test_a_removal_of_the_exact_rule_that_is_undone(copied_set: Path) -> None:
    forge(copied_set, lambda rows: row(rows, "16 copy").update(NOT_REMOVED), counts=Counts(20, 16, 2, 2))
    assert message(copied_set) == (
        f"{copied_set}: 03 and 16 copy are both kept, but duplicates.parquet has them as copies; {REMEDY}"
    )


def test_the_exact_rule_is_proved_by_codes(copied_set: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        kept = row(rows, "03")
        row(rows, "05").update(
            status="duplicate", duplicate_of="03", group=kept["group"], view="identity", distance=0
        )

    forge(copied_set, change, counts=Counts(20, 14, 4, 2))
    assert message(copied_set) == (
        f"{copied_set}: 05 is removed for 03 (equal codes), but their pixels do not bear that out; {REMEDY}"
    )


def test_pixels_that_were_changed_with_their_stamp(copied_near_set: Path) -> None:
    """One picture exchanged for noise: the removal that names it no longer holds."""
    rows = read_table(copied_near_set / MANIFEST, MANIFEST_SCHEMA).to_pylist()
    place = row(rows, "02")
    name = shard_name(place["shard"])
    shard = np.load(copied_near_set / name)
    shard[place["row"]] = np.random.default_rng(0).integers(0, 256, shard.shape[1:])
    np.save(copied_near_set / name, shard)
    restamp(copied_near_set, name)
    assert message(copied_near_set).startswith(f"{copied_near_set}: 02 jpeg is removed for 02 (0.")


@pytest.mark.parametrize("name", ["images/00001.npy", "manifest.parquet", "duplicates.parquet"])
def test_a_changed_byte_or_a_lost_file_of_a_near_set(copied_near_set: Path, name: str) -> None:
    path = copied_near_set / name
    flip_byte(path)
    changed = "its bytes were changed (sha256 differs from dataset.json)"
    assert message(copied_near_set) == f"{path}: {changed}; {mend(copied_near_set)}"
    path.unlink()
    lost = "No such file or directory, but dataset.json lists it"
    assert message(copied_near_set) == f"{path}: {lost}; {mend(copied_near_set)}"


def test_a_good_near_set(copied_near_set: Path) -> None:
    forge(copied_near_set, lambda rows: None)
    assert dataclasses.asdict(verify(copied_near_set)) == {
        "files": 6,
        "rows": 24,
        "removals": 8,
        "notes": (),
    }
