"""Choose what a report shows of a set, and put its page together.

The page is one file, see ``formats.html_page``.
"""

from __future__ import annotations

from pathlib import Path

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.audit_file import AuditResult, read_audit
from dcgan_data.formats.html_page import asset, fill_page, script_json, text
from dcgan_data.formats.manifest import shown_name
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.staging import REPORT
from dcgan_data.report import sections
from dcgan_data.report.audit_page import audit_data, sample_rows
from dcgan_data.report.bands import score_bands
from dcgan_data.report.faces import face_facts, face_sheet
from dcgan_data.report.groups import choose_groups, group_rows, groups_data
from dcgan_data.report.pictures import contact_sheet, jpeg, png, spread_evenly, thumbnails
from dcgan_data.report.rows import SetRows, read_rows, read_words
from dcgan_data.report.sample import Strata, draw_sample, stratify

GROUP_SIDES, GROUP_BUDGET = (96, 64, 48), 7_500_000
AUDIT_SIDES, AUDIT_BUDGET = (256, 192, 128, 96, 64, 48), 7_500_000
"""Pixels of the pictures, and characters for all of them: the page must stay under 20 MB at any set."""
_WORDS = ("key", "part", "view", "distance", "width", "height", "reason")


def write_report(path: Path) -> Path:
    """Write the report of a prepared set; returns the page's path. BadInput if it is not a prepared set.

    Large sets are sampled: the page stays under 20 MB at any number of images. The same set makes the
    same bytes. The outcome of an audit (``dcgan-data audit``) is shown if it is of this very set.
    """
    prepared = PreparedSet.open(path)
    rows = read_rows(prepared)
    sheet = contact_sheet(rows.images.gather(spread_evenly(rows.kept)))
    faces = face_sheet(prepared, rows)
    parts = {
        "faces": "" if faces is None else sections.faces_section(jpeg(faces), face_facts(prepared)),
        "tiles": sections.tiles(prepared.info),
        "contact": sections.contact_section(jpeg(sheet)),
        "charts": sections.charts_section(prepared.info.deduplication),
        "audit": sections.audit_section(*_audit_of(prepared)),
        **_listed(prepared, rows),
    }
    page = path / REPORT / "index.html"
    with atomic_path(page.with_name("contact_sheet.png")) as temporary:
        temporary.write_bytes(png(sheet))
    with atomic_path(page) as temporary:
        # backslashreplace: the path of a source may be no text
        temporary.write_text(_fill(prepared, parts), "utf-8", errors="backslashreplace")
    return page


def current_strata(prepared: PreparedSet, rows: SetRows) -> Strata:
    """The strata that the set's audit samples from."""
    removals = rows.removals
    threshold = prepared.info.deduplication.get("threshold")
    return stratify(removals, score_bands(removals.score, threshold))


def _listed(prepared: PreparedSet, rows: SetRows) -> dict[str, str]:
    """What lists single rows: groups, the audit's sample, rejected records."""
    removals, images = rows.removals, rows.images
    strata = current_strata(prepared, rows)
    groups = choose_groups(removals, strata.bands)
    sample = draw_sample(strata)
    rejected = rows.rejected[: sections.MAX_REJECTED].tolist()
    of_groups, of_sample = group_rows(removals, groups), sample_rows(removals, sample)
    words = read_words(prepared, [*of_groups, *of_sample, *rejected], _WORDS)
    shown = thumbnails(images, of_groups, GROUP_SIDES, GROUP_BUDGET)
    audit = audit_data(prepared.info.content_sha256, removals, strata, sample.tolist(), words)
    audit["pictures"] = thumbnails(images, of_sample, AUDIT_SIDES, AUDIT_BUDGET, quality=92)
    reasons = [(shown_name(words[row]["key"], words[row]["part"]), words[row]["reason"]) for row in rejected]
    return {
        "elsewhere": _elsewhere(removals.elsewhere),
        "groups_json": script_json(groups_data(removals, strata.bands, groups, words, shown)),
        "audit_json": script_json(audit),
        "rejected": sections.rejected_section(prepared.info, reasons),
    }


def _elsewhere(count: int) -> str:
    if not count:
        return ""
    return f'<p class="note">{count:,} more removed images are copies of images of another set.</p>'


def _audit_of(prepared: PreparedSet) -> tuple[AuditResult | None, str]:
    """The audit of this very set; or None, and why there is none."""
    try:
        result = read_audit(prepared.path)
    except BadInput as error:
        return None, f"The stored audit cannot be used: {error}."
    if result is None:
        return None, "Not audited yet."
    if result.content_sha256 != prepared.info.content_sha256:
        return None, "The stored audit (audit.json) belongs to an earlier decision and is not shown."
    return result, ""


def _fill(prepared: PreparedSet, parts: dict[str, str]) -> str:
    script = "".join(asset("dcgan_data.report", name) for name in ("groups.js", "audit.js", "page.js"))
    names = {
        "title": text(prepared.path.resolve().name),
        "source": text(f"{prepared.info.source['kind']} {prepared.info.source['path']}"),
    }
    template, style = asset("dcgan_data.report", "page.html"), asset("dcgan_data.report", "page.css")
    return fill_page(template, style, script, {**parts, **names})
