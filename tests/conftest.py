"""What holds for every test.

- hypothesis never fails a property for being slow on a busy machine.
- A worker of pytest-xdist is a main module without a file; pyspark, which Great Expectations imports where it is
  installed, takes such a one for its own doctests and ends the process.
"""

import sys

from hypothesis import settings

settings.register_profile("readiness", deadline=None)
settings.load_profile("readiness")

if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__
