"""Walks: the right images in all four files, warnings, moving pictures that play, and refusals."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dcgan_data.cli_latent import latent_app
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.evaluate.latent.animation import write_gif, write_video
from dcgan_data.evaluate.latent.tables import walk_table
from dcgan_data.evaluate.latent.walk import WalkResult, WalkSettings, walk, walk_figure
from dcgan_data.reporter import SilentReporter
from dcgan_data.train.sample import Sampler, open_sampler

Paints = Callable[..., Sampler]
SHORT = {"points": 3, "frames": 8, "device": "cpu"}


def go(run: Path, reporter: Any, **settings: Any) -> WalkResult:
    return walk(run, WalkSettings(**{**SHORT, **settings}), reporter)


def film(path: str | None) -> list[np.ndarray]:
    assert path
    video = cv2.VideoCapture(path)
    frames: list[np.ndarray] = []
    while True:
        there, frame = video.read()
        if not there:
            return frames
        frames.append(frame[..., ::-1])


@pytest.fixture(scope="module")
def walked(texture_run: Path, tmp_path_factory: pytest.TempPathFactory) -> WalkResult:
    """A walk past three points."""
    return go(texture_run, SilentReporter(), out=tmp_path_factory.mktemp("walk"))


LEFT, TOP, TALL, SIDE = 62, 47, 138, 128
"""Where the picture's first image is, pixels from row to row, and the side of a 32-pixel image."""


def shown(picture: str, row: int, column: int) -> np.ndarray:
    """uint8 (32, 32, 3): one image of the picture, which has every pixel of it as 4 x 4."""
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    large = pixels[TOP + row * TALL :, LEFT + column * SIDE :][:SIDE, :SIDE]
    assert np.array_equal(large, large[::4, ::4].repeat(4, axis=0).repeat(4, axis=1))
    return large[::4, ::4]


def test_rows_go_from_one_numbered_sample_to_the_next(walked: WalkResult, texture_run: Path) -> None:
    sampler = open_sampler(texture_run, device="cpu")
    z = sampler.latents([0, 1, 2])
    samples, halves = sampler.images(z), sampler.images((z + z.roll(-1, 0)) / 2)
    for row in range(3):
        assert np.array_equal(shown(walked.picture, row, 0), samples[row])
        assert np.abs(shown(walked.picture, row, 4).astype(int) - halves[row]).max() <= 1
        assert np.array_equal(shown(walked.picture, row, 8), samples[(row + 1) % 3])
    assert (walked.interpolation, walked.step, walked.warnings) == ("linear", 2, ())
    assert [(part.start, part.end) for part in walked.smoothness.segments] == [(0, 1), (1, 2), (2, 0)]
    assert json.loads(Path(walked.file).read_text()) == json.loads(json.dumps(asdict(walked)))


def test_the_video_and_the_gif_show_the_walk(walked: WalkResult) -> None:
    frames = film(walked.video)
    assert len(frames) == 24 and frames[0].shape == (256, 256, 3)
    for place in (0, 8, 20):
        row, column = divmod(place, 8)
        image = shown(walked.picture, row, column).repeat(8, axis=0).repeat(8, axis=1)
        assert np.abs(frames[place].astype(int) - image).mean() < 6
    with Image.open(walked.animation) as gif:
        assert (gif.size, gif.info["loop"], gif.info["duration"]) == ((128, 128), 0, 80)
        assert getattr(gif, "n_frames", 1) == 12
        gif.seek(4)
        found = np.asarray(gif.convert("RGB"))[::4, ::4]
        assert np.abs(found.astype(int) - shown(walked.picture, 1, 0)).mean() < 6


