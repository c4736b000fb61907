"""``imagefolder``: a directory of pictures for each label, and ``metadata.jsonl`` (Hugging Face's layout)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.export.kept import KeptRows, file_name
from dcgan_data.export.labels import directory_names, distinct_labels, split_names
from dcgan_data.export.parts import write_parts
from dcgan_data.export.png import encode_png
from dcgan_data.export.settings import ExportJob, Written

IMAGES_PER_TASK = 2000
_MOST_CLASSES = 100
_CAPTIONS = "labels: nearly every image has its own; they stand in metadata.jsonl, without directories"


def write_image_folder(job: ExportJob) -> Written:
    """Write ``LABEL/00000012.png``; ``00000012.png`` without a label, or if labels are captions."""
    rows = KeptRows.of(job.prepared)
    labels = distinct_labels(rows.table["label"])
    captions = len(labels) > max(_MOST_CLASSES, len(rows) // 2)
    names = dict.fromkeys(labels, "") if captions else directory_names(labels)
    for name in {"", *names.values()}:
        (job.target / name).mkdir(parents=True, exist_ok=True)
    places = pa.array([f"{names[label]}/" if names[label] else "" for label in labels], pa.string())
    directory = places.take(pc.index_in(rows.table["label"].combine_chunks(), pa.array(labels, pa.string())))
    rows = replace(rows, table=rows.table.append_column("directory", directory.fill_null("")))
    write_parts(job, _write_pictures, [(run, job.target) for run in rows.cut(IMAGES_PER_TASK)])
    with (job.target / "metadata.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_metadata(rows))
    return Written(len(rows), (_CAPTIONS,) if captions else tuple(_notes(names)))


def _notes(names: Mapping[str, str]) -> Iterator[str]:
    """names: the directory of each label."""
    changed = sum(label != name for label, name in names.items())
    if changed:
        yield (
            f"labels: {changed:,} cannot be names of directories as they are; "
            "metadata.jsonl has them unchanged"
        )
    if splits := split_names(names.values()):
        listed = ", ".join(splits[:3]) + (", ..." if len(splits) > 3 else "")
        yield (
            f"labels: Hugging Face's datasets takes {listed} for splits; "
            "load with data_files={'train': '**'}"
        )


def _write_pictures(rows: KeptRows, root: Path) -> int:
    for image, directory in zip(rows, rows.table["directory"].to_pylist(), strict=True):
        (root / f"{directory}{file_name(image.number)}").write_bytes(encode_png(image.pixels))
    return len(rows)


def _metadata(rows: KeptRows) -> Iterator[str]:
    number = rows.first
    for batch in rows.table.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            label = rows.label_value(row["label"])
            place = row["directory"] + file_name(number)
            facts = {"file_name": place, "key": row["key"], "part": row["part"], "label": label}
            yield json.dumps(facts, ensure_ascii=False) + "\n"
            number += 1
