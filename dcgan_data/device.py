"""Choose the device, and send it tensors without making the host wait."""

from __future__ import annotations

import torch

from dcgan_data.errors import BadRequest


def resolve_device(name: str) -> torch.device:
    """Turn auto, cpu or cuda into a device; BadRequest for another name, or a GPU where there is none."""
    if name not in ("auto", "cpu", "cuda"):
        raise BadRequest(f"device {name}: must be one of auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise BadRequest("device cuda: torch sees no GPU here; use --device cpu, or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to ``device``. From pinned memory the copy queues behind the device's other work."""
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
