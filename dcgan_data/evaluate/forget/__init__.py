"""Can a generator forget an object? (DCGAN paper, sec. 6.3.1 and figure 6)

A person draws boxes around the object on samples (``annotate``). A logistic regression then tells, from the
features of G's second-highest convolution layer, which places are inside a box; the feature maps that speak
for it are set to zero everywhere, and the same latent vectors are drawn again (``running``).
"""
