"""Dagster as an operator meets it: the real web server and daemon, schedules, sensors, conditions and alerts."""
