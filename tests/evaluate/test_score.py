"""Scores held against plain numpy and scipy: nearest neighbours, FID, KID; and what is missing is said."""

from __future__ import annotations

import hashlib
import importlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from typer.testing import CliRunner

from dcgan_data.cli_examine import examine_app
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate import fidelity, reference
from dcgan_data.evaluate.score import ScoreResult, ScoreSettings, score
from dcgan_data.evaluate.tables import score_table
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.train.sample import open_sampler
from dcgan_data.train.split import split_set

HELD_OUT = 8


def measure(run: Path, reporter: Any, **settings: Any) -> ScoreResult:
    return score(run, ScoreSettings(**{"samples": (5, 20), "device": "cpu", **settings}), reporter)


def drawn(run: Path, count: int) -> np.ndarray:
    return np.concatenate(list(open_sampler(run, device="cpu").draw(count)))


def mean_nearest(queries: np.ndarray, references: np.ndarray) -> float:
    a, b = (images.reshape(len(images), -1) / 127.5 for images in (queries, references))
    return float(np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2)).min(axis=1).mean())


def pixels_of(images: Any) -> np.ndarray:
    return np.asarray(images.gather(np.arange(len(images))))


@pytest.fixture
def features(small_extractor: str) -> Callable[[np.ndarray], np.ndarray]:
    """What the small extractor makes of images."""
    registry = importlib.import_module("torch_fidelity.registry").FEATURE_EXTRACTORS_REGISTRY
    network = registry[small_extractor](small_extractor, ["six"])

    def of(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = network(torch.from_numpy(images).permute(0, 3, 1, 2))[0].numpy()
        return found.astype(np.float64)

    return of


def plain_fid(a: np.ndarray, b: np.ndarray) -> float:
    covariances = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    difference = a.mean(axis=0) - b.mean(axis=0)
    return float(difference @ difference + np.trace(covariances[0] + covariances[1] - 2 * root))


def plain_kid(a: np.ndarray, b: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    def within(x: np.ndarray) -> float:
        values = kernel(x, x)
        return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))

    return within(a) + within(b) - 2 * float(kernel(a, b).mean())


def test_the_nearest_neighbour_score_is_the_mean_over_held_out_images(
    run: Path, texture_set: Path, reporter: Any
) -> None:
    result = measure(run, reporter, samples=(20, 5, 200))
    split = split_set(PreparedSet.open(texture_set), False, HELD_OUT, seed=0)
    held_out, samples = pixels_of(split.held_out), drawn(run, 200)
    assert [line.samples for line in result.nearest] == [5, 20, 200]
    for line in result.nearest:
        assert line.to_samples == pytest.approx(mean_nearest(held_out, samples[: line.samples]))
    assert [line.training_images for line in result.nearest] == [5, 20, 52]
    every = mean_nearest(held_out, pixels_of(split.train))
    assert result.nearest[2].to_training_images == pytest.approx(every)
    assert result.nearest[0].to_training_images > result.nearest[1].to_training_images > every
    assert (result.step, result.held_out, result.fidelity) == (2, HELD_OUT, None)
    assert reporter.stages == {"draw": 200, "real": 52}
    table = score_table(result)
    assert f"mean distance of {HELD_OUT} images that training never saw" in table
    assert f"{every:.3f} (of 52)" in table


def test_without_held_out_images_there_is_nothing_to_measure_with(
    tmp_path: Path, texture_set: Path, make_run: Callable[..., Path], reporter: Any
) -> None:
    run = make_run(texture_set, tmp_path / "run", held_out=0)
    message = (
        f"{run}: was trained on all images, none are held out .*; train with --held-out N, or ask for --fid"
    )
    with pytest.raises(BadRequest, match=message):
        measure(run, reporter)


