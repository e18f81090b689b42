"""What runs by itself and where: jobs, schedules, sensors, alerts, the instance."""
