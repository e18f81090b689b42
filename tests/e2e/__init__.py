"""The whole pipeline, from extracts to a release, and what people do with an installation afterwards."""