def test_moving_pictures_keep_red_red(tmp_path: Path) -> None:
    red = np.tile(np.array([230, 20, 10], np.uint8), (4, 32, 32, 1))
    assert write_video(tmp_path / "red.mp4", red)
    write_gif(tmp_path / "red.gif", red)
    assert np.abs(film(str(tmp_path / "red.mp4"))[2].astype(int) - red[0, 0, 0]).max() < 12
    with Image.open(tmp_path / "red.gif") as opened:
        gif = np.asarray(opened.convert("RGB"))
    assert np.abs(gif.astype(int) - red[0, 0, 0]).max() < 12


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(
    walked: WalkResult, texture_run: Path, reporter: Any, tmp_path: Path
) -> None:
    again = go(texture_run, reporter, out=tmp_path / "again")
    other = go(texture_run, reporter, out=tmp_path / "other", seed=1, points=2)
    for ending in (".png", ".gif", ".mp4"):
        one, two, three = (Path(r.picture).with_suffix(ending).read_bytes() for r in (walked, again, other))
        assert one == two != three
    assert walked.smoothness == again.smoothness
    assert walked.smoothness.segments[0] != other.smoothness.segments[0]
    assert reporter.stages == {"draw": 16}


def test_a_generator_that_memorised_is_warned_of(
    run: Path, reporter: Any, paints: Paints, plain: Any, tmp_path: Path
) -> None:
    paints(lambda z: plain(np.where(z[:, 0] > 0, 0.8, np.where(z[:, 1] > 0, 0, -0.8))))
    result = go(run, reporter, points=9, out=tmp_path / "walk")
    assert result.smoothness.sharp and result.smoothness.unchanging
    sharp = result.smoothness.sharp
    worst = max(sharp, key=lambda part: part.score or 0)
    assert result.warnings[0] == (
        f"{len(sharp)} of 9 segments have a sharp transition, the sharpest from sample {worst.start} to "
        f"{worst.end}: step {worst.at + 1} of 8 changes 8.0 times as much as the mean one (limit 2.8); the "
        "paper takes sharp transitions for a sign of memorisation"
    )
    assert "nothing changes from sample" in result.warnings[-1]
    assert f"warning: {result.warnings[0]}" in walk_table(result)
    assert walk_figure(result).warnings == result.warnings


def test_a_smooth_generator_is_not(run: Path, reporter: Any, paints: Paints, plain: Any) -> None:
    paints(lambda z: plain(np.tanh(z.sum(axis=1))))
    result = go(run, reporter, points=4)
    assert not result.warnings
    assert "no sharp transition; that does not prove that nothing was memorised" in walk_table(result)
    figure = walk_figure(result)
    assert figure.paper == "section 6.1, figure 4" and not figure.warnings
    assert [path.exists() for path in figure.pictures] == [True, True]
    assert dict(figure.numbers)["the same of a jump"] == "8"


def test_a_collapsed_generator_is_warned_of(run: Path, reporter: Any, paints: Paints, plain: Any) -> None:
    paints(lambda z: plain(np.zeros(len(z))))
    result = go(run, reporter)
    (warning,) = result.warnings
    assert warning.startswith(
        "nothing changes from sample 0 to 1, sample 1 to 2, sample 2 to 0: the generator"
    )
    assert len(film(result.video)) == 24
    assert "0 to 1" in walk_table(result) and "worst segment" not in walk_table(result)
    assert walk_figure(result).warnings == result.warnings


def test_without_an_encoder_there_is_still_the_gif(
    run: Path, reporter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoWriter:
        """As OpenCV's, where it finds no encoder: takes frames and writes nothing."""

        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, *_: Any) -> None: ...

        def write(self, frame: np.ndarray) -> None: ...

        def release(self) -> None: ...

    monkeypatch.setattr("dcgan_data.evaluate.latent.animation.cv2.VideoWriter", NoWriter)
    result = go(run, reporter)
    assert result.video is None and not (run / "walk" / "step-000002.mp4").exists()
    assert result.warnings == ("no video: this OpenCV cannot write VP9; the GIF shows the same",)
    assert walk_figure(result).pictures == (Path(result.picture), Path(result.animation))


