"""What decoding takes is known before; large pictures are reduced on the way; half pictures are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan_data.ops import pillow_decoder
from dcgan_data.ops.decode import DecodeSettings, decode_square
from dcgan_data.ops.footprint import coefficient_bytes
from dcgan_data.ops.stored import BadImage

Picture = Callable[..., np.ndarray]
Encoded = Callable[..., bytes]
TO_32 = DecodeSettings(32)


def reason(data: bytes, settings: DecodeSettings = TO_32) -> str:
    with pytest.raises(BadImage) as caught:
        decode_square(data, settings)
    return caught.value.reason


@pytest.mark.parametrize(
    ("kind", "options", "refused"),
    [
        ("PNG", {}, False),
        ("JPEG", {}, False),
        ("WEBP", {"quality": 50}, False),
        ("WEBP", {"lossless": True, "exif": b"Exif\0\0II*\0" + bytes(8)}, True),
        ("AVIF", {}, True),
        ("JPEG2000", {}, True),
    ],
)
def test_formats_that_take_much_may_have_fewer_pixels(
    picture: Picture, encoded: Encoded, kind: str, options: dict[str, object], refused: bool
) -> None:
    data = encoded(np.zeros((320, 320, 3), np.uint8), kind, **options)
    limit = DecodeSettings(32, max_pixels=320 * 320)
    if refused:
        assert reason(data, limit).startswith("too_many_pixels: as ")
        assert reason(data, limit).endswith(" MB of memory, over 1")
    else:
        decode_square(data, limit)


def test_a_progressive_jpeg_takes_more(picture: Picture, encoded: Encoded) -> None:
    cmyk = Image.fromarray(picture(256, 256)).convert("CMYK")
    limit = DecodeSettings(256, max_pixels=256 * 256)
    decode_square(encoded(cmyk, "JPEG"), limit)
    assert reason(encoded(cmyk, "JPEG", progressive=True), limit).startswith(
        "too_many_pixels: as JPEG takes 1 MB"
    )


@pytest.mark.parametrize("odd", [b"\xff\x01", b"\xff\xd0", b"\xff\x00", b"\xff\xff", b"\xff\xfe\0\3-junk"])
def test_a_progressive_jpeg_does_not_hide_behind_odd_bytes(
    picture: Picture, encoded: Encoded, odd: bytes
) -> None:
    """libjpeg passes over all of these before a header segment, strictly or as Pillow has it."""
    data = encoded(picture(64, 64), "JPEG", progressive=True)
    odd_data = data[:2] + odd + data[2:]
    decode_square(odd_data, TO_32)
    assert coefficient_bytes(odd_data, 100) == coefficient_bytes(data, 100) == 200
    assert coefficient_bytes(encoded(picture(64, 64), "JPEG"), 100) == 0


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
@pytest.mark.parametrize("size", [(256, 256), (301, 263), (263, 777)])
def test_a_large_picture_looks_the_same(
    monkeypatch: pytest.MonkeyPatch,
    picture: Picture,
    encoded: Encoded,
    kind: str,
    options: dict[str, object],
    size: tuple[int, int],
) -> None:
    data = encoded(Image.fromarray(picture(*size)).convert("RGBA"), kind, **options)
    whole = decode_square(data, TO_32)
    monkeypatch.setattr(pillow_decoder, "_MANY_PIXELS", 1000)
    reduced = decode_square(data, TO_32)
    assert reduced.box == whole.box
    assert np.abs(reduced.pixels.astype(int) - whole.pixels).max() <= 2


def test_a_cmyk_jpeg_is_read_strictly(picture: Picture, encoded: Encoded) -> None:
    data = encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG")
    decode_square(data, TO_32)
    assert reason(data[: len(data) // 2]).startswith("truncated: ")


def test_a_tiff_that_libtiff_complains_of(
    picture: Picture, encoded: Encoded, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = encoded(Image.fromarray(picture()).convert("1"), "TIFF", compression="group4")
    decode_square(whole, TO_32)
    place = whole.index(b"II*\0") + 60
    assert reason(whole[:place] + b"\xaa" * 40 + whole[place + 40 :]).startswith("corrupt: Fax4Decode: ")
    assert capfd.readouterr().err == ""


STARVED = """
import resource, sys
from pathlib import Path
from dcgan_data.ops.decode import DecodeSettings, decode_square
from dcgan_data.ops.stored import BadImage

decode_square(Path(sys.argv[1]).read_bytes(), DecodeSettings(32))  # whatever is loaded late is loaded now
data = Path(sys.argv[2]).read_bytes()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 5_000_000, used + 5_000_000))
try:
    decode_square(data, DecodeSettings(2000))
except MemoryError:
    print("too little memory")
except BadImage as bad:
    print(bad.reason)
"""


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("BMP", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("JPEG2000", {}),
    ],
)
def test_too_little_memory_says_nothing_about_a_picture(
    tmp_path: Path, encoded: Encoded, kind: str, options: dict[str, object]
) -> None:
    for name, side in {"small": 64, "large": 2500}.items():
        picture = np.zeros((side, side, 3), np.uint8)
        (tmp_path / name).write_bytes(encoded(picture, kind, **options))
    script = [sys.executable, "-c", STARVED, str(tmp_path / "small"), str(tmp_path / "large")]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout == "too little memory\n", done.stderr
