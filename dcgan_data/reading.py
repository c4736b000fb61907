"""A prepared set for other programs: its kept images as numpy arrays, or as a torch Dataset.

    images = open_prepared("out")      # len(images), images[0], images.keys, images.labels
    dataset = images.torch()           # float32 (3, S, S) in [-1, 1], for any DataLoader

Nothing is read but what is asked for: pixels come through memory maps. OpenCV is not needed, and torch only
for ``torch``.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from dcgan_data.errors import BadRequest
from dcgan_data.formats.manifest import KEPT
from dcgan_data.formats.prepared import ImageRows, PreparedSet

if TYPE_CHECKING:
    from dcgan_data.torch_dataset import TorchImages


_READ_AGAIN = ("_rows", "keys", "labels", "classes")


class KeptImages:
    """The N kept images of a prepared set, in the order of its source. Cheap to send to worker processes."""

    def __init__(self, path: Path) -> None:
        """BadInput if ``path`` is no prepared set, or an unfinished or damaged one."""
        self.path = path.absolute()
        self._set = PreparedSet.open(self.path)
        self.image_size = self._set.info.image_size
        self._rows = self._open_rows()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice | np.ndarray | list[int]) -> np.ndarray:
        """uint8 (S, S, 3) RGB for a number, uint8 (B, S, S, 3) for a slice or for B numbers."""
        if isinstance(index, slice):
            return self._rows.gather(np.arange(*index.indices(len(self))))
        chosen = np.asarray(index)
        if chosen.dtype.kind not in "iu" and chosen.size:
            raise TypeError(f"{index!r}: images are numbered; give integers or a slice")
        chosen = chosen.astype(np.int64)
        if ((chosen < -len(self)) | (chosen >= len(self))).any():
            raise IndexError(f"{index} of {len(self)} images")
        chosen = np.where(chosen < 0, chosen + len(self), chosen)
        images = self._rows.gather(np.atleast_1d(chosen))
        return images if chosen.ndim else images[0]

    @cached_property
    def keys(self) -> list[str]:
        """The source's key of every image; several faces of one photo have the same."""
        return self._column("key")

    @cached_property
    def labels(self) -> list[str | None]:
        """What the source says that every image is: a class, a person's name; None where it says nothing."""
        return self._column("label")

    @cached_property
    def classes(self) -> list[str]:
        """The different labels, sorted."""
        return sorted({label for label in self.labels if label is not None})

    def torch(self, labels: bool = False) -> TorchImages:
        """A torch Dataset of float32 (3, S, S) in [-1, 1], as the paper scales them (sec. 4).

        labels: items are (image, number of the class in ``classes``); BadRequest if an image has no label.
        """
        from dcgan_data.torch_dataset import TorchImages

        if labels and None in self.labels:
            raise BadRequest(f"{self.path}: {self.keys[self.labels.index(None)]} has no label; labels=False")
        return TorchImages(self, labels)

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be read again: numpy would send all pixels along, and keys may be millions."""
        return {name: value for name, value in vars(self).items() if name not in _READ_AGAIN}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._rows = self._open_rows()

    def _open_rows(self) -> ImageRows:
        return self._set.rows()

    def _column(self, name: str) -> list[Any]:
        table = self._set.manifest(["status", name])
        values: list[Any] = table.filter(pc.equal(table["status"], KEPT))[name].to_pylist()
        return values
