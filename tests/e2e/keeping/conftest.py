"""An installation with a release."""

from tests.support.installation.released import copied, place, released
