"""``stylegan-zip``: PNGs and ``dataset.json`` in one zip, laid out as NVlabs' StyleGAN and EDM read it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator

from dcgan_data.export.kept import KeptRows
from dcgan_data.export.labels import class_numbers, distinct_labels
from dcgan_data.export.png import stored_png
from dcgan_data.export.settings import ExportJob, Written

_EARLIEST = (1980, 1, 1, 0, 0, 0)
IMAGES_AT_A_TIME = 1000
"""Told, and labelled, together."""


def write_stylegan_zip(job: ExportJob) -> Written:
    """Write all kept images, uncompressed, and their labels.

    In this process alone: an uncompressed picture is made faster than it is brought from another process.
    Memory: some 500 bytes an image, for the zip's directory, which comes last.
    """
    rows = KeptRows.of(job.prepared)
    numbers, names, notes = _classes(rows)
    with (
        zipfile.ZipFile(job.target, "w", zipfile.ZIP_STORED) as archive,
        job.reporter.stage("export", len(rows), "images") as stage,
    ):
        for image in rows:
            archive.writestr(_entry(_member_name(image.number)), stored_png(image.pixels))
            if (image.number + 1) % IMAGES_AT_A_TIME == 0:
                stage.advance(IMAGES_AT_A_TIME)
        with archive.open(_entry("dataset.json"), "w") as file:
            for piece in _dataset_json(rows, numbers, names):
                file.write(piece.encode())
        stage.advance(len(rows) % IMAGES_AT_A_TIME)
    return Written(len(rows), notes)


def _classes(rows: KeptRows) -> tuple[dict[str, int] | None, list[str], tuple[str, ...]]:
    """The number of each label, or None if not all rows have one; names if they were numbered here; notes."""
    column = rows.table["label"]
    labels = distinct_labels(column)
    if column.null_count:
        without = (
            f"labels: {column.null_count:,} of {len(rows):,} images have none, so that dataset.json has none"
        )
        return None, [], (without,) if labels else ()
    numbers = class_numbers(labels)
    if all(label == str(number) for label, number in numbers.items()):
        return numbers, [], ()
    note = f"labels: {len(labels):,} names are numbered in sorted order; dataset.json has them as label_names"
    return numbers, labels, (note,)


def _dataset_json(rows: KeptRows, numbers: dict[str, int] | None, names: list[str]) -> Iterator[str]:
    """``{"labels": [["00000/img00000000.png", 6], ...]}`` in pieces; null without labels."""
    if numbers is None:
        yield '{"labels": null}'
        return
    yield '{"labels": ['
    labels = rows.table["label"]
    for start in range(0, len(rows), IMAGES_AT_A_TIME):
        run = enumerate(labels.slice(start, IMAGES_AT_A_TIME).to_pylist(), start)
        pairs = (json.dumps([_member_name(number), numbers[label]]) for number, label in run)
        yield (", " if start else "") + ", ".join(pairs)
    yield "]"
    if names:
        yield f', "label_names": {json.dumps(names, ensure_ascii=False)}'
    yield "}"


def _member_name(number: int) -> str:
    """``00001/img00001234.png``: a thousand pictures a directory."""
    return f"{number // 1000:05d}/img{number:08d}.png"


def _entry(name: str) -> zipfile.ZipInfo:
    """The same header on every machine and at any time."""
    entry = zipfile.ZipInfo(name, _EARLIEST)
    entry.create_system = 3  # Unix, as the permissions that follow
    entry.external_attr = 0o100644 << 16
    return entry
