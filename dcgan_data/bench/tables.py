"""The measurements of near-duplicate removal as text tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dcgan_data.bench.changes import KINDS
from dcgan_data.bench.cifar import CifarBench
from dcgan_data.bench.code_search import ScaleBench
from dcgan_data.bench.planted import PlantedBench


def planted_table(result: PlantedBench) -> str:
    """Recall by kind and method, then what each method put together across families."""
    scores = result.scores.values()
    rows = [("share found", *result.scores)]
    rows += [(kind.name, *(_share(score.recall.get(kind.name)) for score in scores)) for kind in KINDS]
    rows.append(("wrong removals", *(f"{score.wrong_removals:,}" for score in scores)))
    rows.append(("photos put together", *(f"{n:,}" for n in result.cross_originals.values())))
    rows.append(("wrong pairs", *(_count(score.wrong_pairs) for score in scores)))
    copies = max(result.scores["ours"].planted.values())
    head = (
        f"planted: {copies} changed copies of each kind among {result.photos:,} photos "
        f"({result.images:,} images, ours at {result.image_size} px, seed {result.seed})"
    )
    return "\n".join([head, *aligned(rows), *_planted_notes(result)])


def cifar_table(result: CifarBench) -> str:
    """Recall, and pairs reported, by method."""
    rows = [("method", f"of {result.near} near", "recall", "pairs", f"of {result.similar} other pictures")]
    rows += [
        (name, f"{score.near}", f"{score.recall:.3f}", f"{score.pairs:,}", f"{score.similar}")
        for name, score in result.scores.items()
    ]
    return "\n".join(["CIFAR-10: copies between test and training images", *aligned(rows)])


def _planted_notes(result: PlantedBench) -> list[str]:
    notes = [
        "wrong removals: in favour of another photo or its copy. Photos put together: pairs of unchanged "
        "photos;",
        "real sets hold real copies, so look at both with --sheet DIR. Wrong pairs: all within the radius, "
        "real copies too.",
    ]
    if result.left_out:
        notes.append(f"left out: {result.left_out:,} records, not to be read or too small")
    rejected = result.scores["ours"].rejected
    if rejected:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in rejected.items())
        notes.append(f"not scored, for they or their originals were rejected: {kinds}")
    return notes


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, the first to the left and the others to the right."""
    table = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in table
    ]


def scale_table(bench: ScaleBench) -> str:
    """How the search grows."""
    head = (
        f"{'codes':>10} {'views':>6} {'slices':>7} {'index s':>8} {'search s':>9} {'merge s':>8} "
        f"{'all MB':>7} {'mapped MB':>10} {'parent MB':>10} {'worker MB':>10} {'index GB':>9} "
        f"{'found GB':>9} {'candidates':>11} {'planted found':>14} {'left out':>15}"
    )
    rows = [
        f"{line.codes:>10,} {line.views:>6} {line.slices:>7} {line.index_seconds:>8.1f} "
        f"{line.search_seconds:>9.1f} {line.merge_seconds:>8.1f} {line.together_mb:>7,.0f} "
        f"{line.mapped_mb:>10,.0f} {line.parent_peak_mb:>10,.0f} {line.worker_peak_mb:>10,.0f} "
        f"{line.index_bytes / 1e9:>9.2f} {line.spilled_bytes / 1e9:>9.2f} {line.candidate_pairs:>11,} "
        f"{line.planted_recall:>14.4f} {line.left_out:>15,}"
        for line in bench.lines
    ]
    kind = "codes of real images, multiplied" if bench.real else "random codes; --source: real ones"
    growth = "" if bench.exponent is None else f"; time grows like N^{bench.exponent:.2f}"
    return "\n".join([f"search for near codes ({kind}){growth}", head, *rows])
