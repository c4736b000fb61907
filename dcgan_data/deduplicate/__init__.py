"""The whole-set driver: shards -> autoencoder -> codes -> candidates -> checked pairs -> stars -> choice.

The ``near`` rule takes codes that are near, under some view, as candidates, and lets a check of the pixels
decide. With the ``exact`` rule (the paper's, sec. 4.1.1) all 128 bits collide, and a collision needs no
check. Every removed image is compared with the kept one itself, never through a chain.
"""

from dcgan_data.deduplicate.images import ImageSet
from dcgan_data.deduplicate.running import Run, deduplicate
from dcgan_data.deduplicate.saved import restore_pairs
from dcgan_data.deduplicate.searching import check_memory

__all__ = ["ImageSet", "Run", "check_memory", "deduplicate", "restore_pairs"]
