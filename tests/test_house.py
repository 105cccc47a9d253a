"""Names of the house: a public class has one meaning."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import bcprobe

ROOT = Path(bcprobe.__file__).parent
#: Parts that every task, and every study, has under the same name: one interface, many makers.
INTERFACES = {"World", "State", "Settings", "Verdict"}


def test_public_classes_of_one_name_are_one_class() -> None:
    found = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    assert len(found) > 100
    assert not {n: at for n, at in found.items() if len(at) > 1 and n not in INTERFACES}