def test_fid_and_kid_are_those_of_numpy(
    run: Path, texture_set: Path, small_extractor: str, features: Any, reporter: Any, tmp_path: Path
) -> None:
    """60 of each: every KID subset is then all of them."""
    result = measure(
        run, reporter, fid=True, fid_samples=60, extractor=small_extractor, cache=tmp_path / "cache"
    )
    real = features(pixels_of(PreparedSet.open(texture_set).rows()))
    generated = features(drawn(run, 60))
    found = result.fidelity
    assert found is not None
    assert found.fid == pytest.approx(plain_fid(generated, real), rel=1e-4)
    assert found.kid == pytest.approx(plain_kid(generated, real), rel=1e-4)
    assert found.fid > 0.01 and found.kid > 0.01
    assert found.kid_deviation == pytest.approx(0, abs=1e-6)
    assert (found.samples, found.real_images, found.kid_subset_images) == (60, 60, 60)
    assert [line.samples for line in result.nearest] == [5, 20], "the same draw serves both"
    assert reporter.stages == {"draw": 60, "real": 20, "features": 60}
    table = score_table(result)
    assert f"FID {found.fid:.3f}   KID {found.kid:.6f}" in table
    assert f"small of {found.library}, resized: the extractor's own" in table


def test_fid_of_the_real_images_themselves_is_zero(
    run: Path, texture_set: Path, small_extractor: str, reporter: Any, tmp_path: Path, draws: Any
) -> None:
    draws(pixels_of(PreparedSet.open(texture_set).rows()))
    options = {"fid": True, "fid_samples": 60, "extractor": small_extractor, "cache": tmp_path / "cache"}
    found = measure(run, reporter, **options).fidelity
    assert found is not None and found.fid == pytest.approx(0, abs=1e-5)


def test_fid_alone_needs_no_held_out_images(
    tmp_path: Path, texture_set: Path, make_run: Callable[..., Path], small_extractor: str, reporter: Any
) -> None:
    run = make_run(texture_set, tmp_path / "run", held_out=0)
    result = measure(
        run, reporter, fid=True, fid_samples=30, extractor=small_extractor, cache=tmp_path / "cache"
    )
    assert result.nearest == () and result.fidelity is not None
    assert "no images were held out of this run: no nearest-neighbour score" in score_table(result)
    assert reporter.stages["draw"] == 30, "no more are drawn than FID takes"


