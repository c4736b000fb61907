"""Pages of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from dcgan_data.bench.sheet import PageLayout, PairPicture, write_pair_pages

LAYOUT = PageLayout(side=32, columns=2, rows=1)
RED, BLUE = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (64, 32), "blue")


def test_pages_are_filled_in_order(tmp_path: Path) -> None:
    pairs = [PairPicture(RED, BLUE, ("first", "second line"))] * 2 + [PairPicture(BLUE, RED, ("x" * 500, ""))]
    paths = write_pair_pages(pairs, tmp_path / "pages", "pairs", LAYOUT)
    assert [path.name for path in paths] == ["pairs-00.png", "pairs-01.png"]
    assert sorted(paths) == sorted((tmp_path / "pages").iterdir())
    with Image.open(paths[0]) as page:
        pixels = np.asarray(page)
    assert pixels.shape == (32 + 2 * 14 + 8, 2 * (64 + 16), 3)
    assert (pixels[:32, :32] == (255, 0, 0)).all()  # made larger
    assert (pixels[:16, 34:66] == (0, 0, 255)).all()  # made smaller
    assert (pixels[:32, 80:112] == (255, 0, 0)).all()
    assert (pixels[32:] < 100).all(axis=2).any()  # text
    with Image.open(paths[1]) as page:
        pixels = np.asarray(page)
    assert (pixels[:16, :32] == (0, 0, 255)).all()
    assert (pixels[:, 80:] == 255).all()  # no second pair there, and no text of the first


def test_pages_of_a_longer_run_before_go(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_pair_pages([PairPicture(RED, RED, ("",))] * 3, tmp_path, "pairs", LAYOUT)
    write_pair_pages([PairPicture(RED, RED, ("",))], tmp_path, "pairs", LAYOUT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "pairs-00.png"]
    assert write_pair_pages([], tmp_path, "pairs", LAYOUT) == []
