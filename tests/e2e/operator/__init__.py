"""Dagster as an operator meets it: the real web server and daemon, over a finished installation."""
