"""What holds for every test.

- hypothesis never fails a property for being slow on a busy machine. `make test` asks for the profile `daily`.
- A worker of pytest-xdist is a main module without a file; pyspark, which Great Expectations imports where it is
  installed, takes such a one for its own doctests and ends the process.
"""

import sys

from hypothesis import settings

from tests.support.daily import EXAMPLES_PERCENT

settings.register_profile("readiness", deadline=None, max_examples=100)
settings.register_profile("daily", settings.get_profile("readiness"), max_examples=EXAMPLES_PERCENT)
settings.load_profile("readiness")

if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__
