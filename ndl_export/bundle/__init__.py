"""The release bundle: making, reading and verifying it, and the files beside bundles in a release directory."""
