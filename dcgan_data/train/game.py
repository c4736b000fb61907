"""The two players and one move of each (DCGAN paper, sec. 4; alternation and L2 as in the authors' code)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dcgan_data.train.config import TrainConfig
from dcgan_data.train.guard import FiniteGuard
from dcgan_data.train.models import Discriminator, Generator, ModelShape, allocate, initialise
from dcgan_data.train.seeds import Stream, torch_rng


@dataclass(frozen=True)
class Measures:
    """What the newest update of each player measured; None before its first."""

    loss_d: float | None
    """Discriminator: cross-entropy on real plus cross-entropy on generated images, in nats."""
    loss_g: float | None
    """Generator: -log D(G(z)), in nats."""
    p_real: float | None
    """Mean of D on real images: the probability that it gives to real ones being real."""
    p_fake: float | None
    """Mean of D on generated images, in the discriminator's update."""


@dataclass
class TrainState:
    """All that training changes. Between updates it is consistent and can be saved."""

    generator: Generator
    """On the training device, channels last."""
    discriminator: Discriminator
    """On the training device, channels last."""
    adam_g: torch.optim.Adam
    """Optimiser of the generator's parameters."""
    adam_d: torch.optim.Adam
    """Optimiser of the discriminator's parameters."""
    z_rng: torch.Generator
    """Source of the latent vectors, on the CPU."""
    guard: FiniteGuard
    """Knows whether an update had to be skipped."""
    measures: Tensor
    """float32 (4,) on the device, in the order of ``Measures``; nan before the first update."""
    step: int = 0
    """Minibatches done; also the number of the next one, since they count from 0."""
    seconds: float = 0.0
    """Time spent training, over all sessions of the run."""

    @property
    def device(self) -> torch.device:
        """Where both networks are."""
        return self.measures.device


def new_state(config: TrainConfig, image_size: int, device: torch.device) -> TrainState:
    """Both networks with fresh weights, and their optimisers, at step 0."""
    shape = ModelShape(image_size, config.width, config.z_dim)
    generator = allocate(Generator, shape)
    initialise(generator, torch_rng(config.seed, Stream.GENERATOR_WEIGHTS))
    discriminator = allocate(Discriminator, shape)
    initialise(discriminator, torch_rng(config.seed, Stream.DISCRIMINATOR_WEIGHTS))
    generator.to(device)
    discriminator.to(device)
    return TrainState(
        generator=generator,
        discriminator=discriminator,
        adam_g=_adam(generator, config),
        adam_d=_adam(discriminator, config),
        z_rng=torch_rng(config.seed, Stream.LATENT),
        guard=FiniteGuard(device),
        measures=torch.full((4,), math.nan, device=device),
    )


def update_generator(state: TrainState, z: Tensor) -> None:
    """Take one step on the non-saturating loss -log D(G(z)); z is float32 (B, z_dim) on the device."""
    logits = state.discriminator(state.generator(z))
    loss = F.softplus(-logits).mean()  # softplus(-x) = -log(sigmoid(x)), without its overflow
    _descend(state, state.adam_g, loss)
    state.measures[1] = loss.detach()


def update_discriminator(state: TrainState, images: Tensor, z: Tensor) -> None:
    """Take one step on -log D(images) - log(1 - D(G(z))).

    images: float32 (B, 3, S, S) in [-1, 1]; z: float32 (B, z_dim); both on the device.
    """
    with torch.no_grad():
        fakes = state.generator(z)
    # Two passes: batch norm must see real and generated images apart.
    real_logits = state.discriminator(images)
    fake_logits = state.discriminator(fakes)
    loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    _descend(state, state.adam_d, loss)
    state.measures[0] = loss.detach()
    state.measures[2] = real_logits.detach().sigmoid().mean()
    state.measures[3] = fake_logits.detach().sigmoid().mean()


def read_measures(state: TrainState) -> Measures:
    """The measures as numbers. Waits for the device."""
    return Measures(*(None if math.isnan(value) else value for value in state.measures.tolist()))


def _descend(state: TrainState, adam: torch.optim.Adam, loss: Tensor) -> None:
    parameters: list[Tensor] = adam.param_groups[0]["params"]
    adam.zero_grad()
    # Only this player's gradients are computed; the other's parameters are constants of the loss.
    torch.autograd.backward(loss, inputs=parameters)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flag = state.guard.skip_flag(state.step + 1, loss.detach(), gradients)
    adam.found_inf = flag  # type: ignore[attr-defined]  # see guard.py; read by fused Adam only
    adam.step()


def _adam(model: Generator | Discriminator, config: TrainConfig) -> torch.optim.Adam:
    # Adam, not AdamW: the authors add the L2 term to the gradient, before the moments are taken.
    return torch.optim.Adam(
        model.parameters(),
        lr=float(config.learning_rate),
        betas=(float(config.beta1), float(config.beta2)),
        eps=float(config.adam_eps),
        weight_decay=float(config.l2),
        fused=True,
    )
