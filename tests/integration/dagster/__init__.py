"""The definitions, schedules and event log, without a server."""
