"""What has a discriminator learnt to look for? (DCGAN paper, sec. 6.2 and figure 5)

The real images that the features of its last convolution answer to most strongly, and what in them it is, by
guided backpropagation; beside the same for random weights.
"""
