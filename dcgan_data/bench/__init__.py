"""Measurements, as ratios within one run: how fast, and how much is found, against other ways of doing it.

Imported module by module: what a measured worker has loaded is part of its memory.
"""
