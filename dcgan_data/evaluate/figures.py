"""All figures of a model on one page: what needs no person is made, what was made before is collected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dcgan_data.errors import BadRequest, DcganDataError
from dcgan_data.evaluate.figure import Figure, read_figure
from dcgan_data.evaluate.gallery.page import Missing, write_gallery
from dcgan_data.evaluate.guided.running import FeaturesSettings, features
from dcgan_data.evaluate.latent.numbered import numbered_sheet
from dcgan_data.evaluate.latent.walk import WalkSettings, walk
from dcgan_data.evaluate.memorization.running import MemorizationSettings, memorization
from dcgan_data.evaluate.place import command_line, place_of
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.lock import locked
from dcgan_data.reporter import Reporter
from dcgan_data.train.sample import open_sampler
from dcgan_data.train.trained import Trained, open_trained

_SAMPLES = 64


@dataclass(frozen=True)
class FiguresSettings:
    """What to show."""

    out: Path = Path("figures")
    """Directory of the page."""
    samples: int = 1000
    """Samples that are held against training images."""
    frames: int = 32
    """Steps of a walk from one sample to the next."""
    again: bool = False
    """Make what is there already anew."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of what is made now."""
    device: str = "auto"
    """Where to draw and to search: auto, cpu or cuda."""
    prepared: Path | None = None
    """Where the run's set is now; None: where it was."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")


@dataclass(frozen=True)
class FiguresResult:
    """What is on the page, and what is not."""

    model: str
    """What was examined."""
    shown: tuple[str, ...]
    """Titles, in order."""
    missing: tuple[Missing, ...]
    """The others."""
    page: str
    """To look at."""
    file: str
    """JSON of all this."""


@dataclass(frozen=True)
class _Part:
    """A figure: the command that makes it, and whether it needs a person."""

    command: str
    """Its directory in the run."""
    title: str
    make: Callable[[Path, FiguresSettings, Reporter], object] | None
    """Makes it without a person; None: it needs one, or data that are not in the run."""
    why: str = ""
    """Why it is not made here."""
    line: str = ""
    """The command that makes it."""
    words: str = ""
    """Its options."""


def figures(path: Path, settings: FiguresSettings, reporter: Reporter) -> FiguresResult:
    """Make the figures that can be made, and put them and all that were made before on one page.

    Those of these very weights count, from the run's own directories. One that fails is told on the page.
    Raises BadInput and BadRequest as ``open_trained`` does.
    """
    trained = open_trained(path, settings.checkpoint)
    if trained.step is not None:  # the run may go on, and write newer ones meanwhile
        settings = replace(settings, checkpoint=str(trained.step))
    shown, missing = list[Figure](), list[Missing]()
    with locked(settings.out, "--out"):
        shown.append(_samples(path, settings))
        for part in _PARTS:
            try:
                figure = _figure(part, trained, settings, reporter)
            except DcganDataError as error:
                missing.append(Missing(part.title, str(error), ""))
                continue
            if figure:
                shown.append(figure)
            else:
                missing.append(Missing(part.title, part.why, _line(part, trained, settings.seed)))
        page = settings.out / "index.html"
        write_gallery(page, f"Figures: {path.resolve().name}", trained.name, shown, missing)
        file = settings.out / "index.json"
        titles = tuple(figure.title for figure in shown)
        result = FiguresResult(trained.name, titles, tuple(missing), str(page), str(file))
        write_json(file, asdict(result))
    return result


def figures_lines(result: FiguresResult) -> str:
    """What is on the page, and what is not."""
    lines = [f"{result.model}: {', '.join(result.shown)}"]
    for one in result.missing:
        lines.append(f"not shown: {one.title}: {one.why}" + (f"; {one.command}" if one.command else ""))
    return "\n".join([*lines, f"look: {result.page}"])


def _samples(path: Path, settings: FiguresSettings) -> Figure:
    sampler = open_sampler(path, settings.checkpoint, settings.device)
    picture = numbered_sheet(sampler, _SAMPLES, settings.out / "samples.png", settings.seed)
    return Figure(
        title="Samples",
        paper="figures 2 and 3",
        caption=f"The first {_SAMPLES} samples of seed {settings.seed}, not chosen. Their numbers name them "
        "to the commands arithmetic and turn.",
        pictures=(picture,),
    )


def _figure(part: _Part, trained: Trained, settings: FiguresSettings, reporter: Reporter) -> Figure | None:
    place = place_of(trained, part.command, None)
    found = read_figure(place)
    if part.make and (settings.again or found is None):
        reporter.say(f"{part.command}: {part.title}")
        part.make(trained.path, settings, reporter)
        found = read_figure(place)
    return found


def _line(part: _Part, trained: Trained, seed: int) -> str:
    return command_line(trained, part.line, part.words, seed) if part.line else ""


def _walk(path: Path, settings: FiguresSettings, reporter: Reporter) -> object:
    asked = WalkSettings(
        frames=settings.frames,
        checkpoint=settings.checkpoint,
        seed=settings.seed,
        device=settings.device,
    )
    return walk(path, asked, reporter)


def _features(path: Path, settings: FiguresSettings, reporter: Reporter) -> object:
    asked = FeaturesSettings(
        checkpoint=settings.checkpoint,
        seed=settings.seed,
        device=settings.device,
        prepared=settings.prepared,
    )
    return features(path, asked, reporter)


def _memorization(path: Path, settings: FiguresSettings, reporter: Reporter) -> object:
    asked = MemorizationSettings(
        samples=settings.samples,
        frames=settings.frames,
        checkpoint=settings.checkpoint,
        seed=settings.seed,
        device=settings.device,
        prepared=settings.prepared,
    )
    return memorization(path, asked, reporter)


_PARTS = (
    _Part("walk", "A walk in the latent space", _walk),
    _Part("features", "What the discriminator responds to", _features),
    _Part("memorization", "Memorisation", _memorization),
    _Part(
        "forget",
        "Forgetting an object",
        None,
        "a person draws boxes first",
        "forget annotate",
    ),
    _Part(
        "arithmetic",
        "Vector arithmetic",
        None,
        "a person picks exemplars from the samples above",
        "arithmetic",
        "--a 1,2,3 --b 4,5,6 --c 7,8,9",
    ),
    _Part(
        "turn",
        "Turn vector",
        None,
        "a person picks faces that look left and right (of a face model, --auto finds them)",
        "turn",
        "--left 1,2,3,4 --right 5,6,7,8",
    ),
    _Part(
        "probe-cifar10",
        "CIFAR-10 by the discriminator's features",
        None,
        "needs CIFAR-10",
        "probe cifar10",
        "--data DIR",
    ),
    _Part(
        "probe-svhn",
        "SVHN by the discriminator's features",
        None,
        "needs SVHN",
        "probe svhn",
        "--data DIR",
    ),
)
