"""A run directory: what was asked (config.json), how it went (metrics.jsonl), and where the rest goes.

run/
  config.json              written first; never changed but by a resume that asks for more steps
  metrics.jsonl            one JSON object a line: losses, rates, scores where they were measured
  events.jsonl             what a person should know: warnings, rollbacks, resumes
  samples/000100.png       the same latent vectors, drawn after step 100
  checkpoints/000500/      see ``checkpoint``
  index.html               all of it to look at
  tensorboard/             if asked for
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.atomic import atomic_path, is_leftover, write_json
from dcgan_data.formats.lock import LOCK
from dcgan_data.formats.plain import build, parse_json, read_object
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import ImageSource
from dcgan_data.train.models import ModelShape

SCHEMA_VERSION = 2
RESUMED = "resumed"
"""The kind of event that is nothing to worry about."""
_ADDED = MappingProxyType({"layers": "strided", "latent": "uniform"})
"""Settings that older runs' records lack, and what they were."""
MAY_CHANGE = frozenset(
    (
        "run_dir",
        "steps",
        "epochs",
        "device",
        "compile",
        "cuda_graphs",
        "on_collapse",
        "sample_every",
        "checkpoint_every",
        "keep_checkpoints",
        "score_every",
        "log_every",
        "tensorboard",
    )
)
"""Fields of TrainConfig that a resumed run may change: they do not change the course of training."""


@dataclass(frozen=True)
class TrainingData:
    """What a run is fed with."""

    train: ImageSource
    """Trained on."""
    held_out: ImageSource
    """Kept from training."""
    set_sha256: str
    """Content hash of the set that they are from."""


@dataclass(frozen=True)
class RunRecord:
    """The contents of config.json."""

    config: dict[str, Any]
    """TrainConfig, every default written out; paths as absolute strings."""
    set_sha256: str
    """Content hash of the prepared set."""
    images: int
    """Images trained on."""
    held_out: int
    """Images kept from training."""
    image_size: int
    """Their side in pixels."""
    total_steps: int
    """Minibatches of the whole run."""
    libraries: dict[str, str]
    """Versions that the numbers may depend on."""
    machine: dict[str, Any]
    """What the run was begun on: device, precision as resolved, processes."""
    schema_version: int = SCHEMA_VERSION
    """Raised when a reader of older runs would be wrong."""

    @property
    def shape(self) -> ModelShape:
        """Shape of both networks."""
        return ModelShape.of(self.config, self.image_size)

    @property
    def batch_size(self) -> int:
        """Images in a minibatch."""
        return int(self.config["batch_size"])


def describe_run(
    config: TrainConfig, data: TrainingData, total_steps: int, machine: dict[str, Any]
) -> RunRecord:
    """Put together the record of a run that starts now."""
    resolved = asdict(config)
    for name in ("prepared", "run_dir"):
        resolved[name] = str(resolved[name].resolve())
    libraries = {name: version(name) for name in ("torch", "numpy", "safetensors", "pillow")}
    libraries["python"] = platform.python_version()
    return RunRecord(
        config=resolved,
        set_sha256=data.set_sha256,
        images=len(data.train),
        held_out=len(data.held_out),
        image_size=data.train.image_size,
        total_steps=total_steps,
        libraries=libraries,
        machine=machine,
    )


