"""Recipe and source to prepared set: what comes out, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from set_contents import contents

from dcgan_data.errors import BadInput, BadRequest, TooManyRejected
from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.formats.manifest import Counts
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.plan import Job, default_out, make_plan
from dcgan_data.recipe import Recipe
from dcgan_data.verify import verify

Make = Callable[..., DatasetInfo]
MakeRecipe = Callable[..., Any]
Picture = Callable[..., np.ndarray]
Encoded = Callable[..., bytes]


def images_of(out: Path) -> dict[str, Any]:
    """The parts of a set that do not say its own path."""
    return {name: data for name, data in contents(out).items() if not name.startswith("report/")}


def statuses(out: Path) -> dict[str, str]:
    table = PreparedSet.open(out).manifest(["key", "status"])
    return dict(zip(table["key"].to_pylist(), table["status"].to_pylist(), strict=True))


def refusal(error: type[Exception], make: Make, *arguments: Any, **options: Any) -> str:
    with pytest.raises(error) as caught:
        make(*arguments, **options)
    return str(caught.value)


def test_counts_and_rows(finished_set: Path, source: Path) -> None:
    prepared = PreparedSet.open(finished_set)
    assert prepared.info.counts == Counts(read=20, kept=15, duplicate=3, rejected=2)
    assert prepared.info.rejected == {"not_an_image": 1, "truncated": 1}
    assert prepared.info.shard_rows == [8, 8, 2]
    assert prepared.info.source["path"] == str(source)
    assert prepared.info.source["records"] == 20
    rows = {row["key"]: row for row in prepared.manifest().to_pylist()}
    assert list(rows) == sorted(rows)
    removed = {key: row["duplicate_of"] for key, row in rows.items() if row["status"] == "duplicate"}
    assert removed == {"14": "15 larger", "16 copy": "03", "17 copy": "03"}
    groups = {key: row["group"] for key, row in rows.items() if row["group"] is not None}
    assert groups == {"03": 0, "16 copy": 0, "17 copy": 0, "14": 1, "15 larger": 1}
    assert [rows[key]["distance"] for key in ("03", "14", "16 copy", "17 copy")] == [None, 0, 0, 0]
    assert all(row["score"] is None for row in rows.values())
    assert [key for key, row in rows.items() if row["code"] is None] == ["18 text", "19 cut"]
    assert rows["16 copy"]["code"] == rows["03"]["code"] != rows["04"]["code"]
    assert [(row["shard"], row["row"]) for row in rows.values()] == [
        *((0, n) for n in range(8)),
        *((1, n) for n in range(8)),
        (2, 0),
        (2, 1),
        (2, None),
        (2, None),
    ]


def test_pairs(finished_set: Path) -> None:
    pairs = pq.read_table(finished_set / "duplicates.parquet").to_pylist()
    assert [
        (pair["key_a"], pair["key_b"], pair["view"], pair["distance"], pair["score"]) for pair in pairs
    ] == [
        ("15 larger", "14", "identity", 0, None),
        ("03", "16 copy", "identity", 0, None),
        ("03", "17 copy", "identity", 0, None),
    ]


def test_files_of_a_finished_set(finished_set: Path) -> None:
    assert sorted(contents(finished_set)) == [
        ".dataset.json",
        "autoencoder.safetensors",
        "dataset.json",
        "duplicates.parquet",
        "images/00000.npy",
        "images/00001.npy",
        "images/00002.npy",
        "manifest.parquet",
        "report/contact_sheet.png",
        "report/index.html",
    ]
    index = contents(finished_set)["dataset.json"]
    unlisted = (".dataset.json", "dataset.json", "report/contact_sheet.png", "report/index.html")
    assert sorted(index["files"]) == [name for name in sorted(contents(finished_set)) if name not in unlisted]
    assert index["recipe"]["autoencoder"]["max_updates"] == 8  # as resolved


def test_same_bytes_with_two_workers(tmp_path: Path, finished_set: Path, source: Path, make: Make) -> None:
    make(source, tmp_path / "set", workers=2)
    assert contents(tmp_path / "set") == contents(finished_set)


def test_same_bytes_again_and_from_a_folder(
    tmp_path: Path, finished_set: Path, records: dict[bytes, bytes], make: Make
) -> None:
    """The container does not matter: the same files in a folder make the same pixels, codes and choices."""
    (tmp_path / "photos").mkdir()
    for key, data in records.items():
        (tmp_path / "photos" / key.decode()).write_bytes(data)
    make(tmp_path / "photos", tmp_path / "set")
    found, wanted = images_of(tmp_path / "set"), images_of(finished_set)
    assert found.pop("dataset.json")["source"]["kind"] == "folder"
    del wanted["dataset.json"], wanted[".dataset.json"], found[".dataset.json"]
    assert found == wanted


@pytest.mark.parametrize("records_per_shard", [3, 20, 1000])
def test_shard_size_changes_no_decision(
    tmp_path: Path, finished_set: Path, source: Path, make: Make, recipe: MakeRecipe, records_per_shard: int
) -> None:
    make(source, tmp_path / "set", recipe(records_per_shard=records_per_shard))
    one, other = PreparedSet.open(tmp_path / "set"), PreparedSet.open(finished_set)
    where = ["shard", "row"]
    assert one.manifest().drop_columns(where).equals(other.manifest().drop_columns(where))
    assert np.array_equal(np.concatenate(one.shards()), np.concatenate(other.shards()))


def test_rejected_records_among_the_others_shift_no_decision(
    tmp_path: Path, make: Make, recipe: MakeRecipe, picture: Picture, encoded: Encoded
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, seed in enumerate((None, 0, 1, None, None, 2, 1, 3, 0)):
        data = b"no image" if seed is None else encoded(picture(seed=seed))
        (photos / f"{number}.jpg").write_bytes(data)
    make(photos, tmp_path / "set", recipe(records_per_shard=2))
    rows = PreparedSet.open(tmp_path / "set").manifest(["key", "duplicate_of"]).to_pylist()
    removed = {row["key"]: row["duplicate_of"] for row in rows if row["duplicate_of"]}
    assert removed == {"6.jpg": "2.jpg", "8.jpg": "1.jpg"}
    assert [key for key, status in statuses(tmp_path / "set").items() if status == "rejected"] == [
        "0.jpg",
        "3.jpg",
        "4.jpg",
    ]
    verify(tmp_path / "set")


def test_prepare_removes_nothing(tmp_path: Path, source: Path, make: Make, recipe: MakeRecipe) -> None:
    info = make(source, tmp_path / "set", recipe("none"))
    assert info.counts == Counts(read=20, kept=18, duplicate=0, rejected=2)
    assert info.deduplication == {}
    assert not (tmp_path / "set" / "autoencoder.safetensors").exists()
    table = PreparedSet.open(tmp_path / "set").manifest()
    assert table["code"].null_count == table["group"].null_count == 20
    assert len(pq.read_table(tmp_path / "set" / "duplicates.parquet")) == 0
    verify(tmp_path / "set")


def test_limit(tmp_path: Path, source: Path, make: Make, recipe: MakeRecipe) -> None:
    assert make(source, tmp_path / "set", recipe(source={"limit": 5})).counts.read == 5


def test_quality_filter_and_size_reach_the_decoder(
    tmp_path: Path, source: Path, make: Make, recipe: MakeRecipe
) -> None:
    shards = []
    for name in ("fast", "quality"):
        make(source, tmp_path / name, recipe("none", image={"filter": name}))
        shards.append(np.load(tmp_path / name / "images" / "00000.npy"))
    assert shards[0].shape == (8, 32, 32, 3)
    assert not np.array_equal(*shards)
    assert abs(shards[0].astype(int) - shards[1]).mean() < 6
    info = make(source, tmp_path / "pixels", recipe("none", image={"max_pixels": 96 * 72 - 1}))
    assert info.rejected["too_many_pixels"] == 17


@pytest.mark.parametrize("rule", ["exact", "none"])
def test_one_image(
    tmp_path: Path, make: Make, recipe: MakeRecipe, picture: Picture, encoded: Encoded, rule: str
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(encoded(picture()))
    info = make(tmp_path / "photos", tmp_path / "set", recipe(rule))
    assert info.counts == Counts(read=1, kept=1, duplicate=0, rejected=0)
    verify(tmp_path / "set")


def test_two_copies_of_one_image(tmp_path: Path, make: Make, picture: Picture, encoded: Encoded) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("b.png", "a.png"):
        (tmp_path / "photos" / name).write_bytes(encoded(picture()))
    make(tmp_path / "photos", tmp_path / "set")
    assert statuses(tmp_path / "set") == {"a.png": "kept", "b.png": "duplicate"}


def test_flat_images(tmp_path: Path, make: Make, encoded: Encoded) -> None:
    """A black and a white image are not the same picture, though they say equally little."""
    (tmp_path / "photos").mkdir()
    for name, level in (("black", 0), ("white", 255), ("white again", 255), ("grey", 90)):
        (tmp_path / "photos" / name).write_bytes(encoded(np.full((40, 40, 3), level, np.uint8)))
    info = make(tmp_path / "photos", tmp_path / "set")
    assert statuses(tmp_path / "set") == {
        "black": "kept",
        "grey": "kept",
        "white": "kept",
        "white again": "duplicate",
    }
    assert info.deduplication["low_contrast_images"] == 4


@pytest.mark.parametrize("rule", ["exact", "none"])
def test_all_rejected(tmp_path: Path, make: Make, recipe: MakeRecipe, rule: str) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "photos" / name).write_text("no image")
    info = make(tmp_path / "photos", tmp_path / "set", recipe(rule))
    assert info.counts == Counts(read=2, kept=0, duplicate=0, rejected=2)
    assert len(PreparedSet.open(tmp_path / "set").rows()) == 0
    assert (tmp_path / "set" / "report" / "index.html").exists()
    verify(tmp_path / "set")


def test_too_many_rejected_keeps_everything(tmp_path: Path, source: Path, make: Make) -> None:
    out = tmp_path / "set"
    text = refusal(TooManyRejected, make, source, out, max_rejected=0.099)
    assert text == (
        f"{out}: 2 of 20 records were rejected (not_an_image 1, truncated 1), over --max-rejected 0.099; "
        "all is kept: see column 'reason' of manifest.parquet, or allow more with --max-rejected"
    )
    assert TooManyRejected.exit_code == 3
    verify(out)
    assert (out / "report" / "index.html").exists()
    assert "already complete" not in text
    assert refusal(TooManyRejected, make, source, out, max_rejected=0.0).startswith(f"{out}: 2 of 20 records")
    assert make(source, out, max_rejected=0.1).counts.rejected == 2  # allowed: nothing to do


def test_the_same_job_again_does_nothing(copied_set: Path, source: Path, make: Make, reporter: Any) -> None:
    def state() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_ino)
            for path in copied_set.rglob("*")
            if path.is_file() and path.name != ".lock"
        }

    before = state()
    info = make(source, copied_set, reporter=reporter)
    assert info.counts.kept == 15
    assert reporter.said == [f"{copied_set}: already complete with this recipe and source; nothing to do"]
    assert reporter.stages == {}
    assert state() == before


def test_names_and_paths_do_not_make_another_job(
    copied_set: Path, source: Path, make: Make, recipe: MakeRecipe, reporter: Any
) -> None:
    make(source, copied_set, recipe(name="other", source={"path": "elsewhere"}), reporter, workers=2)
    assert "nothing to do" in reporter.said[0]


def test_another_recipe_is_refused_by_name(
    copied_set: Path, source: Path, make: Make, recipe: MakeRecipe
) -> None:
    before = contents(copied_set)
    text = refusal(BadRequest, make, source, copied_set, recipe(seed=3, image={"size": 64}))
    assert text == (
        f"{copied_set}: complete, but made otherwise: recipe.image.size (there: 32, asked: 64); "
        "recipe.seed (there: 0, asked: 3); choose another --out, or replace it with --overwrite"
    )
    assert contents(copied_set) == before


def test_another_rule_is_refused_with_a_hint(
    copied_set: Path, source: Path, make: Make, recipe: MakeRecipe
) -> None:
    text = refusal(BadRequest, make, source, copied_set, recipe("none"))
    assert "recipe.dedup.rule (there: 'exact', asked: 'none')" in text
    assert text.endswith(
        f" ('dcgan-data prepare {copied_set}' with the same options decides anew without decoding)"
    )


def test_another_source_is_refused(
    tmp_path: Path, copied_set: Path, make: Make, write_lmdb: Callable[..., Path], records: dict[bytes, bytes]
) -> None:
    fewer = write_lmdb(tmp_path / "fewer", dict(list(records.items())[:-1]))
    text = refusal(BadRequest, make, fewer, copied_set)
    assert text.startswith(f"{copied_set}: complete, but made otherwise: the source (its records' keys or ")


def test_overwrite_replaces_and_leaves_a_users_files(
    tmp_path: Path, copied_set: Path, source: Path, make: Make, recipe: MakeRecipe
) -> None:
    (copied_set / "notes.txt").write_text("mine")
    other = recipe(seed=3, records_per_shard=100)
    make(source, copied_set, other, overwrite=True)
    make(source, tmp_path / "fresh", other)
    assert images_of(copied_set) == {**images_of(tmp_path / "fresh"), "notes.txt": b"mine"}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("text", [None, '{"schema'])
def test_a_set_that_lost_its_index_is_repaired_first(
    tmp_path: Path, copied_set: Path, source: Path, make: Make, text: str | None, overwrite: bool
) -> None:
    index = copied_set / "dataset.json"
    index.write_text(text) if text else index.unlink()
    before = {path: path.read_bytes() for path in copied_set.rglob("*") if path.is_file()}
    remedy = f"; 'dcgan-data verify {copied_set} --repair' puts it back"
    assert refusal(BadInput, make, source, copied_set, overwrite=overwrite).endswith(remedy)
    assert refusal(BadInput, make, copied_set, tmp_path / "other").endswith(remedy)  # nor is it a source
    assert {path: path.read_bytes() for path in before} == before


def test_foreign_files_are_refused(tmp_path: Path, source: Path, make: Make) -> None:
    out = tmp_path / "home"
    out.mkdir()
    for name in ("b.txt", "a.txt", ".profile"):
        (out / name).write_text("mine")
    assert refusal(BadRequest, make, source, out) == (
        f"{out}: not empty and not a prepared set (it holds a.txt, b.txt); choose another --out"
    )
    for name in ("c.txt", "d.txt"):
        (out / name).write_text("mine")
    assert "(it holds a.txt, b.txt, c.txt, ...)" in refusal(BadRequest, make, source, out)
    assert sorted(path.name for path in out.iterdir() if path.name != ".lock") == [
        ".profile",
        "a.txt",
        "b.txt",
        "c.txt",
        "d.txt",
    ]


def test_out_inside_the_source_is_refused(
    tmp_path: Path, make: Make, picture: Picture, encoded: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(encoded(picture()))
    monkeypatch.chdir(photos)
    for out in (photos / "out", Path("out"), photos):
        assert refusal(BadRequest, make, photos, out) == (
            f"--out {out}: lies inside the source {photos}; choose a directory outside of it"
        )
    assert [path.name for path in photos.iterdir()] == ["a.png"]


def test_out_beside_a_data_file_is_refused(
    tmp_path: Path, make: Make, write_lmdb: Callable[..., Path], records: dict[bytes, bytes]
) -> None:
    """The source is the directory, even if its data.mdb was named."""
    path = write_lmdb(tmp_path / "lsun", records)
    text = refusal(BadRequest, make, path / "data.mdb", path / "out")
    assert text.startswith(f"--out {path}/out: lies inside the source {path}")
    assert not (path / "out").exists()


def test_not_enough_disk_is_said_before_any_work(
    tmp_path: Path, source: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 20 * (32 * 32 * 3 + 300)
    monkeypatch.setattr("dcgan_data.pipeline.free_bytes", lambda out: needed - 1)
    out = tmp_path / "set"
    assert refusal(BadRequest, make, source, out) == (
        f"{out}: needs about 1 MB more, 0 are free; "
        "make room, choose another --out, or a smaller --image-size or --limit"
    )
    assert [path.name for path in out.iterdir() if path.name != ".lock"] == []
    monkeypatch.setattr("dcgan_data.pipeline.free_bytes", lambda out: needed)
    assert make(source, out).counts.read == 20


@pytest.mark.parametrize("lacking", ["disk", "memory"])
def test_what_does_not_fit_is_said_before_a_set_is_removed(
    copied_set: Path,
    source: Path,
    make: Make,
    near_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    lacking: str,
) -> None:
    before = contents(copied_set)
    if lacking == "disk":  # shards that are removed make room: the rows are what does not fit
        monkeypatch.setattr("dcgan_data.pipeline.free_bytes", lambda out: 0)
    memory = int(lacking == "memory")
    text = refusal(BadRequest, make, source, copied_set, near_recipe, overwrite=True, memory=memory)
    assert ("0 are free" if lacking == "disk" else "--memory: 0MB are too little") in text
    assert contents(copied_set) == before


def test_too_little_memory_is_said_before_any_work(
    tmp_path: Path, source: Path, make: Make, near_recipe: Recipe, near_set: Path
) -> None:
    out = tmp_path / "set"
    text = refusal(BadRequest, make, source, out, near_recipe, memory=100_000_000)
    assert text.startswith("--memory: 100MB are too little to search among 20 codes with 1 worker; give at ")
    assert [path.name for path in out.iterdir() if path.name != ".lock"] == []
    text = refusal(BadRequest, make, source, out, near_recipe, memory=1, against=near_set)
    assert f"among {PreparedSet.open(near_set).info.counts.kept} codes" in text
    assert make(source, out, memory=100_000_000).counts.read == 20  # exact copies need no search


def test_too_little_memory_where_nothing_is_searched(
    copied_near_set: Path, near_source: Path, make: Make, near: Callable[..., Recipe]
) -> None:
    finished = make(near_source, copied_near_set, near(), memory=1)
    decided = make(copied_near_set, copied_near_set, near(threshold=0.99), overwrite=True, memory=1)
    assert decided.counts.kept > finished.counts.kept
    assert "--memory: 0MB" in refusal(
        BadRequest, make, copied_near_set, copied_near_set, near(radius=8), overwrite=True, memory=1
    )


def test_a_second_run_on_the_same_out_is_refused(tmp_path: Path, source: Path, make: Make) -> None:
    from dcgan_data.formats.lock import locked

    out = tmp_path / "set"
    with locked(out, "--out"):
        text = refusal(BadRequest, make, source, out)
    assert text == f"{out}: another run is working on it; wait for it to end, or choose another --out"


@pytest.fixture
def undecided(tmp_path: Path, source: Path, make: Make, recipe: MakeRecipe) -> Path:
    """The same records, prepared only."""
    make(source, tmp_path / "undecided", recipe("none"))
    return tmp_path / "undecided"


def test_a_prepared_set_is_decided_in_place(
    undecided: Path, finished_set: Path, make: Make, reporter: Any
) -> None:
    """Without decoding again: the shards are not touched, and all else is as if made in one go."""
    shard = undecided / "images" / "00001.npy"
    before = (shard.stat().st_mtime_ns, shard.stat().st_ino)
    make(undecided, undecided, reporter=reporter)
    assert (shard.stat().st_mtime_ns, shard.stat().st_ino) == before
    assert "decode" not in reporter.stages
    assert images_of(undecided) == images_of(finished_set)


def test_a_prepared_set_is_decided_into_another(
    tmp_path: Path, undecided: Path, finished_set: Path, make: Make
) -> None:
    before = contents(undecided)
    make(undecided, tmp_path / "set")
    assert images_of(tmp_path / "set") == images_of(finished_set)
    assert contents(undecided) == before


def test_removals_are_undone_by_a_new_decision(copied_set: Path, make: Make, recipe: MakeRecipe) -> None:
    info = make(copied_set, copied_set, recipe("none"))
    assert info.counts == Counts(read=20, kept=18, duplicate=0, rejected=2)
    make(copied_set, copied_set, recipe("exact"))
    assert statuses(copied_set)["16 copy"] == "duplicate"
    verify(copied_set)


def test_undoing_leaves_no_trace_of_the_decision(
    copied_set: Path, undecided: Path, make: Make, recipe: MakeRecipe
) -> None:
    make(copied_set, copied_set, recipe("none"))
    assert images_of(copied_set) == images_of(undecided)


def test_the_pixels_of_a_set_cannot_be_made_otherwise(
    undecided: Path, make: Make, recipe: MakeRecipe
) -> None:
    text = refusal(BadRequest, make, undecided, undecided, recipe(image={"size": 128}))
    assert text == (
        f"{undecided}: a prepared set; image.size (there: 32, asked: 128): prepare it anew from its source"
    )
    text = refusal(BadRequest, make, undecided, undecided, recipe(source={"limit": 3}))
    assert "source.limit (there: 0, asked: 3)" in text


def test_default_out(tmp_path: Path, finished_set: Path, source: Path) -> None:
    assert default_out(source) == Path("out")
    assert default_out(tmp_path / "missing") == Path("out")
    assert default_out(finished_set) == finished_set


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"workers": 0}, "--workers 0: expected 1 or more"),
        ({"max_rejected": 1.1}, "--max-rejected 1.1: expected a share from 0% to 100%"),
        ({"max_rejected": float("nan")}, "--max-rejected nan: expected a share from 0% to 100%"),
        ({"max_rejected": -0.1}, "--max-rejected -0.1: expected a share from 0% to 100%"),
    ],
)
def test_options_are_checked(
    tmp_path: Path, source: Path, make: Make, options: dict[str, Any], expected: str
) -> None:
    assert refusal(BadRequest, make, source, tmp_path / "set", **options) == expected
    assert not (tmp_path / "set").exists()


def test_a_missing_source_makes_no_out(tmp_path: Path, make: Make) -> None:
    assert "no such file or directory" in refusal(BadInput, make, tmp_path / "lost", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_plan_writes_nothing_and_estimates_the_disk(
    tmp_path: Path, source: Path, recipe: MakeRecipe
) -> None:
    job = Job(recipe(), source, tmp_path / "set", workers=3)
    plan = make_plan(job)
    assert plan.disk_bytes == 20 * (32 * 32 * 3 + 300)
    assert plan.summary(job).startswith(
        f"20 records (lsun {source}) -> {tmp_path}/set, 32x32 px, about 0.00 GB, "
    )
    assert plan.summary(job).endswith("GB free, 3 workers")
    job = Job(recipe(), source, tmp_path / "set", workers=0, backend="dask")
    assert plan.summary(job).endswith("GB free, all workers")
    assert not (tmp_path / "set").exists()


def test_the_estimate_of_the_disk_is_enough(finished_set: Path) -> None:
    """Without the autoencoder and the report, which do not grow with the set."""
    growing = ("images", "manifest.parquet", "duplicates.parquet")
    used = sum(len(data) for name, data in images_of(finished_set).items() if name.startswith(growing))
    fixed_parts = 12_000  # headers of so few rows
    assert used < 20 * (32 * 32 * 3 + 300) + fixed_parts


def test_a_source_whose_path_is_no_text(
    tmp_path: Path, make: Make, picture: Picture, encoded: Encoded
) -> None:
    photos = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    photos.mkdir()
    (photos / "a.png").write_bytes(encoded(picture()))
    info = make(photos, tmp_path / "set")
    assert os.fsencode(info.source["path"]) == os.fsencode(photos)
    verify(tmp_path / "set")
    assert "caf\\udce9" in (tmp_path / "set" / "report" / "index.html").read_text("utf-8")


def test_relative_paths_from_another_directory(
    tmp_path: Path, source: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are kept from one run to the next, and with them the directory that they were started in."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Path("lsun").symlink_to(source)
        make(Path("lsun"), Path("set"), workers=2)
        verify(Path("set"))


def test_overwrite_leaves_a_directory_that_is_no_set(tmp_path: Path, source: Path, make: Make) -> None:
    out = tmp_path / "mine"
    (out / "report").mkdir(parents=True)
    for name in ("report/holiday.png", "report/index.html", "dataset.json"):
        (out / name).write_text("mine")
    message = refusal(BadRequest, make, source, out, overwrite=True)
    assert "mine: not empty and not a prepared set (it holds dataset.json, report)" in message
    assert {path.read_text() for path in out.rglob("*.*") if path.is_file() and path.name != ".lock"} == {
        "mine"
    }


def test_overwrite_of_a_set_keeps_the_users_pictures(
    tmp_path: Path, source: Path, make: Make, recipe: MakeRecipe
) -> None:
    make(source, tmp_path / "set")
    (tmp_path / "set" / "report" / "holiday.png").write_text("mine")
    assert make(source, tmp_path / "set", recipe(seed=1), overwrite=True).recipe["seed"] == 1
    assert (tmp_path / "set" / "report" / "holiday.png").read_text() == "mine"
    verify(tmp_path / "set")


@pytest.mark.parametrize("removed", [0, 1, 3])
def test_an_overwrite_that_was_killed_while_removing(
    copied_set: Path, source: Path, make: Make, monkeypatch: pytest.MonkeyPatch, removed: int
) -> None:
    """The same command, with --overwrite or without, goes on from whatever is left."""
    unlink, calls = Path.unlink, 0

    def dying(path: Path, missing_ok: bool = False) -> None:
        nonlocal calls
        calls += 1
        if calls > removed:
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", dying)
        with pytest.raises(KeyboardInterrupt):
            make(source, copied_set, overwrite=True)
    assert not (copied_set / "dataset.json").exists()
    make(source, copied_set)
    verify(copied_set)
    assert not list(copied_set.glob("*.removed"))
