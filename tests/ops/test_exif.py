"""The orientation tag, from whole and from damaged EXIF blocks."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcgan_data.ops.exif import exif_orientation, jpeg_orientation

ORIENTATION, SHORT, LONG = 0x0112, 3, 4


def exif_block(orientation: int, order: str = "<", kind: int = SHORT, header: bytes = b"Exif\0\0") -> bytes:
    """A TIFF directory of three tags, the orientation between the others."""
    entries = (
        struct.pack(f"{order}HHII", 0x0100, LONG, 1, 640),
        struct.pack(f"{order}HHIHH", ORIENTATION, kind, 1, orientation, 0),
        struct.pack(f"{order}HHII", 0x0132, LONG, 1, 7),
    )
    magic = b"II" if order == "<" else b"MM"
    start = struct.pack(f"{order}HI", 42, 8)
    return header + magic + start + struct.pack(f"{order}H", len(entries)) + b"".join(entries)


def jpeg_with(segment: bytes, before: bytes = b"") -> bytes:
    """The first bytes of a JPEG with an APP1 segment, and a scan that looks like EXIF again."""
    app1 = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    decoy = exif_block(3)
    return b"\xff\xd8" + before + app1 + b"\xff\xda\x00\x02" + b"\xff\xe1" + b"\x01\x00" + decoy


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("header", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_reads_both_byte_orders(orientation: int, header: bytes, order: str) -> None:
    assert exif_orientation(exif_block(orientation, order, header=header)) == orientation


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0XX" + exif_block(6)[8:],
        exif_block(0),
        exif_block(9),
        exif_block(6, kind=LONG),
        b"II" + struct.pack("<HI", 42, 2**31),
        b"MM" + struct.pack(">HI", 42, 8) + struct.pack(">H", 65535),
    ],
    ids=["nothing", "header", "order", "zero", "nine", "type", "offset", "count"],
)
def test_damaged_block_means_upright(block: bytes) -> None:
    assert exif_orientation(block) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_every_cut_of_a_block_is_read_or_upright(order: str) -> None:
    block = exif_block(6, order)
    found = [exif_orientation(block[:length]) for length in range(len(block))]
    assert set(found) == {1, 6}
    assert found[0] == 1
    assert found[-1] == 6  # the last tag is not needed


@given(st.binary(max_size=200))
def test_never_fails_on_any_bytes(data: bytes) -> None:
    assert 1 <= exif_orientation(b"Exif\0\0MM" + data) <= 8
    assert 1 <= jpeg_orientation(b"\xff\xd8\xff\xe1" + data + b"Exif\0\0II" + data) <= 8


def test_jpeg_segment_is_found_behind_others() -> None:
    jfif = b"\xff\xe0\x00\x10JFIF\0" + bytes(9)
    assert jpeg_orientation(jpeg_with(exif_block(6), before=jfif)) == 6


def test_jpeg_scan_is_not_searched() -> None:
    assert jpeg_orientation(jpeg_with(b"http://ns.adobe.com/xap/1.0/\0")) == 1


def test_jpeg_without_metadata(picture: Callable[..., np.ndarray], encoded: Callable[..., bytes]) -> None:
    assert jpeg_orientation(encoded(picture(), "JPEG")) == 1
    assert jpeg_orientation(encoded(picture(), "JPEG", exif=exif_block(8))) == 8
