"""Where an examination's files go."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from dcgan_data.formats.lock import locked
from dcgan_data.train.trained import Trained


@dataclass(frozen=True)
class Place:
    """A directory, and how the names of all files in it begin."""

    directory: Path
    """Made when it is written to."""
    stem: str
    """Which weights were examined: ``step-003000``, or a file's name."""

    def file(self, ending: str) -> Path:
        """The file of that ending: ``.png``, ``-control.png``, ``.json``."""
        return self.directory / f"{self.stem}{ending}"

    def writing(self) -> AbstractContextManager[None]:
        """Make the directory and hold it; BadRequest if another command writes there, or nobody can."""
        return locked(self.directory, "--out")


def place_of(trained: Trained, command: str, out: Path | None) -> Place:
    """``out``, or RUN/command for a run, or MODEL-command beside a model's file."""
    if trained.step is None:
        return Place(out or trained.path.with_name(f"{trained.path.stem}-{command}"), trained.path.stem)
    return Place(out or trained.path / command, f"step-{trained.step:06d}")
