"""Assets and steps of a release: measurements, charged and stored once, and the tables published from them."""
