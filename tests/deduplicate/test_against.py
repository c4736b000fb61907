"""Only copies of what another set keeps: between train and test, and new data into an old set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.dataset import AUTOENCODER, DatasetInfo, read_info
from dcgan_data.verify import verify

Make = Callable[..., DatasetInfo]
Texture = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def new_source(
    tmp_path_factory: pytest.TempPathFactory,
    near_records: dict[bytes, bytes],
    texture: Texture,
    crop: Callable[..., np.ndarray],
    encoded: Any,
    write_lmdb: Any,
) -> Path:
    """Copies of kept and of removed images of ``near_set``, pictures that are new, and two copies of one."""
    pictures = {seed: texture(seed) for seed in (0, 1, 2, 6, 7, 9, 40, 41, 42, 43)}
    found = {f"new {seed}": encoded(pictures[seed]) for seed in (40, 41, 42, 43)}
    found["new 40 again"] = encoded(pictures[40], "JPEG", quality=70)
    found["leak cropped"] = encoded(crop(pictures[7], 2, 1, 2, 2))
    found["leak mirrored"] = encoded(np.ascontiguousarray(pictures[9][:, ::-1]))
    found["leak compressed"] = encoded(pictures[7], "JPEG", quality=60)
    found["leak larger"] = encoded(Image.fromarray(pictures[9]).resize((100, 100)))
    found["of a kept one"] = near_records[b"02"]
    found["of a removed one"] = near_records[b"02 jpeg"]  # a copy of "02", too, which is kept
    found["text"] = b"no image"
    path = tmp_path_factory.mktemp("new") / "lmdb"
    return Path(write_lmdb(path, {key.encode(): data for key, data in found.items()}))


LEAKS = {
    "leak cropped": "07",
    "leak mirrored": "09",
    "leak compressed": "07",
    "leak larger": "09",
    "of a kept one": "02",
    "of a removed one": "02",
}


@pytest.fixture(scope="module")
def leaks(
    tmp_path_factory: pytest.TempPathFactory, new_source: Path, near_set: Path, near_recipe: Any, make: Make
) -> Path:
    """``new_source`` against ``near_set``. Tests only read it."""
    out = tmp_path_factory.mktemp("leaks") / "set"
    make(new_source, out, near_recipe, against=near_set)
    return out


def bytes_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def named(rows: dict[str, Any]) -> dict[str, str]:
    return {key: row["duplicate_of"] for key, row in rows.items() if row["status"] == "duplicate"}


def test_copies_of_the_other_sets_kept_images_go(
    leaks: Path, near_set: Path, rows_of: Any, pairs_of: Any
) -> None:
    rows, theirs = rows_of(leaks), rows_of(near_set)
    assert named(rows) == LEAKS
    assert {theirs[key]["status"] for key in LEAKS.values()} == {"kept"}
    assert rows["new 40 again"]["status"] == rows["new 40"]["status"] == "kept"  # that is not asked here
    recorded = {(p["key_a"], p["key_b"], p["view"], p["score"]) for p in pairs_of(leaks)}
    for key in LEAKS:
        row = rows[key]
        assert (row["duplicate_of"], key, row["view"], row["score"]) in recorded
        assert row["score"] >= np.float32(0.74)
        assert row["group"] is None
    assert {pair["key_a"] for pair in pairs_of(leaks)} <= {
        k for k, r in theirs.items() if r["status"] == "kept"
    }


def test_it_is_proved(leaks: Path, near_set: Path) -> None:
    assert verify(leaks).removals == 6
    info = read_info(leaks)
    assert (info.counts.kept, info.counts.duplicate, info.counts.rejected) == (5, 6, 1)
    other = read_info(near_set)
    assert info.deduplication["against"] == {
        "path": str(near_set.resolve()),
        "content_sha256": other.content_sha256,
        "kept": other.counts.kept,
    }
    assert (leaks / AUTOENCODER).read_bytes() == (near_set / AUTOENCODER).read_bytes()


def test_the_other_set_is_only_read(
    tmp_path: Path,
    copied_near_set: Path,
    new_source: Path,
    near_recipe: Any,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its bytes stay, nothing is added, and its codes are not computed again."""
    from dcgan_data.deduplicate import encoding

    encoded_images = []
    original = encoding.encode_views

    def counting(images: np.ndarray, encoder: Any) -> Any:
        encoded_images.append(len(images))
        return original(images, encoder)

    before = bytes_of(copied_near_set)
    with monkeypatch.context() as patch:
        patch.setattr(encoding, "encode_views", counting)
        patch.setattr("dcgan_data.deduplicate.running.fit", None)
        make(new_source, tmp_path / "set", near_recipe, against=copied_near_set)
    assert sum(encoded_images) == 11
    assert bytes_of(copied_near_set) == before


