"""Jobs, schedules and sensors in Dagster, and the command line with the reports that it prints."""

import warnings

# Dagster warns about beta and preview parameters that we use.
warnings.filterwarnings("ignore", message=".*currently in (beta|preview)")
