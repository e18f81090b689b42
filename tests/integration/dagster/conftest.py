"""An empty installation, and a webhook."""

from tests.support.installation.commands import hook, installation
