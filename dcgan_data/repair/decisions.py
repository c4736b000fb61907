"""Rebuild the autoencoder and the tables: everything is worked out again from the pixels, and is the same."""

from __future__ import annotations

import shutil

from dcgan_data import deduplicate
from dcgan_data.deduplicate.fitting import adopt_autoencoder, fit
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.formats.assemble import Decisions, write_manifest
from dcgan_data.formats.dataset import AUTOENCODER, MANIFEST, PAIRS, check_stamp, shard_name
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.proof import other_set
from dcgan_data.repair.mending import Mending


def rebuild_autoencoder(mending: Mending) -> None:
    """Fit the autoencoder again, or copy it from the set that this one was compared with."""
    if not mending.is_open(AUTOENCODER):
        return
    try:
        _require(mending, [shard_name(shard) for shard in mending.bad_shards()])
        against = _against(mending)
        for device in ("cpu",) if against else _devices():
            if against:
                check_stamp(against.path, AUTOENCODER, against.info)
            own = mending.workshop.path / AUTOENCODER
            own.unlink(missing_ok=True)
            if against:
                adopt_autoencoder(against.path / AUTOENCODER, own)
            else:
                _fit(mending, device)
            if mending.workshop.is_right(AUTOENCODER):
                mending.finish(AUTOENCODER)
                return
        mending.failed[AUTOENCODER] = mending.came_out_otherwise()
    except (BadInput, BadRequest) as error:
        mending.failed[AUTOENCODER] = str(error)


def rebuild_tables(mending: Mending) -> None:
    """De-duplicate again, and write the tables again; needs all pixels, all rows and the autoencoder."""
    tables = [name for name in (MANIFEST, PAIRS) if mending.is_open(name)]
    if not tables:
        return
    try:
        decisions = _decide(mending) if mending.prepared.info.deduplication.get("rule") else None
        write_manifest(mending.workshop.staging, len(mending.prepared.info.shard_rows), decisions)
    except (BadInput, BadRequest) as error:
        mending.fail(tables, str(error))
        return
    for name in tables:
        if mending.workshop.is_right(name):
            mending.finish(name)
        else:
            mending.failed[name] = mending.came_out_otherwise()


def _decide(mending: Mending) -> Decisions:
    _require(mending, [*(shard_name(shard) for shard in mending.bad_shards()), AUTOENCODER])
    shutil.copyfile(mending.prepared.path / AUTOENCODER, mending.workshop.path / AUTOENCODER)
    run = deduplicate.Run(
        images=mending.images,
        recipe=mending.recipe,
        workers=mending.workers,
        device="auto",
        reporter=mending.reporter,
        timings={},
        against=_against(mending),
        memory=mending.memory,
    )
    return deduplicate.deduplicate(run)


def _require(mending: Mending, names: list[str]) -> None:
    for name in names:
        if mending.is_bad(name):
            raise BadInput(f"needs {name}, which could not be rebuilt")


def _against(mending: Mending) -> PreparedSet | None:
    other = other_set(mending.prepared)
    return None if other is mending.prepared else other


def _fit(mending: Mending, device: str) -> None:
    recipe = mending.recipe
    with mending.reporter.stage("fit", recipe.autoencoder.max_updates, "updates") as stage:
        fit(
            mending.images,
            recipe.autoencoder,
            recipe.seed,
            device,
            lambda updates, loss: stage.advance(updates, f"held-out loss {loss:.4f}"),
        )


def _devices() -> list[str]:
    """Where it may have been fitted: the index does not say."""
    from dcgan_data.device import resolve_device  # torch: only where something is fitted

    likely = resolve_device("auto").type
    return [likely, *({"cpu"} - {likely})]
