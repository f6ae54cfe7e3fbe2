"""What identifiers are called, and what functions import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(p for top in ("engine", "jobs") for p in (ROOT / top).rglob("*.py"))

# Participles and halves of sentences: a thing is named by what it is.
WORDS = frozenset({
    "found", "made", "held", "said", "told", "asked", "seen", "kept", "taken", "given",
    "rests_on", "how_sure", "hard", "under", "apart",
})  # fmt: skip
# What a function may import: what is slow to load, or what executors and plain Python lack.
HEAVY = frozenset(
    {
        "pandas",
        "pyarrow",
        "py4j",
        "pyspark",
        "rich",
        "sklearn",
        "spacy",
        "sqlglot",
        "srsly",
        "torch",
        "xxhash",
    }
)
# Rooms' own modules that load these, by the file that may import them late.
LOADS_HEAVY = {
    "engine/label/appliers.py": "pyspark",
    "engine/metrics/evaluation.py": "pyspark",
    "engine/label/predicates.py": "sqlglot",
    "engine/scoring.py": "torch",
    "engine/storage/lineage.py": "sqlglot",
}
COMMAND_LINE = ("jobs/", "engine/project/cli.py", "engine/project/demo_data.py")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def identifiers(tree: ast.AST):
    """Yield what the code itself names: no keyword of a call, which is another's argument."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Attribute(attr=name):
                yield name, node
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.alias(asname=str(name)):
                yield name, node


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_things_are_named_by_what_they_are(path):
    names = identifiers(ast.parse(path.read_text(encoding="utf-8")))
    wrong = [f"line {node.lineno}: {n}" for n, node in names if n.strip("_") in WORDS]
    assert not wrong


def late_imports(tree: ast.AST):
    """Yield (module, line) of the imports inside functions."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom):
                    yield node.module, node.lineno
                elif isinstance(node, ast.Import):
                    yield from ((alias.name, node.lineno) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_function_imports_what_is_heavy_and_says_why(path):
    if name_of(path).startswith(COMMAND_LINE):
        pytest.skip("jobs and the command line answer --help before they load anything")
    lines = path.read_text(encoding="utf-8").splitlines()
    for module, line in late_imports(ast.parse("\n".join(lines))):
        if module.partition(".")[0] == "engine":
            assert name_of(path) in LOADS_HEAVY, f"line {line} imports {module} late"
        else:
            assert module.partition(".")[0] in HEAVY, f"line {line} imports {module} late"
        # The reason stands on the line, above it, or above the block of imports it is in.
        first = line
        while lines[first - 2].lstrip().startswith(("import ", "from ")):
            first -= 1
        block = lines[first - 2 : line]
        assert any("#" in one for one in block), f"line {line} doesn't say why it imports late"
