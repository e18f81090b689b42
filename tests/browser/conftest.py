"""Pages of made-up figures."""

from tests.support.site.pages import made, make, many, two_cohorts, whole, without

__all__ = ["made", "make", "many", "two_cohorts", "whole", "without"]
