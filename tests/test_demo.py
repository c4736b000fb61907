"""The demo set: its pictures, its LMDB, its planted copies, and the score against their truth."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest

from dcgan_data.demo import KINDS, DemoTruth, PlantedCopy, draw_bedroom, load_truth, make_demo_lmdb
from dcgan_data.demo.bedroom.render import UP, Camera, Patch, paint
from dcgan_data.demo.bedroom.solids import Item, back_to_front
from dcgan_data.demo.lmdb_writer import _plan
from dcgan_data.errors import BadInput, BadRequest

COUNT, SEED, COPY_SHARE = 60, 5, 0.4
LSUN_SIZES = {(341, 256), (384, 256), (256, 256), (256, 341)}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "set"
    make_demo_lmdb(out, COUNT, SEED, COPY_SHARE)
    return out


@pytest.fixture(scope="module")
def records(demo: Path) -> dict[str, bytes]:
    return read_lmdb(demo)


@pytest.fixture(scope="module")
def truth(demo: Path) -> DemoTruth:
    return load_truth(demo)


def read_lmdb(path: Path) -> dict[str, bytes]:
    """All records, read as LSUN's own reader does: one unnamed database, read only."""
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return {bytes(key).decode(): bytes(value) for key, value in transaction.cursor()}


def decoded(encoded: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image)


def size(encoded: bytes) -> tuple[int, int]:
    height, width = decoded(encoded).shape[:2]
    return width, height


def details(image: np.ndarray) -> np.ndarray:
    """What two copies have in common: high-pass luminance at 32x32, of unit length."""
    grey = cv2.cvtColor(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    high = grey.astype(np.float32) - cv2.blur(grey.astype(np.float32), (7, 7))
    return np.asarray(high / np.linalg.norm(high))


# --- pictures


def test_a_scene_is_fixed_by_the_generator() -> None:
    first, again, other = (draw_bedroom(np.random.default_rng(seed), 341, 256) for seed in (3, 3, 4))
    assert first.shape == (256, 341, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 10


@pytest.mark.parametrize("shape", [(64, 64), (32, 48), (384, 256)])
def test_a_scene_fills_any_size(shape: tuple[int, int]) -> None:
    image = draw_bedroom(np.random.default_rng(0), *shape)
    assert image.shape == (shape[1], shape[0], 3)
    assert image.std() > 15


def test_scenes_do_not_look_alike() -> None:
    rng = np.random.default_rng(11)
    scenes = np.stack([details(draw_bedroom(rng, 160, 120)).ravel() for _ in range(80)])
    alike = scenes @ scenes.T - 2 * np.eye(len(scenes))
    assert alike.max() < 0.65  # a planted copy reaches .99, a crop .85


def test_drawing_changes_nothing_global() -> None:
    threads, state = cv2.getNumThreads(), np.random.get_state()[1].tolist()  # type: ignore[index]
    draw_bedroom(np.random.default_rng(0), 64, 64)
    assert cv2.getNumThreads() == threads
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]


def looking_ahead() -> Camera:
    return Camera.looking(np.array([0.0, 1.0, 0.0]), (0.0, 0.0, 0.0), 50.0, (100, 80))


def wall(z: float) -> Patch:
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 0] = 255  # top left
    return Patch(np.array([-1.0, 2.0, z]), np.array([2.0, 0.0, 0.0]), -2 * UP, texture)


def test_a_patch_is_painted_where_the_camera_sees_it() -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    paint(image, looking_ahead(), wall(2.5), np.ones((1, 1, 3), np.float32))
    # 2 m at a distance of 2.5 m and a focal length of 50 pixels are 40 pixels around the middle (49.5, 39.5)
    assert image[23:29, 33:39].min() == 255
    assert image[60:, :].max() == 0
    assert image[:, :25].max() == 0
    assert image[50:55, 60:65].max() == 0


def test_a_patch_behind_the_camera_is_not_painted() -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    paint(image, looking_ahead(), wall(-2.5), np.ones((1, 1, 3), np.float32))
    assert image.max() == 0


def test_a_patch_that_passes_the_camera_is_cut_off() -> None:
    image = np.zeros((80, 100, 3), np.uint8)
    white = np.full((4, 4, 3), 255, np.uint8)
    floor = Patch(np.array([-9.0, 0.0, 9.0]), np.array([18.0, 0.0, 0.0]), np.array([0.0, 0.0, -18.0]), white)
    paint(image, looking_ahead(), floor, np.ones((1, 1, 3), np.float32))
    assert image[:40].max() == 0  # nothing above the horizon
    assert image[50:].min() == 255


