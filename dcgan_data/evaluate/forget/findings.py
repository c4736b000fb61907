"""What forgetting did, for a person: as text, and as a figure."""

from __future__ import annotations

from pathlib import Path

from dcgan_data.evaluate.figure import Figure
from dcgan_data.evaluate.forget.change import Change
from dcgan_data.evaluate.forget.result import ForgetResult
from dcgan_data.evaluate.text_table import aligned

_PAPER = "52 boxes on 150 samples, 200 of 512 maps"


def forget_table(result: ForgetResult) -> str:
    """What was dropped, and what it changed beside the control."""
    maps = len(result.regression.weights)
    lines = [
        f"{result.model}: boxes drawn: {result.boxes}, on {result.boxed_samples} of {result.samples} samples",
        f"dropped {len(result.dropped)} of {maps} feature maps (paper: {_PAPER})",
        _accuracy(result),
        "",
        *aligned([("mean change, of 255", "in boxes", "outside", "ratio"), *_changes(result)]),
        *(f"warning: {warning}" for warning in result.warnings),
        f"look: {result.picture}",
        f"data: {result.file}",
    ]
    return "\n".join(lines)


def forget_figure(result: ForgetResult) -> Figure:
    """For a page of figures."""
    return Figure(
        title="Forgetting what is in the boxes",
        paper="figure 6, section 6.3.1",
        caption=(
            "Rows in threes: samples as the model draws them; the same latent vectors without the "
            "feature maps that speak for what a person drew boxes around; and, as a control that the "
            "paper does not have, without as many maps chosen at random. First come new samples, as in "
            "the paper, then some that the boxes are on. In the paper some windows go, others turn into "
            "things that look alike, such as doors and mirrors; the images get worse, but the scenes "
            "stay the same. Compare with the control: where both rows differ from the samples alike, "
            "nothing in particular was forgotten."
        ),
        pictures=(Path(result.picture),),
        numbers=(
            ("boxes", f"{result.boxes} on {result.boxed_samples} samples (paper: 52)"),
            (
                "maps dropped",
                f"{len(result.dropped)} of {len(result.regression.weights)} (paper: 200 of 512)",
            ),
            ("places told rightly, held-out images", _share(result.regression.accuracy)),
            ("by chance", _share(result.regression.chance)),
            ("change in boxes and outside", _pair(result.change)),
            ("the same of the control", _pair(result.control)),
        ),
        warnings=result.warnings,
    )


def _accuracy(result: ForgetResult) -> str:
    told = result.regression
    places = f"{told.inside:,} places inside boxes and {told.outside:,} outside"
    share = "an unknown share" if told.accuracy is None else f"{told.accuracy:.1%}"
    return f"{share} of {places} told rightly on held-out images (by chance {told.chance:.1%})"


def _changes(result: ForgetResult) -> list[tuple[str, ...]]:
    rows = [
        ("without these maps", result.change),
        (f"without as many at random, mean of {len(result.controls)}", result.control),
    ]
    return [(name, f"{change.inside:.1f}", f"{change.outside:.1f}", _ratio(change)) for name, change in rows]


def _ratio(change: Change) -> str:
    return f"{change.inside / change.outside:.2f}" if change.outside else "-"


def _pair(change: Change) -> str:
    return f"{change.inside:.1f} and {change.outside:.1f} of 255"


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"
