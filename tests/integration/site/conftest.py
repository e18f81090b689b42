"""Pages of made-up figures."""

from tests.support.site.pages import made, make, many, on_request, two_cohorts, whole, without
