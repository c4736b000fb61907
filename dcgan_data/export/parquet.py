"""``parquet``: tables with an ``image`` column as Hugging Face's ``datasets`` shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dcgan_data.export.kept import KeptRows, file_name
from dcgan_data.export.parts import write_parts
from dcgan_data.export.png import encode_png
from dcgan_data.export.settings import ExportJob, Written

PIXEL_BYTES_PER_FILE = 1 << 28
"""Files of some 150 MB: encoded, pictures take a half to two thirds of this."""
PIXEL_BYTES_PER_GROUP = 1 << 25
MOST_ROWS_OF_A_GROUP = 1000

_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


def write_parquet(job: ExportJob) -> Written:
    """Write ``train-00000-of-00003.parquet``, ...; each is one task."""
    rows = KeptRows.of(job.prepared)
    pixel_bytes = 3 * rows.image_size**2
    group_rows = max(1, min(MOST_ROWS_OF_A_GROUP, PIXEL_BYTES_PER_GROUP // pixel_bytes))
    groups = max(1, PIXEL_BYTES_PER_FILE // (pixel_bytes * group_rows))
    runs = rows.cut(groups * group_rows)
    job.target.mkdir()
    names = [f"train-{number:05d}-of-{len(runs):05d}.parquet" for number in range(len(runs))]
    tasks = [(run, job.target / name, group_rows) for run, name in zip(runs, names, strict=True)]
    write_parts(job, _write_file, tasks)
    return Written(len(rows))


def _write_file(rows: KeptRows, path: Path, group_rows: int) -> int:
    schema = _schema(rows.integer_labels)
    columns = [name for name in schema.names if name != "image"]
    compression = {"image.bytes": "none", "image.path": "zstd", **dict.fromkeys(columns, "zstd")}
    # Statistics of pictures would be pictures, and a dictionary of them is tried in vain.
    options = {"compression": compression, "write_statistics": columns, "use_dictionary": ["label"]}
    with pq.ParquetWriter(path, schema, **options) as writer:
        for group in rows.cut(group_rows):
            writer.write_table(_table(group, schema))
    return len(rows)


def _table(rows: KeptRows, schema: pa.Schema) -> pa.Table:
    images = [
        {"bytes": encode_png(image.pixels), "path": file_name(image.number), "label": image.label}
        for image in rows
    ]
    labels = pa.array([image["label"] for image in images], schema.field("label").type)
    columns = [pa.array(images, _IMAGE), labels, *(rows.table[name] for name in ("key", "part"))]
    return pa.Table.from_arrays(columns, schema=schema)


def _schema(integer_labels: bool) -> pa.Schema:
    fields = {
        "image": _IMAGE,
        "label": pa.int64() if integer_labels else pa.string(),
        "key": pa.string(),
        "part": pa.int32(),
    }
    features = {name: {"dtype": str(kind), "_type": "Value"} for name, kind in fields.items()}
    features["image"] = {"_type": "Image"}
    note = json.dumps({"info": {"features": features}})
    return pa.schema(list(fields.items()), metadata={"huggingface": note})