def test_workers_and_shards_change_nothing(
    tmp_path: Path,
    leaks: Path,
    new_source: Path,
    near_set: Path,
    near: Any,
    near_recipe: Any,
    make: Make,
    rows_of: Any,
) -> None:
    info = make(new_source, tmp_path / "two", near_recipe, against=near_set, workers=2)
    assert info.content_sha256 == read_info(leaks).content_sha256
    make(new_source, tmp_path / "five", near(5), against=near_set)
    assert named(rows_of(tmp_path / "five")) == LEAKS
    assert bytes_of(tmp_path / "five")["duplicates.parquet"] == bytes_of(leaks)["duplicates.parquet"]


def test_a_set_of_the_exact_rule_has_codes_too(
    tmp_path: Path,
    new_source: Path,
    near_source: Path,
    near_recipe: Any,
    recipe: Any,
    make: Make,
    rows_of: Any,
) -> None:
    exact = recipe("exact", image={"size": 64}, autoencoder={"inputs": "rgb"})
    make(near_source, tmp_path / "exact", exact)
    make(new_source, tmp_path / "set", near_recipe, against=tmp_path / "exact")
    assert set(named(rows_of(tmp_path / "set"))) == set(LEAKS)
    assert read_info(tmp_path / "set").recipe["autoencoder"]["inputs"] == "rgb"
    verify(tmp_path / "set")


def test_a_prepared_set_against_another_in_place(
    tmp_path: Path,
    leaks: Path,
    new_source: Path,
    near_set: Path,
    near_recipe: Any,
    recipe: Any,
    make: Make,
    reporter: Any,
) -> None:
    out = tmp_path / "set"
    make(new_source, out, recipe("none"))
    info = make(out, out, near_recipe, reporter, against=near_set)
    assert "decode" not in reporter.stages
    assert info.content_sha256 == read_info(leaks).content_sha256
    make(out, out, near_recipe, reporter, against=near_set)
    assert reporter.said[-1].endswith("already complete with this recipe and source; nothing to do")
    with pytest.raises(BadRequest) as caught:
        make(out, out, near_recipe)
    assert str(caught.value) == (
        f"{out}: was compared with {near_set.resolve()}; give --against again to decide anew, "
        "or --out for a set without that comparison"
    )
    make(out, tmp_path / "alone", near_recipe)
    assert "against" not in read_info(tmp_path / "alone").deduplication
    make(out, out, recipe("none"))
    assert read_info(out).counts.duplicate == 0


def test_a_flat_set_has_no_copies(tmp_path: Path, near_set: Path, write_set: Any, near_recipe: Any) -> None:
    """Low contrast says too little: black images are not compared with another set's."""
    black = np.zeros((32, 32, 3), np.uint8)
    out = write_set(tmp_path / "set", {"a": black, "b": black}, near_recipe, against=near_set)
    assert read_info(out).counts.kept == 2
    verify(out)


def test_nothing_but_rejected_records(
    tmp_path: Path, near_set: Path, write_set: Any, near_recipe: Any
) -> None:
    out = write_set(tmp_path / "set", {"a": b"no image"}, near_recipe, against=near_set)
    assert read_info(out).counts.rejected == 1
    verify(out)


