"""What runs, when and from where: definitions, jobs, schedules, sensors, settings, command line."""
