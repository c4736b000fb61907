"""``bench train``: the plain reference loop, the paper preset and the fast preset, side by side in one run.

Machines are noisy, and neighbours come and go: the ways take turns in several rounds, and each way's figure
is that of its median round. So is the device's matrix rate, which is measured between the rounds.
"""

from __future__ import annotations

import statistics
import tempfile
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dcgan_data.bench.ablation import ablation_ways
from dcgan_data.bench.flops import flops_per_image
from dcgan_data.bench.roofline import device_name
from dcgan_data.bench.rounds import Plan, Runner, take_turns
from dcgan_data.bench.ways import FAST, PAPER, PLAIN, Way, Workload
from dcgan_data.device import resolve_device
from dcgan_data.errors import BadRequest
from dcgan_data.formats.prepared import PreparedSet
from dcgan_data.reporter import Reporter
from dcgan_data.train.models import IMAGE_SIZES

_USUAL_IMAGE_SIZE = 64
_USUAL_WIDTH = {"cuda": 128, "cpu": 64}
_USUAL_BATCH_SIZE = {"cuda": 128, "cpu": 64}
_IMAGES = {"cuda": 65_536, "cpu": 8_192}
"""Images to draw batches from: so many that the DataLoader hardly ever starts anew."""


@dataclass(frozen=True)
class TrainBenchSettings:
    """What ``bench train`` is asked to do; what is None is chosen."""

    image_size: int | None = None
    """32, 64 or 128 pixels; None: the prepared set's own, or 64."""
    width: int | None = None
    """Channels of the stage next to the image; None: 128 on a GPU, as in the paper, and 64 on a CPU."""
    batch_size: int | None = None
    """Images in a minibatch; None: 128 on a GPU, as in the paper, and 64 on a CPU."""
    prepared: Path | None = None
    """A prepared set to take the images from; None: random pixels, which cost the same."""
    seconds: float = 3.0
    """About how long each way trains in each round."""
    rounds: int = 5
    """Rounds that count."""
    device: str = "auto"
    """auto, cpu or cuda."""
    ablate: bool = False
    """Also measure what the fast preset is made of, added to the plain loop one after the other."""

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size not in IMAGE_SIZES:
            sizes = ", ".join(map(str, IMAGE_SIZES))
            raise BadRequest(f"image_size={self.image_size}: must be one of {sizes}")
        for name, least in (("width", 1), ("batch_size", 2), ("rounds", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise BadRequest(f"{name}={value}: must be {least} or more")
        if not 0 < self.seconds < float("inf"):
            raise BadRequest(f"seconds={self.seconds}: must be a finite number above 0")


@dataclass(frozen=True)
class TrainRow:
    """One way of training."""

    name: str
    """plain, paper, fast, or what was added to the row before."""
    says: str
    """What it is, in a few words."""
    precision: str
    """Of its convolutions: float32, tf32 or bf16."""
    images_per_s: float
    """Real images consumed a second, in the median round."""
    slowest_images_per_s: float
    """The same in the slowest round."""
    fastest_images_per_s: float
    """The same in the quickest round."""
    step_ms: float
    """Milliseconds a minibatch, in the median round."""
    gflop_per_image: float
    """Arithmetic for each real image consumed, counted (``flops``): 2 FLOPs a multiply-add."""
    roofline_share: float
    """Its FLOP/s over the device's in large matrix products of the same precision, both in median rounds."""
    peak_mb: float
    """On a GPU, the most that was allocated there for it, its images and warm-up included; on a CPU, the
    largest resident memory of a process that only trains so, the DataLoader's workers not counted."""
    over_plain: float
    """images_per_s, over that of the plain loop."""
    notes: tuple[str, ...]
    """What could not be had here."""


@dataclass(frozen=True)
class TrainBench:
    """``bench train``, in one run on one machine."""

    plain_images_per_s: float
    """The plain reference loop: each minibatch updates both players."""
    paper_images_per_s: float
    """The paper preset. The authors' alternation updates one player a minibatch, and G's passes over its
    images unread. They are counted as consumed, because the authors count so: see step_ms beside it."""
    fast_images_per_s: float
    """The fast preset: each minibatch updates both players."""
    speedup: float
    """fast_images_per_s / plain_images_per_s."""
    device: str
    """Its name."""
    torch: str
    """torch's version."""
    image_size: int
    """Side in pixels."""
    width: int
    """Channels of the stage next to the image."""
    batch_size: int
    """Images in a minibatch."""
    images: int
    """Images that the minibatches are drawn from."""
    rounds: int
    """Rounds that each median is of."""
    matrix_tflop_per_s: dict[str, float]
    """The device's rate in large square matrix products, by precision, in the median round."""
    rows: list[TrainRow]
    """plain, paper and fast."""
    ablation: list[TrainRow]
    """From the plain loop to the fast preset and beyond, a thing more in each row; empty if not asked for."""


def bench_train(settings: TrainBenchSettings, reporter: Reporter) -> TrainBench:
    """Measure the plain loop, the paper preset and the fast preset, and with ``ablate`` what lies between.

    A rate counts real images of the set consumed. Ratios are of median rounds of the same run.
    Raises BadRequest if the request does not fit the set or the machine, BadInput for an unreadable set.
    """
    device = resolve_device(settings.device)
    with tempfile.TemporaryDirectory(prefix="dcgan-data-bench-") as folder:
        work, images = _workload(settings, device, Path(folder) / "images.npy")
        ways: list[Way] = [PLAIN, PAPER, FAST, *(ablation_ways(device) if settings.ablate else [])]
        try:
            runners, rates = take_turns(ways, work, Plan(settings.rounds, settings.seconds), reporter)
        except (torch.cuda.OutOfMemoryError, BrokenProcessPool):
            raise BadRequest(
                f"width={work.width}, batch_size={work.batch_size}: there is not enough memory on "
                f"{device_name(device)}; try smaller ones"
            ) from None
    reporter.say("count FLOPs")
    rate = {precision: statistics.median(values) for precision, values in rates.items()}
    rows = _rows(runners, rate)
    plain, paper, fast = rows[:3]
    return TrainBench(
        plain_images_per_s=plain.images_per_s,
        paper_images_per_s=paper.images_per_s,
        fast_images_per_s=fast.images_per_s,
        speedup=fast.over_plain,
        device=device_name(device),
        torch=torch.__version__,
        image_size=work.image_size,
        width=work.width,
        batch_size=work.batch_size,
        images=images,
        rounds=settings.rounds,
        matrix_tflop_per_s={precision: _rounded(value / 1e12) for precision, value in rate.items()},
        rows=rows[:3],
        ablation=[plain, *rows[3:], fast] if settings.ablate else [],
    )


def _workload(settings: TrainBenchSettings, device: torch.device, file: Path) -> tuple[Workload, int]:
    """Write the images to ``file``; returns what to train on, and the number of images."""
    batch_size = settings.batch_size or _USUAL_BATCH_SIZE[device.type]
    count = max(_IMAGES[device.type], batch_size)
    if settings.prepared:
        pixels = _real_pixels(settings, settings.prepared, batch_size, count)
    else:
        size = settings.image_size or _USUAL_IMAGE_SIZE
        pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    np.save(file, pixels)
    width = settings.width or _USUAL_WIDTH[device.type]
    return Workload(file, pixels.shape[1], width, batch_size, device), len(pixels)


def _real_pixels(settings: TrainBenchSettings, path: Path, batch_size: int, most: int) -> np.ndarray:
    prepared = PreparedSet.open(path)
    size = prepared.info.image_size
    if size != (settings.image_size or size) or size not in IMAGE_SIZES:
        wanted = settings.image_size or f"one of {', '.join(map(str, IMAGE_SIZES))}"
        raise BadRequest(f"{path}: its images have {size} pixels, image_size must be {wanted}")
    rows = prepared.rows()
    if len(rows) < batch_size:
        raise BadRequest(f"{path}: {len(rows)} images are too few for batch_size={batch_size}")
    return rows.gather(np.arange(min(len(rows), most)))


def _rows(runners: list[Runner], rate: dict[str, float]) -> list[TrainRow]:
    plain = runners[0].images_per_s
    rows = []
    for runner in runners:
        precision = runner.way.precision(runner.work.device)
        flops = flops_per_image(runner.way, runner.work)
        rows.append(
            TrainRow(
                name=runner.way.name,
                says=runner.way.says,
                precision=precision,
                images_per_s=_rounded(runner.images_per_s),
                slowest_images_per_s=_rounded(runner.work.batch_size / max(runner.step_seconds)),
                fastest_images_per_s=_rounded(runner.work.batch_size / min(runner.step_seconds)),
                step_ms=_rounded(1e3 * runner.work.batch_size / runner.images_per_s),
                gflop_per_image=_rounded(flops / 1e9),
                roofline_share=_rounded(flops * runner.images_per_s / rate[precision]),
                peak_mb=_rounded(runner.peak_mb),
                over_plain=_rounded(runner.images_per_s / plain),
                notes=tuple(runner.training.notes),
            )
        )
    return rows


def _rounded(value: float) -> float:
    """To four digits: more than a measurement holds."""
    return float(f"{value:.4g}")