def refusal(make: Make, *arguments: Any, **options: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        make(*arguments, **options)
    return str(caught.value)


def test_what_cannot_be_compared_with(
    tmp_path: Path, new_source: Path, near_set: Path, near_recipe: Any, recipe: Any, make: Make
) -> None:
    out, prepared = tmp_path / "set", tmp_path / "prepared"
    make(new_source, prepared, recipe("none"))
    assert refusal(make, new_source, out, near_recipe, against=prepared) == (
        f"--against {prepared}: was only prepared, it has no codes to compare with; "
        f"'dcgan-data dedup {prepared}' makes them"
    )
    assert refusal(make, new_source, out, recipe("exact"), against=near_set) == (
        f"--against {near_set}: needs the rule 'near', not 'exact'"
    )
    assert refusal(make, prepared, prepared, near_recipe, against=prepared) == (
        f"--against {prepared}: is the set itself; give another one"
    )
    assert refusal(make, new_source, near_set, near_recipe, against=near_set) == (
        f"--against {near_set}: is the set itself; give another one"
    )
    with pytest.raises(BadInput, match="no such directory"):
        make(new_source, out, near_recipe, against=tmp_path / "lost")
    assert not out.exists()


def message(out: Path) -> str:
    with pytest.raises(BadInput) as caught:
        verify(out)
    return str(caught.value)


def test_verify_needs_the_other_set_as_it_was(
    tmp_path: Path, copied_near_set: Path, new_source: Path, near_recipe: Any, near: Any, make: Make
) -> None:
    out = tmp_path / "set"
    make(new_source, out, near_recipe, against=copied_near_set)
    moved = copied_near_set.with_name("moved")
    copied_near_set.rename(moved)
    assert message(out) == (
        f"{out}: was compared with another set, which is needed: {copied_near_set}: no such directory; "
        f"'dcgan-data dedup SRC --out {copied_near_set}' makes a prepared set"
    )
    moved.rename(copied_near_set)
    assert verify(out).removals == 6
    make(copied_near_set, copied_near_set, near(threshold=0.99))
    assert message(out) == (
        f"{out}: was compared with {copied_near_set}, which has changed since; compare with it again"
    )
    text = refusal(make, new_source, out, near_recipe, against=copied_near_set)
    assert "complete, but made otherwise: inputs.against (there: '" in text


@pytest.mark.parametrize(
    ("module", "name", "nth"),
    [
        ("running", "adopt_autoencoder", 1),
        ("encoding", "encode_shard", 2),
        ("index", "index_band", 3),
        ("searching", "search_shard", 2),
        ("running", "decide_against", 1),
    ],
)
def test_a_run_that_is_broken_off_goes_on(
    tmp_path: Path,
    leaks: Path,
    new_source: Path,
    near_set: Path,
    near_recipe: Any,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    name: str,
    nth: int,
) -> None:
    import importlib

    class Killed(BaseException):
        pass

    owner = importlib.import_module(f"dcgan_data.deduplicate.{module}")
    original, calls = getattr(owner, name), 0

    def breaking(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Killed
        return original(*arguments, **options)

    out = tmp_path / "set"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaking)
        with pytest.raises(Killed):
            make(new_source, out, near_recipe, against=near_set)
    text = refusal(make, new_source, out, near_recipe)
    assert f"{out}: holds an unfinished run of another job: inputs.against (there: '" in text
    make(new_source, out, near_recipe, against=near_set)
    found, wanted = bytes_of(out), bytes_of(leaks)
    indexes = [json.loads(files.pop("dataset.json")) for files in (found, wanted)]
    for index in indexes:
        del index["timings"]
    assert (found, indexes[0]) == (wanted, indexes[1])


def test_a_crowd_of_new_copies(
    tmp_path: Path, near_set: Path, texture: Texture, grain: Any, write_set: Any, near: Any, rows_of: Any
) -> None:
    """Each is compared with the other set itself: none is left over, and all name the same image."""
    shown = {f"{number:02d}": grain(texture(9), 10, number) for number in range(30)}
    out = write_set(tmp_path / "set", shown, near(max_candidates=1, window=2), against=near_set)
    assert set(named(rows_of(out)).values()) == {"09"}
    assert len(named(rows_of(out))) == 30
    shutil.rmtree(out)
