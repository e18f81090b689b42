"""One function or class at a time: no files of the pipeline, no run of Dagster; the whole folder within a minute."""
