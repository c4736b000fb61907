"""``bench scale``: a whole de-duplication of LSUN-shaped sets of any size, stage by stage."""
