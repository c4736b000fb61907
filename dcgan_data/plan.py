"""What is to be made: the job as asked, and the plan once its source is opened. Writes nothing."""

from __future__ import annotations

import dataclasses
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.dataset import (
    AUTOENCODER,
    INDEX,
    DatasetInfo,
    check_index_not_lost,
    check_stamp,
    read_info,
)
from dcgan_data.formats.preferences import read_preferences
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.shards import stamp_file
from dcgan_data.formats.source_index import read_source_index
from dcgan_data.formats.staging import Staging
from dcgan_data.recipe import (
    FacesRecipe,
    ImageRecipe,
    Recipe,
    SourceRecipe,
    differing_keys,
    recipe_from_dict,
)
from dcgan_data.sources import Shard, open_source
from dcgan_data.sources.base import SourceOptions, source_summary
from dcgan_data.sources.location import Location, Url
from dcgan_data.upload import check_destination

DEVICES = ("auto", "cpu", "cuda")
BACKENDS = ("loky", "dask", "ray")
_OF_PIXELS = {"source": SourceRecipe(), "image": ImageRecipe(), "faces": FacesRecipe()}
"""Sections that a prepared set's pixels depend on, and what they are if nothing is asked for."""
_STAGED = {"in_place": bool, "source": dict, "origin": dict, "full_recipe": dict}
"""What is read of the plan of an unfinished run (``pipeline`` writes it)."""
_ORIGIN = {"kind": str, "path": str, "records": int, "fingerprint": str}
"""And of the source in it."""


@dataclass(frozen=True)
class Job:
    """What to make, from what, and where to."""

    recipe: Recipe
    """Everything that changes the output."""
    source: Location
    """Raw images, or a prepared set."""
    out: Path
    """Directory of the prepared set."""
    workers: int = 1
    """Processes; with a cluster tasks at once, and 0 for as many as it has workers."""
    device: str = "auto"
    """Where the autoencoder is fitted: ``cpu``, ``cuda``, or ``auto``: a GPU if there is one."""
    max_rejected: float = 0.01
    """Share of rejected records above which the run ends with TooManyRejected, all outputs kept."""
    overwrite: bool = False
    """Remove what this program wrote into ``out`` before, and start afresh."""
    against: Path | None = None
    """Another prepared set: only copies of its kept images are removed."""
    backend: str = "loky"
    """Where tasks run: one of BACKENDS."""
    scheduler: str = ""
    """Address of the cluster; empty for ``loky``, and for the Ray cluster that this machine is part of."""
    memory: int = 0
    """Bytes that all processes on this machine may use together for the search; 0: no limit."""
    upload: Url | None = None
    """Where the finished set is uploaded to."""

    def __post_init__(self) -> None:
        if self.workers < 0 or (self.workers == 0 and self.backend == "loky"):
            raise BadRequest(f"--workers {self.workers}: expected 1 or more")
        if self.device not in DEVICES:
            raise BadRequest(f"--device {self.device}: expected one of {', '.join(DEVICES)}")
        if self.backend not in BACKENDS:
            raise BadRequest(f"--backend {self.backend}: expected one of {', '.join(BACKENDS)}")
        if self.scheduler and self.backend == "loky":
            raise BadRequest(f"--scheduler {self.scheduler}: give --backend dask or --backend ray with it")
        if not 0 <= self.max_rejected <= 1:
            raise BadRequest(f"--max-rejected {self.max_rejected}: expected a share from 0% to 100%")
        if self.upload and self.in_place:
            raise BadRequest(
                f"--out {self.upload}: the set would be made in {self.out}, which is the source; "
                "choose a prefix that ends otherwise, or run it in another directory"
            )

    @property
    def in_place(self) -> bool:
        """Whether the set is its own source."""
        return isinstance(self.source, Path) and os.path.realpath(self.source) == os.path.realpath(self.out)


