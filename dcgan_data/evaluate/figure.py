"""What an examination shows a person: pictures, a caption, and the numbers that go with them."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dcgan_data.errors import BadInput
from dcgan_data.evaluate.place import Place
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.plain import build, checked, read_object

_ENDING = ".figure.json"


@dataclass(frozen=True)
class Figure:
    """One section of a page of figures."""

    title: str
    """What it is, such as ``A walk in the latent space``."""
    paper: str
    """Where the paper has it: ``figure 4``, ``table 1``, ``section 6.3.2``."""
    caption: str
    """What is shown, what the paper says of it, and how to read it. Plain text."""
    pictures: tuple[Path, ...]
    """PNG, GIF or video files."""
    numbers: tuple[tuple[str, ...], ...] = ()
    """Lines of a table: a name, and one value or several."""
    warnings: tuple[str, ...] = ()
    """What a person should know first."""


def save_figure(place: Place, figure: Figure) -> None:
    """Write a figure beside its pictures, for the page that collects all of them."""
    names = [os.path.relpath(picture, place.directory) for picture in figure.pictures]
    weights = place.trained.sha256 if place.trained else None
    write_json(place.file(_ENDING), {"figure": {**asdict(figure), "pictures": names}, "weights": weights})


def read_figure(place: Place) -> Figure | None:
    """The figure that a command left there; None if it left none, or made it of other weights of that name.

    BadInput if the file is damaged or a picture of it is gone.
    """
    path = place.file(_ENDING)
    try:
        stored = read_object(path)
        if place.trained and stored["weights"] != place.trained.sha256:
            return None
        raw = checked(dict[str, Any], stored["figure"], "figure")
        names = checked(list[str], raw["pictures"], "pictures")
        pictures = tuple(place.directory / name for name in names)
        around = place.directory.resolve().parent
        if strange := [picture for picture in pictures if not picture.resolve().is_relative_to(around)]:
            raise ValueError(f"{strange[0]} is no picture of this model")
        figure = replace(build(Figure, {**raw, "pictures": ()}), pictures=pictures)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path}: damaged ({type(error).__name__}: {error}); give its command again") from None
    for picture in figure.pictures:
        if not picture.exists():
            raise BadInput(f"{picture}: is gone; give its command again")
    return figure
