"""Spark Connect shows neither the JVM nor RDDs: one module of the engine reaches for them."""

from __future__ import annotations

import ast
from pathlib import Path

HOUSE = Path(__file__).parents[2]
CLASSIC = {
    "DeltaTable", "SparkContext", "_jdf", "_jsc", "_jsparkSession", "_jvm", "rdd", "sparkContext",
}  # fmt: skip


def classic_names(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    names |= {n.id for n in nodes if isinstance(n, ast.Name)}
    names |= {a.name for n in nodes if isinstance(n, ast.ImportFrom) for a in n.names}
    return names & CLASSIC


def test_one_module_reaches_for_the_jvm():
    files = [p for room in ("engine", "jobs") for p in (HOUSE / room).rglob("*.py")]
    names = {str(p.relative_to(HOUSE)): classic_names(p) for p in files}
    assert {p: n for p, n in names.items() if n and p != "engine/storage/jvm.py"} == {}
    assert names["engine/storage/jvm.py"]
