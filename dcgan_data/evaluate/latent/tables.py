"""What was found in the latent space, as text."""

from __future__ import annotations

from collections.abc import Sequence

from dcgan_data.evaluate.latent.arithmetic import ArithmeticResult
from dcgan_data.evaluate.latent.smoothness import Segment
from dcgan_data.evaluate.latent.turn import TurnResult
from dcgan_data.evaluate.latent.walk import WalkResult
from dcgan_data.evaluate.text_table import aligned


def walk_table(result: WalkResult) -> str:
    """How even each way from one point to the next is, beside a cross-fade and a jump."""
    found = result.smoothness
    rows: list[tuple[str, ...]] = [("from sample to sample", "mean change", "largest", "score", "cross-fade")]
    rows += [_segment(part) for part in found.segments]
    head = f"{result.model}, seed {result.seed}: {result.interpolation} walk, {found.steps} steps a segment"
    lines = [head, "", *aligned(rows), ""]
    lines += [
        "Change of a step: root mean square difference of pixels in [-1, 1]. Score: largest against",
        f"mean; a cross-fade has 1, a jump {found.steps}; above {found.limit:.2f} a transition is sharp.",
    ]
    if found.worst is not None and found.whole is not None:
        lines.append(f"worst segment {found.worst:.2f}, all steps together {found.whole:.2f}")
    if found.share is not None:
        lines.append(
            f"largest change: {found.share:.1%} of the difference between two points' images (a jump: 100 %)"
        )
    if not result.warnings:
        lines.append("no sharp transition; that does not prove that nothing was memorised: see 'neighbours'")
    files = [file for file in (result.picture, result.video or result.animation) if file]
    return "\n".join([*lines, *_ending(result.warnings, files, result.file)])


def _segment(part: Segment) -> tuple[str, ...]:
    return (
        f"{part.start} to {part.end}",
        f"{part.mean:.4f}",
        f"{part.largest:.4f}",
        _score(part.score),
        _score(part.cross_fade),
    )


def _score(score: float | None) -> str:
    return "-" if score is None else f"{score:.2f}"


def arithmetic_table(result: ArithmeticResult) -> str:
    """Which samples were added up, and how long the resulting vector is."""
    lines = [f"{result.model}, seed {result.seed}: {' - '.join(result.names[:2])} + {result.names[2]}"]
    lines += [
        f"  {name}: mean of samples {_list(numbers)}"
        for name, numbers in zip(result.names, result.exemplars, strict=True)
    ]
    lines.append(
        f"length of A - B + C: {result.length:.2f}, of a random latent vector: {result.usual_length:.2f}"
    )
    return "\n".join([*lines, *_ending((), [result.picture], result.file)])


def turn_table(result: TurnResult) -> str:
    """Who made the turn vector, and how far the faces turned."""
    lines = [f"{result.model}, seed {result.seed}: turn"]
    if result.facing:
        lines += [
            f"{result.facing.faces:,} of {result.facing.samples:,} samples show a face",
            f"  left: samples {_list(result.left)}: yaw {_list(result.facing.left_yaw)} degrees",
            f"  right: samples {_list(result.right)}: yaw {_list(result.facing.right_yaw)} degrees",
        ]
    else:
        lines += [f"  left: samples {_list(result.left)}", f"  right: samples {_list(result.right)}"]
    if result.measured:
        turned = aligned(
            [
                ("turn vectors added", *(f"{place:+.2f}" for place in result.places)),
                (f"mean yaw of {result.measured}", *(f"{angle:+.1f}" for angle in result.yaw)),
            ]
        )
        lines += ["", *turned, ""]
    return "\n".join([*lines, *_ending(result.warnings, [result.picture], result.file)])


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _ending(warnings: Sequence[str], pictures: Sequence[str], file: str) -> list[str]:
    return [
        *(f"warning: {warning}" for warning in warnings),
        *(f"look: {picture}" for picture in pictures),
        f"data: {file}",
    ]
