"""Ways to damage a file, every one the same for the same seed; pictures in many encodings to damage; and what
must hold whenever a damaged file is read."""

from __future__ import annotations

import copy
import io
import json
import re
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from dcgan_data.errors import DcganDataError

Random = np.random.Generator
Mutation = Callable[[Random, bytes, bytes], bytes]
"""Damages the first file; the second one is another that parts may be taken from."""
Read = Callable[[bytes], object]
"""Puts a damaged file in its place, and reads it as a command does."""
MOST_BYTES, MOST_S = 400_000_000, 10.0
"""Of memory beside what the process had, and of processor time: no file of a few kilobytes takes more."""
_EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def flip_bits(rng: Random, data: bytes, other: bytes) -> bytes:
    found = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 9)):
        found[place] ^= 1 << rng.integers(8)
    return bytes(found)


def flip_header_bits(rng: Random, data: bytes, other: bytes) -> bytes:
    head = min(len(data), 128)
    return flip_bits(rng, data[:head], other) + data[head:]


def cut(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.integers(0, len(data))]


def cut_out(rng: Random, data: bytes, other: bytes) -> bytes:
    start, end = np.sort(rng.integers(0, len(data), 2))
    return data[:start] + data[end:]


def splice(rng: Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.integers(0, len(data))] + other[rng.integers(0, len(other)) :]


def wrong_header(rng: Random, data: bytes, other: bytes) -> bytes:
    length = rng.integers(2, 33)
    return other[:length] + data[length:]


def insert_noise(rng: Random, data: bytes, other: bytes) -> bytes:
    place = rng.integers(0, len(data))
    return data[:place] + rng.bytes(rng.integers(1, 65)) + data[place:]


def overwrite_noise(rng: Random, data: bytes, other: bytes) -> bytes:
    place, length = rng.integers(0, len(data)), rng.integers(1, 65)
    return data[:place] + rng.bytes(length) + data[place + length :]


def zero_run(rng: Random, data: bytes, other: bytes) -> bytes:
    place, length = rng.integers(0, len(data)), rng.integers(1, 513)
    return data[:place] + bytes(len(data[place : place + length])) + data[place + length :]


def repeat_run(rng: Random, data: bytes, other: bytes) -> bytes:
    start, end = np.sort(rng.integers(0, len(data), 2))
    return data[:end] + data[start:end] * int(rng.integers(1, 4)) + data[end:]


