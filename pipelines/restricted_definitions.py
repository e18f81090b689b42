"""The code location of intake, linkage and retention. Its key set needs no signing key."""

from pipelines.definitions import Part, build_definitions

defs = build_definitions(part=Part.RESTRICTED)
