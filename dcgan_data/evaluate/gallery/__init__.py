"""Pages of figures: all that was found out about a model, in one file."""
