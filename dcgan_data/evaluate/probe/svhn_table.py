"""What the SVHN probe found, beside the paper's table 2, as text and as a figure."""

from __future__ import annotations

from dataclasses import dataclass

from dcgan_data.evaluate.figure import Figure
from dcgan_data.evaluate.probe.supervised_search import SupervisedResult
from dcgan_data.evaluate.probe.svhn_data import OFFICIAL_TEST, OFFICIAL_TRAIN
from dcgan_data.evaluate.probe.svhn_linear import ErrorRate
from dcgan_data.evaluate.probe.svhn_result import SvhnResult
from dcgan_data.evaluate.probe.svhn_settings import DRAWS, SEARCH_DRAWS, TRIALS, VALIDATION
from dcgan_data.evaluate.text_table import aligned


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    name: str
    """Of the method."""
    test: ErrorRate | float | None
    """Error on the test images, in percent; None: not known."""
    validation: ErrorRate | float | None = None
    """Error on the validation images."""


PAPER = (
    Row("KNN", 77.93),
    Row("TSVM", 66.55),
    Row("M1+KNN", 65.63),
    Row("M1+TSVM", 54.33),
    Row("M1+M2", 36.02),
    Row("SWWAE without dropout", 27.83),
    Row("SWWAE with dropout", 23.56),
    Row("DCGAN + L2-SVM, the paper's", 22.48),
    Row("supervised CNN, same architecture, the paper's", None, 28.87),
)
"""The paper's table 2."""


def svhn_table(result: SvhnResult) -> str:
    """How C was chosen, and the paper's table with our rows."""
    linear = result.linear
    chosen = [("C", _above("1,000 images"), _above("validation"))]
    chosen += [(f"{tried.cost:g}", _cell(tried.train), _cell(tried.validation)) for tried in linear.tried]
    rows = [("error in %", _above("validation"), _above("test"))]
    rows += [(row.name, _cell(row.validation), _cell(row.test)) for row in _rows(result)]
    lines = [
        f"{result.model}: SVHN with 1,000 labels, by {linear.features:,} features of D",
        f"{result.training_images:,} images to draw from, {result.validation_images:,} for validation, "
        f"{result.test_images:,} to test",
        "",
        f"error in %, mean of {_counted(linear.search_draws, 'draw')} of 100 images a digit",
        *aligned(chosen),
        f"C = {linear.cost:g} has the lowest mean validation error",
        "",
        *aligned(rows),
        f"* this model, mean of {_counted(linear.draws, 'draw')}; +-: 1.96 standard deviations over these",
        f"  on the 1,000 images of each draw itself: {_said(linear.train)} %",
        *_searched(result.supervised),
        *(f"warning: {text}" for text in warnings_of(result)),
        *([f"trials: {result.supervised.file}"] if result.supervised else []),
        f"data: {result.file}",
    ]
    return "\n".join(lines)


def svhn_figure(result: SvhnResult) -> Figure:
    """The table's rows for a page of figures."""
    return Figure(
        title="SVHN with 1,000 labels",
        paper="table 2",
        caption=(
            "Errors of linear L2-SVMs on the discriminator's features, which see the labels of 100 images of "
            f"each digit: mean and 1.96 standard deviations over {_counted(result.linear.draws, 'draw')}. "
            "Rows with a star are this model's, the others are the paper's. Lower is better; guessing at "
            "random comes to 90 %."
        ),
        pictures=(),
        numbers=tuple((row.name, _both(row)) for row in _rows(result)),
        warnings=tuple(warnings_of(result)),
    )


def warnings_of(result: SvhnResult) -> list[str]:
    """In what the measurement is not the paper's, and what LinearSVC or the search did not finish."""
    linear, found = result.linear, list[str]()
    counts = [
        ("draws", linear.draws, DRAWS),
        ("draws for each C", linear.search_draws, SEARCH_DRAWS),
        ("validation images", result.validation_images, VALIDATION),
    ]
    if result.supervised:
        counts.append(("trials", len(result.supervised.trials), TRIALS))
    found += [
        f"{count:,} {name}, the paper's protocol has {paper:,}"
        for name, count, paper in counts
        if count != paper
    ]
    images = result.training_images + result.validation_images
    if (images, result.test_images) != (OFFICIAL_TRAIN, OFFICIAL_TEST):
        found.append(
            f"not SVHN's own files of {OFFICIAL_TRAIN:,} and {OFFICIAL_TEST:,} images, but {images:,} and "
            f"{result.test_images:,}"
        )
    if linear.unfinished:
        fitted = len(linear.tried) * linear.search_draws + linear.draws
        found.append(f"LinearSVC stopped at 1,000 rounds for {linear.unfinished} of {fitted} classifiers")
    if result.supervised and (failed := sum(trial.outcome is None for trial in result.supervised.trials)):
        found.append(f"{failed} of {len(result.supervised.trials)} trials learnt nothing: no finite loss")
    return found


def _rows(result: SvhnResult) -> list[Row]:
    linear = result.linear
    rows = [*PAPER, Row("* DCGAN + L2-SVM", linear.test, linear.validation)]
    if result.supervised and result.supervised.best and (best := result.supervised.best.outcome):
        rows.append(Row("* supervised CNN, same architecture", best.test_error, best.validation_error))
    return rows


def _searched(result: SupervisedResult | None) -> list[str]:
    if result is None or result.best is None or result.best.outcome is None:
        return []
    hyper, outcome = result.best.hyper, result.best.outcome
    return [
        f"  supervised CNN: the best of {_counted(len(result.trials), 'trial')} on the validation images, "
        f"number {result.best.number}, after {_counted(outcome.epochs, 'epoch')}:",
        f"  learning rate {hyper.learning_rate:.2g}, beta1 {hyper.beta1:g}, L2 {hyper.l2:.2g}, "
        f"batch {hyper.batch_size}, dropout {hyper.dropout:.2f}",
    ]


def _cell(value: ErrorRate | float | None) -> str:
    """So wide that means are below one another, with a spread or without."""
    if value is None:
        return ""
    mean, plus_minus, spread = _said(value).partition(" +- ")
    return f"{mean:>5}{plus_minus + spread:<9}"


def _above(name: str) -> str:
    """A column's name, over the means."""
    return f"{name:<14}"


def _said(value: ErrorRate | float) -> str:
    return f"{value.mean:.2f} +- {value.spread:.2f}" if isinstance(value, ErrorRate) else f"{value:.2f}"


def _both(row: Row) -> str:
    parts = (("test", row.test), ("validation", row.validation))
    return ", ".join(f"{name} {_said(value)} %" for name, value in parts if value is not None)


def _counted(count: int, name: str) -> str:
    return f"{count:,} {name}" if count == 1 else f"{count:,} {name}s"
