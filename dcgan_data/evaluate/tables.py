"""What examinations found, as text."""

from __future__ import annotations

from dcgan_data.evaluate.closeness import Closeness, Space
from dcgan_data.evaluate.neighbours import NeighboursResult
from dcgan_data.evaluate.score import FidelityScore, ScoreResult
from dcgan_data.evaluate.text_table import aligned
from dcgan_data.train.authors import Imported


def neighbours_table(result: NeighboursResult) -> str:
    """For each space: how near samples are to training images, beside real images; and what that means."""
    copies = "with its duplicates" if result.with_duplicates else "without duplicates"
    head = (
        f"{result.run}, step {result.step:,}: nearest of {result.training_images:,} training images "
        f"({result.prepared}, {copies})"
    )
    lines = [head, "", *_space("pixels", result.pixels)]
    if result.codes:
        lines += ["", *_space("codes", result.codes)]
    else:
        lines += ["", f"codes: none, {result.prepared} was only prepared"]
    return "\n".join([*lines, "", *_reading(result), f"look: {result.picture}", f"data: {result.file}"])


def _space(name: str, space: Space) -> list[str]:
    median, five, one = space.thresholds
    rows = [
        (
            f"{name}: {space.unit}",
            "images",
            "median",
            f"below {_number(median)}",
            f"below {_number(five)}",
            f"below {_number(one)}",
            "singled out",
        ),
        ("training images, to another one", *_cells(space.training)),
    ]
    if space.held_out:
        rows.append(("held-out images", *_cells(space.held_out)))
    rows.append(("samples", *_cells(space.samples)))
    control = f" (held-out images: {space.held_out.below[0]:.1%})" if space.held_out else ""
    return [
        *aligned(rows),
        f"{space.samples.below[0]:.1%} of the samples are nearer to a training image than half of the "
        f"training images are to another{control}",
    ]


def _cells(closeness: Closeness) -> tuple[str, ...]:
    shares = (*closeness.below, closeness.singled_out)
    return f"{closeness.images:,}", _number(closeness.median), *(f"{share:.1%}" for share in shares)


def _reading(result: NeighboursResult) -> list[str]:
    lines = [
        "Below: nearer than the median, 5 % and 1 % quantile of training images. Singled out: one training",
        "image is less than a third as far away as the next, which speaks for copying. Blurred or plain",
        "samples are near to everything in pixels: nearness there proves nothing by itself.",
    ]
    if result.codes and result.codes.held_out:
        lines.append(
            "In codes, larger shares than the held-out images' below the 5 % and 1 % do speak for it."
        )
    if result.with_duplicates:
        lines.append("Training images that have copies among themselves are not in the yardstick.")
    if not result.pixels.held_out:
        lines.append("No images were held out of this run: there is no control.")
    return lines


def score_table(result: ScoreResult) -> str:
    """Nearest-neighbour scores beside real images', then FID and KID."""
    lines = [f"{result.run}, step {result.step:,}"]
    if result.nearest:
        rows = [("held-out images to the nearest of", "samples", "training images")]
        for line in result.nearest:
            fewer = f" (of {line.training_images:,})" if line.training_images < line.samples else ""
            rows.append(
                (f"{line.samples:,}", f"{line.to_samples:.3f}", f"{line.to_training_images:.3f}{fewer}")
            )
        lines += [
            f"mean distance of {result.held_out:,} images that training never saw, in pixels of [-1, 1]:",
            *aligned(rows),
            "Lower is better, down to the right column; blurred samples, near to everything, go below it.",
        ]
    else:
        lines.append("no images were held out of this run: no nearest-neighbour score")
    return "\n".join([*lines, *(_fidelity(result.fidelity) if result.fidelity else [])])


def _fidelity(score: FidelityScore) -> list[str]:
    return [
        f"FID {score.fid:.3f}   KID {score.kid:.6f} +- {score.kid_deviation:.6f} "
        f"({score.kid_subsets} subsets of {score.kid_subset_images:,})",
        f"  {score.samples:,} samples, {score.real_images:,} real images",
        f"  {score.extractor} of {score.library}, resized: {score.resizer}",
        "  compare only with numbers of equally many samples, the same extractor and resizer",
    ]


def imported_lines(result: Imported) -> str:
    """What an imported model is, and where it is now."""
    shape = result.shape
    widths = ", ".join(str(layer.outputs) for layer in shape.discriminator_layers)
    return (
        f"{result.directory}, epoch {result.epoch}: {shape.image_size}x{shape.image_size} pixels, "
        f"D {widths}, z of {shape.z_dim} {shape.latent} numbers\n{result.file}"
    )


def _number(value: float) -> str:
    return f"{value:g}" if value == round(value) else f"{value:.2f}"
