"""The appendix's test of a conditional generator on MNIST: 1-nearest-neighbour classification."""
