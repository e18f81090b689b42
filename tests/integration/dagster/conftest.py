"""An empty installation, and a webhook."""

from tests.support.installation.commands import installation
from tests.support.installation.webhook import hook

__all__ = ["hook", "installation"]
