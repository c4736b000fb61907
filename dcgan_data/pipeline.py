"""Recipe + source -> prepared set: the drivers in their order, and the rules for resuming.

    nothing in out            -> start
    unfinished, same job      -> go on where it stopped
    finished, same job        -> nothing to do
    anything else             -> refused, naming what differs (``--overwrite`` starts afresh)

A source that is itself a prepared set is not decoded again: its shards are copied, or used where they
are if ``out`` is the same directory.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from dcgan_data import deduplicate, prepare
from dcgan_data.backends import parallel_backend
from dcgan_data.cutting import cut_settings
from dcgan_data.errors import BadInput, BadRequest, TooManyRejected
from dcgan_data.formats.assemble import Decisions, write_manifest
from dcgan_data.formats.atomic import atomic_path
from dcgan_data.formats.dataset import (
    AUTOENCODER,
    INDEX,
    MANIFEST,
    PAIRS,
    DatasetInfo,
    check_index_not_lost,
    read_info,
    shard_name,
    write_info,
)
from dcgan_data.formats.lock import locked
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.shards import stamp_file
from dcgan_data.formats.source_index import write_source_index
from dcgan_data.formats.staging import Staging, is_set, remove_own_files
from dcgan_data.ops.faces import UNWANTED
from dcgan_data.parallel import deaths_told_to
from dcgan_data.plan import Job, Plan, free_bytes, make_plan, recorded_inputs, staged_plan
from dcgan_data.poisonous import TOO_SLOW
from dcgan_data.recipe import differing_keys, recipe_from_dict
from dcgan_data.report import write_report
from dcgan_data.reporter import Reporter
from dcgan_data.upload import upload_set
from dcgan_data.versions import library_versions


def run_job(job: Job, reporter: Reporter) -> DatasetInfo:
    """Make the set, or finish it, or find it finished; returns its index.

    Raises TooManyRejected after everything is written, if too many records were rejected.
    """
    plan = make_plan(job)
    if job.device == "cuda":
        from dcgan_data.device import resolve_device  # torch: only where it is needed

        resolve_device(job.device)  # before hours of decoding, not after
    with locked(job.out, "--out", reporter.say), deaths_told_to(reporter.say):
        info = None if _starts_afresh(job) else _finished(job, plan, reporter)
        if info is None:
            with parallel_backend(job.backend, job.scheduler) as most:
                info = _make(dataclasses.replace(job, workers=job.workers or most), plan, reporter)
        _check_rejected(info, job)
        if job.upload:
            upload_set(job.out, job.upload, job.overwrite, reporter)
    return info


def _starts_afresh(job: Job) -> bool:
    return job.overwrite and not job.in_place


def _make(job: Job, plan: Plan, reporter: Reporter) -> DatasetInfo:
    _check_memory(job, plan)  # before anything is removed
    _check_disk(job.out, plan.disk_bytes, 0 if job.in_place else _present_bytes(job.out))
    if _starts_afresh(job) and not remove_own_files(job.out):
        _refuse_foreign_files(job.out)
    staging = Staging(job.out)
    timings: dict[str, float] = {}
    _begin(job, plan, staging, reporter)
    if plan.index:
        write_source_index(job.out, plan.index)
    reporter.say(plan.summary(job))
    with _timed(timings, "prepare"):
        shards = _stage_records(job, plan, staging, reporter)
    rows = [staging.shard_stamp(shard)[1] for shard in range(shards)]
    images = deduplicate.ImageSet(staging, rows, plan.recipe.image.size)
    decisions = None
    if plan.recipe.dedup.rule != "none" and any(rows):
        run = deduplicate.Run(
            images=images,
            recipe=plan.recipe,
            workers=job.workers,
            device=job.device,
            reporter=reporter,
            timings=timings,
            against=plan.against,
            memory=job.memory,
        )
        decisions = deduplicate.deduplicate(run)
    with reporter.stage("write", shards, "shards") as stage:
        info = _finish(plan, images, decisions, timings)
        stage.advance(shards)
    with reporter.stage("report", len(images), "images") as stage:
        write_report(job.out)
        stage.advance(len(images))
    staging.remove()
    return info


def _check_memory(job: Job, plan: Plan) -> None:
    """BadRequest if the memory is too little for the search, before hours of work."""
    decides_only = plan.prepared and job.in_place and _only_decides_anew(plan, plan.prepared)
    if job.memory and plan.recipe.dedup.rule == "near" and not decides_only:
        searched = plan.against.info.counts.kept if plan.against else plan.source["records"]
        deduplicate.check_memory(plan.recipe, searched, job.workers, job.memory)


def _begin(job: Job, plan: Plan, staging: Staging, reporter: Reporter) -> None:
    """Write the plan, or hold it against the one that a killed run left."""
    # In place no pixel is made anew: other versions than before change nothing that is there.
    libraries = {} if job.in_place else library_versions()
    wanted = {**plan.identity(), "libraries": libraries, "in_place": job.in_place}
    note = {**wanted, "origin": plan.source, "full_recipe": plan.recipe.as_dict()}
    if plan.prepared and job.in_place:
        _stage_in_place(plan, plan.prepared, staging, note)
        return
    staged = staged_plan(job.out)
    if staged is None:
        remove_own_files(job.out)  # what an --overwrite that was killed left: nothing else is here
        staging.write_plan(note)
        return
    differing = differing_keys({key: staged.get(key) for key in wanted}, wanted)
    if differing and job.in_place and job.overwrite and staged["source"] == wanted["source"]:
        staging.forget_search()  # the rows do not depend on how they are decided
        staging.write_plan(note)
        return
    if differing:
        otherwise = ", choose another --out, or start afresh with --overwrite"
        if job.in_place:
            otherwise = ", or decide otherwise with --overwrite"
        raise BadRequest(
            f"{job.out}: holds an unfinished run of another job: {_shown(differing)}; "
            f"finish that one{otherwise}"
        )
    reporter.say(f"{job.out}: going on with an unfinished run")


def _stage_records(job: Job, plan: Plan, staging: Staging, reporter: Reporter) -> int:
    """Bring every shard's pixels and rows into ``out``; returns the number of shards."""
    if plan.shards:
        settings = cut_settings(plan.recipe)
        with reporter.stage("decode", plan.source["records"], "images") as stage:
            limit = plan.recipe.image.max_seconds
            for done in prepare.prepare(plan.shards, settings, job.out, job.workers, limit):
                stage.advance(done)
        return len(plan.shards)
    if plan.prepared is None or job.in_place:
        return len(list(staging.path.glob("records/*.parquet")))
    rows = plan.prepared.records_by_shard()
    with reporter.stage("copy", sum(plan.prepared.info.shard_rows), "images") as stage:
        for shard, count in enumerate(plan.prepared.info.shard_rows):
            if not prepare.shard_is_done(staging, shard):
                with atomic_path(job.out / shard_name(shard)) as temporary:
                    shutil.copyfile(plan.prepared.path / shard_name(shard), temporary)
                _stage_rows(plan.prepared, staging, shard, rows[shard])
            stage.advance(count)
    return len(plan.prepared.info.shard_rows)


