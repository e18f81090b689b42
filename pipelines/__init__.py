"""What runs, and when: Dagster's definitions, and the command line with what it prints."""

import warnings

warnings.filterwarnings("ignore", message=".*currently in (beta|preview)")  # of Dagster, of parameters that we use
