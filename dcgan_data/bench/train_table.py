"""``bench train`` as a text table."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan_data.bench.tables import aligned
from dcgan_data.bench.training import TrainBench, TrainRow


def train_table(result: TrainBench) -> str:
    """Rates, ratios, shares of the roofline and memory; below it, if measured, what each ingredient gives."""
    rates = ", ".join(f"{name} {rate:,.3g}" for name, rate in result.matrix_tflop_per_s.items())
    lines = [
        f"training: {result.image_size} px, width {result.width}, batch {result.batch_size}, "
        f"{result.images:,} images, medians of {result.rounds} rounds",
        f"on {result.device}, torch {result.torch}; matrix products in TFLOP/s: {rates}",
        *_table(result.rows),
        f"speedup: {result.speedup:.2f} (fast over plain)",
        "images/s: real images consumed; the paper's alternation passes over those of every second minibatch",
        "unread, and counts them. Roofline: FLOPs counted, over the matrix rate of the same precision.",
    ]
    if result.ablation:
        lines += ["", "from plain to fast, one thing more in each row", *_steps(result.ablation)]
    notes = [f"{row.name}: {note}" for row in (*result.rows, *result.ablation[1:-1]) for note in row.notes]
    return "\n".join([*lines, *notes])


def _table(rows: Sequence[TrainRow]) -> list[str]:
    head = (
        "way",
        "images/s",
        "from",
        "to",
        "over plain",
        "ms/step",
        "GFLOP/image",
        "in",
        "roofline",
        "peak MB",
    )
    cells = [
        (
            row.name,
            _rate(row.images_per_s),
            _rate(row.slowest_images_per_s),
            _rate(row.fastest_images_per_s),
            f"{row.over_plain:.2f}",
            f"{row.step_ms:,.1f}",
            f"{row.gflop_per_image:.3g}",
            row.precision,
            f"{row.roofline_share:.1%}",
            f"{row.peak_mb:,.0f}",
        )
        for row in rows
    ]
    return aligned([head, *cells])


def _steps(rows: Sequence[TrainRow]) -> list[str]:
    """Each row beside the one before; the last, the fast preset, stands for itself."""
    before = [None, *rows[:-2], None]
    table = _table(rows)
    gains = ["over last", *(_gain(row, last) for row, last in zip(rows, before, strict=True))]
    says = ["", *(row.says for row in rows)]
    return [
        f"{line}  {gain:>9}  {what}".rstrip() for line, gain, what in zip(table, gains, says, strict=True)
    ]


def _gain(row: TrainRow, before: TrainRow | None) -> str:
    return f"{row.images_per_s / before.images_per_s:.2f}" if before else "-"


def _rate(images_per_s: float) -> str:
    return f"{images_per_s:,.0f}" if images_per_s >= 1000 else f"{images_per_s:.1f}"
