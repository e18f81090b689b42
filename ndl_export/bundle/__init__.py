"""The release bundle: made, read, verified, and what stands beside bundles in a release directory."""
