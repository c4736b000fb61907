"""Prepare image sets for generative models, remove near-duplicates, train and examine a DCGAN.

Implements the system of Radford, Metz and Chintala (2016), arXiv 1511.06434.
"""

__version__ = "0.1.0"
