"""The audit mode's data: the sample of removed pairs, with pictures large enough to judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dcgan_data.report.groups import pair_words
from dcgan_data.report.rows import Removals
from dcgan_data.report.sample import SAMPLE_SEED, Strata


def sample_rows(removals: Removals, sample: np.ndarray) -> list[int]:
    """Manifest rows whose pictures the audit needs, pair by pair."""
    pairs = np.stack([removals.kept_row[sample], removals.row[sample]], axis=1)
    return [int(row) for row in pairs.ravel()]


def audit_data(
    content_sha256: str,
    removals: Removals,
    strata: Strata,
    sample: Sequence[int],
    words: Mapping[int, Mapping[str, Any]],
) -> dict[str, Any]:
    """What the page's script needs, as plain values; ``pictures`` are to be added by manifest row."""
    pairs = []
    for place in sample:
        row, kept = int(removals.row[place]), int(removals.kept_row[place])
        pairs.append(
            {
                "key": words[row]["key"],
                "part": words[row]["part"],
                "duplicate_of": words[kept]["key"],
                "removed": row,
                "kept": kept,
                "removed_source": [words[row]["width"], words[row]["height"]],
                "kept_source": [words[kept]["width"], words[kept]["height"]],
                "stratum": strata.label(int(strata.stratum[place])),
                **pair_words(words[row], float(removals.score[place])),
            }
        )
    return {
        "content_sha256": content_sha256,
        "seed": SAMPLE_SEED,
        "removals": len(removals),
        "pairs": pairs,
    }
