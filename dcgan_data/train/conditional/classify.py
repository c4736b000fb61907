"""The 1-nearest-neighbour classifier by which the appendix judges a conditional generator.

A stream of labelled images, real or generated, is the classifier's whole memory; an image is given the label
of the nearest of them, by the Euclidean distance of their pixels. If real images are classified well by
generated ones, these show what their labels say, and vary as real ones do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dcgan_data.ops.nearest import NearestSearch
from dcgan_data.train.conditional.labelled import LabelledImages


class NearestErrors:
    """Errors of the classifier that knows the first n references of a stream, for several n in one pass."""

    def __init__(self, queries: LabelledImages, counts: Sequence[int], device: torch.device) -> None:
        if not len(queries) or not counts or min(counts) < 1:
            raise ValueError(f"{len(queries)} queries, counts {list(counts)}: need one or more of each")
        self._queries = queries
        self._search = NearestSearch(np.ascontiguousarray(queries.images), 1, device)
        self._labels: list[np.ndarray] = []
        self._ahead = sorted(set(counts))
        self.errors: dict[int, int] = {}
        """Wrongly classified queries by n, as far as the stream has come."""

    def add(self, references: LabelledImages) -> None:
        """Go on with the next references; those beyond the largest n are not looked at."""
        while self._ahead and len(references):
            left = self._ahead[0] - self._search.seen
            some, references = references[:left], references[left:]
            self._search.add(some.images)
            self._labels.append(some.labels)
            if self._search.seen == self._ahead[0]:
                self._labels = [np.concatenate(self._labels)]
                said = self._labels[0][self._search.result().positions[:, 0]]
                self.errors[self._ahead.pop(0)] = int((said != self._queries.labels).sum())
