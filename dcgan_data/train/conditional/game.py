"""The two players and one move of each (the authors' MNIST script): a minibatch updates EITHER G or D."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcgan_data.train.conditional.models import (
    ConditionalDiscriminator,
    ConditionalGenerator,
    ConditionalShape,
    condition,
)
from dcgan_data.train.conditional.settings import ConditionalSettings
from dcgan_data.train.distributed import ALONE
from dcgan_data.train.engine import resolve_precision
from dcgan_data.train.guard import FiniteGuard
from dcgan_data.train.seeds import Stream, torch_rng


@dataclass
class ConditionalState:
    """All that training changes. Between steps it is consistent and can be saved."""

    generator: ConditionalGenerator
    """On the training device."""
    discriminator: ConditionalDiscriminator
    """On the training device."""
    adam_g: torch.optim.Adam
    """Optimiser of the generator's weights."""
    adam_d: torch.optim.Adam
    """Optimiser of the discriminator's weights."""
    rng: torch.Generator
    """Source of the latent vectors, on the CPU."""
    guard: FiniteGuard
    """Knows whether an update had to be skipped."""
    measures: Tensor
    """float32 (4,) on the device: loss of D, loss of G, mean of D on real, on generated images; nan before
    the first update."""
    precision: Callable[[], AbstractContextManager[None]] = nullcontext
    """Context of both networks' forward passes."""
    step: int = 0
    """Minibatches done; also the number of the next one, since they count from 0."""

    @property
    def device(self) -> torch.device:
        """Where both networks are."""
        return self.measures.device

    @property
    def generators_turn(self) -> bool:
        """Whether the next minibatch is the generator's: it begins."""
        return self.step % 2 == 0


def resolved_precision(settings: ConditionalSettings, device: torch.device) -> str:
    """float32 or bf16: where ``auto`` is the tf32 of an older GPU elsewhere, the authors' float32 stays."""
    return "bf16" if resolve_precision(settings.precision, device) == "bf16" else "float32"


def new_state(settings: ConditionalSettings, device: torch.device) -> ConditionalState:
    """Both networks with fresh weights, and their optimisers, at step 0."""
    shape, seed = ConditionalShape.of(asdict(settings)), settings.seed
    generator = ConditionalGenerator(shape, torch_rng(seed, Stream.GENERATOR_WEIGHTS)).to(device)
    rng = torch_rng(seed, Stream.DISCRIMINATOR_WEIGHTS)
    discriminator = ConditionalDiscriminator(shape, rng).to(device)
    low = resolved_precision(settings, device) == "bf16"
    return ConditionalState(
        generator=generator,
        discriminator=discriminator,
        adam_g=_adam(generator, settings),
        adam_d=_adam(discriminator, settings),
        rng=torch_rng(seed, Stream.LATENT),
        guard=FiniteGuard(device, ALONE),
        measures=torch.full((4,), math.nan, device=device),
        precision=partial(torch.autocast, device.type, torch.bfloat16) if low else nullcontext,
    )


def move_generator(state: ConditionalState, z: Tensor, labels: Tensor) -> None:
    """A step on -log D(G(z, labels), labels); z float32 (B, z_dim), labels float32 (B, 10) one-hot."""
    with state.precision():
        fakes = state.generator(condition(z, labels))
        logits = state.discriminator(fakes, labels)
    loss = F.softplus(-logits).mean()  # softplus(-x) = -log(sigmoid(x)), without its overflow
    _descend(state, state.adam_g, "generator", loss)
    state.measures[1].copy_(loss.detach())


def move_discriminator(state: ConditionalState, images: Tensor, z: Tensor, labels: Tensor) -> None:
    """A step on -log D(images, labels) - log(1 - D(G(z, labels), labels)); images as D takes them."""
    with state.precision():
        with torch.no_grad():
            fakes = state.generator(condition(z, labels))
        # Apart: batch norm must not see real and generated images together.
        real_logits = state.discriminator(images, labels)
        fake_logits = state.discriminator(fakes, labels)
    loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    _descend(state, state.adam_d, "discriminator", loss)
    state.measures[0].copy_(loss.detach())
    state.measures[2].copy_(real_logits.detach().sigmoid().mean())
    state.measures[3].copy_(fake_logits.detach().sigmoid().mean())


def set_learning_rate(state: ConditionalState, rate: float) -> None:
    """Of both players."""
    for adam in (state.adam_g, state.adam_d):
        adam.param_groups[0]["lr"] = rate


def _descend(state: ConditionalState, adam: torch.optim.Adam, player: str, loss: Tensor) -> None:
    weights: list[Tensor] = adam.param_groups[0]["params"]
    # Of the player's own weights only: the other's gradients would be a third of the work, for nothing.
    gradients = torch.autograd.grad(loss, weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    # See guard.py; read by fused Adam only.
    adam.found_inf = state.guard.check(player, loss.detach(), gradients)  # type: ignore[attr-defined]
    adam.step()


def _adam(model: nn.Module, settings: ConditionalSettings) -> torch.optim.Adam:
    # Adam, not AdamW: the authors add the L2 term to the gradient, before the moments are taken.
    return torch.optim.Adam(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.adam_eps,
        weight_decay=settings.l2,
        fused=True,
    )
