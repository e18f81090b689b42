"""What runs, when and from where: definitions, jobs, schedules, sensors, settings, command line."""

import warnings

warnings.filterwarnings("ignore", message=".*currently in (beta|preview)")  # of Dagster, of parameters that we use
