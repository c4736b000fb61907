"""Photos in, answers out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from dcgan_data.errors import BadRequest
from dcgan_data.lookup import look_up
from dcgan_data.ops.stored import BadImage
from dcgan_data.ops.views import view_names
from dcgan_data.query.answers import (
    COPY,
    NO_COPY,
    UNREADABLE,
    Answer,
    Match,
    QueryResult,
    QuerySettings,
)
from dcgan_data.query.searching import Searched, open_searched
from dcgan_data.query.sheet import SHEET_LINES, draw_line, write_sheet
from dcgan_data.reporter import Reporter
from dcgan_data.sources.base import text_key
from dcgan_data.sources.folder import FolderShard, FolderSource

_NO_PICTURES = np.empty((0, 0, 0, 3), np.uint8)


def query(out: Path, photos: Sequence[Path], settings: QuerySettings, reporter: Reporter) -> QueryResult:
    """Look up photos, or all image files below directories, among the images of a prepared set.

    A photo that cannot be decoded has an answer with the reason; the others go on. Writes nothing but the
    sheet. BadInput if ``out`` is no prepared set or damaged, BadRequest if it has no codes to compare with or
    a directory has no images. Memory: some 200 bytes an image of the set.
    """
    searched = open_searched(out)
    names = [name for path in photos for name in _files(path)]
    answers = list[Answer]()
    lines = list[Image.Image]()
    with reporter.stage("query", len(names), "photos") as stage:
        for folder, name in names:
            for answer, pictures in _ask(searched, folder, name, settings.top):
                answers.append(answer)
                if settings.sheet and len(lines) < SHEET_LINES:
                    lines.append(draw_line(answer, pictures, settings.top))
            stage.advance(1)
    if settings.sheet:
        write_sheet(settings.sheet, lines)
        if len(answers) > SHEET_LINES:
            reporter.say(f"{settings.sheet}: shows the first {SHEET_LINES} of {len(answers):,} answers")
    return QueryResult(
        str(out), len(searched.lookup.images), searched.lookup.recipe.threshold, tuple(answers)
    )


def _files(path: Path) -> list[tuple[Path, bytes]]:
    """A photo as (folder, name in it), or all image files below a directory."""
    if not path.is_dir():
        return [(path.parent, os.fsencode(path.name))]
    found = [(path, name) for shard in FolderSource(path, 2**40).shards() for name in shard.paths]
    if not found:
        raise BadRequest(f"{path}: a directory without image files")
    return found


def _ask(searched: Searched, folder: Path, name: bytes, top: int) -> Iterator[tuple[Answer, np.ndarray]]:
    """The answers for one file, each with uint8 (1 + M, S, S, 3): what was asked for, its M matches."""
    shown = text_key(os.fsencode(folder / os.fsdecode(name)))
    (record,) = FolderShard(str(folder), (name,))
    try:
        if record.error:
            raise BadImage(record.error)
        images = searched.cut(record.data).images
    except BadImage as bad:
        yield Answer(shown, 0, UNREADABLE, bad.reason, False, ()), _NO_PICTURES
        return
    for part, image in enumerate(images):
        if image.pixels is None:
            yield Answer(shown, part, UNREADABLE, str(image.reason), False, ()), _NO_PICTURES
        else:
            yield _look_up(searched, (shown, part), image.pixels, top)


def _look_up(
    searched: Searched, name: tuple[str, int], pixels: np.ndarray, top: int
) -> tuple[Answer, np.ndarray]:
    hits, flat = look_up(searched.lookup, pixels)
    # In float32, as scores were compared when the set was decided.
    is_copy = len(hits) > 0 and hits["score"][0] >= np.float32(searched.lookup.recipe.threshold)
    hits = hits[:top]
    matches = _matches(searched, hits)
    answer = Answer(*name, COPY if is_copy else NO_COPY, "", flat, matches)
    return answer, np.concatenate([pixels[None], searched.lookup.images.gather(hits["row"])])


def _matches(searched: Searched, hits: np.ndarray) -> tuple[Match, ...]:
    rows = searched.table.take(pa.array(searched.manifest_rows[hits["row"]])).to_pylist()
    names = view_names(hits["view"]).tolist()
    scores, distances = hits["score"].tolist(), hits["distance"].tolist()
    return tuple(
        Match(**row, score=round(score, 6), view=view, distance=distance)
        for row, score, view, distance in zip(rows, scores, names, distances, strict=True)
    )
