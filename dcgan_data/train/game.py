"""The two players and one move of each (DCGAN paper, sec. 4; alternation and L2 as in the authors' code)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcgan_data.train.config import TrainConfig
from dcgan_data.train.distributed import ALONE, Ranks
from dcgan_data.train.guard import FiniteGuard
from dcgan_data.train.models import Discriminator, Generator, ModelShape, build
from dcgan_data.train.seeds import Stream, torch_rng


@dataclass
class TrainState:
    """All that training changes. Between steps it is consistent and can be saved."""

    generator: Generator
    """On the training device, channels last."""
    discriminator: Discriminator
    """On the training device, channels last."""
    average: Generator | None
    """Moving average of the generator's weights, if one is asked for."""
    adam_g: torch.optim.Adam
    """Optimiser of the generator's parameters."""
    adam_d: torch.optim.Adam
    """Optimiser of the discriminator's parameters."""
    rng: torch.Generator
    """Source of the latent vectors and of augmentation, on the CPU."""
    guard: FiniteGuard
    """Knows whether an update had to be skipped."""
    measures: Tensor
    """float32 (4,) on the device: loss of D, loss of G, mean of D on real, on generated images;
    nan before the first update."""
    ranks: Ranks = ALONE
    """This process among those of the run."""
    step: int = 0
    """Minibatches done; also the number of the next one, since they count from 0."""
    seconds: float = 0.0
    """Time spent on steps, over all sessions of the run."""

    @property
    def device(self) -> torch.device:
        """Where both networks are."""
        return self.measures.device

    @property
    def drawing(self) -> Generator:
        """The generator that samples come from."""
        return self.average or self.generator


def new_state(
    config: TrainConfig, image_size: int, device: torch.device, ranks: Ranks = ALONE, attempt: int = 0
) -> TrainState:
    """Both networks with fresh weights, and their optimisers, at step 0; ``attempt`` as in ``seeds``."""
    shape = ModelShape.of(asdict(config), image_size)
    generator = build(Generator, shape, torch_rng(config.seed, Stream.GENERATOR_WEIGHTS)).to(device)
    rng = torch_rng(config.seed, Stream.DISCRIMINATOR_WEIGHTS)
    discriminator = build(Discriminator, shape, rng).to(device)
    average = None
    if config.ema:
        average = build(Generator, shape, torch_rng(config.seed, Stream.GENERATOR_WEIGHTS)).to(device)
        average.requires_grad_(False)
    return TrainState(
        generator=generator,
        discriminator=discriminator,
        average=average,
        adam_g=_adam(generator, config),
        adam_d=_adam(discriminator, config),
        rng=torch_rng(config.seed, Stream.LATENT, attempt),
        guard=FiniteGuard(device, ranks),
        measures=torch.full((4,), math.nan, device=device),
        ranks=ranks,
    )


def _adam(model: nn.Module, config: TrainConfig) -> torch.optim.Adam:
    parameters = list(model.parameters())
    # Adam, not AdamW: the authors add the L2 term to the gradient, before the moments are taken.
    return torch.optim.Adam(
        parameters,
        lr=float(config.learning_rate),
        betas=(float(config.beta1), float(config.beta2)),
        eps=float(config.adam_eps),
        weight_decay=float(config.l2),
        fused=True,
        capturable=parameters[0].is_cuda,
    )


@dataclass(frozen=True)
class Players:
    """How the networks are called; the plain modules, unless they are compiled or run on several GPUs."""

    generator: Callable[[Tensor], Tensor]
    """z to images."""
    discriminator: Callable[..., Tensor]
    """images, groups to logits, for its own moves."""
    judge: Callable[[Tensor], Tensor]
    """images to logits, for the generator's moves: the same network, whose gradients nobody collects."""
    precision: Callable[[], AbstractContextManager[None]] = nullcontext
    """Context of both networks' forward passes."""
    together: bool = True
    """Real and generated images go through the discriminator in one call, their statistics apart."""
    augment: Callable[[Tensor, Tensor], Tensor] | None = None
    """images, draws to images: what D sees of them."""


@dataclass(frozen=True)
class Batch:
    """What one minibatch brings, on the device."""

    images: Tensor
    """float32 (B, 3, S, S) in [-1, 1], channels last."""
    z: Tensor
    """float32 (B, z_dim) in (-1, 1)."""
    draws: Tensor | None = None
    """float32 (3, B, AUGMENT_DRAWS) in [0, 1): for real, generated, and generated in G's move."""


def move_generator(state: TrainState, players: Players, batch: Batch) -> None:
    """The authors' minibatch of the generator: one step on the non-saturating loss -log D(G(z))."""
    with players.precision():
        fakes = players.generator(batch.z)
    _climb(state, players, fakes, batch)


def move_discriminator(state: TrainState, players: Players, batch: Batch) -> None:
    """The authors' minibatch of the discriminator: one step on -log D(images) - log(1 - D(G(z)))."""
    with torch.no_grad(), players.precision():
        fakes = players.generator(batch.z)
    _judge(state, players, fakes, batch)


def move_both(state: TrainState, players: Players, batch: Batch) -> None:
    """A minibatch of both: the discriminator's step, then the generator's against the new discriminator.

    Both see the same generated images, whose forward pass is made once.
    """
    with players.precision():
        fakes = players.generator(batch.z)
    _judge(state, players, fakes.detach(), batch)
    _climb(state, players, fakes, batch)


def _judge(state: TrainState, players: Players, fakes: Tensor, batch: Batch) -> None:
    images = batch.images
    if players.augment and batch.draws is not None:
        images, fakes = (
            players.augment(images, batch.draws[0]),
            players.augment(fakes.float(), batch.draws[1]),
        )
    with players.precision():
        # Batch norm must see real and generated images apart, in one call as in two.
        if players.together:
            both = players.discriminator(torch.cat([images, fakes.to(images.dtype)]), groups=2)
            real_logits, fake_logits = both.float().chunk(2)
        else:
            real_logits = players.discriminator(images).float()
            fake_logits = players.discriminator(fakes).float()
    loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    _descend(state, state.adam_d, "discriminator", loss)
    state.measures[0].copy_(loss.detach())
    state.measures[2].copy_(real_logits.detach().sigmoid().mean())
    state.measures[3].copy_(fake_logits.detach().sigmoid().mean())


def _climb(state: TrainState, players: Players, fakes: Tensor, batch: Batch) -> None:
    if players.augment and batch.draws is not None:
        fakes = players.augment(fakes.float(), batch.draws[2])
    with frozen(state.discriminator):
        with players.precision():
            logits = players.judge(fakes).float()
        loss = F.softplus(-logits).mean()  # softplus(-x) = -log(sigmoid(x)), without its overflow
        _descend(state, state.adam_g, "generator", loss)
    state.measures[1].copy_(loss.detach())


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No gradients of its parameters are computed inside the block: a third of G's step."""
    model.requires_grad_(False)
    try:
        yield
    finally:
        model.requires_grad_(True)


def _descend(state: TrainState, adam: torch.optim.Adam, player: str, loss: Tensor) -> None:
    parameters: list[Tensor] = adam.param_groups[0]["params"]
    adam.zero_grad()
    torch.autograd.backward(loss)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    # See guard.py; read by fused Adam only.
    adam.found_inf = state.guard.check(player, loss.detach(), gradients)  # type: ignore[attr-defined]
    adam.step()