def swap_runs(rng: Random, data: bytes, other: bytes) -> bytes:
    a, b, c = np.sort(rng.integers(0, len(data), 3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def add_garbage(rng: Random, data: bytes, other: bytes) -> bytes:
    return data + (rng.bytes(rng.integers(1, 4096)) if rng.integers(2) else other)


def extreme_number(rng: Random, data: bytes, other: bytes) -> bytes:
    """Somewhere, more often near one of the ends, a number is as large or as small as it can be."""
    found = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        reach = min(len(data), int(rng.choice([64, 512, len(data)])))
        place = int(rng.integers(0, reach))
        place = len(data) - 1 - place if rng.integers(3) == 0 else place
        width = int(rng.choice([1, 2, 4, 8]))
        value = int(_EXTREMES[rng.integers(len(_EXTREMES))]) % 256**width
        number = value.to_bytes(width, "little" if rng.integers(2) else "big")
        found[place : place + width] = number[: len(found) - place]
    return bytes(found)


MUTATIONS: dict[str, Mutation] = {
    "bits flipped": flip_bits,
    "bits of the header flipped": flip_header_bits,
    "cut short": cut,
    "a part cut out": cut_out,
    "two files spliced": splice,
    "another file's header": wrong_header,
    "noise inserted": insert_noise,
    "noise written over": overwrite_noise,
    "a run of zeros": zero_run,
    "a part repeated": repeat_run,
    "two parts swapped": swap_runs,
    "garbage behind the end": add_garbage,
    "extreme numbers": extreme_number,
}


def chunks(data: bytes) -> list[bytes]:
    """The parts that a PNG, a WebP or a JPEG is made of; anything else is one part."""
    if data[:4] == b"\x89PNG":
        return [data[:8], *_png_chunks(data)]
    if data[:4] == b"RIFF":
        return [data[:12], *_riff_chunks(data)]
    if data[:2] == b"\xff\xd8":
        return [data[:2], *_jpeg_segments(data)]
    return [data]


def _png_chunks(data: bytes) -> Iterator[bytes]:
    place = 8
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        yield data[place:end]
        place = end


def _riff_chunks(data: bytes) -> Iterator[bytes]:
    place = 12
    while place < len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        end = place + 8 + size + size % 2
        yield data[place:end]
        place = end


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        yield data[place:end]
        place = end
    yield data[place:]  # the first scan, and all after it


def rearrange_chunks(rng: Random, data: bytes, other: bytes) -> bytes:
    """Chunks or marker segments swapped, repeated, lost, or taken from another file."""
    first, *parts = chunks(data)
    if not parts:
        return repeat_run(rng, data, other)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(parts)))
        match rng.integers(5):
            case 0:
                second = int(rng.integers(len(parts)))
                parts[place], parts[second] = parts[second], parts[place]
            case 1:
                parts.insert(int(rng.integers(len(parts) + 1)), parts[place])
            case 2:
                parts[place : place + 1] = [parts[place]] * int(rng.integers(2, 300))
            case 3 if len(parts) > 1:
                del parts[place]
            case _:
                foreign = chunks(other)
                parts.insert(place, foreign[rng.integers(len(foreign))])
    return _mended(first + b"".join(parts))


def change_within_chunk(rng: Random, data: bytes, other: bytes) -> bytes:
    """Noise inside a chunk whose length and checksum are right, so that it is looked at."""
    first, *parts = chunks(data)
    if not parts:
        return overwrite_noise(rng, data, other)
    place = int(rng.integers(len(parts)))
    head, tail = (8, 4) if data[:4] == b"\x89PNG" else (8, 0) if data[:4] == b"RIFF" else (4, 0)
    body = parts[place][head : len(parts[place]) - tail]
    if body:
        body = (flip_bits, extreme_number)[rng.integers(2)](rng, body, other)
        parts[place] = parts[place][:head] + body + parts[place][len(parts[place]) - tail :]
    return _mended(first + b"".join(parts))


def _mended(data: bytes) -> bytes:
    """With right checksums (PNG) and a right length (WebP): damage that no sum gives away."""
    if data[:4] == b"\x89PNG":
        summed = (chunk[:-4] + struct.pack(">I", zlib.crc32(chunk[4:-4])) for chunk in _png_chunks(data))
        return data[:8] + b"".join(summed)
    if data[:4] == b"RIFF":
        return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    return data


def wrong_dimensions(rng: Random, data: bytes, other: bytes) -> bytes:
    """Width or height as the header says it: none, one, some more, huge."""
    wide = int(rng.choice([0, 1, 31, 97, 4000, 16383, 32767, 65535, 2**24, 2**31 - 1, 2**32 - 1]))
    found = bytearray(data)
    for place, width, order in _dimension_fields(data):
        if rng.integers(2):
            found[place : place + width] = (wide % 256**width).to_bytes(width, order)
    return _mended(bytes(found))


def _dimension_fields(data: bytes) -> list[tuple[int, int, Any]]:
    """Place, length and byte order of each."""
    if data[:4] == b"\x89PNG":
        return [(16, 4, "big"), (20, 4, "big")]
    if data[:3] == b"GIF":
        frame = data.find(b"\x2c", 13)
        return [(6, 2, "little"), (8, 2, "little"), (frame + 5, 2, "little"), (frame + 7, 2, "little")]
    if data[:2] == b"BM":
        return [(18, 4, "little"), (22, 4, "little")]
    if data[:4] == b"RIFF":
        extended = data[12:16] == b"VP8X"
        return [(24, 3, "little"), (27, 3, "little")] if extended else [(26, 2, "little"), (28, 2, "little")]
    if data[:2] in (b"II", b"MM"):
        return list(_tiff_numbers(data))
    frames = [data.find(b"\xff" + bytes([marker])) for marker in (0xC0, 0xC1, 0xC2)]
    frame = max(frames)
    return [(frame + 5, 2, "big"), (frame + 7, 2, "big")] if frame >= 0 else []


