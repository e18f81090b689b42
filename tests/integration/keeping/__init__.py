"""Home folders away from their machine and back, without a run: small ones, made by hand."""
