"""``faces``: from photos of people to a de-duplicated set, with the real detector on drawn heads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dcgan_data.cli import app
from dcgan_data.errors import BadInput, BadRequest, TooManyRejected
from dcgan_data.formats.dataset import MANIFEST, read_info, write_info
from dcgan_data.formats.manifest import PAIR_SCHEMA, read_table
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.shards import stamp_file
from dcgan_data.query import QuerySettings, query
from dcgan_data.recipe import FACES, Recipe, load_recipe
from dcgan_data.verify import verify

Make = Callable[..., Any]
NAMES = ("key", "part", "status", "label", "duplicate_of", "duplicate_of_part")


@pytest.fixture(scope="module")
def photos(
    tmp_path_factory: pytest.TempPathFactory,
    face: Callable[..., np.ndarray],
    texture: Callable[..., np.ndarray],
    encoded: Callable[..., bytes],
) -> Path:
    """Two people in a photo, the same as a JPEG, one alone, nobody, somebody far away, and a broken file."""

    def scene(seed: int, *heads: tuple[int, int, int, int]) -> np.ndarray:
        canvas = texture(seed, 600, 360).copy()
        for number, x, y, size in heads:
            canvas[y : y + size, x : x + size] = face(size, number)
        return canvas

    both = scene(50, (0, 40, 60, 240), (1, 380, 120, 160))
    files = {
        "alice/1.png": encoded(both),
        "alice/2.jpg": encoded(both, "JPEG", quality=80),
        "bob/3.png": encoded(scene(51, (2, 200, 40, 260))),
        "bob/4.png": encoded(scene(52)),
        "bob/5.png": encoded(scene(53, (3, 200, 100, 60))),
        "bob/6.png": b"no picture",
    }
    root = tmp_path_factory.mktemp("people") / "photos"
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture(scope="module")
def faces(recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """A quick recipe for faces; keywords are fields of [faces]. Drawn heads are all alike: up to 0.8."""

    def of(**changes: Any) -> Recipe:
        return recipe(
            "near",
            records_per_shard=2,
            dedup={"zooms": [0.94], "aspect": 1.0, "threshold": 0.85},
            faces={"crop": "box", **changes},
        )

    return of


@pytest.fixture(scope="module")
def face_set(
    tmp_path_factory: pytest.TempPathFactory, photos: Path, make: Make, faces: Callable[..., Recipe]
) -> Path:
    """Tests only read it."""
    out = tmp_path_factory.mktemp("faces") / "set"
    make(photos, out, faces())
    return out


def test_every_face_is_a_row_and_so_is_every_photo_without(face_set: Path) -> None:
    info = read_info(face_set)
    rows = PreparedSet.open(face_set).manifest(list(NAMES)).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("alice/1.png", 0, "kept", "alice", None, None),
        ("alice/1.png", 1, "kept", "alice", None, None),
        ("alice/2.jpg", 0, "duplicate", "alice", "alice/1.png", 0),
        ("alice/2.jpg", 1, "duplicate", "alice", "alice/1.png", 1),
        ("bob/3.png", 0, "kept", "bob", None, None),
        ("bob/4.png", 0, "rejected", "bob", None, None),
        ("bob/5.png", 0, "rejected", "bob", None, None),
        ("bob/6.png", 0, "rejected", "bob", None, None),
    ]
    assert info.source["records"] == 6
    assert vars(info.counts) == {"read": 8, "kept": 3, "duplicate": 2, "rejected": 3}
    assert info.rejected == {"face_too_small": 1, "no_face": 1, "not_an_image": 1}


def test_what_a_face_row_says(face_set: Path) -> None:
    rows = PreparedSet.open(face_set).manifest().to_pylist()
    first, small, nobody = rows[0], rows[6], rows[5]
    assert 0.8 <= first["confidence"] <= 1 and first["padding"] == 0
    x, y, w, h = (first[f"face_{name}"] for name in "xywh")
    assert x > 40 and x + w < 280 and y > 60 and y + h < 300, "within the head that was drawn"
    assert first["box_w"] == first["box_h"] >= max(w, h)
    assert first["box_x"] <= x and first["box_x"] + first["box_w"] >= x + w
    right_eye, left_eye, nose, *_ = np.array(first["landmarks"]).reshape(5, 2)
    assert x < right_eye[0] < nose[0] < left_eye[0] < x + w
    assert small["reason"].startswith("face_too_small: ") and small["face_w"] < 64 and small["row"] is None
    assert nobody["reason"].startswith("no_face") and (nobody["width"], nobody["height"]) == (600, 360)
    assert nobody["face_x"] is nobody["landmarks"] is nobody["confidence"] is None


def test_removals_are_proved_face_by_face(face_set: Path) -> None:
    assert verify(face_set).removals == 2
    pairs = read_table(face_set / "duplicates.parquet", PAIR_SCHEMA).to_pylist()
    named = {
        (pair["key_a"], pair["part_a"], pair["key_b"], pair["part_b"])
        for pair in pairs
        if pair["score"] > 0.9
    }
    assert {frozenset([pair[:2], pair[2:]]) for pair in named} == {
        frozenset([("alice/1.png", part), ("alice/2.jpg", part)]) for part in (0, 1)
    }


def test_the_wrong_face_of_the_right_photo_is_found_out(face_set: Path, tmp_path: Path) -> None:
    """With a consistent index, and a group of its own: only the part is wrong."""
    copy = Path(shutil.copytree(face_set, tmp_path / "set"))
    table = pq.read_table(copy / MANIFEST)
    place = table.schema.get_field_index("duplicate_of_part")
    parts = table["duplicate_of_part"].to_pylist()
    assert parts[2:4] == [0, 1]
    parts[2:4] = [1, 0]
    groups = table["group"].to_pylist()
    groups[2:4] = groups[3:1:-1]
    table = table.set_column(place, table.schema.field(place), pa.array(parts, pa.int32()))
    table = table.set_column(
        table.schema.get_field_index("group"), table.schema.field("group"), pa.array(groups, pa.int64())
    )
    pq.write_table(table, copy / MANIFEST)
    info = read_info(copy)
    info.files[MANIFEST] = stamp_file(copy / MANIFEST)
    write_info(copy, info)
    with pytest.raises(BadInput, match=r"alice/2\.jpg is removed for alice/1\.png \(face 1\) .*do not bear"):
        verify(copy)


def test_decided_anew_in_place(
    face_set: Path, tmp_path: Path, make: Make, faces: Callable[..., Recipe]
) -> None:
    copy = Path(shutil.copytree(face_set, tmp_path / "set"))
    before = (copy / MANIFEST).read_bytes()
    done = CliRunner().invoke(app, ["dedup", str(copy), "--threshold", "1", "--max-rejected", "100%"])
    assert done.exit_code == 0, done.output
    assert read_info(copy).counts.duplicate == 0
    done = CliRunner().invoke(app, ["dedup", str(copy), "--threshold", "0.85", "--max-rejected", "100%"])
    assert done.exit_code == 0, done.output
    assert (copy / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("workers", [2, 3])
def test_the_same_bytes_for_any_number_of_workers(
    workers: int, face_set: Path, photos: Path, tmp_path: Path, make: Make, faces: Callable[..., Recipe]
) -> None:
    info = make(photos, tmp_path / "set", faces(), workers=workers)
    assert info.content_sha256 == read_info(face_set).content_sha256


def test_against_another_set_of_faces(
    face_set: Path, photos: Path, tmp_path: Path, make: Make, faces: Callable[..., Recipe]
) -> None:
    """Kept faces are named with their parts, whichever set they are of."""
    make(photos, tmp_path / "set", faces(), against=face_set)
    rows = PreparedSet.open(tmp_path / "set").manifest(list(NAMES)).to_pylist()
    removed = [tuple(row.values()) for row in rows if row["status"] == "duplicate"]
    assert removed[1] == ("alice/1.png", 1, "duplicate", "alice", "alice/1.png", 1)
    assert len(removed) == 5
    assert verify(tmp_path / "set").removals == 5


def test_query_looks_every_face_up(face_set: Path, photos: Path, reporter: Any) -> None:
    result = query(face_set, [photos / "alice/2.jpg", photos / "bob/4.png"], QuerySettings(), reporter)
    first, second, nobody = result.answers
    assert [(answer.part, answer.verdict) for answer in result.answers] == [
        (0, "copy"),
        (1, "copy"),
        (0, "unreadable"),
    ]
    assert {(match.key, match.part) for match in second.matches[:2]} == {
        ("alice/1.png", 1),
        ("alice/2.jpg", 1),
    }
    assert nobody.reason.startswith("no_face") and first.matches[0].score > 0.9


def test_the_report_shows_boxes(face_set: Path) -> None:
    page = (face_set / "report" / "index.html").read_text("utf-8")
    assert '<h2 id="faces">Faces</h2>' in page and 'alt="faces with boxes"' in page
    assert "<td>photos without a face</td><td>1</td>" in page


def test_photos_without_a_face_are_no_bad_records(
    photos: Path, tmp_path: Path, make: Make, faces: Callable[..., Recipe]
) -> None:
    """Of 6 photos one is broken: 17 %."""
    make(photos, tmp_path / "set", faces(), max_rejected=0.2)
    with pytest.raises(TooManyRejected, match=r"1 of 6 records were rejected \(not_an_image 1\)"):
        make(photos, tmp_path / "set", faces(), max_rejected=0.1)


def test_a_set_of_whole_pictures_is_no_source_of_faces(
    finished_set: Path, tmp_path: Path, make: Make, faces: Callable[..., Recipe]
) -> None:
    with pytest.raises(BadRequest, match=r"faces\.crop \(there: 'none', asked: 'box'\): prepare it anew"):
        make(finished_set, tmp_path / "set", faces())


def test_aligned_and_celeba(photos: Path, tmp_path: Path, make: Make, faces: Callable[..., Recipe]) -> None:
    make(photos, tmp_path / "aligned", faces(crop="aligned", max_padding=0.6))
    rows = PreparedSet.open(tmp_path / "aligned").manifest().to_pylist()
    removed = [row for row in rows if row["status"] == "duplicate"]
    assert [row["part"] for row in removed] == [row["duplicate_of_part"] for row in removed]
    assert sorted(row["part"] for row in removed) == [0, 1], "one of each pair, whichever is sharper"
    assert verify(tmp_path / "aligned").removals == 2
    make(photos, tmp_path / "celeba", faces(crop="celeba"))
    rows = PreparedSet.open(tmp_path / "celeba").manifest().to_pylist()
    side = round(360 * 108 / 178)
    assert {(row["box_w"], row["box_h"], row["face_w"]) for row in rows[:4]} == {(side, side, None)}
    assert 'id="faces"' not in (tmp_path / "celeba" / "report" / "index.html").read_text("utf-8")


def test_the_command_is_the_recipe_in_pipelines() -> None:
    path = Path(__file__).parents[1] / "pipelines" / "faces.toml"
    assert load_recipe(path) == FACES


def test_the_commands_options_reach_the_recipe(photos: Path, tmp_path: Path) -> None:
    words = ["faces", str(photos), "--out", str(tmp_path / "set"), "--dry-run", "--crop", "aligned"]
    words += ["--min-face", "80", "--max-faces", "2", "--image-size", "128", "--threshold", "0.8"]
    shown = CliRunner().invoke(app, words).output
    for line in ('crop = "aligned"', "min_face = 80", "max_faces = 2", "size = 128", "threshold = 0.8"):
        assert line in shown
    refused = CliRunner().invoke(app, [*words, "--detector", "haar"])
    assert refused.exit_code == 1 and "'aligned' needs landmarks" in refused.output


def test_not_one_face_is_said(photos: Path, tmp_path: Path, make: Make, faces: Callable[..., Recipe]) -> None:
    with pytest.raises(TooManyRejected, match=r"not one image is kept \(face_too_small 6, no_face 1, not_an"):
        make(photos, tmp_path / "set", faces(min_face=500), max_rejected=0.5)
    assert read_info(tmp_path / "set").counts.kept == 0
