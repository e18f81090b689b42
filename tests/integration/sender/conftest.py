"""A sender, and the pipeline that takes its files."""

from tests.support.intake.sender import key_folder, keys, pipeline, place_at, sender, sender_keys

__all__ = ["key_folder", "keys", "pipeline", "place_at", "sender", "sender_keys"]
