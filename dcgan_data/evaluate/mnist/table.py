"""The appendix's table as text and as a figure, with the paper's own rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcgan_data.evaluate.figure import Figure
from dcgan_data.evaluate.mnist.result import Misclassified, MnistResult
from dcgan_data.evaluate.text_table import aligned
from dcgan_data.train.conditional.loop import ConditionalSummary

_FEW, _MANY = 50_000, 10_000_000


@dataclass(frozen=True)
class _Row:
    name: str
    whose: str
    percent: Mapping[int, str]
    """By number of references."""


PAPERS_ROWS = (
    _Row("AlignMNIST", "paper", {_MANY: "1.4"}),
    _Row("InfiMNIST", "paper", {_MANY: "2.6"}),
    _Row("real data", "paper", {_FEW: "3.1"}),
    _Row("GAN", "paper", {_FEW: "6.28", _MANY: "5.65"}),
    _Row("DCGAN", "paper", {_FEW: "2.98", _MANY: "1.48"}),
)
"""Test errors in %, as printed in the appendix."""


def mnist_table(result: MnistResult) -> str:
    """The paper's rows, ours below them, and how to read them."""
    lines = [
        f"1-nearest-neighbour test error in %, {result.test_images:,} MNIST test images",
        *aligned(_cells(result)),
        _certainty(result),
    ]
    if result.generated:
        lines.append(f"look: {result.generated.picture}")
    if result.file:
        lines.append(f"data: {result.file}")
    return "\n".join(lines)


def mnist_figure(result: MnistResult) -> Figure:
    """The appendix's figure and table."""
    return Figure(
        title="Digits by their label, and what a classifier learns from them",
        paper="appendix 8.1: table 3 and figure 9",
        caption=(
            "Left, real digits; right, digits generated for the same labels, from latent vectors that nobody "
            "chose. A 1-nearest-neighbour classifier that knows generated digits only is tested on MNIST's "
            "test images: the paper's DCGAN teaches it as much as equally many real digits do (2.98 and "
            "3.1 % errors by 50,000), and more by 10 million. An error above that of real digits says that "
            f"some are not what their label says, or that they vary too little. {_certainty(result)}"
        ),
        pictures=(Path(result.generated.picture),) if result.generated else (),
        numbers=_cells(result),
    )


def training_text(summary: ConditionalSummary) -> str:
    """How a training run ended, and where to look."""
    rate = f"{summary.images_per_s:,.0f} images/s" if summary.images_per_s else "all were done before"
    lines = [f"{summary.run_dir}: {summary.steps:,} steps, this time {summary.seconds:,.0f} s ({rate})"]
    if summary.accuracy is not None:
        lines.append(f"1-NN among 1,000 samples: {summary.accuracy:.2f} % of the held-out images are right")
    lines += [
        f"look: {summary.grid}",
        f"test: dcgan-data mnist evaluate {summary.run_dir} --data DIR",
    ]
    return "\n".join(lines)


def _cells(result: MnistResult) -> tuple[tuple[str, ...], ...]:
    """A column for each number of references."""
    rows = [*PAPERS_ROWS, *_our_rows(result)]
    counts = sorted({count for row in rows for count in row.percent})
    head = ("references", "", *(f"{count:,}" for count in counts))
    return head, *((row.name, row.whose, *(row.percent.get(count, "-") for count in counts)) for row in rows)


def _our_rows(result: MnistResult) -> list[_Row]:
    rows = [_Row("real data, the first of the training images", "ours", _percents(result.real))]
    if (found := result.generated) is not None:
        name = f"{found.run}, step {found.step:,} ({found.epochs:.4g} epochs)"
        rows.append(_Row(name, "ours", _percents(found.errors)))
    return rows


def _percents(rates: Sequence[Misclassified]) -> dict[int, str]:
    return {rate.references: f"{rate.percent:.2f} +- {rate.spread:.2f}" for rate in rates}


def _certainty(result: MnistResult) -> str:
    """What our rows' +- is, and what it is not."""
    return (
        f"+-: so much would other {result.test_images:,} test images change a number of ours (95 %); the "
        "chance of the drawn samples is not in it."
    )
