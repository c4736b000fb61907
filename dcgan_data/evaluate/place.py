"""Where an examination's files go."""

from __future__ import annotations

import shlex
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
    trained: Trained | None = None
    """What was examined, if it can be told by its weights."""

    def file(self, ending: str) -> Path:
        """The file of that ending: ``.png``, ``-control.png``, ``.json``."""
        return self.directory / f"{self.stem}{ending}"

    def writing(self) -> AbstractContextManager[None]:
        """Make the directory and hold it; BadRequest if another command writes there, or nobody can."""
        return locked(self.directory, "--out")


def place_of(trained: Trained, command: str, out: Path | None) -> Place:
    """``out``, or RUN/command for a run, or MODEL-command beside a model's file."""
    if trained.step is None:
        beside = trained.path.with_name(f"{trained.path.stem}-{command}")
        return Place(out or beside, trained.path.stem, trained)
    return Place(out or trained.path / command, f"step-{trained.step:06d}", trained)


def command_line(trained: Trained, command: str, words: str = "", seed: int | None = None) -> str:
    """What to type for another look at the same weights: ``command RUN --checkpoint 3000 --seed 0 WORDS``."""
    line = f"dcgan-data {command} {shlex.quote(str(trained.path))}"
    line += "" if trained.step is None else f" --checkpoint {trained.step}"
    line += "" if seed is None else f" --seed {seed}"
    return f"{line} {words}".rstrip()
