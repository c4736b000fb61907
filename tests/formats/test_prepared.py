"""Reading a prepared set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dcgan_data.errors import BadInput
from dcgan_data.formats.prepared import PreparedSet


def test_rows_are_the_kept_ones_in_manifest_order(finished_set: Path) -> None:
    prepared = PreparedSet.open(finished_set)
    table = prepared.manifest().to_pylist()
    shards = prepared.shards()
    for include, statuses in ((False, {"kept"}), (True, {"kept", "duplicate"})):
        rows = prepared.rows(include_duplicates=include)
        expected = [shards[row["shard"]][row["row"]] for row in table if row["status"] in statuses]
        assert len(rows) == len(expected) == (18 if include else 15)
        assert rows.image_size == 32
        assert np.array_equal(rows.gather(np.arange(len(rows))), np.stack(expected))


def test_gather_in_any_order(finished_set: Path) -> None:
    rows = PreparedSet.open(finished_set).rows()
    everything = rows.gather(np.arange(len(rows)))
    chosen = np.array([14, 0, 7, 7, 3, 14, 9])
    found = rows.gather(chosen)
    assert found.dtype == np.uint8
    assert found.flags.writeable and not isinstance(found, np.memmap)
    assert np.array_equal(found, everything[chosen])
    assert rows.gather(np.array([], np.int64)).shape == (0, 32, 32, 3)


def test_gather_refuses_a_row_that_is_not_there(finished_set: Path) -> None:
    with pytest.raises(IndexError):
        PreparedSet.open(finished_set).rows().gather(np.array([15]))


def test_some_columns(finished_set: Path) -> None:
    assert PreparedSet.open(finished_set).manifest(["row", "key"]).column_names == ["row", "key"]


def test_open_and_manifest_say_what_is_missing(copied_set: Path) -> None:
    (copied_set / "images" / "00001.npy").unlink()
    with pytest.raises(BadInput, match=r"images/00001\.npy: missing; run the command"):
        PreparedSet.open(copied_set).rows()
    (copied_set / "manifest.parquet").unlink()
    with pytest.raises(
        BadInput, match=r"manifest\.parquet: No such file or directory, but dataset\.json lists it"
    ):
        PreparedSet.open(copied_set).rows()
    (copied_set / "dataset.json").unlink()
    with pytest.raises(BadInput, match=r"its dataset\.json is missing; 'dcgan-data verify .* --repair' puts"):
        PreparedSet.open(copied_set).rows()
    (copied_set / ".dataset.json").unlink()
    with pytest.raises(BadInput, match=r"unfinished, it has no dataset\.json"):
        PreparedSet.open(copied_set)
