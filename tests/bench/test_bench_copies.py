"""Which copies are planted, and that a seed says it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import lmdb
import numpy as np
import pytest

from dcgan_data.bench.changes import KINDS
from dcgan_data.bench.copies import PlantedSet, PlantSettings, plant
from dcgan_data.errors import BadInput, BadRequest


@pytest.fixture(scope="module")
def photos(
    tmp_path_factory: pytest.TempPathFactory,
    picture: Callable[..., np.ndarray],
    encoded: Callable[..., bytes],
    write_lmdb: Callable[[Path, Mapping[bytes, bytes]], Path],
) -> Path:
    """12 photos of 60 pixels; one just large enough for itself at 32, one too small, and two broken."""
    records = {b"%02d" % n: encoded(picture(80, 60, seed=n), "JPEG") for n in range(12)}
    records[b"12 bare"] = encoded(picture(40, 34, seed=12))
    records[b"13 tiny"] = encoded(picture(40, 30, seed=13))
    records[b"14 text"] = b"not an image"
    records[b"15 cut"] = records[b"03"][:900]  # its header is whole
    return write_lmdb(tmp_path_factory.mktemp("photos") / "lmdb", records)


def planted(photos: Path, path: Path, workers: int = 1, **settings: int) -> PlantedSet:
    return plant(PlantSettings(photos, **{"per_kind": 3, **settings}), 32, path, workers, lambda _: None)


def contents(path: Path) -> dict[str, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return {key.decode(): value for key, value in transaction.cursor()}


def test_photos_and_copies(photos: Path, tmp_path: Path) -> None:
    done: list[int] = []
    truth = plant(PlantSettings(photos, per_kind=3), 32, tmp_path / "set", 1, done.append)
    found = contents(tmp_path / "set")
    assert found.keys() == truth.images.keys()
    originals = {key: image for key, image in truth.images.items() if not image.kind}
    assert {image.name for image in originals.values()} == {
        *(f"{n:02d}" for n in range(12)),
        "12 bare",
        "15 cut",
    }
    assert all(image.original == key for key, image in originals.items())
    assert truth.left_out == 2
    assert (
        found[next(key for key, image in originals.items() if image.name == "04")] == contents(photos)["04"]
    )
    copies = truth.copies.values()
    assert sum(done) == len(copies)
    assert {image.original for image in copies} <= originals.keys()
    counts = Counter(image.kind for image in copies)
    lost = 3 * len(KINDS) - len(copies)  # of the photo that is broken behind its header
    assert lost <= len(KINDS) and all(2 <= counts[kind.name] <= 3 for kind in KINDS)
    assert not {image.name for image in copies} & {"12 bare", "15 cut"}  # a crop of it would be too small


def test_names_and_families(photos: Path, tmp_path: Path) -> None:
    truth = planted(photos, tmp_path / "set")
    key, copy = next((key, image) for key, image in truth.images.items() if image.kind == "mirror")
    assert truth.label(key) == f"{copy.name} (mirror)"
    assert truth.label(copy.original) == copy.name
    assert truth.family(key) == truth.family(copy.original) == copy.original


def test_the_seed_says_it_all(photos: Path, tmp_path: Path) -> None:
    first = contents(planted(photos, tmp_path / "a").path)
    assert contents(planted(photos, tmp_path / "b", workers=2).path) == first
    other = contents(planted(photos, tmp_path / "c", seed=1).path)
    assert other.keys() != first.keys()


def test_only_the_first_photos(photos: Path, tmp_path: Path) -> None:
    truth = planted(photos, tmp_path / "set", limit=5)
    assert {image.name for image in truth.images.values()} == {f"{n:02d}" for n in range(5)}


def test_too_few_photos(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest) as caught:
        planted(photos, tmp_path / "set", per_kind=40)
    assert str(caught.value) == (
        f"--per-kind 40: {photos} holds 13 photos large enough for copies at 32 pixels; "
        "ask for fewer copies or name more photos"
    )


def test_no_photos(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no images"):
        planted(tmp_path / "empty", tmp_path / "set")


@pytest.mark.parametrize("name", ["per_kind", "limit", "seed"])
def test_settings_are_checked(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=f"--{name.replace('_', '-')} -1: expected"):
        PlantSettings(tmp_path, **{name: -1})
