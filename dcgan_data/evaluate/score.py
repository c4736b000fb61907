"""How good a run's samples are: the DCGAN authors' nearest-neighbour score; FID and KID if asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.examined import Examined, in_chunks, open_examined
from dcgan_data.evaluate.fidelity import INCEPTION, KID_SUBSETS, Extractor, distances, open_extractor
from dcgan_data.evaluate.reference import cache_directory, real_reference
from dcgan_data.ops.nearest import NearestMeans
from dcgan_data.reporter import Reporter

AUTHORS_COUNTS = (1_000, 10_000, 100_000)


@dataclass(frozen=True)
class ScoreSettings:
    """What to measure."""

    samples: tuple[int, ...] = AUTHORS_COUNTS
    """Numbers of samples among which the nearest is looked for."""
    fid: bool = False
    """Also FID and KID, which need torch-fidelity."""
    fid_samples: int = 50_000
    """Samples for these two. FID falls as they grow in number: only equal numbers can be compared."""
    inception: Path | None = None
    """File of Inception's weights; None: torch's cache, or a download of 96 MB into it."""
    extractor: str = INCEPTION
    """The network for FID and KID, as registered with torch-fidelity."""
    cache: Path | None = None
    """Where features of real images are kept; None: the user's cache directory."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of the samples, and of the training images beside them."""
    device: str = "auto"
    """Where to draw and to measure: auto, cpu or cuda."""
    prepared: Path | None = None
    """Where the run's set is now; None: where it was."""

    def __post_init__(self) -> None:
        if not self.samples or min(self.samples) < 1:
            raise BadRequest(f"--samples {' '.join(map(str, self.samples))}: expected 1 or more, each")
        if self.fid_samples < 2:
            raise BadRequest(f"--fid-samples {self.fid_samples}: expected 2 or more")
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")


@dataclass(frozen=True)
class NearestScore:
    """Mean Euclidean distance, in pixels of [-1, 1], from each held-out image to the nearest of so many."""

    samples: int
    """Generated images."""
    to_samples: float
    """The authors' score; lower is better, but see below."""
    training_images: int
    """Real images: as many, or all that the run was trained on."""
    to_training_images: float
    """The same distance to these: what a perfect generator would come to. Samples that are blurred, and
    therefore near to everything, come to less."""


@dataclass(frozen=True)
class FidelityScore:
    """FID and KID, and all that such numbers depend on."""

    fid: float
    """Fréchet Inception distance."""
    kid: float
    """Kernel Inception distance."""
    kid_deviation: float
    """Its standard deviation over the subsets."""
    kid_subsets: int
    """How many."""
    kid_subset_images: int
    """Samples, and real images, in each."""
    samples: int
    """Generated images."""
    real_images: int
    """Kept images of the set."""
    extractor: str
    """The network."""
    resizer: str
    """How images came to its size."""
    library: str
    """Name and version."""
    reference: str
    """File in which the real images' features are kept."""


@dataclass(frozen=True)
class ScoreResult:
    """What was measured."""

    run: str
    """The run's directory."""
    step: int
    """Minibatches that the checkpoint was trained for."""
    held_out: int
    """Real images that training never saw."""
    nearest: tuple[NearestScore, ...]
    """By number of samples; none if no images were held out."""
    fidelity: FidelityScore | None
    """None if it was not asked for."""


def score(run_dir: Path, settings: ScoreSettings, reporter: Reporter) -> ScoreResult:
    """Draw samples of a run once, and measure them; writes nothing but the cache of FID.

    Raises BadInput and BadRequest as ``open_examined`` does, and BadRequest if there is nothing to measure
    with: no held-out images, no library, no weights. Memory: held-out images, features of 8 kB a sample.
    """
    run = open_examined(run_dir, settings.checkpoint, settings.device, settings.prepared)
    held_out = run.split.held_out.gather(np.arange(len(run.split.held_out)))
    if not len(held_out) and not settings.fid:
        raise BadRequest(
            f"{run_dir}: was trained on all images, none are held out to measure with; "
            "train with --held-out N, or ask for --fid"
        )
    extractor = None
    if settings.fid:  # what is missing is said before the long work
        extractor = open_extractor(settings.extractor, settings.inception, run.device, reporter)
    near = NearestMeans(held_out, settings.samples, run.device) if len(held_out) else None
    features = _draw(run, settings, near, extractor, reporter)
    return ScoreResult(
        run=str(run_dir),
        step=run.step,
        held_out=len(held_out),
        nearest=_beside_training_images(run, held_out, near, settings.seed, reporter) if near else (),
        fidelity=_fidelity(run, settings, extractor, features, reporter) if extractor else None,
    )


def _draw(
    run: Examined,
    settings: ScoreSettings,
    near: NearestMeans | None,
    extractor: Extractor | None,
    reporter: Reporter,
) -> list[np.ndarray]:
    """Show each sample to both measures as it is drawn; returns the features of those for FID."""
    features = list[np.ndarray]()
    left = settings.fid_samples if extractor else 0
    total = max(left, *settings.samples) if near else left
    with reporter.stage("draw", total, "samples") as stage:
        for chunk in run.sampler.draw(total, settings.seed):
            if near:
                near.add(chunk)
            if extractor and left:
                features.append(extractor.features(chunk[:left]))
                left -= len(features[-1])
            stage.advance(len(chunk))
    return features


def _beside_training_images(
    run: Examined, held_out: np.ndarray, near: NearestMeans, seed: int, reporter: Reporter
) -> tuple[NearestScore, ...]:
    """Each number of samples with as many training images, chosen at random."""
    images = run.split.train
    counts = {count: min(count, len(images)) for count in near.means}
    order = np.random.default_rng(seed).permutation(len(images))[: max(counts.values())]
    real = NearestMeans(held_out, list(counts.values()), run.device)
    with reporter.stage("real", len(order), "images") as stage:
        for chunk in in_chunks(images, order):
            real.add(chunk)
            stage.advance(len(chunk))
    return tuple(
        NearestScore(count, mean, counts[count], real.means[counts[count]])
        for count, mean in near.means.items()
    )


def _fidelity(
    run: Examined,
    settings: ScoreSettings,
    extractor: Extractor,
    features: list[np.ndarray],
    reporter: Reporter,
) -> FidelityScore:
    reference = real_reference(run.prepared, extractor, settings.cache or cache_directory(), reporter)
    samples = np.concatenate(features)
    found = distances(samples, reference.moments, reference.features)
    return FidelityScore(
        fid=found.fid,
        kid=found.kid,
        kid_deviation=found.kid_deviation,
        kid_subsets=KID_SUBSETS,
        kid_subset_images=found.kid_subset_images,
        samples=len(samples),
        real_images=reference.images,
        extractor=extractor.name,
        resizer=extractor.resizer,
        library=extractor.library,
        reference=str(reference.file),
    )
