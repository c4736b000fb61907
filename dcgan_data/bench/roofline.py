"""A device's measured matrix rate: the roof over everything that is made of convolutions."""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

_SIDE = {"cuda": 8192, "cpu": 2048}
"""Sides of the matrices: large enough that the products, not their surroundings, take the time."""
_SECONDS = 0.3


def matrix_rate(device: torch.device, precision: str) -> float:
    """FLOP/s (2 a multiply-add) of the quickest of some products of large square matrices.

    precision: float32, tf32 or bf16, as in TrainConfig.
    """
    side = _SIDE[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    # Random values: a GPU draws less power, and is quicker, on matrices of one value.
    left = torch.randn(side, side, device=device).to(dtype)
    right = torch.randn(side, side, device=device).to(dtype)
    product = torch.empty_like(left)
    quickest, until = float("inf"), 0.0
    with _float32_products(tf32=precision == "tf32"):
        while not until or time.perf_counter() < until:
            start = time.perf_counter()
            torch.mm(left, right, out=product)
            wait_for(device)
            if until:  # the first product chooses an algorithm and touches its memory
                quickest = min(quickest, time.perf_counter() - start)
            else:
                until = time.perf_counter() + _SECONDS
    return 2 * side**3 / quickest


def device_name(device: torch.device) -> str:
    """What it is called, and how many threads a CPU is used with."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    described = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", described.read_text()) if described.exists() else None
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads"


def wait_for(device: torch.device) -> None:
    """Return when everything queued on ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _float32_products(tf32: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
