"""``bench scale`` as text."""

from __future__ import annotations

from dcgan_data.bench.scale.measuring import ScaleResult, SetLines
from dcgan_data.bench.tables import aligned

_HEADS = ("stage", "seconds", "images/s", "MB in all", "main", "a worker", "MB read", "written")


def scale_text(result: ScaleResult) -> str:
    """A table for every set, then how the stages grow."""
    parts = [_set_text(one, result.workers) for one in result.sets]
    if result.exponents:
        grown = ", ".join(f"{stage} {power:.2f}" for stage, power in result.exponents.items())
        parts.append(f"time grows like N to the power of: {grown}")
    return "\n\n".join(parts)


def _set_text(one: SetLines, workers: int) -> str:
    rows: list[tuple[str, ...]] = [_HEADS]
    for line in one.stages:
        numbers = (
            line.images_per_s,
            line.all_mb,
            line.main_mb,
            line.worker_mb,
            line.read_mb,
            line.written_mb,
        )
        rows.append((line.stage, f"{line.seconds:,.1f}", *map(_shown, numbers)))
    score = one.score
    head = (
        f"{one.images:,} images ({one.lmdb_mb:,.0f} MB, written in {one.build_seconds:,.0f} s), "
        f"{workers} workers: {score.found:,} of {score.planted:,} planted copies removed, "
        f"{score.wrong:,} others"
    )
    return "\n".join([head, *aligned(rows)])


def _shown(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"
