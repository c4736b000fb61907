"""Lists of keys to filter the original by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dcgan_data.export import ExportResult
from dcgan_data.export.raw_keys import raw_key
from dcgan_data.formats.prepared import PreparedSet

Run = Callable[..., ExportResult]
COLUMNS = ["key", "part", "status", "reason", "duplicate_of", "duplicate_of_part", "score"]


def test_kept_and_removed(tmp_path: Path, finished_set: Path, run: Run) -> None:
    result = run(finished_set, "keys", tmp_path / "keys")
    kept = (tmp_path / "keys" / "kept.txt").read_text().splitlines()
    assert kept == [*(f"{n:02d}" for n in range(14)), "15 larger"]
    rows = PreparedSet.open(finished_set).manifest().to_pylist()
    reasons = {row["key"]: row["reason"] for row in rows if row["reason"]}
    assert reasons["18 text"].startswith("not_an_image") and len(reasons) == 2
    header, *lines = (tmp_path / "keys" / "removed.txt").read_text().splitlines()
    assert header.split("\t") == COLUMNS
    assert [line.split("\t") for line in lines] == [
        ["14", "0", "duplicate", "", "15 larger", "0", ""],
        ["16 copy", "0", "duplicate", "", "03", "0", ""],
        ["17 copy", "0", "duplicate", "", "03", "0", ""],
        ["18 text", "0", "rejected", reasons["18 text"], "", "", ""],
        ["19 cut", "0", "rejected", reasons["19 cut"], "", "", ""],
    ]
    assert (result.images, result.files, result.notes) == (15, 2, ())


def test_scores(tmp_path: Path, near_set: Path, run: Run) -> None:
    run(near_set, "keys", tmp_path / "keys")
    lines = (tmp_path / "keys" / "removed.txt").read_text().splitlines()[1:]
    found = {line.split("\t")[0]: line.split("\t")[-1] for line in lines}
    rows = PreparedSet.open(near_set).manifest().to_pylist()
    wanted = {row["key"]: row["score"] for row in rows if row["status"] != "kept"}
    assert found.keys() == wanted.keys()
    for key, score in wanted.items():
        assert found[key] == "" if score is None else float(found[key]) == pytest.approx(score, rel=1e-5)
    assert any(found.values())


def test_faces_of_one_photo(tmp_path: Path, faces_set: Path, run: Run) -> None:
    """A photo of which some faces stay is kept, once; faces that do not stay are listed by their number."""
    assert run(faces_set, "keys", tmp_path / "keys").images == 15
    kept = (tmp_path / "keys" / "kept.txt").read_text().splitlines()
    assert kept[:2] == ["00", "01"]
    lines = (tmp_path / "keys" / "removed.txt").read_text().splitlines()
    assert lines[1].split("\t") == ["00", "2", "rejected", "face_too_small", "", "", ""]


def test_keys_with_tabs_and_line_breaks(
    tmp_path: Path,
    run: Run,
    make: Callable[..., Any],
    recipe: Callable[..., Any],
    picture: Callable[..., Any],
    encoded: Callable[..., bytes],
    write_lmdb: Callable[[Path, Mapping[bytes, bytes]], Path],
) -> None:
    keys = [b"a\tb", b"a\nb", b"back\\slash", b"caf\xe9", "é\u2028".encode()]
    bad = {b"bad\t\n": b"no picture"}
    source = write_lmdb(tmp_path / "lmdb", {**dict.fromkeys(keys, encoded(picture())), **bad})
    make(source, tmp_path / "set", recipe("none"))
    run(tmp_path / "set", "keys", tmp_path / "keys")
    kept = (tmp_path / "keys" / "kept.txt").read_text("utf-8").splitlines()
    assert kept == ["a\\x09b", "a\\x0ab", "back\\\\slash", "caf\\xe9", "é\\xe2\\x80\\xa8"]
    assert [raw_key(key) for key in kept] == keys
    lines = (tmp_path / "keys" / "removed.txt").read_text("utf-8").splitlines()
    assert lines[1].startswith("bad\\x09\\x0a\t0\trejected\tnot_an_image")