def _tiff_numbers(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """The values of width, height, rows a strip, tile width, tile height, samples and bits a pixel."""
    order: Any = "little" if data[:2] == b"II" else "big"
    start = int.from_bytes(data[4:8], order)
    for entry in range(int.from_bytes(data[start : start + 2], order)):
        place = start + 2 + 12 * entry
        if int.from_bytes(data[place : place + 2], order) in (256, 257, 258, 277, 278, 322, 323):
            yield place + 8, 4 if data[place + 2 : place + 4].strip(b"\0") == b"\4" else 2, order


OF_IMAGES: dict[str, Mutation] = {
    **MUTATIONS,
    "chunks or markers swapped, repeated, lost": rearrange_chunks,
    "noise inside a chunk, its checksum right": change_within_chunk,
    "wrong width or height": wrong_dimensions,
}


def encodings(picture: np.ndarray) -> dict[str, bytes]:
    """An RGB picture in every format that is read, and in the variants of each."""
    rgb = Image.fromarray(picture)
    alpha = rgb.convert("RGBA")
    alpha.putalpha(Image.fromarray(picture[..., 0]))
    turned = rgb.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    rich: dict[str, Any] = {"exif": exif, "icc_profile": bytes(600), "comment": b"a comment"}
    deep = Image.fromarray(picture[..., 0].astype(np.uint16) * 257)
    moving: dict[str, Any] = {"save_all": True, "append_images": [alpha.rotate(90), alpha.rotate(180)]}
    made = [
        ("JPEG", rgb, {"quality": 85}),
        ("JPEG", rgb, {"quality": 70, "subsampling": 0, **rich}),
        ("JPEG", rgb, {"progressive": True}),
        ("JPEG", rgb, {"restart_marker_blocks": 2}),
        ("JPEG", rgb.convert("CMYK"), {}),
        ("JPEG", rgb.convert("L"), {"progressive": True}),
        ("PNG", rgb, {}),
        ("PNG", rgb, {"exif": exif, "icc_profile": bytes(600), "dpi": (72, 72)}),
        ("PNG", rgb.quantize(30), {"transparency": 3}),
        ("PNG", rgb.quantize(4), {"bits": 2}),
        ("PNG", alpha, {}),
        ("PNG", deep, {}),
        ("PNG", alpha, {**moving, "duration": 50}),
        ("WEBP", rgb, {"quality": 60}),
        ("WEBP", rgb, {"lossless": True}),
        ("WEBP", alpha, {"quality": 60}),
        ("WEBP", alpha, {"lossless": True, "exact": True}),
        ("WEBP", alpha, {**moving, "duration": 50}),
        ("WEBP", turned, {"quality": 60, "exif": exif, "icc_profile": bytes(600)}),
        ("GIF", rgb.quantize(64), {}),
        ("GIF", rgb.quantize(64), {"interlace": 1, "transparency": 3}),
        ("GIF", alpha, {**moving, "duration": 50, "disposal": 2}),
        ("BMP", rgb, {}),
        ("BMP", rgb.quantize(16), {}),
        ("BMP", alpha, {}),
        ("TIFF", rgb, {}),
        ("TIFF", rgb, {"compression": "tiff_lzw"}),
        ("TIFF", rgb, {"compression": "jpeg"}),
        ("TIFF", alpha, {"compression": "tiff_adobe_deflate"}),
        ("TIFF", rgb.convert("1"), {"compression": "group4"}),
        ("TIFF", rgb, {"compression": "packbits", "exif": exif}),
        ("TIFF", rgb, {"compression": "tiff_lzw", "save_all": True, "append_images": [turned]}),
        ("TIFF", deep, {"big_tiff": True}),
        ("PPM", rgb, {}),
        ("JPEG2000", rgb, {}),
        ("AVIF", rgb, {"speed": 10}),
    ]
    found = {f"{number:02d} {kind}": _saved(image, kind, to) for number, (kind, image, to) in enumerate(made)}
    bgr = np.ascontiguousarray(picture[..., ::-1])
    found["interlaced PNG"] = interlaced_png(picture)
    found["run-length BMP"] = run_length_bmp(picture)
    found["bit-field BMP"] = bit_field_bmp(picture)
    found["tiled big-endian TIFF"] = tiled_tiff(picture)
    found["OpenCV PNG"] = cv2.imencode(".png", bgr)[1].tobytes()
    return found


def _saved(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def interlaced_png(picture: np.ndarray) -> bytes:
    """Adam7: seven small pictures, one after the other."""
    height, width = picture.shape[:2]
    steps = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = b"".join(
        b"\0" + row.tobytes() for y, x, down, across in steps for row in picture[y::down, x::across]
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    summed = (struct.pack(">I", len(body)) + name + body + bytes(4) for name, body in parts)
    return _mended(b"\x89PNG\r\n\x1a\n" + b"".join(summed))


def run_length_bmp(picture: np.ndarray) -> bytes:
    """256 greys, each row as runs of one colour."""
    height, width = picture.shape[:2]
    rows = (b"".join(bytes((1, value)) for value in row) + b"\0\0" for row in picture[::-1, :, 1])
    pixels = b"".join(rows) + b"\0\1"
    palette = b"".join(bytes((value, value, value, 0)) for value in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    return struct.pack("<2sIII", b"BM", 54 + 1024 + len(pixels), 0, 54 + 1024) + head + palette + pixels


def bit_field_bmp(picture: np.ndarray) -> bytes:
    """16 bits a pixel: 5 red, 6 green, 5 blue."""
    height, width = picture.shape[:2]
    red, green, blue = (picture[::-1, :, channel].astype(np.uint16) for channel in range(3))
    pixels = (red >> 3 << 11 | green >> 2 << 5 | blue >> 3).astype("<u2")
    pixels = np.pad(pixels, ((0, 0), (0, width % 2))).tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 16, 3, len(pixels), 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    return struct.pack("<2sIII", b"BM", 66 + len(pixels), 0, 66) + head + masks + pixels


def tiled_tiff(picture: np.ndarray, tile: int = 32) -> bytes:
    """Uncompressed RGB in square tiles, numbers big-endian."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % tile), (0, -width % tile), (0, 0)))
    tiles = [
        padded[y : y + tile, x : x + tile].tobytes()
        for y in range(0, height, tile)
        for x in range(0, width, tile)
    ]
    count, size = len(tiles), len(tiles[0])
    lists = 8 + 2 + 12 * 10 + 4
    bits, offsets, sizes = lists, lists + 6, lists + 6 + 4 * count
    start = sizes + 4 * count
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits), (259, 3, 1, 1 << 16)]
    entries += [(262, 3, 1, 2 << 16), (277, 3, 1, 3 << 16), (322, 4, 1, tile), (323, 4, 1, tile)]
    entries += [(324, 4, count, offsets), (325, 4, count, sizes)]
    directory = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries)
    places = b"".join(struct.pack(">I", start + size * number) for number in range(count))
    numbers = struct.pack(">HHH", 8, 8, 8) + places + struct.pack(">I", size) * count
    return b"MM\0*\0\0\0\x08" + directory + bytes(4) + numbers + b"".join(tiles)


def damaged(seed: int, number: int, whole: dict[str, bytes], mutations: dict[str, Mutation]) -> bytes:
    """File ``number``: the kinds of damage take turns, on one file after another; some get two."""
    rng = np.random.default_rng((seed, number))
    files, ways = list(whole.values()), list(mutations.values())
    data, other = files[number % len(files)], files[rng.integers(len(files))]
    data = ways[number // len(files) % len(ways)](rng, data, other)
    if data and rng.integers(4) == 0:
        data = ways[rng.integers(len(ways))](rng, data, other)
    return data


@pytest.fixture(scope="session")
def mutated() -> Callable[[int, int, dict[str, bytes]], bytes]:
    """Of a seed, a number and whole files of any kind: one of them, damaged."""
    return lambda seed, number, whole: damaged(seed, number, whole, MUTATIONS)


@pytest.fixture(scope="session")
def mutated_image() -> Callable[[int, int, dict[str, bytes]], bytes]:
    """The same for pictures, whose parts are known."""
    return lambda seed, number, whole: damaged(seed, number, whole, OF_IMAGES)


@pytest.fixture(scope="session")
def whole_images(picture: Callable[..., np.ndarray]) -> dict[str, bytes]:
    """Pictures of every format and variant, each of which can be read."""
    return encodings(picture(75, 66, seed=3))


_STRANGE: list[Any] = [None, True, False, -1, 0, 0.5, 2**31, 2**63, 10**30, 1e308, float("inf"), float("nan")]
_STRANGE += ["", "x", "\0", "\ud800", "../../x", "\x1b[31m", "9" * 5000, [], [[]], [None], {}, {"": {}}]


def mutate_values(rng: Random, value: Any) -> Any:
    """JSON's or TOML's values: one or two are lost, of another kind, renamed or put elsewhere."""
    value = copy.deepcopy(value)
    for _ in range(rng.integers(1, 3)):
        places = list(_places(value))
        if not places:
            break
        holder, key = places[rng.integers(len(places))]
        other_holder, other_key = places[rng.integers(len(places))]
        match rng.integers(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[f"{key}_"] = holder.pop(key)
            case 2 if holder is not other_holder:
                holder[key] = copy.deepcopy(other_holder[other_key])
            case _:
                holder[key] = copy.deepcopy(_STRANGE[rng.integers(len(_STRANGE))])
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def damaged_json(seed: int, number: int, whole: list[bytes]) -> bytes:
    """One file of JSON or TOML: with other values, or its bytes damaged, or a bomb."""
    rng = np.random.default_rng((seed, number))
    data = whole[number % len(whole)]
    if number % 3 == 2:
        return damaged(seed, number, {str(place): text for place, text in enumerate(whole)}, MUTATIONS)
    return json.dumps(mutate_values(rng, json.loads(data)), indent=2).encode()


JSON_BOMBS = [
    b"",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b"9" * 100_000,
    b'"' + b"x" * 1_000_000,
    b"\xff\xfe\0",
    b"null",
    b"[]",
    b"{}",
    b"-1e999",
]


@dataclass
class Reading:
    """Reads damaged files one after another, and sees to it that each is read, or refused in one line."""

    happened: Counter[str] = field(default_factory=Counter)

    def __call__(self, read: Read, data: bytes, name: object) -> None:
        start = time.process_time()
        try:
            read(data)
        except DcganDataError as error:
            self.happened["refused"] += 1
            said = str(error)
            assert said, name
            assert "\n" not in said and len(said) < 3000, (name, said)
        except Exception as error:
            raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
        else:
            self.happened["read"] += 1
        took = time.process_time() - start
        assert took < MOST_S, (name, took)


@pytest.fixture
def reading() -> Iterator[Reading]:
    """Fails if reading has taken much memory."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
    before = _peak_bytes()
    found = Reading()
    yield found
    assert _peak_bytes() - before < MOST_BYTES
    assert found.happened.total()


def _peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.fixture(scope="session")
def mutated_json() -> Callable[[int, int, list[bytes]], bytes]:
    """Of a seed, a number and whole JSON files: one of them, damaged."""
    return damaged_json


@pytest.fixture(scope="session")
def json_bombs() -> list[bytes]:
    """What is small and may take much, or is nothing."""
    return JSON_BOMBS
