"""Photos looked up in a set: changed copies are found, strangers are not, bad files have a reason."""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from PIL import Image, ImageOps

from dcgan_data.demo import draw_bedroom, make_demo_lmdb
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.dataset import AUTOENCODER, DatasetInfo
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.lookup import MOST_CHECKED, nearest_codes
from dcgan_data.ops.search import code_halves
from dcgan_data.ops.views import IDENTITY, inverse, make_view
from dcgan_data.query import Answer, QueryResult, QuerySettings, query
from dcgan_data.query.sheet import SHEET_LINES

Make = Callable[..., DatasetInfo]
MakeRecipe = Callable[..., Any]

BEDROOMS, COPY_SHARE = 60, 0.2
FIT = {"max_updates": 150, "evaluate_every": 50, "batch_size": 32}


@pytest.fixture(scope="module")
def bedrooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bedrooms") / "lmdb"
    make_demo_lmdb(out, BEDROOMS, 3, COPY_SHARE)
    return out


@pytest.fixture(scope="module")
def drawn(bedrooms: Path) -> dict[str, bytes]:
    with lmdb.open(str(bedrooms), readonly=True, lock=False) as environment, environment.begin() as read:
        return {bytes(key).decode(): bytes(value) for key, value in read.cursor()}


@pytest.fixture(scope="module")
def near_set(
    tmp_path_factory: pytest.TempPathFactory, bedrooms: Path, make: Make, recipe: MakeRecipe
) -> Path:
    out = tmp_path_factory.mktemp("near") / "set"
    make(bedrooms, out, recipe("near", records_per_shard=25, autoencoder=FIT))
    return out


@pytest.fixture(scope="module")
def exact_set(
    tmp_path_factory: pytest.TempPathFactory, bedrooms: Path, make: Make, recipe: MakeRecipe
) -> Path:
    out = tmp_path_factory.mktemp("exact") / "set"
    make(bedrooms, out, recipe("exact", autoencoder={**FIT, "inputs": "rgb"}))
    return out


def rows_of(out: Path, status: str) -> list[dict[str, Any]]:
    table = PreparedSet.open(out).manifest(["key", "status", "duplicate_of"])
    return [row for row in table.to_pylist() if row["status"] == status]


def lone_key(out: Path) -> str:
    """A kept image without copies in the set."""
    named = {row["duplicate_of"] for row in rows_of(out, "duplicate")}
    return next(str(row["key"]) for row in rows_of(out, "kept") if row["key"] not in named)


def changed(data: bytes, mirror: bool = True) -> bytes:
    """Cut at all sides, mirrored, and JPEG at a low quality."""
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
        cut = image.convert("RGB").crop(
            (width // 40, height // 30, width - width // 50, height - height // 40)
        )
    buffer = io.BytesIO()
    (ImageOps.mirror(cut) if mirror else cut).save(buffer, "JPEG", quality=45)
    return buffer.getvalue()


def stranger() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_bedroom(np.random.default_rng(987), 341, 256)).save(buffer, "PNG")
    return buffer.getvalue()


def ask(out: Path, reporter: Any, *photos: Path, **settings: Any) -> QueryResult:
    return query(out, photos, QuerySettings(**settings), reporter)


def ask_one(out: Path, reporter: Any, folder: Path, data: bytes) -> Answer:
    (folder / "photo").write_bytes(data)
    (answer,) = ask(out, reporter, folder / "photo").answers
    assert answer.photo == str(folder / "photo")
    return answer


@pytest.mark.parametrize("kind", ["near_set", "exact_set"])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_cut_mirrored_and_recompressed_copy_is_found(
    kind: str, mirror: bool, drawn: dict[str, bytes], tmp_path: Path, request: Any, reporter: Any
) -> None:
    out = request.getfixturevalue(kind)
    key = lone_key(out)
    answer = ask_one(out, reporter, tmp_path, changed(drawn[key], mirror))
    assert answer.verdict == "copy"
    best = answer.matches[0]
    assert (best.key, best.part, best.status, best.duplicate_of) == (key, 0, "kept", None)
    assert 0.8 < best.score < 1
    assert best.view.startswith("mirror") == mirror
    assert 0 <= best.distance <= 16
    scores = [match.score for match in answer.matches]
    assert scores == sorted(scores, reverse=True)


def test_the_same_bytes_score_one_and_lead_to_removed_rows_too(
    near_set: Path, drawn: dict[str, bytes], tmp_path: Path, reporter: Any
) -> None:
    for removed in rows_of(near_set, "duplicate"):
        answer = ask_one(near_set, reporter, tmp_path, drawn[removed["key"]])
        assert answer.verdict == "copy" and not answer.flat
        found = {match.key: match for match in answer.matches}
        itself = found[removed["key"]]
        assert (itself.score, itself.view, itself.distance) == (1, "identity", 0)
        assert (itself.status, itself.duplicate_of) == ("duplicate", removed["duplicate_of"])
        assert found[removed["duplicate_of"]].score >= 0.73
        assert found[removed["duplicate_of"]].status == "kept"


