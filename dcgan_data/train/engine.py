"""Make a step as quick as the device allows: precision, compilation, recorded CUDA graphs, several GPUs.

What a step computes is in ``game``; nothing here changes it beyond the last bits of floats. Nothing here
waits for the device. What cannot be had on a machine (no compiler, an operation that cannot be recorded)
is left out, and ``Stepper.notes`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dcgan_data.device import send
from dcgan_data.errors import BadRequest
from dcgan_data.train.augment import AUGMENT_DRAWS, augment
from dcgan_data.train.config import TrainConfig
from dcgan_data.train.data import scale
from dcgan_data.train.game import (
    Batch,
    Players,
    TrainState,
    frozen,
    move_both,
    move_discriminator,
    move_generator,
)
from dcgan_data.train.graphs import Recorded

COMPILE_FROM_STEPS = 2_000
"""Runs of at least so many steps win back the minute or so that compiling takes."""
_EMA_WARM_UP = 10


def resolve_precision(name: str, device: torch.device) -> str:
    """float32, tf32 or bf16: ``auto`` is the quickest that the device has in hardware."""
    if name == "tf32" and device.type != "cuda":
        raise BadRequest("precision tf32: only a GPU has it; use float32, bf16 or auto")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "tf32"
    # Without these instructions bf16 is emulated, and slower than float32.
    return (
        "bf16" if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported() else "float32"
    )


@contextmanager
def numerics(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Set torch's global switches for a run, and put them back."""
    tf32 = resolve_precision(config.precision, device) != "float32"
    before = (
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    )
    strict = torch.are_deterministic_algorithms_enabled()
    # Shapes never change: it pays to try all algorithms once. Which one wins may differ from run to run.
    torch.backends.cudnn.benchmark = not config.deterministic
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    if config.deterministic:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        (
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
        ) = before
        torch.use_deterministic_algorithms(strict)


class Stepper:
    """Does one minibatch after another, on batches of uint8 pixels."""

    def __init__(
        self,
        config: TrainConfig,
        state: TrainState,
        total_steps: int = 0,
        notes: list[str] | None = None,
    ) -> None:
        """total_steps: how long the run will be, to judge whether compiling pays.

        notes: where to add what cannot be had, which may show only some steps later.
        """
        self.notes: list[str] = [] if notes is None else notes
        """What could not be had, for the run's log."""
        self._config = config
        self._state = state
        self._cuda = state.device.type == "cuda"
        self.players = self._players(total_steps)
        record = self._cuda and config.cuda_graphs and state.ranks.count == 1
        self._both, self._move_g, self._move_d = (
            self._prepared(move, record) for move in (move_both, move_generator, move_discriminator)
        )

    def step(self, pixels: Tensor | None) -> None:
        """One minibatch of uint8 (B, S, S, 3) pixels on the device; None if ``reads_pixels`` is false."""
        state, config = self._state, self._config
        state.guard.step.fill_(state.step + 1)
        z = self._to_device(state.generator.shape.draw_z(state.rng, config.batch_size))
        draws = self._draws()
        if not config.alternate:
            assert pixels is not None
            self._both(pixels, z, *draws)
        elif self.reads_pixels:
            assert pixels is not None
            self._move_d(pixels, z, *draws)
        else:
            self._move_g(z, *draws)
        self._follow()
        state.step += 1

    @property
    def reads_pixels(self) -> bool:
        """Whether the next step looks at its minibatch.

        The authors' alternation moves the generator first, and passes over its minibatch unread.
        """
        return not self._config.alternate or self._state.step % 2 == 1

    def _draws(self) -> tuple[Tensor, ...]:
        if not self._config.augment:
            return ()
        shape = (3, self._config.batch_size, AUGMENT_DRAWS)
        drawn = torch.rand(shape, generator=self._state.rng)
        ranks = self._state.ranks
        return (send(torch.stack([ranks.part(part) for part in drawn]), self._state.device),)

    def _to_device(self, drawn: Tensor) -> Tensor:
        return send(self._state.ranks.part(drawn), self._state.device)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average of the generator's weights towards them; faster in the beginning."""
        state = self._state
        if state.average is None:
            return
        decay = min(self._config.ema, (1 + state.step) / (_EMA_WARM_UP + state.step))
        ours: list[Tensor] = list(state.average.parameters())
        theirs: list[Tensor] = list(state.generator.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - decay)

    def _prepared(self, move: Callable[..., None], record: bool) -> Callable[..., None]:
        """The move as a function of device tensors, recorded if that is possible."""

        def run(*inputs: Tensor) -> None:
            pixels, rest = (None, inputs) if move is move_generator else (inputs[0], inputs[1:])
            images = scale(pixels) if pixels is not None else rest[0]  # G's move looks at none
            move(self._state, self.players, Batch(images, *rest))

        return Recorded(run, self._before_recording, self.notes.append) if record else run

    def _before_recording(self) -> None:
        # Gradients are then allocated among the graph's own memory.
        self._state.adam_g.zero_grad()
        self._state.adam_d.zero_grad()

    def _players(self, total_steps: int) -> Players:
        config, state = self._config, self._state
        generator: Any = state.generator
        discriminator: Any = state.discriminator
        precision = _precision_context(config, state.device)
        if self._compiles(total_steps):
            compiled = try_compile(state, config, precision)
            if compiled is None:
                self.notes.append("torch.compile does not work here: training goes on without it")
            else:
                generator, discriminator = compiled
        judge = discriminator
        if state.ranks.count > 1:
            generator, discriminator = (self._distribute(net) for net in (generator, discriminator))
        return Players(
            generator=generator,
            discriminator=discriminator,
            judge=judge,
            precision=precision,
            # On a CPU two calls cost no more, and spare the copies that joining the halves makes.
            together=self._cuda,
            augment=augment if config.augment else None,
        )

    def _compiles(self, total_steps: int) -> bool:
        if self._config.compile == "auto":
            return self._cuda and total_steps >= COMPILE_FROM_STEPS
        return self._config.compile == "on"

    def _distribute(self, network: nn.Module) -> nn.Module:
        return DistributedDataParallel(network, device_ids=[self._state.device] if self._cuda else None)