@dataclass(frozen=True)
class Plan:
    """A job with its source opened: what will be done, before anything is written."""

    recipe: Recipe
    """As resolved: for a prepared source with that set's own [source] and [image]."""
    source: dict[str, Any]
    """Summary of the source, for ``dataset.json``."""
    shards: list[Shard]
    """Tasks; empty for a prepared source."""
    prepared: PreparedSet | None
    """The source, when it is a prepared set."""
    disk_bytes: int
    """Estimated size of the finished set."""
    against: PreparedSet | None = None
    """The set that is compared with."""
    inputs: dict[str, str] = field(default_factory=dict)
    """Hashes of what else the decision depends on: the set compared with, the file with preferences."""
    index: dict[str, np.ndarray] = field(default_factory=dict)
    """What opening the source worked out, to be kept for the next time."""

    def summary(self, job: Job) -> str:
        """What will be done, in one line."""
        size = f"{self.recipe.image.size}x{self.recipe.image.size} px"
        upload = f", then uploaded to {job.upload}" if job.upload else ""
        workers = job.workers or "all"  # of a cluster, which nobody has asked yet
        disk = "no new pixels" if job.in_place else f"about {self.disk_bytes / 1e9:.2f} GB"
        return (
            f"{self.source['records']:,} records ({self.source['kind']} {self.source['path']}) -> {job.out}"
            f"{upload}, {size}, {disk}, {free_bytes(job.out) / 1e9:,.1f} GB free, {workers} workers"
        )

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be the same job. Paths and names may differ."""
        recipe = self.recipe.as_dict()
        del recipe["name"], recipe["source"]["path"], recipe["source"]["format"]  # the kind says it
        del recipe["image"]["max_seconds"]  # a limit that nothing reached changed nothing
        fingerprint = {"kind": self.source["kind"], "fingerprint": self.source["fingerprint"]}
        return {"recipe": recipe, "source": fingerprint, "inputs": self.inputs}


def default_out(source: Location) -> Path:
    """Where a job goes when nothing is said: a prepared set stays in place, all else goes to ``out``."""
    if isinstance(source, Url):
        return Path("out")
    is_set = (source / INDEX).exists() or Staging(source).path.exists()
    return source if is_set else Path("out")


def free_bytes(out: Path) -> int:
    """Free space where ``out`` is or will be."""
    real = Path(os.path.realpath(out))  # never an error, not even for links in a circle
    existing = next(path for path in (real, *real.parents) if path.exists())
    return shutil.disk_usage(existing).free


def make_plan(job: Job) -> Plan:
    """Open the source and work out the job; writes nothing. BadInput, BadRequest."""
    if job.upload:
        check_destination(job.upload, job.out, job.overwrite)
    plan = _plan_for_source(job)
    inputs = {}
    named = plan.recipe.dedup.keep.rpartition(":")[0]
    if named:
        read_preferences(Path(named), plan.recipe.dedup.keep.rpartition(":")[2])  # before hours of work
        inputs["keep"] = stamp_file(Path(named)).sha256
    if not job.against:
        return dataclasses.replace(plan, inputs=inputs)
    against = _open_against(job)
    inputs["against"] = against.info.content_sha256
    theirs = recipe_from_dict(against.info.recipe)
    # Codes can be compared only if one autoencoder made them.
    recipe = dataclasses.replace(plan.recipe, autoencoder=theirs.autoencoder, seed=theirs.seed)
    return dataclasses.replace(plan, recipe=recipe, against=against, inputs=inputs)


def recorded_inputs(info: DatasetInfo) -> dict[str, str]:
    """The ``inputs`` of the plan that a set was made by."""
    return dict(info.deduplication.get("inputs", {}))


def set_recipe(path: Location) -> Recipe | None:
    """The recipe of the prepared set at ``path``, to change some of it; None if there is none.

    If an in-place run was killed it is that run's, so that the same command goes on with it.
    """
    if isinstance(path, Url):
        return None
    if (path / INDEX).exists():
        return recipe_from_dict(read_info(path).recipe)
    staged = staged_plan(path)
    return recipe_from_dict(staged["full_recipe"]) if staged and staged["in_place"] else None


def staged_plan(out: Path) -> dict[str, Any] | None:
    """The plan of an unfinished run; None if there is none. BadInput if it is not whole."""
    staged = Staging(out).read_plan()
    if staged is None:
        return None
    bad = [key for key, kind in _STAGED.items() if not isinstance(staged.get(key), kind)]
    bad = bad or [key for key, kind in _ORIGIN.items() if not isinstance(staged["origin"].get(key), kind)]
    if bad:
        raise BadInput(
            f"{Staging(out).path}/plan.json: damaged ('{bad[0]}' is missing or of another kind); "
            "start afresh with --overwrite"
        )
    return staged


def _open_against(job: Job) -> PreparedSet:
    assert job.against
    if job.recipe.dedup.rule != "near":
        raise BadRequest(f"--against {job.against}: needs the rule 'near', not '{job.recipe.dedup.rule}'")
    if os.path.realpath(job.against) in (os.path.realpath(job.out), os.path.realpath(str(job.source))):
        raise BadRequest(f"--against {job.against}: is the set itself; give another one")
    against = PreparedSet.open(job.against)
    if AUTOENCODER not in against.info.files:
        raise BadRequest(
            f"--against {job.against}: was only prepared, it has no codes to compare with; "
            f"'dcgan-data dedup {job.against}' makes them"
        )
    check_stamp(job.against, AUTOENCODER, against.info)
    return against


def _plan_for_source(job: Job) -> Plan:
    if isinstance(job.source, Url):
        return _plan_for_images(job)
    if (job.source / INDEX).exists():
        return _plan_for_set(job, job.source)
    staged = staged_plan(job.source)
    if staged and job.in_place and staged["in_place"]:
        return _plan_for_staged_set(job, job.source, staged)
    if staged:
        raise BadInput(
            f"{job.source}: an unfinished set; run the command that was making it again to complete it"
        )
    check_index_not_lost(job.source)
    return _plan_for_images(job)


def _plan_for_images(job: Job) -> Plan:
    recipe = job.recipe
    wanted = recipe.source
    options = SourceOptions(wanted.format, wanted.image_column, wanted.label_column)
    index = None if job.overwrite else read_source_index(job.out)
    source = open_source(job.source, recipe.records_per_shard, wanted.limit, options, index)
    if Path(os.path.realpath(job.out)).is_relative_to(source.path):
        raise BadRequest(
            f"--out {job.out}: lies inside the source {job.source}; choose a directory outside of it"
        )
    disk_bytes = _disk_bytes(len(source), recipe)
    return Plan(recipe, source_summary(source), list(source.shards()), None, disk_bytes, index=source.index)


def _plan_for_set(job: Job, path: Path) -> Plan:
    prepared = PreparedSet.open(path)
    against = prepared.info.deduplication.get("against")
    if against and job.in_place and not job.against and job.recipe.dedup.rule != "none":
        raise BadRequest(
            f"{job.source}: was compared with {against['path']}; give --against again to decide anew, "
            "or --out for a set without that comparison"
        )
    recipe = _recipe_for_set(job.recipe, recipe_from_dict(prepared.info.recipe), path)
    records = prepared.info.counts.read
    size = records * _search_bytes(recipe) if job.in_place else _disk_bytes(records, recipe)
    return Plan(recipe, prepared.info.source, [], prepared, size)


def _plan_for_staged_set(job: Job, path: Path, staged: dict[str, Any]) -> Plan:
    """An in-place run that was killed: its plan says what the set was made from."""
    recipe = _recipe_for_set(job.recipe, recipe_from_dict(staged["full_recipe"]), path)
    return Plan(recipe, staged["origin"], [], None, 0)


def _recipe_for_set(asked: Recipe, made_with: Recipe, path: Path) -> Recipe:
    """The pixels of a set are as they are: keep its [source] and [image], refuse other wishes."""
    for section, default in _OF_PIXELS.items():
        wish, fact = getattr(asked, section), getattr(made_with, section)
        if wish not in (default, fact):
            differing = differing_keys(dataclasses.asdict(fact), dataclasses.asdict(wish), f"{section}.")
            raise BadRequest(
                f"{path}: a prepared set; {'; '.join(differing)}: prepare it anew from its source"
            )
    return dataclasses.replace(
        asked,
        name=made_with.name,
        source=made_with.source,
        image=made_with.image,
        faces=made_with.faces,
        records_per_shard=made_with.records_per_shard,
    )


def _disk_bytes(records: int, recipe: Recipe) -> int:
    """Pixels, about 300 bytes a record for the tables (staged and final), and what the search needs."""
    return records * (recipe.image.size**2 * 3 + 300 + _search_bytes(recipe))


def _search_bytes(recipe: Recipe) -> int:
    """For an image, while it runs: its structure, the codes of 28 views, the sorted bands, the code."""
    return 1024 + 28 * 16 + 20 * recipe.dedup.bands + 33 if recipe.dedup.rule == "near" else 0
