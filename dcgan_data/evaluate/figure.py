"""What an examination shows a person: pictures, a caption, and the numbers that go with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
    numbers: tuple[tuple[str, str], ...] = ()
    """Names and values."""
    warnings: tuple[str, ...] = ()
    """What a person should know first."""
