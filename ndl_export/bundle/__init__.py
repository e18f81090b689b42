"""The release bundle: made, read and verified; and the files beside bundles in a release directory."""
