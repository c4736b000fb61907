"""The crop's geometry, for any size of picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from dcgan_data.ops.crop import (
    REDUCTIONS,
    Box,
    centre_box,
    orient_box,
    orient_image,
    orient_size,
    reduction_for,
)

lengths = st.integers(8, 70_000)
reductions = st.sampled_from(REDUCTIONS)
orientations = st.integers(1, 8)


@given(lengths, lengths, reductions)
def test_box_lies_inside_on_multiples_of_the_reduction(width: int, height: int, reduction: int) -> None:
    box = centre_box(width, height, reduction)
    assert 0 <= box.x <= width - box.side
    assert 0 <= box.y <= height - box.side
    assert all(edge % reduction == 0 for edge in box)


@given(lengths, lengths, reductions)
def test_box_is_as_large_and_as_central_as_the_reduction_allows(
    width: int, height: int, reduction: int
) -> None:
    box = centre_box(width, height, reduction)
    assert min(width, height) - reduction < box.side <= min(width, height)
    assert abs(2 * box.x + box.side - width) <= reduction  # twice the distance of the centres
    assert abs(2 * box.y + box.side - height) <= reduction


@pytest.mark.parametrize(
    ("width", "height", "reduction", "expected"),
    [
        (100, 100, 1, Box(0, 0, 100)),
        (101, 100, 1, Box(1, 0, 100)),
        (341, 256, 4, Box(44, 0, 256)),
        (256, 341, 4, Box(0, 44, 256)),
        (100, 259, 8, Box(0, 80, 96)),
    ],
)
def test_box_of_known_sizes(width: int, height: int, reduction: int, expected: Box) -> None:
    assert centre_box(width, height, reduction) == expected


@given(st.integers(1, 70_000), st.sampled_from((32, 64, 128, 256)), st.booleans())
def test_reduction_is_the_largest_that_leaves_enough(short_side: int, size: int, exact: bool) -> None:
    def enough(reduction: int) -> bool:
        left = short_side // reduction
        return left >= 2 * size or (exact and left == size)

    reduction = reduction_for(short_side, size, exact)
    assert reduction in REDUCTIONS
    assert reduction == 1 or enough(reduction)
    assert not any(enough(larger) for larger in REDUCTIONS if larger > reduction)


@pytest.mark.parametrize(
    ("short_side", "size", "exact", "reduction"),
    [
        (256, 64, True, 4),  # LSUN: just the size
        (256, 64, False, 2),
        (375, 64, True, 2),  # 375 // 4 = 93 lies between one and two times the size
        (519, 64, True, 8),
        (520, 64, True, 4),
        (96, 64, True, 1),
        (60, 64, True, 1),
    ],
)
def test_reduction_of_known_sizes(short_side: int, size: int, exact: bool, reduction: int) -> None:
    assert reduction_for(short_side, size, exact) == reduction


@given(st.integers(2, 40), st.integers(2, 40), orientations, st.data())
def test_cropping_upright_equals_turning_the_crop(
    width: int, height: int, orientation: int, data: st.DataObject
) -> None:
    side = data.draw(st.integers(1, min(width, height)))
    box = Box(data.draw(st.integers(0, width - side)), data.draw(st.integers(0, height - side)), side)
    stored = np.arange(width * height * 3).reshape(height, width, 3)
    upright = orient_image(stored, orientation)
    x, y, _ = turned = orient_box(box, width, height, orientation)
    crop = stored[box.y : box.y + side, box.x : box.x + side]
    assert upright.shape[1::-1] == orient_size(width, height, orientation)
    assert turned.side == side
    assert np.array_equal(upright[y : y + side, x : x + side], orient_image(crop, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_what_pillow_makes_of_it(orientation: int) -> None:
    stored = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    turned = orient_image(stored, orientation)
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))
    assert turned.flags.c_contiguous
