"""The packages that CKAN's DCAT harvester creates from a catalogue, by address."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ckanext.dcat.processors import RDFParser

parser = RDFParser(profiles=["euro_dcat_ap_3"])
parser.parse(Path(sys.argv[1]).read_text("utf-8"), "json-ld")
packages = list(parser.datasets())
print(json.dumps({extra["value"]: each for each in packages for extra in each["extras"] if extra["key"] == "uri"}))
