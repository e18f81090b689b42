"""Published rows, areas and weights, from definitions alone."""
