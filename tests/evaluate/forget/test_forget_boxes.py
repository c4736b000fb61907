"""Files of boxes: what is read of them, and how bad ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.forget.boxes import Box, check_boxes, read_boxes, weights_sha256
from dcgan_data.train.sample import open_sampler

BOX = {"sample": 4, "x": 0, "y": 3, "width": 32, "height": 29}
GOOD = {
    "format": "dcgan_data boxes",
    "version": 1,
    "model": "ab12",
    "name": "runs/x, step 2",
    "seed": 7,
    "samples": 5,
    "image_size": 32,
    "boxes": [BOX],
}


def written(path: Path, **changes: Any) -> Path:
    """A file of boxes; a value of None leaves the name out."""
    values = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    path.write_text(json.dumps(values))
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    second = {**BOX, "sample": 0, "width": 1, "height": 1}
    file = read_boxes(written(tmp_path / "boxes.json", boxes=[BOX, second]))
    assert (file.model, file.name, file.seed, file.samples, file.image_size) == (
        "ab12",
        "runs/x, step 2",
        7,
        5,
        32,
    )
    assert file.boxes == (Box(4, 0, 3, 32, 29), Box(0, 0, 3, 1, 1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "dcgan_data verdicts"}, "not a file of boxes (no format 'dcgan_data boxes')"),
        ({"version": 2}, "version 2 of boxes, this program reads 1"),
        ({"model": None}, "no file of boxes (model is missing)"),
        ({"seed": "0"}, "no file of boxes (seed is no int)"),
        ({"seed": -1}, "no file of boxes (seed is -1, expected 0 or more)"),
        ({"samples": 0}, "samples is 0, expected 1 or more"),
        ({"samples": 10**9}, "samples is 1000000000, expected 1000 or fewer"),
        ({"boxes": {}}, "no file of boxes (boxes is no list)"),
        ({"boxes": []}, "holds no boxes"),
        ({"boxes": [BOX, 3]}, "box 2 cannot be used (it is no object)"),
        ({"boxes": [{**BOX, "x": 1.5}]}, "box 1 cannot be used (x is no int)"),
        ({"boxes": [{**BOX, "x": True}]}, "box 1 cannot be used (x is no int)"),
        ({"boxes": [{**BOX, "y": -1}]}, "box 1 cannot be used (y is -1, expected 0 or more)"),
        ({"boxes": [{**BOX, "width": 0}]}, "box 1 cannot be used (width is 0, expected 1 or more)"),
        ({"boxes": [{"sample": 0}]}, "box 1 cannot be used (x is missing)"),
        ({"boxes": [{**BOX, "sample": 5}]}, "box 1 cannot be used (it is on sample 5, the last one is 4)"),
        ({"boxes": [{**BOX, "x": 1}]}, "it ends at 33, 32, outside the image of 32x32"),
        ({"boxes": [{**BOX, "height": 30}]}, "it ends at 32, 33, outside the image of 32x32"),
    ],
)
def test_what_is_no_good_file_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = written(tmp_path / "boxes.json", **changes)
    with pytest.raises(BadInput) as refused:
        read_boxes(path)
    assert said in str(refused.value) and str(path) in str(refused.value)
    assert "dcgan-data forget annotate" in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"null"])
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "boxes.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"boxes\.json: not a (JSON )?file"):
        read_boxes(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.json: No such file"):
        read_boxes(tmp_path / "nowhere.json")


def test_the_fingerprint_is_of_weights_and_statistics(texture_run: Path) -> None:
    generator = open_sampler(texture_run, device="cpu").generator
    known = weights_sha256(generator)
    assert weights_sha256(open_sampler(texture_run, device="cpu").generator) == known
    norm = generator.project_norm
    assert norm.standing is not None
    mean, variance = norm.standing
    norm.standing = (mean + 1e-6, variance)
    assert weights_sha256(generator) != known
    norm.standing = (mean, variance)
    assert weights_sha256(generator) == known
    with torch.no_grad():
        generator.stages[1].conv.weight[0, 0, 0, 0] += 1e-6  # type: ignore[union-attr,index]
    assert weights_sha256(generator) != known


def test_boxes_of_another_model_are_refused(tmp_path: Path, texture_run: Path) -> None:
    sampler = open_sampler(texture_run, device="cpu")
    generator, trained = sampler.generator, sampler.trained
    model = weights_sha256(generator)
    path = written(tmp_path / "boxes.json", model=model)
    check_boxes(path, read_boxes(path), generator, trained)
    path = written(tmp_path / "boxes.json", model="0" * 64)
    with pytest.raises(BadRequest) as refused:
        check_boxes(path, read_boxes(path), generator, trained)
    assert "drawn on samples of runs/x, step 2, whose weights are not those of" in str(refused.value)
    assert f"dcgan-data forget annotate {texture_run}" in str(refused.value)
    path = written(tmp_path / "boxes.json", model=model, image_size=64)
    with pytest.raises(BadRequest, match=r"drawn on samples of 64 px .*have 32"):
        check_boxes(path, read_boxes(path), generator, trained)
