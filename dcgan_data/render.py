"""Results as text for a person, or as values for a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # names only: rendering needs none of these modules at run time
    from dcgan_data.bench.decode import DecodeBench
    from dcgan_data.bench.faces import FacesBench
    from dcgan_data.demo import DemoTruth
    from dcgan_data.export import ExportResult
    from dcgan_data.formats.audit_file import AuditResult
    from dcgan_data.formats.dataset import DatasetInfo
    from dcgan_data.plan import Job, Plan
    from dcgan_data.query import QueryResult
    from dcgan_data.repair import Repair
    from dcgan_data.tour import Tour
    from dcgan_data.train.progress import TrainSummary
    from dcgan_data.verify import Verification


_TRAINABLE = (32, 64, 128)
"""Sides of images that there are models for."""


def prepared_set(out: Path, info: DatasetInfo, verbose: bool) -> str:
    """What was made, and what to do next."""
    counts, records = info.counts, info.source["records"]
    several = "" if records == counts.read else f" from {records:,} records"
    lines = [
        f"{out}: {counts.read:,} read{several} = {counts.kept:,} kept + {counts.duplicate:,} duplicates "
        f"+ {counts.rejected:,} rejected, {info.image_size}x{info.image_size} px",
        *(f"  rejected: {reason} {count:,}" for reason, count in info.rejected.items()),
        *_passed_over(info.source["passed_over"]),
        *_doubt(info.deduplication),
        f"look:  {out}/report/index.html",
        *(
            [f"train: dcgan-data train --prepared {out} --preset fast"]
            if info.image_size in _TRAINABLE
            else []
        ),
    ]
    if verbose:
        stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in info.timings.items())
        facts = info.deduplication.items()
        lines += [f"time:  {stages}", *(f"  {key}: {value}" for key, value in facts if _is_short(value))]
    return "\n".join(lines)


def _doubt(findings: dict[str, Any]) -> list[str]:
    """How many removals may be wrong, by the null calibration."""
    expected = findings.get("expected_false_pairs")
    if expected is None:
        return []
    return [
        f"  expected wrong: {_rough(expected)} pairs of {findings['checked_pairs']:,} checked "
        "(from the scores of unrelated images in this set)"
    ]


def _rough(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _is_short(value: Any) -> bool:
    return not isinstance(value, list | dict)


def _passed_over(counts: dict[str, int]) -> list[str]:
    """Files that are no images by their names: the commonest kinds, and how many more there are."""
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"  passed over: {count:,} {_files_of(kind)}" for kind, count in common[:5]]
    rest = sum(count for _, count in common[5:])
    return [*lines, f"  passed over: {rest:,} others"] if rest else lines


def _files_of(kind: str) -> str:
    """An extension, or another reason for which a source does not take a file for a picture."""
    return f"files named *{kind}" if kind.startswith(".") else f"of kind '{kind}'"


def set_json(out: Path, info: DatasetInfo) -> str:
    """The same for a script: the counts, and what ``dataset.json`` says beside them."""
    values = {
        "out": str(out),
        "records": info.source["records"],
        **vars(info.counts),
        "rejected_by_reason": info.rejected,
        "image_size": info.image_size,
        "deduplication": info.deduplication,
        "content_sha256": info.content_sha256,
        "timings": info.timings,
    }
    return json.dumps(values, indent=2)


def plan_values(job: Job, plan: Plan) -> dict[str, Any]:
    """What a run would do (``--dry-run``)."""
    return {
        "source": plan.source,
        "out": str(job.out),
        "recipe": plan.recipe.as_dict(),
        "workers": job.workers,
        "disk_bytes": plan.disk_bytes,
    }


def plan(job: Job, plan: Plan) -> str:
    """The resolved recipe as TOML, and the plan in one line."""
    lines = []
    sections = plan.recipe.as_dict()
    for key, value in sorted(sections.items(), key=lambda item: isinstance(item[1], dict)):
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{name} = {_toml(inner)}" for name, inner in value.items())]
        else:
            lines.append(f"{key} = {_toml(value)}")
    return "\n".join([*lines, "", f"# {plan.summary(job)}"])


def verification(out: Path, result: Verification) -> str:
    """What was proved, and what else should be known."""
    return "\n".join(
        [
            f"{out}: good. {result.files} files have their recorded bytes, {result.rows:,} rows add up, "
            f"{result.removals:,} removals are proved from the pixels",
            *(f"note: {note}" for note in result.notes),
        ]
    )


def damaged_files(out: Path, files: dict[str, str]) -> str:
    """A line a file."""
    return "\n".join(f"{out / name}: {what}" for name, what in files.items())


def repaired(result: Repair) -> str:
    """What was rebuilt, and how the set is now; what was not is an error's to say."""
    done = f"rebuilt {', '.join(result.rebuilt)}" if result.rebuilt else "nothing was rebuilt"
    if result.verification is None:
        return f"{result.path}: {done}"
    if not result.rebuilt:
        done = "nothing to repair"
    return f"{result.path}: {done}\n{verification(result.path, result.verification)}"


