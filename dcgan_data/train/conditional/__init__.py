"""The conditional DCGAN of the paper's appendix: trained on digits and their labels, resumable to the bit."""
