"""What a report says of a project's slices: names and descriptions, and their source.

Modules of slicing functions are read as text and never run: a report needs none of their packages.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.project.group_settings import InlineSlice
from engine.project.settings import Project
from engine.report.page_data import SliceText
from engine.slicing.by_value import Pin
from engine.slicing.ids import slug
from engine.storage.few_rows import small_rows
from engine.storage.lineage import Snapshot

_KINDS: Mapping[str, str] = {
    "row": "a Python function of a row",
    "pandas": "a Python function of pandas Series",
    "column": "a Spark column",
    "sql": "SQL",
    "expression": "an expression over columns and slices",
}


def slice_texts(
    project: Project, catalogue: Snapshot | None, folders: Sequence[Path] = ()
) -> tuple[dict[str, SliceText], dict[str, Sequence[str]]]:
    """Return what is said of each slice; and the columns of those by value, or composed of such.

    Parameters
    ----------
    project
        The project.
    catalogue
        Its catalogue of slices, if it has one.
    folders
        Where modules are looked for.
    """
    rows = small_rows(catalogue.df) if catalogue else []
    sources = {**_of_modules(project, folders), **_of_file(project.slices)}
    texts: dict[str, SliceText] = {}
    columns: dict[str, Sequence[str]] = {}
    for row in rows:
        pin = Pin.read(row["id"], row.get("definition"))
        if pin is not None:
            columns[pin.id] = pin.columns
            sources[pin.id] = _of_pin(pin)
        kind = _KINDS.get(row["kind"], row["kind"] or "")
        source = sources.get(row["id"], "")
        texts[row["id"]] = SliceText(row["name"], row["description"] or "", kind, source)
    return texts, {**columns, **_of_compositions(project.slices, columns)}


def _of_compositions(
    slices: Sequence[InlineSlice], columns: Mapping[str, Sequence[str]]
) -> dict[str, Sequence[str]]:
    """Return the columns of compositions that have slices by value as parts."""
    parts = {_id(s): re.findall(r"\w+", s.where or "") for s in slices if s.composed}
    of: dict[str, Collection[str]] = dict(columns)
    for _ in parts:  # for compositions have compositions as parts
        of |= {at: {c for p in those for c in of.get(p, ())} for at, those in parts.items()}
    return {at: sorted(of[at]) for at in parts if of[at]}


def _of_pin(pin: Pin) -> str:
    of = ", ".join(pin.columns)
    if pin.slot.kind != "value":
        return f"{of}: {pin.slot.kind}"
    return " and ".join(f"{c} = {v!r}" for c, v in zip(pin.columns, pin.slot.values, strict=True))


def _of_file(slices: Sequence[InlineSlice]) -> dict[str, str]:
    """Return the predicate, composition or look-up of each slice of the project file."""
    return {_id(s): s.where or _of_lookup(s) for s in slices}


def _id(inline: InlineSlice) -> str:
    return slug(inline.name) if inline.id is None else inline.id


def _of_lookup(inline: InlineSlice) -> str:
    keys = inline.lookup
    if keys is None:
        return ""
    where = keys.table or keys.file or f"{len(keys.keys or []):,} keys of the project file"
    return f"{keys.column} is in {where}"


def _of_modules(project: Project, folders: Sequence[Path]) -> dict[str, str]:
    """Return the lines of the functions of modules, by slice id, where these can be read."""
    sources: dict[str, str] = {}
    for module in project.sf_modules:
        path = Path(module if module.endswith(".py") else module.replace(".", "/") + ".py")
        places = (path, *(folder / path for folder in folders))
        file = next((f for f in places if f.is_file()), None)
        if file is None:
            continue
        try:
            text = file.read_text(encoding="utf-8")
            sources |= functions_of(text)
        except (OSError, ValueError, SyntaxError):  # labelling says what is wrong with it
            continue
    return sources


def functions_of(text: str) -> dict[str, str]:
    r"""Return the source of each slicing function of a module, by its id.

    A name that is made as the module runs isn't known.

    Examples
    --------
    >>> functions_of("@slicing_function()\ndef short(x):\n    return len(x.text) < 20\n")
    {'short': '@slicing_function()\ndef short(x):\n    return len(x.text) < 20'}
    """
    tree, lines = ast.parse(text), text.splitlines()
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}

    def of(node: ast.stmt) -> str:
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(d.lineno for d in decorators)])
        return "\n".join(lines[first - 1 : node.end_lineno])

    sources: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            names = [_name(call) for call in node.decorator_list]
            sources[slug(next(filter(None, names), node.name))] = of(node)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            name, call = _name(node.value), node.value
            used = [n.id for n in ast.walk(call) if isinstance(n, ast.Name) and n.id in functions]
            if name is not None:
                parts = [of(functions[n]) for n in dict.fromkeys(used)]
                sources[slug(name)] = "\n\n".join([*parts, of(node)])
    return sources


def _name(call: ast.expr) -> str | None:
    """Return the name that a call gives to what it makes, if its text says one."""
    if not isinstance(call, ast.Call):
        return None
    words: dict[Any, ast.expr] = {k.arg: k.value for k in call.keywords}
    node = words.get("id") or words.get("name") or next(iter(call.args), None)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
