"""The house: its rooms, as docs have them, and a row's way through it."""

from __future__ import annotations

import ast
import importlib
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ROOMS = sorted(p.parent for p in (ROOT / "engine").glob("*/__init__.py"))


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def docstring(room: Path) -> str:
    return ast.get_docstring(tree_of(room / "__init__.py")) or ""


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_says_what_it_holds_what_it_imports_and_where_to_start(room):
    text = docstring(room)
    assert re.search(r"^May import: ", text, re.MULTILINE), text
    assert re.search(r"^Start reading: `", text, re.MULTILINE), text


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_what_a_room_names_is_there(room):
    """Files of the room, names in them, or rooms."""
    trees = {file.stem: tree_of(file) for file in room.rglob("*.py")}
    names = {getattr(node, "name", "") for tree in trees.values() for node in ast.walk(tree)}
    names |= {node.id for tree in trees.values() for node in ast.walk(tree) if is_constant(node)}
    names |= trees.keys() | {folder.name for folder in [*room.iterdir(), *ROOMS]}
    named = re.findall(r"`([\w.]+)`", docstring(room))
    assert [name for name in named if not set(name.split(".")) <= names] == []


def is_constant(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def row(room: Path) -> str:
    """Return the row of a room in docs/architecture.md: its docstring without line breaks."""
    text = re.sub(r"\s+", " ", docstring(room))
    holds, imports, start = re.split(r" (?:May import|Start reading): ", text, maxsplit=2)
    return f"| `{name_of(room)}` | {holds} | {imports} | {start} |"


def test_the_table_of_rooms_is_the_tree():
    text = (DOCS / "architecture.md").read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| `engine/\w+` \|", line)]
    wanted = [row(room) for room in ROOMS]
    assert sorted(rows) == wanted, "write these into docs/architecture.md:\n" + "\n".join(wanted)


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page):
    names = re.findall(r"`((?:engine|jobs|tests|sfs|conf)/[\w./-]+)`", page.read_text())
    assert [name for name in names if "NAME" not in name and not (ROOT / name).exists()] == []


STEP = re.compile(r"^\d+\. `([\w.]+)`", re.MULTILINE)


def steps() -> list[str]:
    return STEP.findall((DOCS / "a-rows-way.md").read_text())


def test_each_step_of_a_rows_way_is_there():
    for step in steps():
        parts = step.split(".")
        module = next(m for n in range(len(parts), 0, -1) if (m := module_of(parts[:n])))
        thing = importlib.import_module(module)
        for part in parts[module.count(".") + 1 :]:
            thing = getattr(thing, part)
        assert callable(thing), step


def module_of(parts: list[str]) -> str | None:
    place = ROOT.joinpath(*parts)
    return ".".join(parts) if place.with_suffix(".py").is_file() else None


def test_no_step_of_a_rows_way_goes_back_to_a_room_that_it_left():
    """Storage opens and closes each job."""
    rooms = [step.split(".")[1] for step in steps()]
    visits = [room for room, _ in itertools.groupby(r for r in rooms if r != "storage")]
    assert len(visits) == len(set(visits)), visits
    assert {"run", "label", "masks", "metrics", "report"} <= {*visits}