def test_features_of_real_images_are_kept_for_the_next_time(
    run: Path, small_extractor: str, reporter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    options = {"fid": True, "fid_samples": 10, "extractor": small_extractor, "samples": (40,)}
    first = measure(run, reporter, **options)
    assert first.fidelity is not None and first.fidelity.samples == 10
    kept = Path(first.fidelity.reference)
    assert kept.parent == tmp_path / "xdg" / "dcgan-data" / "fid"
    assert reporter.stages["features"] == 60
    again = type(reporter)()
    assert measure(run, again, **options) == first
    assert again.stages == {"draw": 40, "real": 40}, "no features of real images are made"
    kept.write_bytes(kept.read_bytes()[:-100])
    assert measure(run, reporter, **options) == first, "a damaged file is made again"
    other = measure(run, reporter, **{**options, "seed": 1}).fidelity
    assert other is not None and other.reference == str(kept), "one file for all runs on a set"


def test_a_cache_that_cannot_be_written_is_done_without(
    run: Path, small_extractor: str, reporter: Any, tmp_path: Path
) -> None:
    cache = tmp_path / "file"
    cache.touch()
    found = measure(run, reporter, fid=True, fid_samples=10, extractor=small_extractor, cache=cache)
    assert found.fidelity is not None
    assert any("cannot be written (" in said and "are not kept" in said for said in reporter.said)


def test_the_library_leaves_no_traces(small_extractor: str, reporter: Any) -> None:
    filters, state = list(warnings.filters), torch.get_rng_state()
    fidelity.open_extractor(small_extractor, None, torch.device("cpu"), reporter)
    assert warnings.filters == filters
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_extractor_is_refused(small_extractor: str, run: Path, reporter: Any) -> None:
    with pytest.raises(
        BadRequest, match=r"extractor='inceptoin': torch-fidelity knows .*inception-v3-compat"
    ):
        measure(run, reporter, fid=True, extractor="inceptoin")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'torch_fidelity'"), r"needs torch-fidelity \(No module named"),
        (ModuleNotFoundError("No module"), r"install it with: pip install 'dcgan-data\[fid\]'"),
        (RuntimeError("operator torchvision::nms does not exist"), r"torchvision does not go with torch \d"),
    ],
)
def test_without_the_library_the_way_to_it_is_said(
    run: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(name: str) -> ModuleType:
        raise error

    monkeypatch.setattr(fidelity.importlib, "import_module", fail)
    with pytest.raises(BadRequest, match=message):
        measure(run, reporter, fid=True)
    assert reporter.stages == {}, "before any work"


@pytest.fixture
def weights(torch_fidelity: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands in for Inception's weights on the web."""
    path = tmp_path / "web" / "weights.pth"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    inception = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setattr(inception, "URL_INCEPTION_V3", path.as_uri())
    monkeypatch.setattr(fidelity, "_WEIGHTS_SHA256", hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return path


def test_the_weights_are_downloaded_once(weights: Path, tmp_path: Path, reporter: Any) -> None:
    found = fidelity._inception_weights(None, reporter)
    assert found == tmp_path / "torch" / "hub" / "checkpoints" / "weights.pth"
    assert found.read_bytes() == b"weights"
    assert reporter.said == [f"downloading {weights.as_uri()} (96 MB) to {found}"]
    weights.unlink()
    assert fidelity._inception_weights(None, reporter) == found
    assert len(reporter.said) == 1


def test_without_a_network_the_other_way_is_said(run: Path, weights: Path, reporter: Any) -> None:
    weights.unlink()
    with pytest.raises(BadRequest) as caught:
        measure(run, reporter, fid=True)
    message = str(caught.value)
    assert message.startswith("--fid: the weights could not be downloaded (")
    assert message.endswith(f"get {weights.as_uri()} on a machine that can, and give it as --inception FILE")
    assert "\n" not in message


def test_a_download_of_other_bytes_is_not_kept(weights: Path, tmp_path: Path, reporter: Any) -> None:
    weights.write_bytes(b"a portal's login page")
    with pytest.raises(BadRequest, match=r"could not be downloaded .*hash"):
        fidelity._inception_weights(None, reporter)
    assert list((tmp_path / "torch" / "hub" / "checkpoints").iterdir()) == []


def test_weights_by_hand_are_checked(weights: Path, tmp_path: Path, reporter: Any) -> None:
    assert fidelity._inception_weights(weights, reporter) == weights
    with pytest.raises(BadRequest, match=r"--inception .*/none.pth: cannot be read \(No such file"):
        fidelity._inception_weights(tmp_path / "none.pth", reporter)
    weights.write_bytes(b"others")
    with pytest.raises(
        BadInput, match=r"not the weights that FID is defined with \(sha256 differs\); get file:"
    ):
        fidelity._inception_weights(weights, reporter)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": ()}, "--samples : expected 1 or more, each"),
        ({"samples": (1000, 0)}, "--samples 1000 0: expected 1 or more, each"),
        ({"fid_samples": 1}, "--fid-samples 1: expected 2 or more"),
        ({"seed": -1}, "--seed -1: expected 0 or more"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        ScoreSettings(**settings)


def test_the_cache_directory_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert reference.cache_directory() == tmp_path / ".cache" / "dcgan-data"


def test_the_command_prints_a_table_or_json(run: Path) -> None:
    arguments = ["score", str(run), "--samples", "5", "--samples", "10", "--device", "cpu"]
    done = CliRunner().invoke(examine_app, arguments)
    assert done.exit_code == 0, done.output
    assert "held-out images to the nearest of  samples  training images" in done.stdout
    values = json.loads(CliRunner().invoke(examine_app, [*arguments, "--json"]).stdout)
    assert [line["samples"] for line in values["nearest"]] == [5, 10]
    assert values["fidelity"] is None
