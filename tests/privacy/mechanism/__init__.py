"""The noise, what it is charged, and the figures that are made of it."""
