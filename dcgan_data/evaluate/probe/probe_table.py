"""What the CIFAR-10 probe found, beside the paper's table 1, as text and as a figure."""

from __future__ import annotations

from dataclasses import dataclass

from dcgan_data.evaluate.figure import Figure
from dcgan_data.evaluate.probe.choosing import COSTS, FOLDS
from dcgan_data.evaluate.probe.cifar10_result import PER_CLASS, Cifar10Result, FeatureScore
from dcgan_data.evaluate.text_table import aligned

_TRAIN, _TEST = 50_000, 10_000
"""Images of CIFAR-10."""


@dataclass(frozen=True)
class PaperRow:
    """A line of the paper's table 1."""

    name: str
    """Of the features."""
    accuracy: float
    """Percent of the test images, with all labels."""
    few: float
    """Percent, with 400 labels a class."""
    spread: float
    """What the paper gives behind that, as +-."""
    largest_layer: int
    """Its "max # of features"."""


PAPER = (
    PaperRow("1 layer K-means", 80.6, 63.7, 0.7, 4800),
    PaperRow("3 layer K-means learned RF", 82.0, 70.7, 0.7, 3200),
    PaperRow("view invariant K-means", 81.9, 72.6, 0.7, 6400),
    PaperRow("Exemplar CNN", 84.3, 77.4, 0.2, 1024),
    PaperRow("DCGAN, trained on ImageNet-1k", 82.8, 73.8, 0.4, 512),
)


def cifar10_table(result: Cifar10Result) -> str:
    """The paper's table with our rows below, and what stands behind them."""
    head = ("accuracy in %", _labels(result), f"{PER_CLASS} a class", "max units", "features", "C")
    rows = [head, *(_paper_cells(row) for row in PAPER), *(_own_cells(score) for score in result.scores)]
    lines = [
        f"{result.model}: CIFAR-10 by linear L2-SVMs, {result.test_images:,} test images",
        "",
        *aligned(rows),
        *_notes(result),
        *(f"warning: {text}" for text in warnings_of(result)),
        f"data: {result.file}",
    ]
    return "\n".join(lines)


def cifar10_figure(result: Cifar10Result) -> Figure:
    """The table for a page of figures."""
    values = [("features", _labels(result), f"{PER_CLASS} labels a class")]
    values += [(f"paper: {row.name}", f"{row.accuracy} %", f"{_few(row)} %") for row in PAPER]
    values += [
        (f"ours: {score.name}", f"{100 * score.accuracy:.1f} %", f"{_few(score)} %" if score.few else "")
        for score in result.scores
    ]
    return Figure(
        title="CIFAR-10 by the discriminator's features",
        paper="table 1",
        caption=(
            "Share of CIFAR-10's test images that linear L2-SVMs get right. Their features are the "
            "activations of all convolutions of the discriminator, max-pooled to a 4x4 grid. Beside them, by "
            "the same classifiers: the same architecture with random weights, raw pixels, and one layer of "
            "K-means. Higher is better; guessing comes to 10 %. " + " ".join(map(str.strip, _notes(result)))
        ),
        pictures=(),
        numbers=tuple(values),
        warnings=tuple(warnings_of(result)),
    )


def warnings_of(result: Cifar10Result) -> list[str]:
    """In what the measurement is not the paper's, and what was not found or not finished."""
    found = []
    if result.training_images < result.available_images:
        found.append(
            f"fitted on {result.training_images:,} of {result.available_images:,} training images (--limit): "
            "accuracies are lower than with all of them, and draws have many images in common"
        )
    if (result.available_images, result.test_images) != (_TRAIN, _TEST):
        found.append(
            f"not CIFAR-10's {_TRAIN:,} and {_TEST:,} images, but {result.available_images:,} and "
            f"{result.test_images:,}"
        )
    for score in result.scores:
        if score.choice.at_edge:
            found.append(
                f"{score.name}: C = {score.choice.cost:g} is at the edge of what is tried, {COSTS[0]:g} to "
                f"{COSTS[-1]:g}; a better one may lie beyond"
            )
        if not score.converged:
            found.append(f"{score.name}: a fit ended short of its tolerance (last gap: {score.gap:.1e})")
    return found


def _notes(result: Cifar10Result) -> list[str]:
    """Sentences; the second line of one is indented."""
    fewest = min(score.choice.images for score in result.scores)
    most = max(score.choice.images for score in result.scores)
    images = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    notes = [
        f"C is the best of {FOLDS}-fold cross-validation on {images} training images.",
        "Features are used as they are, those of K-means standardised.",
    ]
    if few := result.scores[0].few:
        notes += [
            f"+-: ours, standard deviation over {len(few.accuracies)} draws, each with a C of its own;",
            "  the paper does not say of what kind its own is.",
        ]
    else:
        notes.append(f"{PER_CLASS} labels a class: not asked for, or there are not as many images.")
    trained_on = f"on {result.trained_on}" if result.trained_on else "on data that are not known here"
    return [*notes, f"The paper's discriminator was trained on ImageNet-1k, this one {trained_on}."]


def _labels(result: Cifar10Result) -> str:
    return f"{result.training_images:,} labels"


def _paper_cells(row: PaperRow) -> tuple[str, ...]:
    return f"paper: {row.name}", f"{row.accuracy:.1f}", _few(row), f"{row.largest_layer:,}", "", ""


def _own_cells(score: FeatureScore) -> tuple[str, ...]:
    largest = f"{score.largest_layer:,}" if score.largest_layer else ""
    cost = f"{score.choice.cost:g}"
    accuracy = f"{100 * score.accuracy:.1f}"
    return f"ours: {score.name}", accuracy, _few(score), largest, f"{score.features:,}", cost


def _few(row: PaperRow | FeatureScore) -> str:
    if isinstance(row, PaperRow):
        return f"{row.few:.1f} +- {row.spread:.1f}"
    return f"{100 * row.few.mean:.1f} +- {100 * row.few.deviation:.1f}" if row.few else ""
