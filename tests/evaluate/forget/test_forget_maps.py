"""Feature maps of G: the right layer, the right places, and a model that is whole again after drawing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dcgan_data.evaluate.forget.boxes import Box
from dcgan_data.evaluate.forget.maps import SamplerWithout, centres, maps_of, places_inside
from dcgan_data.train.models import Generator, ModelShape, build
from dcgan_data.train.norm import BatchNorm
from dcgan_data.train.sample import Sampler, draw_images, open_sampler, to_pixels


@pytest.fixture
def sampler(texture_run: Path) -> Sampler:
    """What a model drew that was trained for two steps would be grey: its last layer is made stronger."""
    sampler = open_sampler(texture_run, device="cpu")
    with torch.no_grad():
        sampler.generator.stages[-1].conv.weight *= 20  # type: ignore[union-attr,operator]
    return sampler


def layer_by_hand(sampler: Sampler, z: torch.Tensor) -> torch.Tensor:
    """The output of the first transposed convolution, step by step."""
    generator = sampler.generator
    units = torch.relu(generator.project_norm(generator.project(z)))
    maps = generator.stages[0].conv(units.view(len(z), 4, 4, -1).permute(0, 3, 1, 2))
    return torch.relu(generator.stages[0].norm(maps))


def standing_of(generator: Generator) -> list[torch.Tensor]:
    norms = [module for module in generator.modules() if isinstance(module, BatchNorm)]
    return [values.clone() for norm in norms if norm.standing for values in norm.standing]


@torch.no_grad()
def test_the_maps_are_those_after_the_first_transposed_convolution(sampler: Sampler) -> None:
    """Width 2 at 32 px: 4x8x8; and more samples than one batch has."""
    z = sampler.latents(range(70), 3)
    maps = maps_of(sampler, z)
    assert maps.shape == (70, 4, 8, 8) and maps.dtype == np.float32 and maps.min() == 0
    np.testing.assert_allclose(maps, layer_by_hand(sampler, z).numpy(), atol=1e-5)
    np.testing.assert_array_equal(maps_of(sampler, z[40:41])[0], maps[40])


def test_the_published_model_has_512_maps() -> None:
    generator = build(Generator, ModelShape(64, 128, 100), torch.Generator())
    assert generator.stages[0].conv.out_channels == 512  # type: ignore[union-attr]


@torch.no_grad()
def test_dropped_maps_are_zero_and_the_others_as_they_were(sampler: Sampler) -> None:
    z = sampler.latents(range(5))
    maps = layer_by_hand(sampler, z)
    maps[:, [0, 2]] = 0
    expected = to_pixels(sampler.generator.stages[1:](maps))
    drawn = SamplerWithout(sampler, keep_statistics=True).images(z, [0, 2])
    assert np.abs(drawn.astype(int) - expected).max() <= 1
    assert np.abs(drawn.astype(int) - sampler.images(z)).max() > 1


@torch.no_grad()
def test_statistics_are_taken_anew_without_the_dropped_maps(sampler: Sampler) -> None:
    """Held against the batch statistics of a large batch, which is what the authors' code has."""
    z = torch.empty(3000, sampler.shape.z_dim).uniform_(-1, 1, generator=torch.Generator().manual_seed(5))
    maps = layer_by_hand(sampler, z)
    maps[:, [0, 3]] = 0
    later = sampler.generator.stages[1:]
    before = [stage.norm.standing for stage in later if stage.norm]
    for stage in later:
        if stage.norm:
            stage.norm.standing = None
    expected = to_pixels(later(maps)[:4]).astype(int)
    for stage, standing in zip(later, before, strict=False):
        stage.norm.standing = standing
    drawn = SamplerWithout(sampler, keep_statistics=False).images(z[:4], [0, 3])
    kept = SamplerWithout(sampler, keep_statistics=True).images(z[:4], [0, 3])
    assert 3 * np.abs(drawn - expected).mean() < np.abs(kept - expected).mean()


@pytest.mark.parametrize("keep_statistics", [True, False])
def test_drawing_without_maps_leaves_the_model_as_it_was(sampler: Sampler, keep_statistics: bool) -> None:
    z = sampler.latents(range(3))
    images, standing = sampler.images(z), standing_of(sampler.generator)
    without = SamplerWithout(sampler, keep_statistics)
    first = without.images(z, [1])
    np.testing.assert_array_equal(sampler.images(z), images)
    assert all(torch.equal(*pair) for pair in zip(standing, standing_of(sampler.generator), strict=True))
    np.testing.assert_array_equal(without.images(z, [1]), first)
    np.testing.assert_array_equal(without.images(z[2:], [1])[0], first[2])


def test_an_error_while_drawing_leaves_the_model_as_it_was(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = sampler.latents(range(3))
    images, standing = sampler.images(z), standing_of(sampler.generator)
    without = SamplerWithout(sampler, keep_statistics=False)
    with monkeypatch.context() as broken:
        broken.setattr(sampler, "images", lambda z: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            without.images(z, [0])
    assert all(torch.equal(*pair) for pair in zip(standing, standing_of(sampler.generator), strict=True))
    np.testing.assert_array_equal(draw_images(sampler.generator, z), images)


@pytest.mark.parametrize(
    ("size", "layers", "step", "reach"),
    [(64, "strided", 8, 14), (32, "strided", 4, 6), (32, "paired", 4, 10)],
)
def test_the_centre_of_a_place_is_the_middle_of_what_it_reaches(
    size: int, layers: str, step: int, reach: int
) -> None:
    """Found by changing one place, and looking where the image changes."""
    shape = ModelShape(size, 2, 3, layers=layers)
    generator = build(Generator, shape, torch.Generator().manual_seed(1))
    for module in generator.modules():
        if isinstance(module, BatchNorm):
            module.standing = (torch.zeros_like(module.weight), torch.full_like(module.weight, 1e-4))
    centre = centres(generator, 8)
    assert centre.tolist() == [step * place for place in range(8)]
    channels = generator.stages[0].conv.out_channels  # type: ignore[union-attr]
    maps = torch.rand(1, int(channels), 8, 8, generator=torch.Generator().manual_seed(2))
    changed = maps.clone()
    changed[:, :, 4, 2] += 100
    with torch.no_grad():
        later = generator.stages[1:]
        difference = (later(maps) != later(changed)).any(dim=1)[0].numpy()
    rows, columns = np.flatnonzero(difference.any(axis=1)), np.flatnonzero(difference.any(axis=0))
    assert (
        abs((rows[0] + rows[-1]) / 2 - centre[4]) <= 1
        and abs((columns[0] + columns[-1]) / 2 - centre[2]) <= 1
    )
    assert rows[-1] - rows[0] <= 2 * reach + 1 and rows[-1] - rows[0] > reach


def test_places_of_a_box() -> None:
    centre = np.arange(8) * 4.0
    inside = places_inside(Box(0, x=4, y=8, width=9, height=4), centre)
    assert np.argwhere(inside).tolist() == [[2, 1], [2, 2], [2, 3]], "row 8; columns 4, 8 and 12"
    assert places_inside(Box(0, 0, 0, 32, 32), centre).all()


def test_a_box_between_centres_gets_the_nearest() -> None:
    centre = np.arange(8) * 4.0
    assert np.argwhere(places_inside(Box(0, x=5, y=30, width=3, height=2), centre)).tolist() == [[7, 1]]
    assert np.argwhere(places_inside(Box(0, x=7, y=1, width=1, height=2), centre)).tolist() == [[0, 2]]
