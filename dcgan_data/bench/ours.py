"""Our side of the measurements of near-duplicate removal, and how they are run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.pipeline import run_job
from dcgan_data.plan import Job
from dcgan_data.recipe import Recipe, SourceRecipe
from dcgan_data.reporter import Reporter

_RECORDS_PER_SHARD = 1024
"""Smaller than usual, so that a few thousand records keep every worker busy; nothing else depends on it."""


@dataclass(frozen=True)
class BenchSettings:
    """How a measurement is run."""

    recipe: Recipe
    """What our side does; its [source] is not used."""
    workers: int = 1
    """Processes."""
    device: str = "auto"
    """Where the autoencoder is fitted: auto, cpu or cuda."""
    peers: bool = True
    """Measure pHash, dHash and PDQ on the same images too."""
    sheets: Path | None = None
    """Directory for pages of pairs to look at; none are drawn without it."""


def deduplicate_source(
    source: Path, out: Path, settings: BenchSettings, reporter: Reporter, limit: int = 0
) -> DatasetInfo:
    """Our side: the same job as ``dcgan-data dedup`` runs; limit: records to read, 0 for all."""
    which = SourceRecipe(limit=limit)
    recipe = dataclasses.replace(settings.recipe, source=which, records_per_shard=_RECORDS_PER_SHARD)
    return run_job(Job(recipe, source, out, settings.workers, settings.device, max_rejected=1.0), reporter)
