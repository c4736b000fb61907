"""A page of figures: all is in one file, escaped; what is missing is told."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dcgan_data.errors import BadInput
from dcgan_data.evaluate.figure import Figure, read_figure, save_figure
from dcgan_data.evaluate.gallery import page
from dcgan_data.evaluate.gallery.page import Missing, write_gallery
from dcgan_data.evaluate.place import Place


def png(path: Path, width: int = 20, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (10, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def figure(*pictures: Path, title: str = "A walk") -> Figure:
    return Figure(title, "figure 4", "Read <it> so.", pictures, (("score", "1.5", "2.5"),), ("look & see",))


def test_the_page_holds_all(tmp_path: Path) -> None:
    shown, out = png(tmp_path / "a.png"), tmp_path / "page.html"
    write_gallery(
        out, "<title>", "of 'x'", [figure(shown), figure(title="B")], [Missing("C", "<why>", "do it")]
    )
    html = out.read_text()
    for words in (
        "&lt;title&gt;",
        "Read &lt;it&gt; so.",
        "look &amp; see",
        "&lt;why&gt;",
        "<code>do it</code>",
    ):
        assert words in html
    assert "<td>1.5</td><td>2.5</td>" in html
    assert '<a href="#f0">A walk</a>' in html
    address = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert address is not None
    assert base64.b64decode(address[1]) == shown.read_bytes()
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert "default-src &#x27;none&#x27;" in html or "default-src 'none'" in html


def test_a_large_png_becomes_a_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_LARGEST_PNG", 100)
    write_gallery(tmp_path / "p.html", "t", "s", [figure(png(tmp_path / "a.png", 33))])
    address = re.search(r'src="data:image/jpeg;base64,([^"]+)"', (tmp_path / "p.html").read_text())
    assert address is not None
    assert Image.open(io.BytesIO(base64.b64decode(address[1]))).size == (33, 10)


def test_of_a_film_the_video_is_shown(tmp_path: Path) -> None:
    film, copy = tmp_path / "walk.mp4", png(tmp_path / "walk.png").rename(tmp_path / "walk.gif")
    film.write_bytes(b"video")
    other = tmp_path / "other.gif"
    Image.new("RGB", (8, 8)).save(other)
    write_gallery(tmp_path / "p.html", "t", "s", [figure(film, copy, other)])
    html = (tmp_path / "p.html").read_text()
    assert html.count("<video") == 1
    assert "data:video/mp4;base64,dmlkZW8=" in html
    assert "walk.gif" not in html
    assert "other.gif" in html


def test_a_picture_that_is_gone_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone.png: cannot be shown \(.*\); give its command again"):
        write_gallery(tmp_path / "p.html", "t", "s", [figure(tmp_path / "gone.png")])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"bad.png: cannot be shown"):
        write_gallery(tmp_path / "p.html", "t", "s", [figure(tmp_path / "bad.png")])
    assert not (tmp_path / "p.html").exists()


def test_a_figure_comes_back_after_its_directory_has_moved(tmp_path: Path) -> None:
    (tmp_path / "run" / "walk").mkdir(parents=True)
    place = Place(tmp_path / "run" / "walk", "step-000002")
    assert read_figure(place) is None
    saved = figure(png(place.file(".png")), png(tmp_path / "run" / "other.png"))
    save_figure(place, saved)
    assert read_figure(place) == Figure(
        saved.title,
        saved.paper,
        saved.caption,
        (place.file(".png"), place.directory / "../other.png"),
        saved.numbers,
        saved.warnings,
    )
    (tmp_path / "run").rename(tmp_path / "moved")
    moved = read_figure(Place(tmp_path / "moved" / "walk", "step-000002"))
    assert moved is not None
    assert moved.pictures[0] == tmp_path / "moved" / "walk" / "step-000002.png"
    moved.pictures[0].unlink()
    with pytest.raises(BadInput, match=r"step-000002.png: is gone; give its command again"):
        read_figure(Place(tmp_path / "moved" / "walk", "step-000002"))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"title": 3}'])
def test_a_damaged_figure(tmp_path: Path, content: str) -> None:
    place = Place(tmp_path, "step-000002")
    place.file(".figure.json").write_text(content)
    with pytest.raises(BadInput, match=r"step-000002.figure.json: damaged \(.*\); give its command again"):
        read_figure(place)
