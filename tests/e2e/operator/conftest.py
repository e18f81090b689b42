"""A webhook."""

from tests.support.installation.webhook import hook

__all__ = ["hook"]