@dataclass(frozen=True)
class RunDirectory:
    """Paths and small files of a run."""

    path: Path
    """The directory itself."""

    @property
    def config(self) -> Path:
        """The run's record; its presence makes the directory a run."""
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        """The log."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """What a person should know."""
        return self.path / "events.jsonl"

    @property
    def page(self) -> Path:
        """The run to look at."""
        return self.path / "index.html"

    @property
    def samples(self) -> Path:
        """Holds the grids."""
        return self.path / "samples"

    @property
    def checkpoints(self) -> Path:
        """Holds one directory for each checkpoint."""
        return self.path / "checkpoints"

    def grid(self, step: int) -> Path:
        """The picture drawn after ``step``."""
        return self.samples / f"{step:06d}.png"

    def check_free(self) -> None:
        """BadRequest if the directory holds anything already, or cannot be looked into."""
        if self.config.exists():
            raise BadRequest(
                f"{self.path}: already holds a run; continue it with --resume, or choose another --run-dir"
            )
        try:
            names = {entry.name for entry in self.path.iterdir()} - {LOCK}
        except FileNotFoundError:
            return
        except OSError as error:
            raise BadRequest(
                f"{self.path}: cannot be a run directory ({error.strerror}); choose another --run-dir"
            ) from None
        if any(not is_leftover(name, self.config) for name in names):  # of a run killed as it began
            raise BadRequest(f"{self.path}: not empty and not a run; choose another --run-dir")

    def write(self, record: RunRecord) -> None:
        """Write config.json."""
        write_json(self.config, asdict(record))

    def read(self) -> RunRecord:
        """Read and check config.json; BadInput if this is not a run directory or the file is damaged."""
        try:
            raw = read_object(self.config)
            if "kind" in raw:
                kind = raw["kind"]
                raise BadInput(f"{self.path}: a run of another kind, {kind}, which this command cannot use")
            if raw["schema_version"] != SCHEMA_VERSION:
                found = raw["schema_version"]
                raise BadInput(f"{self.config}: schema version {found}, this program reads {SCHEMA_VERSION}")
            record = build(RunRecord, raw)
            record = replace(record, config={**_ADDED, **record.config})
            _ = record.shape, record.batch_size  # a record without them fails here, not in its reader
            return record
        except (FileNotFoundError, NotADirectoryError):
            raise BadInput(
                f"{self.path}: not a run directory, it has no config.json; "
                "'dcgan-data train --prepared DIR --run-dir RUN' makes one"
            ) from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise BadInput(
                f"{self.config}: damaged ({type(error).__name__}: {error}); train again in another --run-dir"
            ) from None

    def check_there(self) -> None:
        """BadRequest unless this holds a run to resume."""
        if not self.config.exists():
            raise BadRequest(
                f"{self.path}: nothing to resume, no run is here; leave --resume out to start one"
            )

    def check_continues(self, record: RunRecord) -> None:
        """BadRequest unless this holds a run, and ``record`` changes nothing of its course."""
        self.check_there()
        before = self.read()
        differing = _differences(before, record)
        if differing:
            raise BadRequest(
                f"{self.path}: cannot be resumed with other settings: {'; '.join(differing)}; "
                "give the old values, or choose another --run-dir"
            )

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line to metrics.jsonl."""
        _append(self.metrics, line)

    def append_event(self, step: int, kind: str, message: str) -> None:
        """Add one line to events.jsonl."""
        _append(self.events, {"step": step, "kind": kind, "message": message})

    def read_events(self) -> list[dict[str, Any]]:
        """The lines of events.jsonl."""
        if not self.events.exists():
            return []
        lines = self.events.read_text(encoding="utf-8", errors="replace").splitlines()
        return [parse_json(line) for line in lines if _is_json(line)]

    def return_to(self, step: int, *, keep_events: bool = False) -> None:
        """Drop what was written after ``step``, which is about to be trained again."""
        _truncate(self.metrics, step)
        if not keep_events:
            _truncate(self.events, step)
        for grid in self.samples.glob("*.png"):
            if grid.stem.isdecimal() and int(grid.stem) > step:
                grid.unlink()


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")


def _truncate(path: Path, step: int) -> None:
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as lines, atomic_path(path) as temporary:
        temporary.write_text("".join(line for line in lines if _is_until(step, line)), encoding="utf-8")


def _is_json(line: str) -> bool:
    return _is_until(sys.maxsize, line)


def _is_until(step: int, line: str) -> bool:
    try:
        return bool(parse_json(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False  # cut short when the run was killed


def _differences(before: RunRecord, now: RunRecord) -> list[str]:
    """Settings that fix the course of training and are not what they were, as ``name was A, is B``."""
    pairs = {
        name: (before.config.get(name), value)
        for name, value in now.config.items()
        if name not in MAY_CHANGE and name != "prepared"
    }
    # The same set may have moved; another set may stand in its place.
    if before.set_sha256 != now.set_sha256:
        pairs["prepared"] = (before.config.get("prepared"), f"{now.config['prepared']} with other contents")
    return [f"{name} was {was}, is {now}" for name, (was, now) in pairs.items() if was != now]
