"""What a conditional run's config.json says; the rest of its directory is as in ``train.rundir``."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.plain import build, read_object
from dcgan_data.train.conditional.checkpoint import checkpoints_in, step_of
from dcgan_data.train.conditional.models import ConditionalShape
from dcgan_data.train.conditional.settings import ConditionalSettings
from dcgan_data.train.rundir import RunDirectory

KIND = "conditional mnist"
"""Tells such runs from ordinary ones, whose config.json names no kind."""
SCHEMA_VERSION = 1
MAY_CHANGE = frozenset(
    (
        "run_dir",
        "epochs",
        "decay_epochs",
        "device",
        "checkpoint_every",
        "keep_checkpoints",
        "log_every",
    )
)
"""Settings that a resumed run may change; of the epochs see ``continued``."""


@dataclass(frozen=True)
class ConditionalRecord:
    """The contents of config.json."""

    settings: dict[str, Any]
    """ConditionalSettings, every default written out; the path as an absolute string."""
    data_sha256: str
    """Hash of all images and labels, those held out among them."""
    images: int
    """Images trained on."""
    held_out: int
    """Images kept from training."""
    total_steps: int
    """Minibatches of the whole run."""
    libraries: dict[str, str]
    """Versions that the numbers may depend on."""
    machine: dict[str, Any]
    """What the run was begun on: device, precision as resolved."""
    kind: str = KIND
    """What sort of run this is."""
    schema_version: int = SCHEMA_VERSION
    """Raised when a reader of older runs would be wrong."""

    @property
    def shape(self) -> ConditionalShape:
        """Shape of both networks."""
        return ConditionalShape.of(self.settings)

    def epochs_after(self, step: int) -> float:
        """Passes over the training images in so many minibatches."""
        return float(step * (self.settings["epochs"] + self.settings["decay_epochs"]) / self.total_steps)

    def resolved(self, run: RunDirectory) -> ConditionalSettings:
        """The settings, for the directory in which the run is now."""
        return ConditionalSettings(**{**self.settings, "run_dir": run.path})


def settings_as_json(settings: ConditionalSettings) -> dict[str, Any]:
    """Every value, the path as an absolute string."""
    return {**asdict(settings), "run_dir": str(settings.run_dir.resolve())}


def library_versions() -> dict[str, str]:
    """Versions that the numbers may depend on."""
    libraries = {name: version(name) for name in ("torch", "numpy", "safetensors")}
    return {**libraries, "python": platform.python_version()}


def write_record(run: RunDirectory, record: ConditionalRecord) -> None:
    """Write config.json."""
    write_json(run.config, asdict(record))


def read_record(run: RunDirectory) -> ConditionalRecord:
    """Read and check config.json; BadInput if this is not a conditional run or the file is damaged."""
    try:
        raw = read_object(run.config)
        if raw.get("kind") != KIND:
            raise BadInput(
                f"{run.path}: a run of another kind, not of the conditional MNIST model; "
                "'dcgan-data mnist train --data DIR --run-dir RUN' makes one"
            )
        if raw["schema_version"] != SCHEMA_VERSION:
            found = raw["schema_version"]
            raise BadInput(f"{run.config}: schema version {found}, this program reads {SCHEMA_VERSION}")
        record = build(ConditionalRecord, raw)
        _ = record.shape, record.resolved(run)  # a record that lacks them fails here, not in its reader
        return record
    except (FileNotFoundError, NotADirectoryError):
        raise BadInput(
            f"{run.path}: not a run directory, it has no config.json; "
            "'dcgan-data mnist train --data DIR --run-dir RUN' makes one"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError, BadRequest) as error:
        raise BadInput(
            f"{run.config}: damaged ({type(error).__name__}: {error}); train again in another --run-dir"
        ) from None


def continued(run: RunDirectory, now: ConditionalRecord) -> ConditionalRecord:
    """``now``, with the machine that the run was begun on.

    Raises BadRequest unless the directory holds a run, and ``now`` changes nothing of its course so far.
    """
    if not run.config.exists():
        raise BadRequest(f"{run.path}: nothing to resume, no run is here; leave --resume out to start one")
    before = read_record(run)
    differing = [
        f"{name} was {before.settings.get(name)}, is {value}"
        for name, value in now.settings.items()
        if name not in MAY_CHANGE and name != "precision" and before.settings.get(name) != value
    ]
    differing += _other_precision(before, now)
    if before.data_sha256 != now.data_sha256:
        differing.append("--data has other contents")
    differing += _other_rates(run, before, now)
    if differing:
        raise BadRequest(
            f"{run.path}: cannot be resumed with other settings: {'; '.join(differing)}; "
            "give the old values, or choose another --run-dir"
        )
    return replace(now, machine=before.machine)


def _other_precision(before: ConditionalRecord, now: ConditionalRecord) -> list[str]:
    """As resolved: "auto" need not be on this machine what it was on the first."""
    was, now_is = before.machine.get("precision"), now.machine["precision"]
    if was == now_is:
        return []
    asked = now.settings["precision"]
    here = f" ({asked} on this machine)" if asked != now_is else ""
    return [f"precision was {was}, is {now_is}{here}: give --precision {was}"]


def _other_rates(run: RunDirectory, before: ConditionalRecord, now: ConditionalRecord) -> list[str]:
    """More epochs may be asked for as long as those that were begun keep their learning rates."""
    saved = checkpoints_in(run.checkpoints)
    if not saved:
        return []
    old, new = before.resolved(run), now.resolved(run)
    begun = -(-step_of(saved[-1]) // old.steps_per_epoch(before.images))
    for epoch in range(1, begun + 1):
        if epoch > new.all_epochs or old.learning_rate_in(epoch) != new.learning_rate_in(epoch):
            asked = [f"{s.epochs} + {s.decay_epochs} epochs" for s in (old, new)]
            return [f"{asked[0]} are now {asked[1]}, but epoch {epoch} was trained by the old ones"]
    return []