def _finish(
    plan: Plan, images: deduplicate.ImageSet, decisions: Decisions | None, timings: dict[str, float]
) -> DatasetInfo:
    """Write the tables, then the index: the last file, whose presence means complete."""
    staging = images.staging
    shards = range(len(images.shard_rows))
    totals = write_manifest(staging, len(shards), decisions)
    if totals.records != plan.source["records"]:
        raise BadInput(
            f"{plan.source['path']}: changed while it was read: {totals.records:,} records of "
            f"{plan.source['records']:,} were found; start afresh with --overwrite"
        )
    if decisions is None:  # an autoencoder that is here belongs to a decision that is undone
        (staging.out / AUTOENCODER).unlink(missing_ok=True)
    files = {shard_name(shard): staging.shard_stamp(shard)[0] for shard in shards}
    for name in (MANIFEST, PAIRS, AUTOENCODER):
        if (staging.out / name).exists():
            files[name] = stamp_file(staging.out / name)
    inputs = {"inputs": plan.inputs} if plan.inputs else {}
    info = DatasetInfo(
        recipe=plan.recipe.as_dict(),
        source=plan.source,
        image_size=images.image_size,
        shard_rows=images.shard_rows,
        counts=totals.counts,
        rejected=totals.reasons,
        deduplication={**(decisions.findings if decisions else {}), **inputs},
        libraries=library_versions(),
        files=files,
        timings={stage: round(seconds, 3) for stage, seconds in timings.items()},
    )
    write_info(staging.out, info)
    return info


def _finished(job: Job, plan: Plan, reporter: Reporter) -> DatasetInfo | None:
    """The index of a set that is complete already; BadRequest if it is another job's, or no set at all."""
    if not is_set(job.out):
        _refuse_foreign_files(job.out)
    if not (job.out / INDEX).exists():
        return None
    info = read_info(job.out)
    made = Plan(recipe_from_dict(info.recipe), info.source, [], None, 0, None, recorded_inputs(info))
    there = made.identity()
    differing = differing_keys(there, plan.identity())
    if TOO_SLOW in info.rejected:  # a limit that was reached is not the same as another
        limits = [{"max_seconds": of.recipe.image.max_seconds} for of in (made, plan)]
        differing += differing_keys(limits[0], limits[1], "recipe.image.")
    if not differing:
        if Staging(job.out).path.exists():  # killed between the index and the clean-up
            write_report(job.out)
            Staging(job.out).remove()
        reporter.say(f"{job.out}: already complete with this recipe and source; nothing to do")
        return info
    if plan.prepared and job.in_place:
        return None
    hint = ""
    if all(key.startswith(("recipe.dedup.", "recipe.autoencoder.", "inputs.")) for key in differing):
        command = "prepare" if plan.recipe.dedup.rule == "none" else "dedup"
        hint = f" ('dcgan-data {command} {job.out}' with the same options decides anew without decoding)"
    raise BadRequest(
        f"{job.out}: complete, but made otherwise: {_shown(differing)}; "
        f"choose another --out, or replace it with --overwrite{hint}"
    )


