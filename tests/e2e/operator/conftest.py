"""A webhook."""

from tests.support.installation.commands import hook
