"""Both kinds of PNG hold exactly the pixels."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image

from dcgan_data.export.png import encode_png, stored_png

Encode = Callable[[np.ndarray], bytes]


@pytest.mark.parametrize("encode", [encode_png, stored_png])
@pytest.mark.parametrize("side", [1, 32, 256])  # 256: more than one stored block
def test_pixels_survive(encode: Encode, side: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    data = encode(pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG" and image.mode == "RGB"
        assert np.array_equal(np.asarray(image), pixels)
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], pixels)


def test_a_stored_png_is_not_compressed() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[1, 0] = 7, 8, 9
    lines = b"\0" + bytes(6) + b"\0" + bytes([7, 8, 9, 0, 0, 0])
    data = stored_png(pixels)
    assert lines in data  # as they are
    assert zlib.decompress(data[data.index(b"IDAT") + 4 : -16]) == lines
    assert len(stored_png(np.zeros((64, 64, 3), np.uint8))) > 64 * 64 * 3
    assert len(encode_png(np.zeros((64, 64, 3), np.uint8))) < 300


def test_a_view_of_larger_pixels(picture: Callable[..., np.ndarray]) -> None:
    view = picture(64, 64)[::2, ::2]
    for encode in (encode_png, stored_png):
        with Image.open(io.BytesIO(encode(view))) as image:
            assert np.array_equal(np.asarray(image), view)
