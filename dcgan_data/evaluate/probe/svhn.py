"""SVHN with 1,000 labels (DCGAN paper, sec. 5.2), by the protocol of the authors' published script.

What a discriminator's features are worth to linear classifiers that see the labels of 100 images of each
digit; and, if asked for, what the same architecture learns from as many labels alone.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from dcgan_data.device import resolve_device
from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.figure import save_figure
from dcgan_data.evaluate.place import Place, place_of
from dcgan_data.evaluate.probe.supervised_search import search_supervised
from dcgan_data.evaluate.probe.svhn_data import SVHN_SIZE, check_files, read_svhn
from dcgan_data.evaluate.probe.svhn_linear import measure_features
from dcgan_data.evaluate.probe.svhn_result import SvhnResult
from dcgan_data.evaluate.probe.svhn_settings import SvhnSettings
from dcgan_data.evaluate.probe.svhn_table import svhn_figure
from dcgan_data.formats.atomic import write_json
from dcgan_data.reporter import Reporter
from dcgan_data.train.trained import Trained, open_trained


def probe_svhn(path: Path, settings: SvhnSettings, reporter: Reporter) -> SvhnResult:
    """Measure the discriminator of a run or a file; writes the result as JSON, and the search's trials.

    Raises BadInput for a model without a discriminator, BadRequest for one of another image size, and both
    as ``read_svhn`` does. Memory: some 4 GB for 7,168 features, and for 28,672; half a GB for a worker.
    """
    trained = open_trained(path, settings.checkpoint)
    _check_size(trained)
    device = resolve_device(settings.device)
    discriminator = trained.discriminator(device)
    check_files(settings.data)
    place = place_of(trained, "probe-svhn", settings.out)
    with place.writing():
        data = read_svhn(settings.data, settings.validation, reporter)
        result = SvhnResult(
            model=trained.name,
            training_images=len(data.train),
            validation_images=len(data.validation),
            test_images=len(data.test),
            seed=settings.seed,
            linear=measure_features(discriminator, data, settings, reporter),
            supervised=None,
            file=str(place.file(".json")),
        )
        _write(place, result)  # already now: the search may take hours
        if settings.supervised:
            trials = place.file("-trials.jsonl")
            found = search_supervised(trained.shape, data, settings, trials, reporter)
            result = replace(result, supervised=found)
            _write(place, result)
    return result


def _write(place: Place, result: SvhnResult) -> None:
    write_json(Path(result.file), asdict(result))
    save_figure(place, svhn_figure(result))


def _check_size(trained: Trained) -> None:
    if (size := trained.shape.image_size) != SVHN_SIZE:
        raise BadRequest(
            f"{trained.path}: a model of {size}x{size} images, SVHN's have {SVHN_SIZE}x{SVHN_SIZE}; "
            f"probe one that was trained on images of {SVHN_SIZE} pixels"
        )