def audit(out: Path, result: AuditResult) -> str:
    """Wrong removals by score band and overall; bounds are exact (Clopper-Pearson), one-sided 95 %."""
    lines = [f"{'score':<12}{'removals':>10}{'judged':>8}{'wrong':>7}{'rate':>9}{'at most':>9}"]
    for line in (*result.bands, result.overall):
        rates = "" if line.rate is None else f"{line.rate:>9.2%}{line.upper_bound:>9.2%}"
        lines.append(f"{line.band:<12}{line.removals:>10,}{line.judged:>8,}{line.false_positives:>7,}{rates}")
    total = result.overall
    lines.append(
        f"{total.false_positives:,} of {total.judged:,} wrong: at most {total.upper_bound:.2%} of removals "
        "(95 %, one-sided, exact)"
    )
    return "\n".join([*lines, *(f"note: {note}" for note in result.notes), f"look: {out}/report/index.html"])


def answers(result: QueryResult) -> str:
    """A line a photo, and one a match below it."""
    from dcgan_data.formats.manifest import shown_name  # loads pyarrow

    lines = [f"{result.out}: {result.images:,} images searched, copies score {result.threshold:g} or more"]
    for answer in result.answers:
        flat = " (too little contrast: only equal pixels count)" if answer.flat else ""
        photo = shown_name(answer.photo, answer.part)
        lines.append(f"{photo}: {answer.verdict}{flat}{answer.reason and f', {answer.reason}'}")
        for match in answer.matches:
            kept = match.duplicate_of and shown_name(match.duplicate_of, match.duplicate_of_part)
            removed = f", a duplicate of {kept}" if kept else ""
            key = shown_name(match.key, match.part)
            lines.append(
                f"  {match.score:.3f}  {match.distance:>2} bits  {key}  {match.status}{removed}"
                f"  [{match.view}]"
            )
    return "\n".join(lines)


def training(summary: TrainSummary) -> str:
    """How a training run ended, and where to look."""
    return "\n".join(
        [
            f"{summary.run_dir}: {summary.steps:,} steps in {summary.seconds:,.0f} s ({_pace(summary)})",
            *_score(summary),
            *(f"warning: {warning}" for warning in summary.warnings),
            f"look:   {summary.page}",
            f"sample: dcgan-data sample {summary.run_dir} -n 64 -o grid.png",
        ]
    )


def _pace(summary: TrainSummary) -> str:
    if not summary.images_per_s:
        return "all were done before; more --steps or --epochs go on"
    return f"{summary.images_per_s:,.0f} images/s"


def _score(summary: TrainSummary) -> list[str]:
    if summary.best is None:
        return []
    score = f"1-NN test against held-out images: {summary.best_score:.2f} off the ideal, at worst 0.50"
    return [f"best:   {summary.best} ({score})"]


def drawn(directory: Path, truth: DemoTruth) -> str:
    """What was drawn."""
    return f"{directory}/lsun: {truth.count:,} bedrooms, {len(truth.copies):,} of them planted copies"


def tour(directory: Path, result: Tour) -> str:
    """What the demo found and made, and where to look."""
    score = result.score
    kinds = [f"  {kind:<13}{score.found[kind]:>5} of {planted}" for kind, planted in score.planted.items()]
    found, planted = sum(score.found.values()), sum(score.planted.values())
    return "\n".join(
        [
            prepared_set(directory / "out", result.info, verbose=False),
            "",
            f"planted copies found: {found:,} of {planted:,}; wrong removals: {len(score.wrong)}",
            *kinds,
            "",
            training(result.training),
        ]
    )


def faces_bench(result: FacesBench) -> str:
    """A line a detector and number of workers, then what it made of hand-made boxes."""
    lines = [
        f"{result.photos:,} photos to {result.image_size} px",
        f"{'detector':<10}{'side':>6}{'workers':>9}{'photos/s':>10}{'with a crop':>13}{'crops':>8}",
    ]
    for rate in result.rates:
        side = rate.detection_side if rate.detector == "yunet" else ""
        share = f"{rate.photos_with_face / result.photos:.1%}"
        lines.append(
            f"{rate.detector:<10}{side:>6}{rate.workers:>9}{rate.photos_per_s:>10,.0f}{share:>13}{rate.faces:>8,}"
        )
    for score in result.boxes:
        name = f"{score.detector} {score.detection_side}" if score.detector == "yunet" else score.detector
        lines.append(f"{name}: {score.found} of {score.boxes} boxes found, {score.false} false detections")
    return "\n".join(lines)


def exported(result: ExportResult) -> str:
    """What was written, and where."""
    lines = [
        f"{result.destination}: {result.images:,} images as {result.format}, {result.files:,} files, "
        f"{result.bytes / 1e6:,.1f} MB"
    ]
    return "\n".join([*lines, *(f"note: {note}" for note in result.notes)])


def decode_bench(result: DecodeBench) -> str:
    """Rates side by side."""
    rows = (
        ("plain way, 1 process", result.plain_images_per_s, f"{result.plain_peak_mb:6.0f} MB peak"),
        ("ours, 1 process", result.one_worker_images_per_s, ""),
        (
            f"ours, {result.workers} processes",
            result.ours_images_per_s,
            f"{result.worker_peak_mb:6.0f} MB peak each",
        ),
    )
    lines = [f"{name:<22}{rate:8,.0f} images/s  {memory}".rstrip() for name, rate, memory in rows]
    head = f"{result.images:,} images to {result.image_size} px"
    return "\n".join([head, *lines, f"{'speedup':<22}{result.speedup:8.1f} times the plain way"])


def _toml(value: Any) -> str:
    return json.dumps(value)
