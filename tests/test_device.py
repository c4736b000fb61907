"""Which device a name stands for."""

from __future__ import annotations

import pytest
import torch

from dcgan_data.device import resolve_device, send
from dcgan_data.errors import BadRequest


def test_auto_takes_a_gpu_if_there_is_one() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(BadRequest, match="device cuda: torch sees no GPU here; use --device cpu, or auto"):
        resolve_device("cuda")


def test_nothing_is_copied_on_the_cpu() -> None:
    tensor = torch.arange(3)
    assert send(tensor, torch.device("cpu")) is tensor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_tensors_arrive_on_the_gpu() -> None:
    arrived = send(torch.arange(3), torch.device("cuda"))
    assert arrived.is_cuda
    assert arrived.tolist() == [0, 1, 2]
