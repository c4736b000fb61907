"""The parts of the page that need no script, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

from dcgan_data.formats.audit_file import AuditLine, AuditResult
from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.formats.html_page import text
from dcgan_data.report import charts
from dcgan_data.report.pictures import base64_text

MAX_REJECTED = 200
MAX_WRONG = 50
_WARN_SHARE = 0.01


def tiles(info: DatasetInfo) -> str:
    """The counts, and how it was decided; a figure that is not known has no tile."""
    counts, found = info.counts, info.deduplication
    cells = [
        _tile("read", f"{counts.read:,}"),
        _tile("kept", f"{counts.kept:,}", kind="kept"),
        _tile("duplicates", f"{counts.duplicate:,}", _percent(counts.duplicate, counts.read), "removed"),
        _tile("rejected", f"{counts.rejected:,}", _percent(counts.rejected, counts.read)),
        _tile("size", f"{info.image_size}x{info.image_size} px"),
        _tile("rule", str(found.get("rule", "none"))),
    ]
    if _is_number(found.get("threshold")):
        cells.append(_tile("threshold", f"{found['threshold']:.4g}"))
    if _is_number(found.get("checked_pairs")):
        cells.append(_tile("checked pairs", f"{found['checked_pairs']:,}"))
    if _is_number(found.get("expected_false_pairs")):
        share = found.get("expected_false_share")
        beside, high = (f"{share:.2%}", share > _WARN_SHARE) if _is_number(share) else ("", False)
        value = f"{found['expected_false_pairs']:,.3g}"
        cells.append(_tile("expected false pairs", value, beside, "warn" if high else ""))
    return f'<div class="tiles">{"".join(cells)}</div>'


def _tile(name: str, value: str, beside: str = "", kind: str = "") -> str:
    small = f"<small>{text(beside)}</small>" if beside else ""
    return f'<div class="tile {kind}"><b>{text(value)}{small}</b><span>{text(name)}</span></div>'


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if part else ""


def contact_section(sheet_jpeg: bytes) -> str:
    """Kept images; the file ``contact_sheet.png`` beside the page has their exact pixels."""
    return (
        '<h2 id="kept">Kept</h2><p class="note">Kept images, spread evenly over the set. Crops should be '
        "upright, centred and undistorted.</p>"
        f'<img class="sheet" alt="contact sheet" src="data:image/jpeg;base64,{base64_text(sheet_jpeg)}">'
    )


def faces_section(sheet_jpeg: bytes, facts: Sequence[tuple[str, str]]) -> str:
    """Crops with what the detector saw."""
    return (
        '<h2 id="faces">Faces</h2><p class="note">Kept faces, spread evenly over the set: the detected box '
        "in yellow, eyes in blue, nose and mouth in pink; the detector's confidence, and the longer side of "
        f"the box in pixels of the photo.</p>{_table(('faces', ''), facts)}"
        f'<img class="sheet" alt="faces with boxes" src="data:image/jpeg;base64,{base64_text(sheet_jpeg)}">'
    )


def charts_section(found: dict[str, Any]) -> str:
    """Scores, the removal curve and the codes, as far as ``dataset.json`` has them."""
    threshold = found.get("threshold")
    figures = []
    histogram = found.get("score_histogram") or {}
    if histogram.get("counts"):
        chart = charts.histogram(histogram["edges"], histogram["counts"], threshold, "score")
        figures.append(
            (chart, "Scores of all checked pairs. A good threshold lies in a valley, left of the copies.")
        )
    if len(found.get("removal_curve") or []) > 1:
        chart = charts.curve(found["removal_curve"], threshold, "threshold")
        figures.append(
            (chart, "Images that each threshold would remove. Where it is flat, the choice matters little.")
        )
    health = found.get("code_health") or {}
    if health.get("bit_activity"):
        chart = charts.bars(health["bit_activity"], "bit of the code")
        figures.append((chart, "Share of images with each bit on. A bit at 0 or 1 tells nothing."))
    if max(health.get("largest_buckets") or [0]) > 1:
        chart = charts.bars(health["largest_buckets"], "largest buckets of equal codes", first=1)
        figures.append((chart, "Images in the largest buckets. Very large ones are flat or blank pictures."))
    drawn = "".join(
        f"<figure>{chart}<figcaption>{caption}</figcaption></figure>" for chart, caption in figures
    )
    if not drawn and not health:
        return ""
    return f'<h2 id="figures">Figures</h2><div class="charts">{drawn}</div>{_work(found)}{_health(health)}'


def _work(found: dict[str, Any]) -> str:
    """What was compared, and what was not."""
    names = {
        "candidate_pairs": "candidate pairs",
        "checked_pairs": "checked pairs",
        "candidates_left_out": "candidate pairs beyond the most that are checked for one image",
        "comparisons_left_out": "comparisons left out in crowded buckets (a pair meets in any band and view)",
        "low_contrast_images": "images with too little contrast for a code",
    }
    rows = [(words, f"{found[name]:,}") for name, words in names.items() if _is_number(found.get(name))]
    return _table(("work", ""), rows) if rows else ""


def _health(health: dict[str, Any]) -> str:
    rows = [
        (name.replace("_", " "), f"{value:,}")
        for name, value in health.items()
        if isinstance(value, int | float)
    ]
    return _table(("codes", ""), rows) if rows else ""


def rejected_section(info: DatasetInfo, rows: Sequence[tuple[str, str]]) -> str:
    """Rejected records by reason, and the first of them by key; rows: (key, reason)."""
    total = info.counts.rejected
    if not total:
        return '<h2 id="rejected">Rejected</h2><p class="note">None.</p>'
    reasons = _table(("reason", "records"), [(name, f"{count:,}") for name, count in info.rejected.items()])
    note = f"{total:,} records" + (f"; the first {len(rows)}" if len(rows) < total else "")
    return (
        f'<h2 id="rejected">Rejected</h2>{reasons}<p class="note">{note}</p>'
        f'<div class="scroll">{_table(("key", "reason"), rows)}</div>'
    )


def audit_section(result: AuditResult | None, note: str) -> str:
    """What an audit proved; note: why there is none, or none any more."""
    if result is None:
        invitation = (
            f'{text(note)} <a href="#audit">Judge a random sample of the removed pairs</a>, '
            "to know how many of the removals are false."
        )
        return f'<h2 id="audited">Audit</h2><p class="note">{invitation}</p>'
    line = result.overall
    head = f"{line.false_positives:,} of {line.judged:,} wrong"
    bound = f"at most {line.upper_bound:.2%} of removals" if line.upper_bound is not None else ""
    claim = f'<p class="claim"><b>{head}:</b> {bound}, 95&nbsp;% exact (Clopper-Pearson, one-sided).</p>'
    notes = "".join(f'<p class="note warn">{text(words)}</p>' for words in result.notes)
    table = _table(
        ("score", "removals", "judged", "wrong", "rate", "at most (95 %)", "two-sided 95 %"),
        [_audit_cells(line) for line in (*result.bands, result.overall)],
    )
    return f'<h2 id="audited">Audit</h2>{claim}{notes}<div class="scroll">{table}</div>{_wrong(result)}'


def _audit_cells(line: AuditLine) -> tuple[str, ...]:
    counts = (line.band, f"{line.removals:,}", f"{line.judged:,}", f"{line.false_positives:,}")
    if line.rate is None or line.upper_bound is None or line.interval is None:
        return (*counts, "", "", "")
    low, high = line.interval
    return (*counts, f"{line.rate:.2%}", f"{line.upper_bound:.2%}", f"{low:.2%} to {high:.2%}")


def _wrong(result: AuditResult) -> str:
    if not result.wrong:
        return ""
    shown = result.wrong[:MAX_WRONG]
    more = f"; the first {len(shown)}" if len(shown) < len(result.wrong) else ""
    table = _table(("removed", "kept"), [(verdict.key, verdict.duplicate_of) for verdict in shown])
    return f'<p class="note">Judged to be different{more}:</p><div class="scroll">{table}</div>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    names = "".join(f"<th>{text(cell)}</th>" for cell in head)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table>"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