def _precision_context(
    config: TrainConfig, device: torch.device
) -> Callable[[], AbstractContextManager[None]]:
    if resolve_precision(config.precision, device) != "bf16":
        return nullcontext
    return partial(torch.autocast, device.type, torch.bfloat16)


def try_compile(
    state: TrainState, config: TrainConfig, precision: Callable[[], AbstractContextManager[None]]
) -> tuple[Any, Any] | None:
    """Both networks compiled and tried out, forwards and backwards; None where torch.compile fails."""
    # Not dynamic: the discriminator's two ways of being called are two programs, each for its own shapes.
    generator, discriminator = (
        torch.compile(network, dynamic=False) for network in (state.generator, state.discriminator)
    )
    # Spectral norm's vectors move with every forward pass: this one must not be seen in the run's bits.
    before = [buffer.clone() for buffer in state.discriminator.buffers()]
    try:
        _try_out(generator, discriminator, state, config, precision)
    except Exception:  # noqa: BLE001 (whatever a compiler that is missing or broken may raise)
        return None
    finally:
        for buffer, value in zip(state.discriminator.buffers(), before, strict=True):
            buffer.copy_(value)
    return generator, discriminator


def _try_out(
    generator: Any,
    discriminator: Any,
    state: TrainState,
    config: TrainConfig,
    precision: Callable[[], AbstractContextManager[None]],
) -> None:
    """Call both as the moves do, so that what is compiled here is what they find."""
    z = torch.zeros(config.batch_size // state.ranks.count, config.z_dim, device=state.device)
    with precision():
        fakes = generator(z)
        images = fakes.detach().float()
        if state.device.type == "cuda":
            logits = discriminator(torch.cat([images, images]), groups=2)
        else:
            logits = discriminator(images)
    torch.autograd.grad(logits.float().sum(), list(state.discriminator.parameters()))
    with frozen(state.discriminator):
        with precision():
            logits = discriminator(fakes.float() if config.augment else fakes)
        torch.autograd.grad(logits.float().sum(), list(state.generator.parameters()))