@pytest.mark.parametrize("kind", ["near_set", "exact_set"])
def test_another_bedroom_is_no_copy(kind: str, tmp_path: Path, request: Any, reporter: Any) -> None:
    answer = ask_one(request.getfixturevalue(kind), reporter, tmp_path, stranger())
    assert (answer.verdict, answer.reason, answer.flat) == ("no copy", "", False)
    assert all(match.score < 0.73 for match in answer.matches)


def test_a_set_s_own_threshold_decides(
    bedrooms: Path, drawn: dict[str, bytes], tmp_path: Path, make: Make, recipe: MakeRecipe, reporter: Any
) -> None:
    out = tmp_path / "strict"
    make(bedrooms, out, recipe("near", dedup={"threshold": 1.0}, autoencoder=FIT))
    key = lone_key(out)
    answer = ask_one(out, reporter, tmp_path, changed(drawn[key]))
    assert (answer.verdict, answer.matches[0].key) == ("no copy", key)
    assert ask_one(out, reporter, tmp_path, drawn[key]).verdict == "copy"


def test_a_bad_photo_has_a_reason_and_the_others_go_on(
    near_set: Path, drawn: dict[str, bytes], tmp_path: Path, reporter: Any
) -> None:
    good, cut, text, gone = (tmp_path / name for name in ("good.jpg", "cut.jpg", "text.jpg", "gone.jpg"))
    data = drawn[lone_key(near_set)]
    good.write_bytes(data)
    cut.write_bytes(data[: len(data) // 2])
    text.write_bytes(b"not an image")
    result = ask(near_set, reporter, cut, text, gone, good)
    assert [answer.verdict for answer in result.answers] == ["unreadable"] * 3 + ["copy"]
    reasons = [answer.reason for answer in result.answers]
    assert reasons[0].startswith("truncated: ") or reasons[0].startswith("corrupt: ")
    assert reasons[1:] == [
        "not_an_image: no supported format in its first bytes",
        "unreadable: No such file or directory",
        "",
    ]
    assert not result.all_unreadable
    assert ask(near_set, reporter, cut, gone).all_unreadable
    assert reporter.stages == {"query": 2}


def test_a_photo_smaller_than_the_set_s_images(near_set: Path, tmp_path: Path, reporter: Any) -> None:
    Image.new("RGB", (60, 31)).save(tmp_path / "small.png")
    (answer,) = ask(near_set, reporter, tmp_path / "small.png").answers
    assert answer.reason == "too_small: short side under 32"


def test_the_files_of_a_directory(
    near_set: Path, drawn: dict[str, bytes], tmp_path: Path, reporter: Any
) -> None:
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    key = lone_key(near_set)
    (folder / "inner" / "b.webp").write_bytes(drawn[key])
    (folder / "a.png").write_bytes(stranger())
    (folder / "notes.txt").write_text("passed over")
    result = ask(near_set, reporter, folder, folder / "a.png")
    assert [(answer.photo, answer.verdict) for answer in result.answers] == [
        (str(folder / "a.png"), "no copy"),
        (str(folder / "inner" / "b.webp"), "copy"),
        (str(folder / "a.png"), "no copy"),
    ]
    assert result.answers[1].matches[0].key == key


def test_a_relative_path_and_a_name_that_is_not_utf_8(
    near_set: Path, tmp_path: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    strange = Path(os.fsdecode(b"\xe4.png"))
    strange.write_bytes(stranger())
    (answer,) = ask(near_set, reporter, strange).answers
    assert (answer.photo, answer.verdict) == ("\\xe4.png", "no copy")


def test_a_directory_without_images(near_set: Path, tmp_path: Path, reporter: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        ask(near_set, reporter, tmp_path)
    assert str(caught.value) == f"{tmp_path}: a directory without image files"


def test_flat_photos_match_equal_pixels_only(
    tmp_path: Path, make: Make, recipe: MakeRecipe, encoded: Callable[..., bytes], picture: Any, reporter: Any
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for seed in range(6):
        (folder / f"{seed}.png").write_bytes(encoded(picture(seed=seed)))
    grey, nearly = np.full((40, 40, 3), 90, np.uint8), np.full((40, 40, 3), 92, np.uint8)
    (folder / "grey.png").write_bytes(encoded(grey))
    (folder / "nearly.png").write_bytes(encoded(nearly))
    make(folder, tmp_path / "set", recipe("near"))
    answer = ask_one(tmp_path / "set", reporter, tmp_path, encoded(grey))
    assert (answer.verdict, answer.flat) == ("copy", True)
    assert [(match.key, match.score) for match in answer.matches] == [("grey.png", 1)]
    answer = ask_one(tmp_path / "set", reporter, tmp_path, encoded(grey + np.uint8(1)))
    assert (answer.verdict, answer.flat, answer.matches) == ("no copy", True, ())


def test_flat_images_match_equal_pixels_only(
    tmp_path: Path, make: Make, recipe: MakeRecipe, encoded: Callable[..., bytes], picture: Any, reporter: Any
) -> None:
    """The photo shows the same picture as an image with less contrast than the recipe asks for."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for seed in range(6):
        (folder / f"{seed}.png").write_bytes(encoded(picture(seed=seed)))
    faint, clear = ((picture(seed=3) * share + 90).astype(np.uint8) for share in (0.1, 0.6))
    (folder / "faint.png").write_bytes(encoded(faint))
    make(folder, tmp_path / "set", recipe("near", dedup={"min_contrast": 12.0}))
    answer = ask_one(tmp_path / "set", reporter, tmp_path, encoded(clear))
    assert (answer.verdict, answer.flat, answer.matches[0].key) == ("copy", False, "3.png")
    assert "faint.png" not in [match.key for match in answer.matches]
    answer = ask_one(tmp_path / "set", reporter, tmp_path, encoded(faint))
    assert (answer.verdict, answer.flat, answer.matches[0].key) == ("copy", True, "faint.png")


def test_the_middle_of_a_bedroom_is_found(
    near_set: Path, drawn: dict[str, bytes], tmp_path: Path, reporter: Any
) -> None:
    """Here it is the photo that must be seen beyond its border."""
    keys = [row["key"] for row in rows_of(near_set, "kept")][:12]
    for key in keys:
        with Image.open(io.BytesIO(drawn[key])) as image:
            square = ImageOps.fit(image.convert("RGB"), (256, 256))
        square.crop((20, 20, 236, 236)).save(tmp_path / f"{key}.png")
    answers = ask(near_set, reporter, *(tmp_path / f"{key}.png" for key in keys)).answers
    best = [answer.matches[0].key if answer.verdict == "copy" else None for answer in answers]
    assert sum(found == key for found, key in zip(best, keys, strict=True)) >= 9


def test_no_more_matches_than_asked(
    near_set: Path, drawn: dict[str, bytes], tmp_path: Path, reporter: Any
) -> None:
    removed = rows_of(near_set, "duplicate")[0]["key"]
    (tmp_path / "photo").write_bytes(drawn[removed])
    (answer,) = ask(near_set, reporter, tmp_path / "photo", top=1).answers
    assert [match.score for match in answer.matches] == [1]


def test_the_result_is_plain_json(
    near_set: Path, drawn: dict[str, bytes], tmp_path: Path, reporter: Any
) -> None:
    key = lone_key(near_set)
    (tmp_path / "photo").write_bytes(drawn[key])
    result = ask(near_set, reporter, tmp_path / "photo")
    values = json.loads(json.dumps(dataclasses.asdict(result)))
    assert (values["out"], values["images"], values["threshold"]) == (str(near_set), BEDROOMS, 0.73)
    best = {
        "key": key,
        "part": 0,
        "status": "kept",
        "duplicate_of": None,
        "duplicate_of_part": None,
        "score": 1.0,
    }
    assert values["answers"][0]["matches"][0] == {**best, "view": "identity", "distance": 0}


def test_the_sheet_shows_photo_and_matches(
    near_set: Path, drawn: dict[str, bytes], tmp_path: Path, reporter: Any
) -> None:
    photo, bad, sheet = tmp_path / "photo", tmp_path / "bad", tmp_path / "sheet.png"
    photo.write_bytes(drawn[lone_key(near_set)])
    bad.write_bytes(b"text")
    ask(near_set, reporter, photo, bad, sheet=sheet, top=3)
    with Image.open(sheet) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (2 * (128 + 36), 4 * 136, 3)
    assert np.array_equal(pixels[:128, :128], pixels[:128, 136 : 136 + 128])  # itself
    assert pixels[:128, :128].std() > 5
    assert (pixels[128:164] < 128).any() and (pixels[164:] < 128).any()  # words
    assert reporter.said == []


def test_a_sheet_of_many_photos_says_what_it_leaves_out(
    near_set: Path, tmp_path: Path, reporter: Any
) -> None:
    sheet = tmp_path / "sheet.png"
    ask(near_set, reporter, *[tmp_path / "gone"] * (SHEET_LINES + 1), sheet=sheet, top=1)
    with Image.open(sheet) as image:
        assert image.height == SHEET_LINES * 164
    assert reporter.said == [f"{sheet}: shows the first 200 of 201 answers"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"top": 0}, "--top 0: expected 1 to 64"),
        ({"top": 65}, "--top 65: expected 1 to 64"),
        ({"sheet": Path("a.jpg")}, "--sheet a.jpg: written as PNG; give a name that ends in .png"),
        ({"sheet": Path("no/a.png")}, "--sheet no/a.png: its directory is missing or cannot be written to"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        QuerySettings(**settings)
    assert str(caught.value) == said


def test_no_set(tmp_path: Path, reporter: Any) -> None:
    with pytest.raises(BadInput, match="no such directory; 'dcgan-data dedup SRC --out"):
        ask(tmp_path / "nowhere", reporter, tmp_path)


def test_a_set_that_was_only_prepared(
    source: Path, tmp_path: Path, make: Make, recipe: MakeRecipe, reporter: Any
) -> None:
    out = tmp_path / "set"
    make(source, out, recipe("none"))
    with pytest.raises(BadRequest) as caught:
        ask(out, reporter, tmp_path)
    assert str(caught.value) == (
        f"{out}: was only prepared; 'dcgan-data dedup {out}' fits the codes that are needed here"
    )


def test_a_changed_autoencoder(copied_set: Path, tmp_path: Path, reporter: Any) -> None:
    data = bytearray((copied_set / AUTOENCODER).read_bytes())
    data[-7] ^= 1
    (copied_set / AUTOENCODER).write_bytes(data)
    with pytest.raises(BadInput, match=r"autoencoder.safetensors: its bytes were changed"):
        ask(copied_set, reporter, tmp_path)


def test_rejected_rows_do_not_shift_the_others(
    tmp_path: Path, make: Make, recipe: MakeRecipe, encoded: Callable[..., bytes], picture: Any, reporter: Any
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(20):
        bad = number in (0, 3, 9, 10)
        (folder / f"{number:02d}").write_bytes(b"text" if bad else encoded(picture(seed=number)))
    make(folder, tmp_path / "set", recipe("exact"))
    for number in (1, 8, 19):
        answer = ask_one(tmp_path / "set", reporter, tmp_path, (folder / f"{number:02d}").read_bytes())
        assert [match.key for match in answer.matches if match.score == 1] == [f"{number:02d}"]


def test_a_set_of_rejected_records_only(
    tmp_path: Path, make: Make, recipe: MakeRecipe, reporter: Any
) -> None:
    folder, out = tmp_path / "folder", tmp_path / "set"
    folder.mkdir()
    (folder / "bad.png").write_bytes(b"text")
    make(folder, out, recipe("near"))
    with pytest.raises(BadRequest) as caught:
        ask(out, reporter, folder)
    assert str(caught.value) == f"{out}: holds no images to look photos up in"


def test_nearest_codes_against_the_rule_written_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcgan_data.lookup._CODES_AT_A_TIME", 64)
    rng = np.random.default_rng(0)
    views = np.array([IDENTITY, make_view(90, 90), make_view(mirror=True)])
    seen = rng.integers(0, 256, (3, 16), np.uint8)
    flips = np.packbits(rng.random((500, 128)) < rng.uniform(0, 0.3, (500, 1)), axis=1)
    codes = seen[rng.integers(0, 3, 500)] ^ flips
    distance = np.unpackbits(codes[:, None] ^ seen, axis=2).sum(axis=2)
    nearest = distance.min(axis=1)
    expected = [row for row in np.lexsort((np.arange(500), nearest)) if nearest[row] <= 16][:MOST_CHECKED]
    assert len(expected) == MOST_CHECKED
    found = nearest_codes(code_halves(codes), code_halves(seen), views, 16)
    assert found["row"].tolist() == expected
    assert found["distance"].tolist() == nearest[expected].tolist()
    assert np.array_equal(found["view"], views[distance[expected].argmin(axis=1)])


def test_the_inverse_of_a_view() -> None:
    """A place of the picture that a view shows at x is shown by the inverse where x was."""
    views = np.array([IDENTITY, make_view(80, 125, 10, -20), make_view(125, 80, 15, 5, mirror=True)])
    assert inverse(views).tolist() == [
        (100, 100, 0, 0, False),
        (125, 80, -12, 16, False),
        (80, 125, 12, -6, True),
    ]
    for place in (-7.0, 3.0):
        for there, back in zip(views[1:], inverse(views)[1:], strict=True):
            sides = [-1 if view["mirror"] else 1 for view in (there, back)]
            seen = there["zoom_x"] / 100 * sides[0] * place + there["shift_x"] / 10
            again = back["zoom_x"] / 100 * sides[1] * seen + back["shift_x"] / 10
            assert again == pytest.approx(place, abs=0.1)
