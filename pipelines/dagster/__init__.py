"""The Dagster side of the pipeline: jobs, schedules, sensors, alerts and the instance."""
