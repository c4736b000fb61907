"""Groups of samples that stand for a concept, picked by their numbers on a sheet (sec. 6.3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dcgan_data.errors import BadRequest
from dcgan_data.evaluate.latent.numbered import MOST_NUMBERED
from dcgan_data.train.sample import Sampler


def check_groups(groups: Mapping[str, Sequence[int]], fewest: int, allow_few: bool) -> None:
    """BadRequest unless each option's group is large enough and no sample is picked twice.

    fewest: the paper's number of exemplars; with ``allow_few`` one is enough.
    """
    taken: dict[int, str] = {}
    for option, numbers in groups.items():
        least = 1 if allow_few else fewest
        if len(numbers) < least:
            raise BadRequest(
                f"{option}: {len(numbers)} exemplars, {least} or more are needed; the paper averages "
                f"{fewest}, single ones were unstable: pick more from 'dcgan-data sample RUN --numbered'"
                + ("" if allow_few or not numbers else ", or say --allow-few")
            )
        for number in numbers:
            if not 0 <= number < MOST_NUMBERED:
                raise BadRequest(
                    f"{option} {number}: no number of a sample; numbered sheets have 0 to {MOST_NUMBERED - 1}"
                )
            if number in taken:
                where = "twice" if taken[number] == option else f"in {taken[number]} too"
                raise BadRequest(f"{option}: sample {number} is there {where}; pick another exemplar")
            taken[number] = option


def mean_latent(latents: torch.Tensor) -> torch.Tensor:
    """Mean of latent vectors, float32 (N, z_dim): float32 (z_dim,), whatever their order."""
    # Sums of some float32 numbers are exact in float64.
    return latents.double().mean(dim=0).float()


def latents_of(sampler: Sampler, groups: Sequence[Sequence[int]], seed: int) -> list[torch.Tensor]:
    """The latent vectors of each group's samples: float32 (n, z_dim) each."""
    every = [number for group in groups for number in group]
    return list(torch.split(sampler.latents(every, seed), [len(group) for group in groups]))
