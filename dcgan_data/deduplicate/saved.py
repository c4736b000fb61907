"""The pairs of a search, kept: in the staging area, and in a finished set, to decide anew from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dcgan_data.deduplicate.pairs import GROUP, PAIR, Pairs, make_pairs
from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import save_array, write_json
from dcgan_data.formats.dataset import AUTOENCODER, PAIRS, REMEDY, check_stamp
from dcgan_data.formats.manifest import PAIR_SCHEMA, binary_codes, image_names, read_table
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.formats.staging import Staging, load_array, load_notes
from dcgan_data.ops.codes import CODE_BITS
from dcgan_data.ops.views import parse_views

SEARCH_FINDINGS = (
    "candidate_pairs",
    "checked_pairs",
    "candidates_left_out",
    "comparisons_left_out",
    "score_histogram",
    "low_contrast_images",
    "equal_pixels",
    "null",
)
"""What a search says about itself, whatever is decided afterwards."""


def has_pairs(staging: Staging) -> bool:
    """Whether the search is done."""
    return _pairs_path(staging).exists()


def save_pairs(staging: Staging, pairs: Pairs, codes: np.ndarray) -> None:
    """Write what the search found, with all codes; from here on nothing needs to be searched again."""
    folder = _pairs_path(staging).parent
    write_json(folder / "findings.json", pairs.findings)
    save_array(folder / "codes.npy", codes)
    save_array(_pairs_path(staging), pairs.checked)


def load_pairs(staging: Staging, others: int = 0) -> tuple[Pairs, np.ndarray]:
    """The pairs and uint8 (N, 16) codes that were saved. BadInput if they do not fit together.

    others: images of the set that ``a`` is numbers of, if that is another one.
    """
    folder = _pairs_path(staging).parent
    findings = load_notes(folder / "findings.json")
    checked, codes = load_array(_pairs_path(staging)), load_array(folder / "codes.npy")
    fit = codes.dtype == np.uint8 and codes.ndim == 2 and codes.shape[1] == CODE_BITS // 8
    whole = checked.dtype == PAIR and checked.ndim == 1 and fit
    if not (whole and _within(checked["a"], others or len(codes)) and _within(checked["b"], len(codes))):
        raise BadInput(
            f"{folder}: damaged (the pairs are not those of the codes); start afresh with --overwrite"
        )
    return Pairs(checked, findings), codes


def _within(numbers: np.ndarray, images: int) -> bool:
    return bool(((numbers >= 0) & (numbers < images)).all())


def restore_pairs(prepared: PreparedSet, staging: Staging) -> None:
    """Save the pairs of a finished set of the near rule, as if its search had just ended."""
    for name in (PAIRS, AUTOENCODER):
        check_stamp(prepared.path, name, prepared.info)
    table = read_table(prepared.path / PAIRS, PAIR_SCHEMA)
    table = table.filter(pc.not_equal(table["found"], GROUP))  # these belong to the old decision
    images = prepared.manifest(["key", "part", "row", "code"])
    images = images.filter(images["row"].is_valid())
    names = image_names(images["key"], images["part"]).combine_chunks()
    numbers = [pc.index_in(image_names(table[f"key_{x}"], table[f"part_{x}"]), names) for x in "ab"]
    if any(number.null_count for number in numbers):
        raise BadInput(f"{prepared.path / PAIRS}: names keys that the manifest does not have; {REMEDY}")
    a, b = (number.to_numpy().astype(np.int64) for number in numbers)
    pairs = make_pairs(a, b, "")
    pairs["view"] = parse_views(_text(table["view"]))
    pairs["distance"], pairs["score"] = table["distance"].to_numpy(), table["score"].to_numpy()
    pairs["found"] = _text(table["found"])
    kept = {name: prepared.info.deduplication[name] for name in SEARCH_FINDINGS}
    save_pairs(staging, Pairs(pairs, kept), binary_codes(images["code"]))


def _text(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy(), dtype=np.str_)


def _pairs_path(staging: Staging) -> Path:
    return staging.path / "found" / "pairs.npy"
