"""``webdataset``: tar files of pictures, each beside a text file with its label and a JSON with its key."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from dcgan_data.export.kept import KeptRows, file_name
from dcgan_data.export.parts import write_parts
from dcgan_data.export.png import encode_png
from dcgan_data.export.settings import ExportJob, Written

IMAGES_PER_TAR = 10_000


def write_webdataset(job: ExportJob) -> Written:
    """Write ``000000.tar``, ``000001.tar``, ...; each is one task."""
    rows = KeptRows.of(job.prepared)
    job.target.mkdir()
    runs = enumerate(rows.cut(IMAGES_PER_TAR))
    write_parts(job, _write_tar, [(run, job.target / f"{number:06d}.tar") for number, run in runs])
    return Written(len(rows))


def _write_tar(rows: KeptRows, path: Path) -> int:
    # USTAR: names are short, and every reader knows it.
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for image in rows:
            _add(archive, file_name(image.number), encode_png(image.pixels))
            if image.label is not None:
                extension = ".cls" if rows.integer_labels else ".txt"
                _add(archive, file_name(image.number, extension), str(image.label).encode())
            facts = {"key": image.key, "part": image.part, "label": image.label}
            _add(archive, file_name(image.number, ".json"), json.dumps(facts, ensure_ascii=False).encode())
    return len(rows)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of nobody, at the beginning of time: the same bytes everywhere
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))
