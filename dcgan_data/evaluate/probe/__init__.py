"""How much a discriminator's features know: linear classifiers on them, with real labels (paper, sec. 5)."""
