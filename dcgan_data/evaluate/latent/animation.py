"""A walk as moving pictures: VP9 in MP4, which today's browsers play, and GIF, which everything shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image

from dcgan_data.evaluate.latent.drawing import enlarged
from dcgan_data.formats.atomic import atomic_path

FRAMES_A_SECOND = 24
_CODEC = "vp09"
"""OpenCV's packages write VP9 and MPEG-4 part 2, but neither H.264 nor AV1; browsers do not play part 2."""
_VIDEO_SIDE, _GIF_SIDE = 256, 128
_GIF_EVERY = 2
"""Frames of the video for one of the GIF, which is large enough as it is."""
_GIF_MS = 80
"""Milliseconds a frame: whole hundredths of a second, and as long as the video within 4 %."""


def write_video(path: Path, frames: np.ndarray) -> bool:
    """Write uint8 (N, S, S, 3) as MP4, enlarged to 256 pixels; False if this OpenCV has no encoder for it."""
    with TemporaryDirectory() as scratch:
        # OpenCV chooses the format by the ending, which a temporary name of ours does not have.
        made = Path(scratch) / "walk.mp4"
        writer = cv2.VideoWriter(
            str(made), cv2.VideoWriter.fourcc(*_CODEC), FRAMES_A_SECOND, (_VIDEO_SIDE, _VIDEO_SIDE)
        )
        for frame in frames:
            writer.write(np.asarray(enlarged(frame, _VIDEO_SIDE))[..., ::-1].copy())
        writer.release()
        if _frames_in(made) != len(frames):  # OpenCV does not say whether it could write
            return False
        with atomic_path(path) as temporary:
            shutil.copyfile(made, temporary)
    return True


def _frames_in(path: Path) -> int:
    if not path.exists():
        return 0
    video = cv2.VideoCapture(str(path))
    count = 0
    while video.grab():
        count += 1
    video.release()
    return count


def write_gif(path: Path, frames: np.ndarray) -> None:
    """Write every second of uint8 (N, S, S, 3) as a GIF that starts again at its end, at most 128 pixels."""
    first, *others = _palette_images(frames)
    with atomic_path(path) as temporary:
        first.save(temporary, "GIF", save_all=True, append_images=others, duration=_GIF_MS, loop=0)


def _palette_images(frames: np.ndarray) -> Iterator[Image.Image]:
    side = frames.shape[1] * max(1, _GIF_SIDE // frames.shape[1])
    for frame in frames[::_GIF_EVERY]:
        # A palette for each frame, no dithering: its grain would flicker.
        yield (
            Image.fromarray(frame)
            .quantize(256, dither=Image.Dither.NONE)
            .resize((side, side), Image.Resampling.NEAREST)
        )
