"""The page that people look at: self-contained, escaped, and whole for every kind of set."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dcgan_data.errors import BadInput
from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.report import MAX_GROUPS, MAX_IN_GROUP, MAX_REJECTED, contact_sheet, write_report

Make = Callable[..., DatasetInfo]


class Page(HTMLParser):
    """What a browser would load and run, and the figures by class."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.figures: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]
        if tag == "figure":
            self.figures += [value or "" for name, value in attributes if name == "class"]


def read(path: Path) -> tuple[str, Page]:
    text = write_report(path).read_text("utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def text(finished_set: Path) -> str:
    return (finished_set / "report" / "index.html").read_text("utf-8")


def test_it_loads_nothing(text: str) -> None:
    page = Page(text)
    assert page.references
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text


def test_it_says_the_counts_and_the_source(text: str, source: Path) -> None:
    for value, name in (("20", "read"), ("15", "kept"), ("3 (15.00%)", "duplicates"), ("2", "rejected")):
        assert f"<div><b>{value}</b><span>{name}</span></div>" in text
    assert "<div><b>exact</b><span>rule</span></div>" in text
    assert f"Source: lsun {source}" in text
    assert "<h1>set</h1>" in text
    assert "<th>figure" in text and "<td>distinct codes" in text


def test_it_shows_the_groups_the_kept_image_first(text: str) -> None:
    assert "2 groups; the 2 biggest" in text
    assert Page(text).figures == ["kept", "duplicate", "duplicate", "kept", "duplicate"]
    captions = re.findall(r"<figcaption title='(.*?)'>", text)
    assert captions == ["03", "16 copy", "17 copy", "15 larger", "14"]


def test_it_lists_the_rejected(text: str) -> None:
    assert "<h2>Rejected</h2><p>2 records</p>" in text
    assert "<td>18 text<td>not_an_image: no supported format in its first bytes" in text


def test_pictures_are_the_sets_pixels(finished_set: Path, text: str) -> None:
    figures = re.findall(r"<figure class=kept><img alt='' src='data:image/png;base64,(.*?)'>", text)
    with Image.open(io.BytesIO(base64.b64decode(figures[0]))) as image:
        assert np.array_equal(np.asarray(image), np.load(finished_set / "images" / "00000.npy")[3])


def test_the_contact_sheet_lies_beside_the_page(finished_set: Path, text: str) -> None:
    data = (finished_set / "report" / "contact_sheet.png").read_bytes()
    assert base64.b64encode(data).decode() in text
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (16 * 34 + 2, 34 + 2)  # 15 images in one row of 16 places
        shard = np.load(finished_set / "images" / "00000.npy")
        assert np.array_equal(np.asarray(image)[2:34, 2:34], shard[0])


@pytest.mark.parametrize(("count", "rows"), [(0, 1), (1, 1), (4, 1), (5, 2), (9, 3)])
def test_contact_sheet_dimensions(count: int, rows: int) -> None:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 6, 6, 3), np.uint8)
    sheet = contact_sheet(images, columns=4, gap=3)
    assert sheet.shape == (rows * 9 + 3, 4 * 9 + 3, 3)
    for index in range(count):
        y, x = 3 + 9 * (index // 4), 3 + 9 * (index % 4)
        assert (sheet[y : y + 6, x : x + 6] == index).all()
    assert (sheet == 255).sum() == sheet.size - count * 6 * 6 * 3


def test_the_same_set_makes_the_same_page(copied_set: Path) -> None:
    assert read(copied_set)[0] == read(copied_set)[0]


def test_keys_are_escaped(
    tmp_path: Path,
    make: Make,
    picture: Callable[..., np.ndarray],
    encoded: Callable[..., bytes],
    write_lmdb: Any,
) -> None:
    evil = b"<script>alert('1')</script>"
    good = encoded(picture())
    write_lmdb(tmp_path / "<b>lsun", {evil + b"1": good, evil + b"2": good, evil + b"3": b"no image"})
    make(tmp_path / "<b>lsun", tmp_path / "<i>out")
    text, page = read(tmp_path / "<i>out")
    assert not {"script", "b>lsun", "i"} & set(page.tags)
    assert text.count("&lt;script&gt;") >= 3
    assert "<script" not in text and "<b>lsun" not in text and "<i>out" not in text


def test_nothing_rejected_and_nothing_removed(
    tmp_path: Path, make: Make, recipe: Any, picture: Callable[..., np.ndarray], encoded: Callable[..., bytes]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(encoded(picture()))
    make(tmp_path / "photos", tmp_path / "set", recipe("none"))
    text, page = read(tmp_path / "set")
    assert "<h2>Rejected</h2><p>None.</p>" in text
    assert "<h2>Duplicates</h2><p>None.</p>" in text
    assert "<h2>Codes</h2>" not in text
    assert "<div><b>none</b><span>rule</span></div>" in text
    assert page.figures == []


def test_no_kept_image(tmp_path: Path, make: Make) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(MAX_REJECTED + 5):
        (tmp_path / "photos" / f"{number:03d}.jpg").write_text("no image")
    make(tmp_path / "photos", tmp_path / "set")
    text, page = read(tmp_path / "set")
    assert "<div><b>0</b><span>kept</span></div>" in text
    assert f"{MAX_REJECTED + 5} records; the first {MAX_REJECTED}" in text
    assert page.tags.count("tr") == MAX_REJECTED + 1
    assert len(page.references) == 1  # the empty sheet


def test_large_groups_and_many_groups_are_cut(
    tmp_path: Path, make: Make, picture: Callable[..., np.ndarray], encoded: Callable[..., bytes]
) -> None:
    (tmp_path / "photos").mkdir()
    copies = {0: MAX_IN_GROUP + 3, **dict.fromkeys(range(1, MAX_GROUPS + 3), 2)}
    for seed, count in copies.items():
        data = encoded(picture(40, 40, seed=seed))
        for copy in range(count):
            (tmp_path / "photos" / f"{seed:03d}-{copy:02d}.png").write_bytes(data)
    make(tmp_path / "photos", tmp_path / "set")
    text, page = read(tmp_path / "set")
    assert f"{MAX_GROUPS + 3} groups; the {MAX_GROUPS} biggest" in text
    assert len(page.figures) == MAX_IN_GROUP + 2 * (MAX_GROUPS - 1)
    assert "<span>and 3 more</span>" in text
    with Image.open(tmp_path / "set" / "report" / "contact_sheet.png") as image:
        assert image.size == (16 * 34 + 2, 4 * 34 + 2)  # 63 kept images


def test_not_a_set(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a prepared set"):
        write_report(tmp_path)
