"""Versions of what pixels, codes and files depend on, without importing any of it."""

from __future__ import annotations

from importlib import metadata

from dcgan_data import __version__


def library_versions() -> dict[str, str]:
    """Library name -> version, for ``dataset.json`` and for refusing to mix two in one run."""
    names = ("numpy", "opencv-python", "pillow", "pyarrow", "simplejpeg", "torch")
    return {"dcgan_data": __version__, **{name: _version(name) for name in names}}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # for example opencv under another distribution's name
        return "unknown"
