"""Parts of the pipeline on real files: an intake, a linkage, a bundle, a command, a definition for Dagster."""
