"""Rules about the form of files: their texts are in `sources/errors.yaml`, under the names that readers use."""

import ast
from pathlib import Path

from sources.errors import FILE_RULES

PROJECT = Path(__file__).parents[3]


def test_every_rule_is_used_and_every_name_is_known() -> None:
    trees = [
        ast.parse(path.read_text("utf-8")) for room in ("sources", "assets") for path in PROJECT.glob(f"{room}/**/*.py")
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert FILE_RULES.keys() <= texts
    named = {
        str(node.args[1].value)
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "build_error"
        and isinstance(node.args[1], ast.Constant)
    }
    assert len(named) > 30
    assert named <= FILE_RULES.keys()
