"""The copy of the server that bench/counting.py compares with: it counts nothing, and is otherwise the same."""

import ast
from pathlib import Path

from bench.counting import COUNTERS, PACKAGE, copy


def test_the_copy_counts_nothing(tmp_path: Path) -> None:
    removed = copy(tmp_path, "uncounted", counts=False)
    assert "channels/fanout/audience.py: self.counters.bytes += len(shared) * len(self._compressed)" in removed
    assert "gateway/websocket/session.py: services.hub.counters.noted.append(size)" in removed
    left = [
        ast.unparse(node)
        for path in (tmp_path / "uncounted").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AugAssign)
        and any(isinstance(each, ast.Attribute) and each.attr in COUNTERS for each in ast.walk(node.target))
    ]
    assert left == []


def test_the_copy_that_counts_differs_only_in_its_name(tmp_path: Path) -> None:
    assert copy(tmp_path, "counted", counts=True) == []
    source = (Path("src") / PACKAGE / "channels/fanout/audience.py").read_text()
    copied = (tmp_path / "counted/channels/fanout/audience.py").read_text()
    assert ast.dump(ast.parse(copied)) == ast.dump(ast.parse(source.replace(PACKAGE, "counted")))
