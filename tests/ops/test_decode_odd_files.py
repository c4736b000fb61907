"""Odd and broken files as they are found in the wild; skipped where that collection is not at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dcgan_data.ops.decode import DecodedImage, DecodeSettings, decode_square
from dcgan_data.ops.stored import BadImage

ODD_FILES = Path(__file__).parents[2].parent / "shared" / "data" / "odd"

REJECTED = {
    "cut_half.jpg": "truncated: Premature end of JPEG file",
    "decompression_bomb.gif": "too_many_pixels",
    "empty.jpg": "empty",
    "header_only.jpg": "not_an_image: no supported format in its first bytes",
    "html.jpg": "not_an_image: no supported format in its first bytes",
    "png_decompression_dos.png": "corrupt: Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK",
    "text.jpg": "not_an_image: no supported format in its first bytes",
    "truncated_image.png": "truncated: image file is truncated",
    "truncated_jpeg.jpg": "truncated: Premature end of JPEG file",
}
DECODED = (
    "junk_jpeg_header.jpg",
    "pil_sample_cmyk.jpg",
    "hopper_16bit.pgm",
    "transparent.webp",
    "invalid-exif.jpg",
)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, DecodedImage | str]:
    """Decoded image or reason, by file name; anything raised but BadImage fails."""
    if not ODD_FILES.is_dir():
        pytest.skip(f"needs the odd files in {ODD_FILES}")
    found: dict[str, DecodedImage | str] = {}
    for path in sorted(ODD_FILES.iterdir()):
        try:
            found[path.name] = decode_square(path.read_bytes(), DecodeSettings(32))
        except BadImage as bad:
            found[path.name] = bad.reason
    return found


def test_every_file_has_an_outcome(outcomes: dict[str, DecodedImage | str]) -> None:
    assert len(outcomes) == 85
    assert {name: outcomes[name] for name in REJECTED} == REJECTED
    assert not [name for name in DECODED if isinstance(outcomes[name], str)]


@pytest.mark.parametrize(("kind", "size"), [("Landscape", (1800, 1200)), ("Portrait", (1200, 1800))])
def test_all_orientations_show_one_picture(
    outcomes: dict[str, DecodedImage | str], kind: str, size: tuple[int, int]
) -> None:
    images = [outcomes[f"exif_{kind}_{orientation}.jpg"] for orientation in range(1, 9)]
    first = images[0]
    assert isinstance(first, DecodedImage)
    for image in images:
        assert isinstance(image, DecodedImage)
        assert (image.width, image.height) == size
        difference = abs(image.pixels.astype(int) - first.pixels).mean()
        # 600 spare pixels are 75 blocks: the box lies half a block to the right, if mirrored to the left.
        shift = sum(np.abs(np.subtract(image.box, first.box)))
        assert shift in (0, 8)
        assert difference < (5 if shift else 0.5)  # a wrong orientation differs by over 20


def test_turned_portraits_show_one_picture(outcomes: dict[str, DecodedImage | str]) -> None:
    upright = outcomes["hopper.jpg"]
    for orientation in range(2, 9):
        turned = outcomes[f"hopper_orientation_{orientation}.jpg"]
        assert isinstance(upright, DecodedImage) and isinstance(turned, DecodedImage)
        assert abs(upright.pixels.astype(int) - turned.pixels).mean() < 3
