"""Bundles of made-up figures."""

from tests.support.export.bundles import (
    bundle,
    copy,
    incomplete,
    release_dir,
    series,
    tables,
    two,
    two_cohorts,
    two_releases,
)
from tests.support.export.store_servers import in_s3, s3
