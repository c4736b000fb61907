"""A random search over hyper-parameters of the purely supervised network (DCGAN paper, sec. 5.2).

The paper gives the number of trials, 64, and a reference to Bergstra and Bengio (2012), but neither what is
drawn nor from where. Here, for each trial: a learning rate for Adam, log-uniform on 1e-4 to 1e-2; beta1, 0.5
or 0.9; L2, log-uniform on 1e-6 to 1e-2; minibatches of 32, 64 or 128; dropout below the logits, uniform on 0
to 0.7. All trials see the same 1,000 labels: those of the probe's first draw.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dcgan_data.device import resolve_device
from dcgan_data.evaluate.probe.labelled import Labelled
from dcgan_data.evaluate.probe.supervised import (
    VALIDATE_EVERY,
    HyperParameters,
    Lesson,
    Outcome,
    train_network,
)
from dcgan_data.evaluate.probe.svhn_data import SvhnData, draw_labels
from dcgan_data.evaluate.probe.svhn_seeds import Purpose, rng_of
from dcgan_data.evaluate.probe.svhn_settings import SvhnSettings
from dcgan_data.formats.plain import parse_json
from dcgan_data.parallel import run_tasks
from dcgan_data.reporter import Reporter
from dcgan_data.train.models import ModelShape


@dataclass(frozen=True)
class Trial:
    """One network of the search."""

    number: int
    """From 0 on; it fixes all that is random, together with the seed."""
    hyper: HyperParameters
    """What was drawn."""
    outcome: Outcome | None
    """None if its loss was not finite before anything was learnt."""


@dataclass(frozen=True)
class SupervisedResult:
    """What the architecture learns from 1,000 labels alone."""

    trials: tuple[Trial, ...]
    """All of the search, by number."""
    best: Trial | None
    """The one of the lowest validation error, the paper's 28.87; None if no trial learnt anything."""
    file: str
    """Where finished trials are kept, one JSON object a line."""


def search_supervised(
    shape: ModelShape, data: SvhnData, settings: SvhnSettings, file: Path, reporter: Reporter
) -> SupervisedResult:
    """Train ``settings.trials`` networks, and find the one that does best on the validation images.

    A finished trial is a line of ``file``, and is not trained again by the next search with the same images,
    labels, architecture, seed and epochs. The caller holds the file's directory.
    """
    device = resolve_device(settings.device)
    rows = draw_labels(data.train, rng_of(settings.seed, Purpose.MEASURE, 0))
    lesson = Lesson(data.train.some(rows), data.validation, data.test, settings.epochs)
    search = _search_id(shape, lesson, settings.seed)
    done = {number: trial for number, trial in _read(file, search) if number < settings.trials}
    left = [number for number in range(settings.trials) if number not in done]
    workers = settings.workers if device.type == "cpu" else 1
    if left:
        hours = math.ceil(len(left) / workers) * _longest_trial(shape, lesson, device) / 3600
        reporter.say(
            f"{len(left)} of {settings.trials} trials are to be trained, {workers} at a time: "
            f"some {hours:.1f} h if none stops early"
        )
    with reporter.stage("trials", settings.trials, "trials") as stage:
        stage.advance(len(done), _note(done))
        tasks = [(shape, lesson, number, settings.seed, device) for number in left]
        for trial in run_tasks(_run_trial, tasks, workers):
            _append(file, {"search": search, **asdict(trial)})
            done[trial.number] = trial
            stage.advance(1, _note(done))
    return SupervisedResult(tuple(done[number] for number in sorted(done)), _best(done), str(file))


def draw_hyper_parameters(rng: np.random.Generator) -> HyperParameters:
    """Draw what the paper leaves open from the ranges above."""
    return HyperParameters(
        learning_rate=float(10 ** rng.uniform(-4, -2)),
        beta1=float(rng.choice([0.5, 0.9])),
        l2=float(10 ** rng.uniform(-6, -2)),
        batch_size=int(rng.choice([32, 64, 128])),
        dropout=float(rng.uniform(0, 0.7)),
    )


def _run_trial(shape: ModelShape, lesson: Lesson, number: int, seed: int, device: torch.device) -> Trial:
    rng = rng_of(seed, Purpose.TRIAL, number)
    hyper = draw_hyper_parameters(rng)
    return Trial(number, hyper, train_network(shape, lesson, hyper, int(rng.integers(2**31)), device))


def _best(trials: dict[int, Trial]) -> Trial | None:
    judged = [(trial.outcome.validation_error, number) for number, trial in trials.items() if trial.outcome]
    return trials[min(judged)[1]] if judged else None


def _note(trials: dict[int, Trial]) -> str:
    best = _best(trials)
    return f"lowest validation error {best.outcome.validation_error:.2f} %" if best and best.outcome else ""


def _search_id(shape: ModelShape, lesson: Lesson, seed: int) -> str:
    """A digest of all that a trial depends on beside its number."""
    digest = hashlib.sha256(json.dumps([asdict(shape), seed, lesson.epochs]).encode())
    for part in _parts(lesson):
        digest.update(part.images.data)
        digest.update(part.labels.data)
    return digest.hexdigest()[:16]


def _read(file: Path, search: str) -> Iterator[tuple[int, Trial]]:
    """The trials of this search; lines of others, and one that was cut off by a kill, are passed over."""
    if not file.exists():
        return
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = parse_json(line)
            if values.pop("search") == search:
                yield values["number"], _trial_of(values)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def _trial_of(values: dict[str, Any]) -> Trial:
    outcome = values["outcome"]
    hyper = HyperParameters(**values["hyper"])
    return Trial(values["number"], hyper, None if outcome is None else Outcome(**outcome))


def _append(file: Path, values: dict[str, Any]) -> None:
    with file.open("a+b") as lines:
        lines.seek(max(0, lines.tell() - 1))
        torn = lines.read() not in (b"", b"\n")
        lines.write((b"\n" if torn else b"") + json.dumps(values).encode() + b"\n")


def _longest_trial(shape: ModelShape, lesson: Lesson, device: torch.device) -> float:
    """Seconds that the longest trial would take, from those of a very short one."""
    train, validation, test = (part.some(np.arange(min(len(part), 256))) for part in _parts(lesson))
    short = Lesson(train, validation, test, epochs=1)
    hyper = HyperParameters(1e-3, 0.9, 0.0, 128, 0.0)
    for _ in range(2):  # the first one also loads and plans
        start = time.perf_counter()
        train_network(shape, short, hyper, 0, device)
        seconds = time.perf_counter() - start
    return seconds * _passes(lesson) / _passes(short)


def _passes(lesson: Lesson) -> int:
    """Images that go forward through the network; backward counts as twice as much."""
    train, validation, test = map(len, _parts(lesson))
    looks = math.ceil(lesson.epochs / VALIDATE_EVERY)
    return 3 * train * lesson.epochs + looks * (train + validation) + train + test


def _parts(lesson: Lesson) -> tuple[Labelled, Labelled, Labelled]:
    return lesson.train, lesson.validation, lesson.test
