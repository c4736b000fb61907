"""The log for TensorBoard, read back with TensorBoard's own reader."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcgan_data.errors import BadRequest
from dcgan_data.train.tensorboard import TensorBoardLog

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None
    and not os.environ.get("CI"),  # there it must not be absent
    reason="tensorboard is not installed: pip install 'dcgan-data[tensorboard]'",
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TensorBoardLog]:
    opened = TensorBoardLog(tmp_path, step=0)
    yield opened
    opened.close()


def read_back(run_dir: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    everything = {"images": 0, "scalars": 0, "tensors": 0}  # not a sample of it
    found = EventAccumulator(str(run_dir / "tensorboard"), size_guidance=everything)
    found.Reload()
    return found


def points(run_dir: Path, tag: str) -> list[tuple[int, float]]:
    return [(point.step, round(point.value, 4)) for point in read_back(run_dir).Scalars(tag)]


@needs_tensorboard
def test_what_is_logged_comes_back(tmp_path: Path, log: TensorBoardLog) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    log.scalars(
        {"step": 10, "epoch": 1, "loss_d": 0.5, "loss_g": None, "p_real": 0.75, "images_per_s": 900.0}
    )
    log.scalars(
        {"step": 20, "epoch": 2, "loss_d": 0.25, "loss_g": 2, "nnd_1000": 9.5, "spread": 0.8, "fid": 40.0}
    )
    log.grid(20, pixels)
    log.event(20, "collapse", "the samples are alike")
    log.close()
    assert points(tmp_path, "loss/discriminator") == [(10, 0.5), (20, 0.25)]
    assert points(tmp_path, "loss/generator") == [(20, 2.0)]
    assert points(tmp_path, "taken_for_real/real") == [(10, 0.75)]
    assert points(tmp_path, "speed/images_per_s") == [(10, 900.0)]
    assert points(tmp_path, "nearest_sample/of_1000") == [(20, 9.5)]
    assert points(tmp_path, "fid") == [(20, 40.0)]
    found = read_back(tmp_path)
    assert set(found.Tags()["scalars"]) == {
        "fid",
        "loss/discriminator",
        "loss/generator",
        "nearest_sample/of_1000",
        "samples/spread",
        "speed/epoch",
        "speed/images_per_s",
        "taken_for_real/real",
    }
    (image,) = found.Images("samples/grid")
    assert image.step == 20
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image.encoded_image_string))), pixels)
    (text,) = found.Tensors("events/text_summary")
    assert text.tensor_proto.string_val == [b"collapse: the samples are alike"]


def log_steps(log: TensorBoardLog, steps: range, loss: float) -> None:
    for step in steps:
        log.scalars({"step": step, "loss_d": loss})
        log.grid(step, np.full((2, 2, 3), int(loss), np.uint8))


@needs_tensorboard
def test_steps_that_are_trained_again_show_once(tmp_path: Path) -> None:
    killed = TensorBoardLog(tmp_path, step=0)
    log_steps(killed, range(1, 6), 1.0)
    killed.close()
    resumed = TensorBoardLog(tmp_path, step=3)
    log_steps(resumed, range(4, 8), 2.0)
    resumed.close()
    assert points(tmp_path, "loss/discriminator") == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 2)]
    assert [image.step for image in read_back(tmp_path).Images("samples/grid")] == [1, 2, 3, 4, 5, 6, 7]


@needs_tensorboard
def test_a_run_that_starts_again_hides_all_of_before(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        log = TensorBoardLog(tmp_path, step=0)
        log_steps(log, range(1, 3), loss)
        log.close()
    assert points(tmp_path, "loss/discriminator") == [(1, 2), (2, 2)]


@needs_tensorboard
def test_a_rollback_within_a_session(tmp_path: Path, log: TensorBoardLog) -> None:
    log_steps(log, range(1, 6), 1.0)
    log.return_to(2)
    log_steps(log, range(3, 5), 2.0)
    log.close()
    assert points(tmp_path, "loss/discriminator") == [(1, 1), (2, 1), (3, 2), (4, 2)]


@needs_tensorboard
def test_a_log_that_was_cut_short_is_continued(tmp_path: Path) -> None:
    killed = TensorBoardLog(tmp_path, step=0)
    log_steps(killed, range(1, 6), 1.0)
    killed.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-7])
    resumed = TensorBoardLog(tmp_path, step=2)
    log_steps(resumed, range(3, 5), 2.0)
    resumed.close()
    assert points(tmp_path, "loss/discriminator") == [(1, 1), (2, 1), (3, 2), (4, 2)]


@needs_tensorboard
def test_nothing_is_left_behind(tmp_path: Path) -> None:
    TensorBoardLog(tmp_path, step=0).close()  # what is imported only once is imported now
    threads, handlers = set(threading.enumerate()), logging.root.handlers[:]
    filters = warnings.filters[:]
    log = TensorBoardLog(tmp_path, step=0)
    log.scalars({"step": 1, "loss_d": 0.5})
    log.close()
    assert set(threading.enumerate()) == threads
    assert (logging.root.handlers, warnings.filters) == (handlers, filters)
    assert {path.name for path in tmp_path.iterdir()} == {"tensorboard"}


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadRequest) as caught:
        TensorBoardLog(tmp_path, step=0)
    assert str(caught.value) == (
        "--tensorboard: tensorboard not installed; "
        "pip install 'dcgan-data[tensorboard]', or leave --tensorboard out"
    )
    assert not list(tmp_path.iterdir())


def test_the_package_is_not_loaded_before_it_is_wanted() -> None:
    script = "import sys, dcgan_data.train.tensorboard; print('tensorboard' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
