"""A sender, the pipeline that takes its files, and the uv that builds its tool."""

from tests.support.intake.sender import pipeline, place_at, sender, sender_keys
from tests.support.supply import uv
