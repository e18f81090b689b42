"""Rules about the form of files: their texts are in `sources/errors.yaml`, under the names that readers use."""

import re
from pathlib import Path

from sources.errors import FILE_RULES

PROJECT = Path(__file__).parents[3]
MODULES = [*PROJECT.glob("sources/**/*.py"), *PROJECT.glob("assets/pseudonymise/*.py")]


def test_every_rule_is_used_and_every_name_is_known() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in MODULES)
    assert [rule for rule in FILE_RULES if f'"{rule}"' not in code] == []
    named = set(re.findall(r'(?:build_error\([^,()]+, |FILE_RULES\[|_Refused\()"([a-z-]+)"', code))
    assert len(named) > 30
    assert named <= FILE_RULES.keys()