def test_a_file_with_normal_latent_vectors_is_walked_on_great_circles(
    model_file: Path, reporter: Any
) -> None:
    result = go(model_file, reporter, points=2)
    assert (result.interpolation, result.step) == ("slerp", None)
    assert Path(result.picture) == model_file.parent / "model-walk" / "model.png"
    line = go(model_file, reporter, points=2, interpolation="linear", out=model_file.parent / "line")
    assert line.interpolation == "linear" and line.smoothness != result.smoothness


def test_refusals(run: Path, reporter: Any, tmp_path: Path) -> None:
    for changes, message in (
        ({"points": 1}, "--points 1: a walk has 2 or more"),
        ({"frames": 7}, "--frames 7: expected 8 to 240"),
        ({"frames": 241}, "--frames 241: expected 8 to 240"),
        ({"points": 100, "frames": 100}, "--points 100 with --frames 100: 10,000 images, at most 4,096"),
        ({"seed": -1}, "--seed -1: expected 0 or more"),
        ({"interpolation": "cubic"}, "--interpolation cubic: choose linear or slerp"),
    ):
        with pytest.raises(BadRequest, match=message):
            WalkSettings(**{**SHORT, **changes})
    with pytest.raises(BadRequest, match=r"uniform on .*; use linear"):
        go(run, reporter, interpolation="slerp")
    with pytest.raises(BadInput, match="nowhere: not a run directory"):
        go(tmp_path / "nowhere", reporter)
    with pytest.raises(BadInput, match=r"none.safetensors: no such file"):
        go(tmp_path / "none.safetensors", reporter)
    (tmp_path / "file").touch()
    with pytest.raises(BadRequest, match=r"cannot be written .*; choose another --out"):
        go(run, reporter, out=tmp_path / "file" / "walk")


def test_the_command_prints_a_table_or_json(run: Path, paints: Paints, plain: Any) -> None:
    paints(lambda z: plain(np.tanh(z.sum(axis=1))))
    arguments = ["walk", str(run), "--points", "2", "--frames", "8"]
    done = CliRunner().invoke(latent_app, arguments)
    assert done.exit_code == 0, done.output
    assert "seed 0: linear walk, 8 steps a segment" in done.output
    assert "a cross-fade has 1, a jump 8; above 2.83 a transition is sharp" in done.output
    done = CliRunner().invoke(latent_app, [*arguments, "--json"])
    assert json.loads(done.stdout)["smoothness"]["steps"] == 8


def test_a_browser_plays_the_video(walked: WalkResult, browser: Any, tmp_path: Path) -> None:
    """To its end, and the last frame that it decoded is the walk's."""
    data = base64.b64encode(Path(str(walked.video)).read_bytes()).decode()
    page = tmp_path / "page.html"
    page.write_text(
        f"""<!doctype html><meta charset=utf-8><video muted src="data:video/mp4;base64,{data}"></video>"""
    )
    browser.open(page.as_uri())
    browser.until("document.querySelector('video').readyState >= 2")
    shape = "(v => [v.videoWidth, v.videoHeight, v.duration])(document.querySelector('video'))"
    assert browser.evaluate(shape) == [256, 256, pytest.approx(1)]
    browser.evaluate("document.querySelector('video').play()")
    browser.until("document.querySelector('video').ended")
    decoded = browser.evaluate(
        """(() => { const canvas = document.createElement("canvas"); canvas.width = canvas.height = 32;
        const pen = canvas.getContext("2d"); pen.drawImage(document.querySelector("video"), 0, 0, 32, 32);
        return Array.from(pen.getImageData(0, 0, 32, 32).data) })()"""
    )
    pixels = np.array(decoded).reshape(32, 32, 4)[..., :3]
    assert np.abs(pixels - shown(walked.picture, 2, 7)).mean() < 8
    assert browser.complaints() == []
