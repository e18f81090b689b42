"""What holds for every test: hypothesis never fails a property for being slow on a busy machine."""

from hypothesis import settings

settings.register_profile("readiness", deadline=None)
settings.load_profile("readiness")
