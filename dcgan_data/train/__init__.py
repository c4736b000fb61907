"""Train a DCGAN on a prepared set: the authors' model, alternation and optimiser, resumable to the bit."""
