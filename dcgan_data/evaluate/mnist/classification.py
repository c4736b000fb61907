"""The appendix's test: do generated digits teach a 1-nearest-neighbour classifier as much as real ones?

The references are generated images with the labels that they were generated for, the queries MNIST's 10,000
test images. Beside them stand the real training images as references: the first 50,000, as many as in the
paper's column, and all 60,000. The paper says 3.1 % of real ones. All of them make 3.09 %, the first 50,000
make 3.34 %, any 50,000 make 3.26 % (mean of 200 random choices, from 3.08 to 3.51).

Generated images are rounded to 256 greys, as real ones have them: distances are then exact integers, equal on
every machine. The authors compared floats: among 50,000 samples of a model of 10 epochs that gives 1 of the
10,000 test images another label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from dcgan_data.device import resolve_device
from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.figure import save_figure
from dcgan_data.evaluate.mnist.idx import read_test_digits, read_training_digits
from dcgan_data.evaluate.mnist.result import Generated, Misclassified, MnistResult
from dcgan_data.evaluate.mnist.sheet import write_digits
from dcgan_data.evaluate.mnist.table import mnist_figure
from dcgan_data.evaluate.place import Place
from dcgan_data.formats.atomic import write_json
from dcgan_data.reporter import Reporter
from dcgan_data.train.conditional.classify import NearestErrors
from dcgan_data.train.conditional.labelled import LabelledImages
from dcgan_data.train.conditional.sampler import ConditionalSampler, open_conditional

PAPERS_COUNT = 50_000
"""References of the paper's first column; real ones are MNIST's without a validation set."""
_MOST_SAMPLES = 1 << 28
"""What ``ops.nearest`` can number."""
_CHUNK = 2_000


@dataclass(frozen=True)
class MnistSettings:
    """What to measure."""

    data: Path
    """The directory of MNIST's four files."""
    samples: tuple[int, ...] = (PAPERS_COUNT,)
    """Numbers of generated references; the first so many of one stream."""
    checkpoint: str = "last"
    """``last``, or a step."""
    seed: int = 0
    """Of the samples."""
    device: str = "auto"
    """Where to draw and to search: auto, cpu or cuda."""
    out: Path | None = None
    """Directory of the results; None: RUN/mnist, or nowhere without a run."""

    def __post_init__(self) -> None:
        if not self.samples or not 1 <= min(self.samples) <= max(self.samples) <= _MOST_SAMPLES:
            found = " ".join(map(str, self.samples)) or "none"
            raise BadRequest(f"--samples {found}: expected 1 to {_MOST_SAMPLES:,}, each")
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")


def evaluate_mnist(run_dir: Path | None, settings: MnistSettings, reporter: Reporter) -> MnistResult:
    """Classify MNIST's test images by real training images, and by samples of a conditional run.

    Writes a picture and a JSON to ``settings.out`` or RUN/mnist; without a run, a JSON to ``settings.out``
    only. Raises BadInput if MNIST's files or the run are missing, damaged or of another kind, BadRequest for
    a step or a device that is not there. Memory: some 600 MB, however many samples.
    """
    device = resolve_device(settings.device)
    sampler = open_conditional(run_dir, settings.checkpoint, device) if run_dir else None
    training, test = read_training_digits(settings.data), read_test_digits(settings.data)
    place = _place(sampler, settings.out)
    with place.writing() if place else nullcontext():  # before the search: who cannot write need not wait
        counts = {min(PAPERS_COUNT, len(training)), len(training)}
        real = _errors(("real", _in_chunks(training)), test, counts, device, reporter)
        if not place:
            return MnistResult(len(test), real, None, None)
        generated = None
        if sampler:
            stream = "samples", sampler.draw(max(settings.samples), settings.seed)
            errors = _errors(stream, test, set(settings.samples), device, reporter)
            generated = _described(sampler, settings.seed, errors, place.file(".png"))
            write_digits(place.file(".png"), training, sampler)
        result = MnistResult(len(test), real, generated, str(place.file(".json")))
        write_json(place.file(".json"), asdict(result))
        save_figure(place, mnist_figure(result))
    return result


def _errors(
    stream: tuple[str, Iterable[LabelledImages]],
    test: LabelledImages,
    counts: set[int],
    device: torch.device,
    reporter: Reporter,
) -> tuple[Misclassified, ...]:
    """By the first so many references of a stream, which has a name for the progress display."""
    name, references = stream
    judge = NearestErrors(test, sorted(counts), device)
    with reporter.stage(name, max(counts), "references") as stage:
        for chunk in references:
            judge.add(chunk)
            stage.advance(len(chunk))
    return tuple(Misclassified.of(count, wrong, len(test)) for count, wrong in sorted(judge.errors.items()))


def _described(
    sampler: ConditionalSampler, seed: int, errors: tuple[Misclassified, ...], picture: Path
) -> Generated:
    epochs = sampler.record.epochs_after(sampler.step)
    return Generated(str(sampler.run_dir), sampler.step, epochs, seed, errors, str(picture))


def _in_chunks(data: LabelledImages) -> Iterator[LabelledImages]:
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]


def _place(sampler: ConditionalSampler | None, out: Path | None) -> Place | None:
    if sampler:
        return Place(out or sampler.run_dir / "mnist", f"step-{sampler.step:06d}")
    return Place(out, "real") if out else None