def test_what_hides_is_drawn_after_what_it_hides() -> None:
    def cube(x: float, z: float) -> Item:
        return Item((), np.array([x, 0.0, z]), np.array([x + 1, 1.0, z + 1]))

    near, far, aside = cube(0, 1), cube(0, 3), cube(2, 1)
    for items in itertools.permutations([near, far, aside]):
        ordered = [id(item) for item in back_to_front(items, np.array([0.5, 1.0, 0.0]))]
        assert ordered.index(id(far)) < ordered.index(id(near))
        assert len(ordered) == 3


# --- the LMDB


def test_the_same_bytes_for_any_number_of_workers(records: dict[str, bytes], tmp_path: Path) -> None:
    make_demo_lmdb(tmp_path / "two", COUNT, SEED, COPY_SHARE, workers=2)
    assert read_lmdb(tmp_path / "two") == records


def test_another_seed_gives_another_set(records: dict[str, bytes], tmp_path: Path) -> None:
    make_demo_lmdb(tmp_path / "other", 8, SEED + 1)
    other = read_lmdb(tmp_path / "other")
    assert not other.keys() & records.keys()
    assert not set(other.values()) & set(records.values())


def test_the_layout_is_that_of_lsun(demo: Path, records: dict[str, bytes]) -> None:
    assert sorted(path.name for path in demo.iterdir()) == ["data.mdb", "truth.json"]
    assert len(records) == COUNT
    assert all(re.fullmatch("[0-9a-f]{40}", key) for key in records)
    assert (demo / "data.mdb").stat().st_size < 2 * sum(map(len, records.values()))


def test_originals_have_the_sizes_and_formats_of_lsun(records: dict[str, bytes], truth: DemoTruth) -> None:
    originals = [encoded for key, encoded in records.items() if key not in truth.copies]
    assert {size(encoded) for encoded in originals} == LSUN_SIZES
    formats = Counter(encoded[:4] for encoded in originals)
    assert formats == {b"\xff\xd8\xff\xe0": 34, b"RIFF": 2}  # 5 % of 36 are 2


def test_shares_of_a_large_set() -> None:
    planned, copies = _plan(3000, 0, 0.1)
    assert len(planned) == 3000
    assert [record.key for record in planned] == sorted(record.key for record in planned)
    originals = [record for record in planned if record.copy_index is None]
    assert len(originals) == 2700
    assert sum(record.suffix == ".webp" for record in originals) == 135
    sizes = Counter(record.size for record in originals)
    assert sizes.keys() == LSUN_SIZES
    assert 0.5 < sizes[341, 256] / 2700 < 0.6
    assert set(Counter(copy.kind for copy in copies.values()).values()) == {37, 38}
    places = {record.key: place for place, record in enumerate(planned)}
    apart = [abs(places[key] - places[copy.original]) for key, copy in copies.items()]
    assert np.mean(apart) == pytest.approx(1000, abs=150)  # two random places of 3000 are a third apart


# --- planted copies


def test_copies_are_what_the_truth_says(records: dict[str, bytes], truth: DemoTruth) -> None:
    assert len(truth.copies) == round(COUNT * COPY_SHARE)
    assert {copy.kind for copy in truth.copies.values()} == set(KINDS)
    for key, copy in truth.copies.items():
        assert copy.original not in truth.copies
        assert (records[key] == records[copy.original]) == (copy.kind == "bytes")
        image, original = decoded(records[key]), decoded(records[copy.original])
        if copy.kind == "mirrored":
            image = image[:, ::-1]
        likeness = float((details(image) * details(original)).sum())
        assert likeness > (0.5 if copy.kind == "cropped" else 0.97), copy


def test_each_kind_does_what_it_promises(records: dict[str, bytes], truth: DemoTruth) -> None:
    for key, copy in truth.copies.items():
        before, after = decoded(records[copy.original]), decoded(records[key])
        is_webp = records[key][:4] == b"RIFF"
        if copy.kind != "bytes":
            assert is_webp == (copy.kind == "webp")
        if copy.kind == "cropped":
            shares = [1 - a / b for a, b in zip(after.shape[:2], before.shape[:2], strict=True)]
            assert all(0.015 < share < 0.045 for share in shares)
        elif copy.kind == "resized":
            assert min(after.shape[:2]) in (192, 256, 384)
        else:
            assert after.shape == before.shape
        if copy.kind == "brighter":
            assert 1.04 < after.mean() / before.mean() < 1.11
        if copy.kind == "blurred":
            assert cv2.Laplacian(after, cv2.CV_64F).std() < 0.7 * cv2.Laplacian(before, cv2.CV_64F).std()
        if copy.kind == "mirrored":
            straight, turned = (np.abs(x - after.astype(int)).mean() for x in (before, before[:, ::-1]))
            assert turned < 5 < straight


