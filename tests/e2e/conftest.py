"""What tests of the whole pipeline share."""

from tests.support.installation.commands import installation
from tests.support.installation.demonstration import demonstration
