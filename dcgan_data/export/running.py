"""Prepared set in, files for another program out: the order of an export, whatever its format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.errors import BadRequest
from dcgan_data.export.destination import check_destination, check_space, flush_tree, unfinished
from dcgan_data.export.image_folder import write_image_folder
from dcgan_data.export.key_lists import write_key_lists
from dcgan_data.export.lmdb_copy import lmdb_bytes, write_lmdb
from dcgan_data.export.parquet import write_parquet
from dcgan_data.export.png import encode_png, stored_png
from dcgan_data.export.settings import ExportJob, ExportResult, ExportSettings, Written
from dcgan_data.export.stylegan_zip import write_stylegan_zip
from dcgan_data.export.webdataset import write_webdataset
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.reporter import Reporter

_SAMPLE = 256
"""Pictures that are encoded to learn how much space all will need."""


@dataclass(frozen=True)
class _Format:
    write: Callable[[ExportJob], Written]
    bytes_needed: Callable[[PreparedSet], int]
    is_file: bool = False


def export(prepared: Path, settings: ExportSettings, reporter: Reporter) -> ExportResult:
    """Write the kept images of the set at ``prepared``, or its source's kept records.

    The destination appears when it is complete, or not at all. The set is only read. BadInput if it is no
    prepared set or damaged, or if its source changed (``lmdb``); BadRequest if the destination cannot be made
    or does not fit; OSError if the disk fills up nevertheless.
    """
    opened = PreparedSet.open(prepared)
    chosen = _FORMATS[settings.format]
    destination = check_destination(settings.destination, chosen.is_file, prepared, opened.info)
    if not opened.info.counts.kept and settings.format != "keys":
        raise BadRequest(f"{prepared}: has no kept images; there is nothing to export")
    check_space(destination, chosen.bytes_needed(opened))
    with unfinished(destination) as target:
        written = chosen.write(ExportJob(opened, target, settings.workers, reporter))
        files, size = flush_tree(target)
    return ExportResult(
        settings.format, str(settings.destination), written.images, files, size, written.notes
    )


def _pictures(encode: Callable[[np.ndarray], bytes], beside: int) -> Callable[[PreparedSet], int]:
    """An estimate from some pictures; beside: bytes of an image's names, labels and padding."""

    def estimate(prepared: PreparedSet) -> int:
        rows = prepared.rows()
        some = np.unique(np.linspace(0, len(rows) - 1, _SAMPLE).astype(np.int64))
        mean = float(np.mean([len(encode(pixels)) for pixels in rows.gather(some)]))
        return int(len(rows) * (mean + beside))

    return estimate


def _key_bytes(prepared: PreparedSet) -> int:
    return 128 * prepared.info.counts.read


_FORMATS = {
    "stylegan-zip": _Format(write_stylegan_zip, _pictures(stored_png, 160), is_file=True),
    "webdataset": _Format(write_webdataset, _pictures(encode_png, 2800)),
    "imagefolder": _Format(write_image_folder, _pictures(encode_png, 2200)),
    "parquet": _Format(write_parquet, _pictures(encode_png, 100)),
    "keys": _Format(write_key_lists, _key_bytes),
    "lmdb": _Format(write_lmdb, lmdb_bytes),
}