def _shown(differing: list[str]) -> str:
    """What differs, for a person, to whom two hashes say nothing."""
    changed = "the source (its records' keys or sizes are others)"
    return "; ".join(changed if item.startswith("source.fingerprint") else item for item in differing)


def _stage_in_place(plan: Plan, prepared: PreparedSet, staging: Staging, note: dict[str, Any]) -> None:
    """Turn a complete set back into an unfinished one; a kill leaves it in one of the two states."""
    if staging.path.exists():  # of a kill before the index was removed: the set is still complete
        staging.remove()
    prepared.shards()  # BadInput while the set is whole, not afterwards
    for shard, rows in enumerate(prepared.records_by_shard()):
        _stage_rows(prepared, staging, shard, rows)
    if _only_decides_anew(plan, prepared):
        deduplicate.restore_pairs(prepared, staging)
    staging.write_plan(note)
    (prepared.path / INDEX).unlink()


def _only_decides_anew(plan: Plan, prepared: PreparedSet) -> bool:
    """Whether the pairs that the set's search has found are those that this plan's would find."""
    found = prepared.info.deduplication
    if plan.recipe.dedup.rule != "near" or plan.against or found.get("against") or "rule" not in found:
        return False
    made = Plan(recipe_from_dict(prepared.info.recipe), plan.source, [], None, 0)
    same = [_without_choice(a.identity()["recipe"]) for a in (plan, made)]
    return bool(same[0] == same[1])


def _without_choice(recipe: dict[str, Any]) -> dict[str, Any]:
    """What the search depends on: all but what is decided about its pairs."""
    choice = ("threshold", "keep", "multiplicity")
    return {**recipe, "dedup": {k: v for k, v in recipe["dedup"].items() if k not in choice}}


def _stage_rows(prepared: PreparedSet, staging: Staging, shard: int, rows: pa.Table) -> None:
    stamp = prepared.info.files[shard_name(shard)]
    staging.write_records(shard, rows, stamp, prepared.info.shard_rows[shard])


def _refuse_foreign_files(out: Path) -> None:
    """Never mix with a user's own files: a new set is made in an empty directory, or over one of ours."""
    check_index_not_lost(out)
    foreign = sorted(entry.name for entry in out.iterdir() if not entry.name.startswith("."))
    if foreign:
        raise BadRequest(
            f"{out}: not empty and not a prepared set (it holds {', '.join(foreign[:3])}"
            f"{', ...' if len(foreign) > 3 else ''}); choose another --out"
        )


def _present_bytes(out: Path) -> int:
    """The pixels that a killed run has written, or that --overwrite removes."""
    return sum(path.stat().st_size for path in out.glob("images/*.npy"))


def _check_disk(out: Path, needed: int, present: int) -> None:
    """BadRequest if what is needed does not fit; ``present`` of it is there."""
    free = free_bytes(out)
    if needed - present > free:
        megabytes = -(-(needed - present) // 1_000_000)
        raise BadRequest(
            f"{out}: needs about {megabytes:,} MB more, {free // 1_000_000:,} are free; "
            "make room, choose another --out, or a smaller --image-size or --limit"
        )


def _check_rejected(info: DatasetInfo, job: Job) -> None:
    """Records that hold nothing of what is asked for, such as photos without a face, are not bad ones."""
    bad = {reason: count for reason, count in info.rejected.items() if reason not in UNWANTED}
    if sum(bad.values()) / info.source["records"] > job.max_rejected:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in bad.items())
        count, records = sum(bad.values()), info.source["records"]
        raise TooManyRejected(
            f"{job.out}: {count:,} of {records:,} records were rejected ({reasons}), "
            f"over --max-rejected {job.max_rejected:.3g}; all is kept: see column 'reason' of {MANIFEST}, "
            "or allow more with --max-rejected"
        )
    if not info.counts.kept and job.max_rejected < 1:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in info.rejected.items())
        raise TooManyRejected(
            f"{job.out}: not one image is kept ({reasons}); see column 'reason' of {MANIFEST}, "
            "and ask for less, or allow it with --max-rejected 100%"
        )


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start
