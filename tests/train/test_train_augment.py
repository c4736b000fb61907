"""Each image is changed as its own draws say, and gradients pass through."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from dcgan_data.train.augment import AUGMENT_DRAWS, augment

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
ALMOST_ONE = float(np.nextafter(np.float32(1), np.float32(0)))
BRIGHTNESS, SATURATION, CONTRAST, DOWN, RIGHT, CUT_ROW, CUT_COLUMN = range(AUGMENT_DRAWS)


def some_images(count: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return images.contiguous(memory_format=torch.channels_last)


def some_draws(count: int = 3, seed: int = 0) -> Tensor:
    return torch.rand(count, AUGMENT_DRAWS, generator=torch.Generator().manual_seed(seed))


def draws_with(changes: dict[int, float], count: int = 3) -> Tensor:
    """Draws that change no colour, move nothing, and cut as little as can be: a quarter of the square."""
    draws = torch.full((count, AUGMENT_DRAWS), 0.5)
    draws[:, [CUT_ROW, CUT_COLUMN]] = 0.0
    for number, value in changes.items():
        draws[:, number] = value
    return draws


def outside_cut(images: Tensor) -> Tensor:
    """All of 16x16 images but the corner that ``draws_with`` cuts."""
    kept = images.clone()
    kept[:, :, :4, :4] = 0
    return kept


def plainly(image: np.ndarray, draws: list[float]) -> np.ndarray:
    """What is to be done to one image, float64 (3, S, S), word by word."""
    size = image.shape[1]
    image = image + draws[BRIGHTNESS] - 0.5
    grey = image.mean(0)
    image = grey + (image - grey) * 2 * draws[SATURATION]
    image = image.mean() + (image - image.mean()) * (draws[CONTRAST] + 0.5)
    down, right = (int(draws[way] * (2 * (size // 8) + 1)) - size // 8 for way in (DOWN, RIGHT))
    row, column = (int(draws[place] * (size + 1)) - size // 4 for place in (CUT_ROW, CUT_COLUMN))
    changed = np.zeros_like(image)
    for y in range(size):
        for x in range(size):
            cut = row <= y < row + size // 2 and column <= x < column + size // 2
            if not cut and 0 <= y - down < size and 0 <= x - right < size:
                changed[:, y, x] = image[:, y - down, x - right]
    return changed


@pytest.mark.parametrize("size", [8, 32])
def test_images_become_what_their_draws_say(size: int) -> None:
    images, draws = some_images(6, size), some_draws(6)
    changed = augment(images, draws)
    for image, given, found in zip(images, draws, changed, strict=True):
        assert found.numpy() == pytest.approx(plainly(image.double().numpy(), given.tolist()), abs=1e-5)


def test_draws_in_the_middle_change_nothing_but_the_square() -> None:
    images = some_images()
    changed = augment(images, draws_with({}))
    assert changed.numpy() == pytest.approx(outside_cut(images).numpy(), abs=1e-6)
    whole = augment(images, draws_with({CUT_ROW: 0.5, CUT_COLUMN: 0.5}))
    assert (whole[:, :, 4:12, 4:12] == 0).all()
    assert (whole != 0).sum() == 3 * 3 * (16 * 16 - 8 * 8)


@pytest.mark.parametrize(("draw", "pixels"), [(0.0, -2), (0.2, -1), (0.5, 0), (0.79, 1), (ALMOST_ONE, 2)])
def test_images_move_by_up_to_an_eighth(draw: float, pixels: int) -> None:
    images = some_images()
    down = augment(images, draws_with({DOWN: draw}))
    assert down.numpy() == pytest.approx(outside_cut(moved(images, 2, pixels)).numpy(), abs=1e-6)
    right = augment(images, draws_with({RIGHT: draw}))
    assert right.numpy() == pytest.approx(outside_cut(moved(images, 3, pixels)).numpy(), abs=1e-6)


def moved(images: Tensor, axis: int, pixels: int) -> Tensor:
    rolled = images.roll(pixels, axis)
    wrapped = range(pixels) if pixels > 0 else range(16 + pixels, 16)
    return rolled.index_fill(axis, torch.tensor(list(wrapped), dtype=torch.int64), 0.0)


@pytest.mark.parametrize(("draw", "cut"), [(0.0, range(4)), (0.5, range(4, 12)), (ALMOST_ONE, range(12, 16))])
def test_half_a_side_is_cut_out_wherever_its_middle_lies(draw: float, cut: range) -> None:
    changed = augment(some_images(), draws_with({CUT_ROW: draw, CUT_COLUMN: 0.5}))
    expected = torch.ones(16, 16, dtype=torch.bool)
    expected[list(cut), 4:12] = False
    assert torch.equal(changed[0, 0] != 0, expected)


def test_colours_change_by_as_much_as_the_paper_says() -> None:
    images = some_images()
    grey, mean = images.mean(1, keepdim=True), images.mean((1, 2, 3), keepdim=True)
    for changes, expected in (
        ({BRIGHTNESS: 0.0}, images - 0.5),
        ({BRIGHTNESS: ALMOST_ONE}, images + 0.5),
        ({SATURATION: 0.0}, grey.expand_as(images)),
        ({SATURATION: ALMOST_ONE}, 2 * images - grey),
        ({CONTRAST: 0.0}, mean + (images - mean) / 2),
        ({CONTRAST: ALMOST_ONE}, mean + (images - mean) * 1.5),
    ):
        changed = augment(images, draws_with(changes))
        assert changed.numpy() == pytest.approx(outside_cut(expected).numpy(), abs=1e-5)


def test_whole_numbers_are_equally_likely() -> None:
    """A single bright pixel tells where the image went: 9 places each way at 32 px."""
    images = torch.full((2000, 3, 32, 32), -1.0)
    images[:, :, 16, 16] = 1.0
    draws = some_draws(2000)
    draws[:, [BRIGHTNESS, SATURATION, CONTRAST]] = 0.5
    changed = augment(images, draws)[:, 0].flatten(1)
    seen = changed.amax(1) > 0.9  # it was not cut out
    place = changed.argmax(1)[seen]
    for ways in (place // 32, place % 32):
        counts = torch.bincount(ways - 12, minlength=9).numpy()
        assert counts.size == 9
        assert scipy.stats.chisquare(counts).pvalue > 0.001
    assert 1 - seen.float().mean().item() == pytest.approx((16 / 33) ** 2, abs=0.04)


def test_an_image_depends_on_its_own_draws_only() -> None:
    images, draws = some_images(4), some_draws(4)
    together = augment(images, draws)
    for n in range(4):
        assert torch.allclose(together[n], augment(images[n : n + 1], draws[n : n + 1])[0], atol=1e-6)
    other = draws.clone()
    other[1:] = some_draws(3, seed=9)
    images[1:] = 0.3
    assert torch.allclose(together[0], augment(images, other)[0], atol=1e-6)


def test_nothing_else_is_random_and_nothing_is_changed_in_place() -> None:
    images, draws = some_images(), some_draws()
    before = images.clone(), draws.clone(), torch.get_rng_state()
    torch.manual_seed(1)
    one = augment(images, draws)
    torch.manual_seed(2)
    assert torch.equal(one, augment(images, draws))
    assert torch.equal(images, before[0]) and torch.equal(draws, before[1])
    torch.set_rng_state(before[2])
    augment(images, draws)
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_type_shape_and_layout_stay(dtype: torch.dtype) -> None:
    images = some_images().to(dtype)
    changed = augment(images, some_draws())
    assert changed.dtype == dtype
    assert changed.shape == images.shape
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert augment(images.contiguous(), some_draws()).is_contiguous(memory_format=torch.channels_last)


def test_gradients_are_those_of_finite_differences() -> None:
    images = some_images(2, 8).double().requires_grad_()
    draws = some_draws(2, seed=3)
    draws[0, [DOWN, RIGHT]] = torch.tensor([0.0, ALMOST_ONE])
    assert torch.autograd.gradcheck(lambda given: augment(given, draws), (images,))


def test_gradients_keep_the_layout_and_leave_draws_alone() -> None:
    images, draws = some_images().requires_grad_(), some_draws()
    augment(images, draws).square().sum().backward()
    assert images.grad is not None and images.grad.is_contiguous(memory_format=torch.channels_last)
    assert draws.grad is None


@NEEDS_GPU
def test_a_gpu_does_the_same_and_can_record_it() -> None:
    images, draws = some_images(8, 32), some_draws(8)
    there = images.cuda().requires_grad_(), draws.cuda()

    def step() -> tuple[Tensor, Tensor]:
        changed = augment(*there)
        (gradient,) = torch.autograd.grad(changed.square().sum(), there[0])
        return changed, gradient

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        plain = [tensor.detach().clone() for tensor in step()]
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = step()
    graph.replay()
    for found, expected in zip(recorded, plain, strict=True):
        assert torch.equal(found, expected)
    assert torch.allclose(plain[0].cpu(), augment(images, draws), atol=1e-5)


@NEEDS_GPU
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_host_does_not_wait_for_a_gpu() -> None:
    images, draws = some_images().cuda().requires_grad_(), some_draws().cuda()
    augment(images, draws).sum().backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment(images, draws).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