def family_of_three() -> DemoTruth:
    copies = {"b": PlantedCopy("a", "resized"), "c": PlantedCopy("a", "webp"), "e": PlantedCopy("d", "webp")}
    return DemoTruth(count=6, seed=0, copy_share=0.5, copies=copies)


@pytest.mark.parametrize(
    ("duplicate_of", "found", "wrong"),
    [
        ({}, {"resized": 0, "webp": 0}, ()),
        ({"b": "a", "c": "a", "e": "d"}, {"resized": 1, "webp": 2}, ()),
        ({"d": "e"}, {"resized": 0, "webp": 1}, ()),  # the original was removed, its copy kept
        ({"a": "b", "c": "b"}, {"resized": 1, "webp": 1}, ()),
        ({"a": "c"}, {"resized": 0, "webp": 1}, ()),  # b was missed
        ({"a": "b", "b": "c", "c": "a"}, {"resized": 1, "webp": 1}, ()),  # three removed, two to find
        ({"e": "a", "f": "d"}, {"resized": 0, "webp": 0}, ("e", "f")),
        ({"f": "d", "b": "a"}, {"resized": 1, "webp": 0}, ("f",)),
        ({"b": "b"}, {"resized": 0, "webp": 0}, ("b",)),  # not its own copy
    ],
)
def test_score(duplicate_of: Mapping[str, str], found: dict[str, int], wrong: tuple[str, ...]) -> None:
    score = family_of_three().score(duplicate_of)
    assert score.planted == {"resized": 1, "webp": 2}
    assert score.found == found
    assert score.wrong == wrong
    assert score.recall == {"resized": found["resized"], "webp": found["webp"] / 2}


def test_score_of_removing_every_copy_is_full(truth: DemoTruth) -> None:
    score = truth.score({key: copy.original for key, copy in truth.copies.items()})
    assert score.found == score.planted == Counter(copy.kind for copy in truth.copies.values())
    assert score.wrong == ()


# --- being asked again, and refusing


def test_asking_again_changes_nothing(demo: Path, truth: DemoTruth) -> None:
    def stamps() -> list[int]:
        return [path.stat().st_mtime_ns for path in sorted(demo.iterdir())]

    before, progress = stamps(), list[tuple[int, int]]()
    again = make_demo_lmdb(demo, COUNT, SEED, COPY_SHARE, lambda *step: progress.append(step))
    assert again == truth
    assert stamps() == before
    assert progress == []


def test_progress_ends_at_the_count(tmp_path: Path) -> None:
    progress = list[tuple[int, int]]()
    make_demo_lmdb(tmp_path / "small", 40, on_progress=lambda *step: progress.append(step))
    assert progress == [(32, 40), (40, 40)]


def test_a_set_of_other_parameters_is_refused(demo: Path) -> None:
    with pytest.raises(
        BadRequest, match=r"set: holds a demo set of 60 records .* = \(60, 5, 0\.4\), not the"
    ) as error:
        make_demo_lmdb(demo, COUNT, SEED, 0.2)
    assert str(error.value).endswith("(60, 5, 0.2) asked for; choose another directory")


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(
        BadRequest, match=r"exists and is not a complete demo set .* choose another directory"
    ):
        make_demo_lmdb(tmp_path, 4)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_set_without_its_data_is_refused(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_bytes((demo / "truth.json").read_bytes())
    with pytest.raises(BadRequest, match="exists and is not a complete demo set"):
        make_demo_lmdb(tmp_path, COUNT, SEED, COPY_SHARE)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"count": 1}, "demo: count is 1, it must be at least 2"),
        ({"seed": -1}, "demo: seed is -1, it must not be negative"),
        ({"copy_share": 0.6}, r"demo: copy_share is 0\.6, it must be from 0 to 0\.5"),
        ({"workers": 0}, "demo: workers is 0, it must be at least 1, or -1 for one a core"),
    ],
)
def test_parameters_out_of_range_are_refused(
    parameters: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(BadRequest, match=message):
        make_demo_lmdb(tmp_path / "set", **parameters)
    assert not (tmp_path / "set").exists()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(BadRequest, match=r"cannot be written \(Not a directory\); choose another directory"):
        make_demo_lmdb(tmp_path / "file" / "set", 4)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_demo_lmdb(tmp_path / "set", 4, on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_truth_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"not a demo set, it has no truth\.json; 'dcgan-data demo' draws one"):
        load_truth(tmp_path)
    path = tmp_path / "truth.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"truth\.json: damaged \(JSONDecodeError: .*\); draw the demo set again"
    ):
        load_truth(tmp_path)
    path.write_text(json.dumps({"schema_version": 99}), encoding="utf-8")
    with pytest.raises(BadInput, match=r"truth\.json: schema version 99, this program reads 1"):
        load_truth(tmp_path)
