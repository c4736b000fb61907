"""What D's last convolution answers to: images and guided gradients (DCGAN paper, sec. 6.2 and figure 5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dcgan_data.device import resolve_device
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.figure import save_figure
from dcgan_data.evaluate.guided.backprop import field_side, guided_maps
from dcgan_data.evaluate.guided.findings import features_figure
from dcgan_data.evaluate.guided.images import RealImages, choose_images
from dcgan_data.evaluate.guided.looking import STRONGEST, Look, look
from dcgan_data.evaluate.guided.pictures import write_picture
from dcgan_data.evaluate.guided.result import FeaturesResult
from dcgan_data.evaluate.guided.sanity import Level, Networks, compare
from dcgan_data.evaluate.place import place_of
from dcgan_data.formats.atomic import write_json
from dcgan_data.reporter import Reporter
from dcgan_data.train.models import Discriminator
from dcgan_data.train.trained import Trained, open_trained

_HIGH, _ABOVE = 0.5, 0.1
"""Rank correlations that are high: in themselves, and above those of two random networks."""


@dataclass(frozen=True)
class FeaturesSettings:
    """Where to look."""

    images: int = 2000
    """Real images to look through; at most."""
    checkpoint: str = "last"
    """``last``, ``best``, or a step."""
    seed: int = 0
    """Of the choice of images and of the random weights."""
    device: str = "auto"
    """Where to compute: auto, cpu or cuda."""
    prepared: Path | None = None
    """Where the run's set is now; None: where it was. A model's file needs one."""
    out: Path | None = None
    """Where the results go; None: RUN/features."""

    def __post_init__(self) -> None:
        if self.images < STRONGEST:
            raise BadRequest(f"-n {self.images}: expected {STRONGEST} or more images")
        if self.seed < 0:
            raise BadRequest(f"--seed {self.seed}: expected 0 or more")


def features(path: Path, settings: FeaturesSettings, reporter: Reporter) -> FeaturesResult:
    """Find the images that D's last convolution answers to, and write a picture and a JSON of them.

    They go to ``RUN/features/step-NNNNNN.png`` and ``.json``, and the figure beside them. Raises BadInput and
    BadRequest as ``open_trained`` and ``choose_images`` do, BadInput without a D, or for one that sees
    nothing, BadRequest if there are too few images.
    """
    device = resolve_device(settings.device)
    trained = open_trained(path, settings.checkpoint)
    images = _enough_images(trained, settings)
    networks = Networks(trained, images.pixels, settings.seed, device)
    learnt = look(networks.randomised(0), images)
    if not np.isfinite(learnt.maps).all():
        raise BadInput(f"{trained.weights}: its responses are not finite; choose another --checkpoint")
    random_network = networks.randomised(networks.layers)
    random = look(random_network, images)
    sanity, two_random = _sanity(networks, random_network, learnt, reporter)
    place = place_of(trained, "features", settings.out)
    result = FeaturesResult(
        model=trained.name,
        step=trained.step,
        prepared=str(images.prepared.path),
        images=len(images.pixels),
        layer=networks.layers,
        field_side=field_side(random_network),
        trained=learnt.features,
        random=random.features,
        sanity=sanity,
        two_random=two_random,
        warnings=_warnings(sanity[-1], two_random),
        picture=str(place.file(".png")),
        file=str(place.file(".json")),
    )
    with place.writing():
        write_picture(Path(result.picture), f"{trained.name}: {len(images.pixels):,} images", learnt, random)
        write_json(Path(result.file), asdict(result))
        save_figure(place, features_figure(result))
    return result


def _enough_images(trained: Trained, settings: FeaturesSettings) -> RealImages:
    images = choose_images(trained, settings.prepared, settings.images, settings.seed)
    if len(images.pixels) < STRONGEST:
        raise BadRequest(
            f"{images.prepared.path}: {len(images.pixels)} images are too few to choose from, "
            f"{STRONGEST} or more are needed"
        )
    return images


def _sanity(
    networks: Networks, random: Discriminator, learnt: Look, reporter: Reporter
) -> tuple[tuple[Level, ...], Level]:
    """Compare the maps of the same units and images for more and more random layers; and two random ones."""
    units, fields = zip(*((response.unit, response.field) for response in learnt.responses), strict=True)
    levels = []
    with reporter.stage("check", networks.layers + 1, "networks") as stage:
        for layers in range(1, networks.layers):
            maps = guided_maps(networks.randomised(layers), learnt.pixels, units)
            levels.append(compare(layers, learnt.maps, maps, fields))
            stage.advance(1)
        maps = guided_maps(random, learnt.pixels, units)
        levels.append(compare(networks.layers, learnt.maps, maps, fields))
        stage.advance(1)
        others = guided_maps(networks.randomised(networks.layers, draw=1), learnt.pixels, units)
        stage.advance(1)
    return tuple(levels), compare(networks.layers, maps, others, fields)


def _warnings(all_random: Level, two_random: Level) -> tuple[str, ...]:
    for name in ("signed", "absolute"):
        found, least = getattr(all_random, name), getattr(two_random, name)
        if found >= _HIGH or found > least + _ABOVE:
            return (
                f"with random weights the maps stay much the same (rank correlation {found:.2f}, of two "
                f"random networks {least:.2f}): they show the images more than what D has learnt",
            )
    return ()
