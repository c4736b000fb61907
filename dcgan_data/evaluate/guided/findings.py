"""What D's features answer to, for a person: as text, and as a figure."""

from __future__ import annotations

from pathlib import Path

from dcgan_data.evaluate.figure import Figure
from dcgan_data.evaluate.guided.looking import Feature
from dcgan_data.evaluate.guided.result import FeaturesResult
from dcgan_data.evaluate.text_table import aligned

_COMPARED = "rank correlation with D's guided gradients"


def features_table(result: FeaturesResult) -> str:
    """The strongest responses of each feature, and whether random weights change the picture."""
    lines = [
        f"{result.model}: convolution {result.layer}, receptive field {result.field_side} px, "
        f"{result.images:,} images of {result.prepared}",
        "",
        *aligned([("strongest responses", "trained", "random"), *_strongest(result)]),
        "",
        *aligned([(_COMPARED, "signed", "absolute"), *_levels(result)]),
        *(f"warning: {warning}" for warning in result.warnings),
        f"look: {result.picture}",
        f"data: {result.file}",
    ]
    return "\n".join(lines)


def features_figure(result: FeaturesResult) -> Figure:
    """For a page of figures."""
    return Figure(
        title="What the discriminator's features answer to",
        paper="figure 5, section 6.2",
        caption=(
            "For each of the first features of D's last convolution, the real images that it answers to "
            "most strongly, with the part that it sees outlined; below each, the guided gradient: what "
            "in the image speaks for the feature, grey where nothing does, each one at its own scale. "
            "On the right the same for random weights. In the paper many features answer to beds, and "
            "random ones to nothing in particular. Judge a feature by what its images have in common: "
            "guided gradients show edges with any weights. How alike those of partly and wholly random "
            "weights are is given below; two random networks are the least to be expected."
        ),
        pictures=(Path(result.picture),),
        numbers=((_COMPARED, "signed", "absolute"), *_levels(result)),
        warnings=result.warnings,
    )


def _strongest(result: FeaturesResult) -> list[tuple[str, ...]]:
    pairs = zip(result.trained, result.random, strict=True)
    return [(f"feature {pair[0].channel}", *(_range(feature) for feature in pair)) for pair in pairs]


def _range(feature: Feature) -> str:
    first, last = feature.responses[0], feature.responses[-1]
    return f"{first.value:.2f} to {last.value:.2f}"


def _levels(result: FeaturesResult) -> list[tuple[str, str, str]]:
    """What is compared, and its correlations, signed and absolute."""
    names = [f"last {level.layers} of {result.layer} layers random" for level in result.sanity[:-1]]
    names += ["all layers random", "two random networks"]
    levels = (*result.sanity, result.two_random)
    return [
        (name, f"{level.signed:.2f}", f"{level.absolute:.2f}")
        for name, level in zip(names, levels, strict=True)
    ]
