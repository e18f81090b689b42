"""The code location of measurement and publication. Its key set is `input-mac.key` and `signing.pem`."""

from pipelines.definitions import Part, build_definitions

defs = build_definitions(part=Part.RELEASE)
