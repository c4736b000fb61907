"""What each picture format holds, read as the programs that it is for read it."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dcgan_data.errors import BadRequest
from dcgan_data.export import ExportResult, ExportSettings, image_folder, parquet, webdataset
from dcgan_data.formats.prepared import PreparedSet

Run = Callable[..., ExportResult]


def kept(prepared: Path) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Pixels and manifest rows of the kept images."""
    opened = PreparedSet.open(prepared)
    rows = [row for row in opened.manifest().to_pylist() if row["status"] == "kept"]
    return opened.rows().gather(np.arange(len(rows))), rows


def pixels_of(data: bytes) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG" and image.mode == "RGB"
        return np.asarray(image)


def files_below(root: Path) -> dict[str, bytes]:
    paths = [root] if root.is_file() else [path for path in sorted(root.rglob("*")) if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


class NvlabsReader:
    """As ImageFolderDataset of NVlabs' StyleGAN and EDM reads: names, pictures and labels of a zip."""

    def __init__(self, path: Path) -> None:
        self.archive = zipfile.ZipFile(path)
        PIL.Image.init()
        names = set(self.archive.namelist())
        self.names = sorted(name for name in names if Path(name).suffix.lower() in PIL.Image.EXTENSION)
        self.raw_shape = [len(self.names), *self.image(0).shape]

    def image(self, number: int) -> np.ndarray:
        with self.archive.open(self.names[number], "r") as file:
            return np.array(PIL.Image.open(file)).transpose(2, 0, 1)  # HWC => CHW

    def labels(self) -> np.ndarray | None:
        with self.archive.open("dataset.json", "r") as file:
            labels = json.load(file)["labels"]
        if labels is None:
            return None
        of_name = dict(labels)
        values = np.array([of_name[name.replace("\\", "/")] for name in self.names])
        return values.astype({1: np.int64, 2: np.float32}[values.ndim])


def test_stylegan_zip_with_integers(tmp_path: Path, numbered_set: Path, run: Run) -> None:
    result = run(numbered_set, "stylegan-zip", tmp_path / "x.zip")
    images, rows = kept(numbered_set)
    reader = NvlabsReader(tmp_path / "x.zip")
    assert reader.raw_shape == [10, 3, 32, 32]
    assert np.array_equal(np.stack([reader.image(n) for n in range(10)]), images.transpose(0, 3, 1, 2))
    labels = reader.labels()
    assert labels is not None and labels.dtype == np.int64
    assert labels.tolist() == [int(row["label"]) for row in rows] == [10] * 5 + [3] * 5
    assert "label_names" not in json.loads(reader.archive.read("dataset.json"))
    assert result == ExportResult(
        "stylegan-zip", str(tmp_path / "x.zip"), 10, 1, (tmp_path / "x.zip").stat().st_size, ()
    )


def test_stylegan_zip_is_stored_and_dated_the_same(tmp_path: Path, numbered_set: Path, run: Run) -> None:
    run(numbered_set, "stylegan-zip", tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.testzip() is None
        names = [*(f"00000/img{n:08d}.png" for n in range(10)), "dataset.json"]
        assert archive.namelist() == names
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o100644
        picture = archive.read(names[0])
        assert len(picture) > 32 * 32 * 3  # nothing to inflate


def test_stylegan_zip_with_names(tmp_path: Path, named_set: Path, run: Run) -> None:
    result = run(named_set, "stylegan-zip", tmp_path / "x.zip")
    reader = NvlabsReader(tmp_path / "x.zip")
    labels = reader.labels()
    assert labels is not None and labels.tolist() == [0] * 5 + [1] * 5
    assert json.loads(reader.archive.read("dataset.json"))["label_names"] == ["cats", "dogs"]
    assert result.notes == (
        "labels: 2 names are numbered in sorted order; dataset.json has them as label_names",
    )


def test_stylegan_zip_with_some_or_no_labels(
    tmp_path: Path, mixed_set: Path, finished_set: Path, run: Run
) -> None:
    result = run(mixed_set, "stylegan-zip", tmp_path / "mixed.zip")
    assert NvlabsReader(tmp_path / "mixed.zip").labels() is None
    assert result.notes == ("labels: 5 of 10 images have none, so that dataset.json has none",)
    assert run(finished_set, "stylegan-zip", tmp_path / "none.zip").notes == ()
    with zipfile.ZipFile(tmp_path / "none.zip") as archive:
        assert archive.read("dataset.json") == b'{"labels": null}'


def test_a_thousand_pictures_a_directory() -> None:
    from dcgan_data.export.stylegan_zip import _member_name

    assert [_member_name(n) for n in (999, 1000, 3_033_041)] == [
        "00000/img00000999.png",
        "00001/img00001000.png",
        "03033/img03033041.png",
    ]


def members_of(root: Path) -> dict[str, dict[str, bytes]]:
    """Samples of all tars: name -> extension -> data, grouped as webdataset groups them."""
    samples: dict[str, dict[str, bytes]] = {}
    for path in sorted(root.iterdir()):
        with tarfile.open(path) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")
                name, _, extension = member.name.partition(".")
                data = archive.extractfile(member)
                assert member.isreg() and data
                samples.setdefault(name, {})[extension] = data.read()
    return samples


def test_webdataset(tmp_path: Path, numbered_set: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "IMAGES_PER_TAR", 4)
    result = run(numbered_set, "webdataset", tmp_path / "tars")
    assert [path.name for path in sorted((tmp_path / "tars").iterdir())] == [
        "000000.tar",
        "000001.tar",
        "000002.tar",
    ]
    assert (result.images, result.files) == (10, 3)
    images, rows = kept(numbered_set)
    samples = members_of(tmp_path / "tars")
    assert list(samples) == [f"{n:08d}" for n in range(10)]
    for sample, pixels, row in zip(samples.values(), images, rows, strict=True):
        assert list(sample) == ["png", "cls", "json"]
        assert np.array_equal(pixels_of(sample["png"]), pixels)
        assert int(sample["cls"]) == int(row["label"])
        assert json.loads(sample["json"]) == {"key": row["key"], "part": 0, "label": int(row["label"])}


def test_webdataset_with_names_and_without(tmp_path: Path, mixed_set: Path, run: Run) -> None:
    run(mixed_set, "webdataset", tmp_path / "tars")
    samples = list(members_of(tmp_path / "tars").values())
    assert [list(sample) for sample in samples] == [["png", "json"]] * 5 + [["png", "txt", "json"]] * 5
    assert samples[5]["txt"] == b"cats"
    assert [json.loads(sample["json"])["label"] for sample in samples] == [None] * 5 + ["cats"] * 5


def test_image_folder(tmp_path: Path, mixed_set: Path, run: Run) -> None:
    result = run(mixed_set, "imagefolder", tmp_path / "folder")
    images, rows = kept(mixed_set)
    lines = (tmp_path / "folder" / "metadata.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "file_name": f"{'cats/' if row['label'] else ''}{number:08d}.png",
            "key": row["key"],
            "part": 0,
            "label": row["label"],
        }
        for number, row in enumerate(rows)
    ]
    for line, pixels in zip(lines, images, strict=True):
        data = (tmp_path / "folder" / json.loads(line)["file_name"]).read_bytes()
        assert np.array_equal(pixels_of(data), pixels)
    assert (result.images, result.files, result.notes) == (10, 11, ())


def test_image_folder_makes_labels_safe(
    tmp_path: Path, classes: Callable[[list[str]], Path], run: Run
) -> None:
    result = run(classes(["a/b", "a_b"]), "imagefolder", tmp_path / "folder")
    first, second = sorted(path.name for path in (tmp_path / "folder").iterdir() if path.is_dir())
    assert first == "a_b" and second.startswith("a_b-")
    assert result.notes == (
        "labels: 1 cannot be names of directories as they are; metadata.jsonl has them unchanged",
    )
    lines = (tmp_path / "folder" / "metadata.jsonl").read_text("utf-8").splitlines()
    assert {json.loads(line)["label"] for line in lines} == {"a/b", "a_b"}


def test_image_folder_with_a_class_of_trains(
    tmp_path: Path, classes: Callable[[list[str]], Path], run: Run
) -> None:
    assert run(classes(["train", "bus"]), "imagefolder", tmp_path / "folder").notes == (
        "labels: Hugging Face's datasets takes train for splits; load with data_files={'train': '**'}",
    )


def test_parquet(tmp_path: Path, named_set: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MOST_ROWS_OF_A_GROUP", 3)
    monkeypatch.setattr(parquet, "PIXEL_BYTES_PER_FILE", 32 * 32 * 3 * 6)
    result = run(named_set, "parquet", tmp_path / "tables")
    paths = sorted((tmp_path / "tables").iterdir())
    assert [path.name for path in paths] == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    groups = [pq.ParquetFile(path).metadata for path in paths]
    assert [[m.row_group(g).num_rows for g in range(m.num_row_groups)] for m in groups] == [[3, 3], [3, 1]]
    images, rows = kept(named_set)
    found = [row for path in paths for row in pq.read_table(path).to_pylist()]
    for number, (row, pixels, wanted) in enumerate(zip(found, images, rows, strict=True)):
        assert np.array_equal(pixels_of(row["image"]["bytes"]), pixels)
        assert row["image"]["path"] == f"{number:08d}.png"
        assert {name: row[name] for name in ("key", "part", "label")} == {
            name: wanted[name] for name in ("key", "part", "label")
        }
    assert (result.images, result.files) == (10, 2)


@pytest.mark.parametrize(("name", "label"), [("numbered_set", "int64"), ("named_set", "string")])
def test_parquet_has_hugging_face_features(
    tmp_path: Path, run: Run, request: pytest.FixtureRequest, name: str, label: str
) -> None:
    run(request.getfixturevalue(name), "parquet", tmp_path / "tables")
    schema = pq.read_schema(tmp_path / "tables" / "train-00000-of-00001.parquet")
    assert schema.field("label").type == (pa.int64() if label == "int64" else pa.string())
    assert json.loads(schema.metadata[b"huggingface"]) == {
        "info": {
            "features": {
                "image": {"_type": "Image"},
                "label": {"dtype": label, "_type": "Value"},
                "key": {"dtype": "string", "_type": "Value"},
                "part": {"dtype": "int32", "_type": "Value"},
            }
        }
    }


def test_faces_of_one_photo(tmp_path: Path, faces_set: Path, run: Run) -> None:
    run(faces_set, "parquet", tmp_path / "tables")
    table = pq.read_table(tmp_path / "tables", columns=["key", "part"]).to_pylist()
    assert table[:3] == [{"key": "00", "part": 0}, {"key": "00", "part": 1}, {"key": "01", "part": 0}]


@pytest.mark.parametrize("kind", ["stylegan-zip", "webdataset", "imagefolder", "parquet"])
def test_same_bytes_with_two_workers(
    tmp_path: Path, named_set: Path, run: Run, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(webdataset, "IMAGES_PER_TAR", 3)
    monkeypatch.setattr(image_folder, "IMAGES_PER_TASK", 3)
    monkeypatch.setattr(parquet, "PIXEL_BYTES_PER_FILE", 32 * 32 * 3 * 3)
    monkeypatch.setattr(parquet, "MOST_ROWS_OF_A_GROUP", 3)
    for workers in (1, 2):
        run(named_set, kind, tmp_path / f"{workers}.zip", workers)
    assert files_below(tmp_path / "1.zip") == files_below(tmp_path / "2.zip")
    assert files_below(tmp_path / "1.zip")


def test_bad_settings() -> None:
    with pytest.raises(BadRequest, match=r"--format tfrecord: expected one of stylegan-zip, webdataset, "):
        ExportSettings("tfrecord", Path("x"))
    with pytest.raises(BadRequest, match=r"--workers 0: expected 1 or more"):
        ExportSettings("keys", Path("x"), 0)


def test_nothing_to_export(
    tmp_path: Path, make: Callable[..., Any], recipe: Callable[..., Any], run: Run
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no picture")
    make(tmp_path / "photos", tmp_path / "set", recipe("none"))
    with pytest.raises(BadRequest, match="has no kept images; there is nothing to export"):
        run(tmp_path / "set", "webdataset", tmp_path / "tars")
    assert run(tmp_path / "set", "keys", tmp_path / "keys").images == 0
    assert (tmp_path / "keys" / "kept.txt").read_bytes() == b""
