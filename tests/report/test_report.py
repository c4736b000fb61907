"""The page that people look at: self-contained, escaped, bounded, and whole for every kind of set."""

from __future__ import annotations

import base64
import io
import json
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
from dcgan_data.report import write_report
from dcgan_data.report.groups import BIGGEST, MOST_REMOVED, SPREAD
from dcgan_data.report.sections import MAX_REJECTED

Make = Callable[..., DatasetInfo]


class Page(HTMLParser):
    """What a browser would load and run, and the data of the page's script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.data: dict[str, Any] = {}
        self._reads = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]
        self.handlers += [name for name, _ in attributes if name.startswith("on") or name == "style"]
        self._reads = dict(attributes).get("id") or "" if tag == "script" else ""

    def handle_data(self, data: str) -> None:
        if self._reads:
            self.data[self._reads] = json.loads(data)

    def handle_endtag(self, tag: str) -> None:
        self._reads = ""


def read(path: Path) -> tuple[str, Page]:
    text = write_report(path).read_text("utf-8")
    return text, Page(text)


def tile(text: str, name: str) -> str:
    """The value of a tile, as a person reads it."""
    found = re.search(rf"<b>([^<]*)(?:<small>([^<]*)</small>)?</b><span>{name}</span>", text)
    assert found, name
    return " ".join(part for part in found.groups() if part)


@pytest.fixture(scope="module")
def text(finished_set: Path) -> str:
    return (finished_set / "report" / "index.html").read_text("utf-8")


def test_it_loads_nothing(text: str) -> None:
    page = Page(text)
    fragments = {"#top", "#groups", "#figures", "#rejected", "#audit"}
    assert {r for r in page.references if not r.startswith("data:image/jpeg;base64,")} == fragments
    assert not {"link", "iframe", "object"} & set(page.tags)
    assert page.tags.count("script") == 3
    assert page.handlers == []
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text


def test_it_says_the_counts_and_the_source(text: str, source: Path) -> None:
    values = {name: tile(text, name) for name in ("read", "kept", "duplicates", "rejected", "rule")}
    assert values == {
        "read": "20",
        "kept": "15",
        "duplicates": "3 15.00%",
        "rejected": "2 10.00%",
        "rule": "exact",
    }
    assert f"lsun {source}" in text
    assert '<h1 id="top">set</h1>' in text
    assert "<td>distinct codes</td>" in text
    assert "<span>threshold</span>" not in text


def test_groups_have_the_kept_image_apart(text: str) -> None:
    data = Page(text).data["groups-data"]
    assert (data["total"], data["bands"], data["groups_in_band"]) == (2, ["no score"], [2])
    keys = [[group["kept"]["key"], *(image["key"] for image in group["removed"])] for group in data["groups"]]
    assert keys == [["03", "16 copy", "17 copy"], ["15 larger", "14"]]
    assert [group["size"] for group in data["groups"]] == [3, 2]
    first = data["groups"][0]["removed"][0]
    assert (first["score"], first["view"], first["distance"]) == (None, "identity", 0)
    assert data["groups"][1]["kept"]["source"] == [64, 64]


def test_pictures_are_the_sets_pixels(finished_set: Path, text: str) -> None:
    groups = Page(text).data["groups-data"]["groups"]
    with Image.open(io.BytesIO(base64.b64decode(groups[0]["kept"]["jpeg"]))) as image:
        expected = np.load(finished_set / "images" / "00000.npy")[3].astype(int)
        assert np.abs(np.asarray(image).astype(int) - expected).mean() < 6  # JPEG


def test_it_lists_the_rejected(text: str) -> None:
    assert '<p class="note">2 records</p>' in text
    assert "<td>18 text</td><td>not_an_image: no supported format in its first bytes" in text
    assert "<td>not_an_image</td><td>1</td>" in text


def test_the_contact_sheet_lies_beside_the_page(finished_set: Path) -> None:
    with Image.open(finished_set / "report" / "contact_sheet.png") as image:
        assert image.size == (16 * 34 + 2, 34 + 2)  # 15 images in one row of 16 places
        shard = np.load(finished_set / "images" / "00000.npy")
        assert np.array_equal(np.asarray(image)[2:34, 2:34], shard[0])


def test_the_same_set_makes_the_same_page(copied_set: Path) -> None:
    assert read(copied_set)[0] == read(copied_set)[0]


def test_keys_reasons_and_paths_are_text(tmp_path: Path, make: Make, encoded: Any, picture: Any) -> None:
    evil = "<script>alert('1')</script><!--<script>&amp;$title"
    photos = tmp_path / "<b>photos"
    for number in range(4):
        path = photos / evil / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture()) if number < 3 else b"no image")
    make(photos, tmp_path / "<i>out $body")
    text, page = read(tmp_path / "<i>out $body")
    assert not {"b>photos", "i", "b>photos<"} & set(page.tags)
    assert page.tags.count("script") == 3
    assert "alert('1')" not in re.sub(r'<script type="application/json".*?</script>', "", text)
    keys = {image["key"] for group in page.data["groups-data"]["groups"] for image in group["removed"]}
    assert {f"{evil}/1.png", f"{evil}/2.png"} == keys
    assert page.data["audit-data"]["pairs"][0]["duplicate_of"] == f"{evil}/0.png"
    assert "&lt;i&gt;out $body" in text


def test_nothing_rejected_and_nothing_removed(
    tmp_path: Path, make: Make, recipe: Any, picture: Any, encoded: Any
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(encoded(picture()))
    make(tmp_path / "photos", tmp_path / "set", recipe("none"))
    text, page = read(tmp_path / "set")
    assert 'Rejected</h2><p class="note">None.</p>' in text
    assert "<h2 id=figures" not in text
    assert tile(text, "rule") == "none"
    assert page.data["groups-data"] == {
        "bands": [],
        "groups_in_band": [],
        "groups": [],
        "total": 0,
        "biggest": BIGGEST,
    }
    assert page.data["audit-data"]["pairs"] == []


def test_no_kept_image(tmp_path: Path, make: Make) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(MAX_REJECTED + 5):
        (tmp_path / "photos" / f"{number:03d}.jpg").write_text("no image")
    make(tmp_path / "photos", tmp_path / "set")
    text, page = read(tmp_path / "set")
    assert tile(text, "kept") == "0"
    assert f"{MAX_REJECTED + 5} records; the first {MAX_REJECTED}" in text
    assert len(re.findall(r"<td>\d{3}\.jpg</td>", text)) == MAX_REJECTED
    assert page.data["groups-data"]["groups"] == []


def test_what_the_near_rule_found(tmp_path: Path, write_set: Make, noise: np.ndarray, findings: Any) -> None:
    write_set(tmp_path / "set", [[0.72, 0.9], [None]], noise)
    text, page = read(tmp_path / "set")
    assert tile(text, "threshold") == "0.7"
    assert tile(text, "expected false pairs") == "0.25 0.40%"
    assert 'class="tile warn"' not in text
    assert page.tags.count("svg") == 3
    assert (
        "<td>comparisons left out in crowded buckets (a pair meets in any band and view)</td><td>77</td>"
        in text
    )
    assert page.data["groups-data"]["bands"][-1] == "no score"
    assert [image["score"] for image in page.data["groups-data"]["groups"][0]["removed"]] == [0.72, 0.9]
    write_set(tmp_path / "doubtful", [[0.72]], noise, findings() | {"expected_false_share": 0.02})
    assert 'class="tile warn"' in read(tmp_path / "doubtful")[0]


def test_groups_whose_kept_image_is_elsewhere(tmp_path: Path, write_set: Make, noise: np.ndarray) -> None:
    """A set cleaned against another one names images that it does not hold."""
    write_set(tmp_path / "set", [[0.8], [0.9]], noise, elsewhere=2)
    text, page = read(tmp_path / "set")
    assert "2 more removed images are copies of images of another set" in text
    assert page.data["groups-data"]["total"] == 2
    assert len(page.data["audit-data"]["pairs"]) == 2


def test_a_page_of_many_groups_is_small_and_shows_every_band(tmp_path: Path, write_set: Make) -> None:
    """20,000 removals in 8,000 groups of pictures that compress worst, with the longest keys."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 256, 256, 3), np.uint8)
    stars = [[0.95] * 40] * 200 + [[0.99]] * 7000 + [[0.97] * 6] * 795 + [[0.71]] * 3 + [[0.80, 0.75]] * 2
    write_set(tmp_path / "set", stars, pixels, key=lambda number: f"{number:0511d}", rejected=300)
    text, page = read(tmp_path / "set")
    assert len(text.encode()) < 20_000_000
    data, audit = page.data["groups-data"], page.data["audit-data"]
    assert data["total"] == 8000
    assert 60 <= len(data["groups"]) <= BIGGEST + SPREAD
    assert all(len(group["removed"]) <= MOST_REMOVED for group in data["groups"])
    assert sorted((group["size"] for group in data["groups"]), reverse=True) == [
        group["size"] for group in data["groups"]
    ]
    shown = {image["band"] for group in data["groups"] for image in group["removed"]}
    assert shown == {place for place, count in enumerate(data["groups_in_band"]) if count}
    assert (len(audit["pairs"]), audit["removals"]) == (300, 19777)
    assert {pair[name] for pair in audit["pairs"] for name in ("kept", "removed")} == {
        int(row) for row in audit["pictures"]
    }


def test_not_a_set(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a prepared set"):
        write_report(tmp_path)
