"""What a person's verdicts on removed pairs prove: false positives, with exact bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import binomtest

from dcgan_data.errors import BadInput
from dcgan_data.formats.audit_file import (
    DIFFERENT,
    AuditLine,
    AuditResult,
    Verdict,
    VerdictFile,
    read_verdicts,
    write_audit,
)
from dcgan_data.formats.manifest import DUPLICATE
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.report import write_report
from dcgan_data.report.page import current_strata
from dcgan_data.report.rows import read_rows
from dcgan_data.report.sample import SAMPLE_SEED, Strata, draw_sample

CONFIDENCE = 0.95


@dataclass(frozen=True)
class _Judged:
    """The verdicts against the set's own removals."""

    places: np.ndarray
    """int64 (V,): place of each judged pair in ``Removals``."""
    wrong: np.ndarray
    """bool (V,): judged to be different."""
    sample: np.ndarray
    """int64 (n,): the places that the report shows for judging, in its order."""


def audit(out: Path, verdicts: Path) -> AuditResult:
    """Compute the false-positive rate of a set's removals from ``verdicts.json``, and store it in the report.

    Bounds are exact (Clopper-Pearson). ``upper_bound`` is the one-sided 95 % bound: with 0 of 300 wrong, at
    most 0.99 % of the removals are false. ``interval`` is the two-sided 95 % interval beside it. Binomial
    bounds hold for the pooled sample, and are conservative, because it is drawn without replacement and in
    proportion to the strata (Hoeffding 1956).

    Writes ``report/audit.json`` and the report anew. BadInput if the verdicts are damaged, empty, of another
    set or decision, or name what is no removed pair.
    """
    prepared = PreparedSet.open(out)
    given = read_verdicts(verdicts)
    if given.content_sha256 != prepared.info.content_sha256:
        raise BadInput(
            f"{verdicts}: judges another set or an earlier decision (content_sha256 "
            f"{given.content_sha256[:12]!r}, {out} has {prepared.info.content_sha256[:12]!r}); "
            f"judge the pairs of {out}/report/index.html#audit"
        )
    rows = _manifest_rows(prepared, given, verdicts)
    set_rows = read_rows(prepared)
    strata = current_strata(prepared, set_rows)
    judged = _Judged(
        _places(set_rows.removals.row, rows, verdicts, given),
        np.array([verdict.verdict == DIFFERENT for verdict in given.verdicts]),
        draw_sample(strata),
    )
    result = _result(given, judged, strata)
    write_audit(out, result)
    write_report(out)
    return result


def _result(given: VerdictFile, judged: _Judged, strata: Strata) -> AuditResult:
    of_pairs = strata.band[judged.places]
    bands = tuple(
        _line(label, int((strata.band == band).sum()), judged.wrong[of_pairs == band])
        for band, label in enumerate(strata.bands.labels)
    )
    return AuditResult(
        content_sha256=given.content_sha256,
        seed=given.seed,
        sample_size=len(judged.sample),
        overall=_line("all", len(strata.stratum), judged.wrong),
        bands=bands,
        wrong=tuple(verdict for verdict in given.verdicts if verdict.verdict == DIFFERENT),
        notes=tuple(_notes(judged, given.seed, strata)),
    )


def _manifest_rows(prepared: PreparedSet, given: VerdictFile, path: Path) -> list[int]:
    """The manifest row of every verdict; BadInput names the first that is no removal of this set."""
    table = prepared.manifest(["key", "part", "status", "duplicate_of"])
    keys = pa.array([verdict.key for verdict in given.verdicts], pa.string())
    found = np.flatnonzero(pc.is_in(table["key"], keys).to_numpy())
    rows = {
        (row["key"], row["part"]): (int(number), row)
        for number, row in zip(found, table.take(pa.array(found)).to_pylist(), strict=True)
    }
    return [_manifest_row(rows, verdict, prepared.path, path) for verdict in given.verdicts]


def _manifest_row(
    rows: Mapping[tuple[str, int], tuple[int, Mapping[str, str]]], verdict: Verdict, out: Path, path: Path
) -> int:
    name = repr(verdict.key) + (f" part {verdict.part}" if verdict.part else "")
    if (verdict.key, verdict.part) not in rows:
        raise BadInput(f"{path}: judges {name}, which is no record of {out}")
    number, row = rows[verdict.key, verdict.part]
    if row["status"] != DUPLICATE:
        raise BadInput(f"{path}: judges {name}, which was not removed from {out} (it is {row['status']})")
    if row["duplicate_of"] != verdict.duplicate_of:
        raise BadInput(
            f"{path}: judges {name} as a copy of {verdict.duplicate_of!r}, "
            f"but it was removed as a copy of {row['duplicate_of']!r}"
        )
    return number


def _places(removed_rows: np.ndarray, rows: list[int], path: Path, given: VerdictFile) -> np.ndarray:
    """Places in ``Removals`` of manifest rows; BadInput for a copy of an image of another set."""
    order = np.argsort(removed_rows)
    at = np.searchsorted(removed_rows, rows, sorter=order)
    places = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(len(rows), np.int64)
    missing = np.ones(len(rows), bool) if not len(order) else removed_rows[places] != rows
    if missing.any():
        key = given.verdicts[int(np.argmax(missing))].key
        raise BadInput(f"{path}: judges {key!r}, whose kept image is of another set; remove that verdict")
    return places


def _line(band: str, removals: int, wrong: np.ndarray) -> AuditLine:
    judged, false = len(wrong), int(wrong.sum())
    if not judged:
        return AuditLine(band, removals, 0, 0, None, None, None)
    upper = binomtest(false, judged, alternative="less").proportion_ci(CONFIDENCE, method="exact").high
    both = binomtest(false, judged).proportion_ci(CONFIDENCE, method="exact")
    interval = (float(both.low), float(both.high))
    return AuditLine(band, removals, judged, false, false / judged, float(upper), interval)


def _notes(judged: _Judged, seed: int, strata: Strata) -> Iterator[str]:
    """What limits the figures: which pairs were judged, and who chose them."""
    count, shown, removals = len(judged.places), len(judged.sample), len(strata.stratum)
    if count == removals:
        yield "Every removal was judged: the rate is a count, not an estimate."
        return
    unseen = int((~np.isin(strata.stratum, strata.stratum[judged.sample])).sum())
    if unseen:
        yield f"{unseen:,} removals ({unseen / removals:.2%}) are in strata too small to be in the sample."
    if seed != SAMPLE_SEED or set(judged.places.tolist()) != set(judged.sample[:count].tolist()):
        yield (
            "The judged pairs are not the sample that the report shows, from its first on: the bounds hold "
            "only if nobody chose the pairs by their looks."
        )
    elif count < shown:
        yield (
            f"Only the first {count:,} of {shown:,} pairs were judged. They are a random sample too; the "
            "bounds hold unless judging was stopped because of what was seen."
        )
