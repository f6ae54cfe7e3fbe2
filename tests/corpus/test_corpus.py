"""Slicing functions as people write them: every tier says what a plain loop over the rows says."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import PandasSFApplier, SFApplier, SlicingFunction, compile_slices
from engine.label import local
from engine.run.ship import Parcel
from engine.slicing.fingerprint.identity import fingerprint, unknowns
from tests.corpus import DOMAINS, UNSEEN, WORKED, Domain, domains, part
from tests.corpus.ask import answers, frame_of, rows_of
from tests.fuzz.oracle import FAULT, IN, NULL, OUT

FUNCTIONS, ROWS = 200, 60  # at least
CONSTANTS = 4  # of each function, that are edited one after the other


@pytest.fixture(scope="module")
def corpus() -> dict[str, Domain]:
    return {domain.name: domain for domain in domains()}


@pytest.fixture(scope="module")
def expected(corpus) -> dict[str, dict[str, np.ndarray]]:
    return {d.name: answers(d.sfs, d.table) for d in corpus.values()}


def test_what_the_corpus_holds(corpus):
    names = [sf.name for d in corpus.values() for sf in d.sfs]
    assert len(names) == len(set(names)) >= FUNCTIONS
    halves = [part(name) for name in names]
    assert set(halves) == {WORKED, UNSEEN}
    assert 0.45 < halves.count(WORKED) / len(names) < 0.55
    for d in corpus.values():
        assert len(d.table) >= ROWS
        assert not [c for c in d.table.column_names if not d.table[c].null_count]


@pytest.mark.parametrize("name", DOMAINS)
def test_every_function_says_yes_and_no(name, expected):
    lacking = [s for s, codes in expected[name].items() if not {IN, OUT} <= set(codes.tolist())]
    assert not lacking


# Tables that hold the same rows


def _uneven(table: pa.Table) -> pa.Table:
    ends = [0, 1, 8, 8, 41, 90, len(table)]
    return pa.concat_tables([table.slice(a, b - a) for a, b in itertools.pairwise(ends)])


def _dictionaries(table: pa.Table) -> pa.Table:
    arrays = [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in table.columns]
    return pa.table(arrays, table.column_names)


def _large(table: pa.Table) -> pa.Table:
    kinds = [_large_type(f.type) for f in table.schema]
    arrays = [pa.array(c.to_pylist(), k) for c, k in zip(table.columns, kinds, strict=True)]
    return pa.table(arrays, table.column_names)


def _large_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string(kind):
        return pa.string_view()
    if pa.types.is_binary(kind):
        return pa.large_binary()
    if pa.types.is_decimal(kind):
        return pa.decimal256(kind.precision, kind.scale)
    if pa.types.is_list(kind):
        return pa.large_list(_large_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, _large_type(f.type)) for f in kind])
    return kind


def _arrow_backed(table: pa.Table) -> pd.DataFrame:
    return table.to_pandas(types_mapper=pd.ArrowDtype)


FORMS: Mapping[str, Callable[[pa.Table], Any]] = {
    "whole": lambda table: table,
    "uneven chunks": _uneven,
    "dictionaries": _dictionaries,
    "views and large types": _large,
    "a frame of Arrow's columns": _arrow_backed,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", DOMAINS)
def test_masks_are_those_of_a_loop(name, form, corpus, expected, monkeypatch):
    monkeypatch.setattr(local, "BATCH", 50)
    given = FORMS[form](corpus[name].table)
    assert _differing(corpus[name].sfs, given, expected[name]) == {}


@pytest.mark.parametrize("name", DOMAINS)
def test_masks_are_those_of_a_loop_without_fast_paths(name, corpus, expected, monkeypatch):
    monkeypatch.setenv("ENGINE_PLAIN", "1")
    assert _differing(corpus[name].sfs, corpus[name].table, expected[name]) == {}


@pytest.mark.parametrize("name", DOMAINS)
def test_times_have_the_zone_of_their_column(name, corpus):
    schema = pa.schema([(f.name, _elsewhere(f.type)) for f in corpus[name].table.schema])
    table = corpus[name].table.cast(schema)
    assert _differing(corpus[name].sfs, table, answers(corpus[name].sfs, table)) == {}


def _elsewhere(kind: pa.DataType) -> pa.DataType:
    zoned = pa.types.is_timestamp(kind) and kind.tz is not None
    return pa.timestamp("us", "Asia/Kolkata") if zoned else kind


@pytest.mark.parametrize("name", DOMAINS)
def test_each_function_alone(name, corpus, expected):
    differing: dict[str, Any] = {}
    for sf in corpus[name].sfs:
        differing |= _differing([sf], corpus[name].table, expected[name])
    assert differing == {}


@pytest.mark.parametrize("name", DOMAINS)
def test_appliers_say_what_a_loop_says(name, corpus, expected):
    sfs, table = corpus[name].sfs, corpus[name].table
    points = [SimpleNamespace(**vars(x)) for x in rows_of(table)]
    for applier, given in (
        (PandasSFApplier, table),
        (PandasSFApplier, _arrow_backed(table)),
        (SFApplier, points),
    ):
        _check_applied(applier(sfs), given, expected[name])


@pytest.mark.parametrize("name", DOMAINS)
def test_a_frame_of_pandas_own_types(name, corpus):
    sfs, frame = corpus[name].sfs, frame_of(corpus[name].table)
    _check_applied(PandasSFApplier(sfs), frame, answers(sfs, frame))


def _check_applied(applier: Any, given: Any, expected: Mapping[str, np.ndarray]) -> None:
    S, meta = applier.apply(given, progress_bar=False, fault_tolerant=True, return_meta=True)
    faults = {name: int((codes == FAULT).sum()) for name, codes in expected.items()}
    assert meta.faults == {name: n for name, n in faults.items() if n}
    for name, codes in expected.items():
        assert S[name].tolist() == np.where(codes == FAULT, NULL, codes).tolist(), name


def _differing(sfs: Any, given: Any, expected: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the first row of each function that a plan answers in another way."""
    plan = compile_slices(sfs, given.schema if isinstance(given, pa.Table) else given)
    found = {sf.id: np.full(len(given), 9, np.int8) for sf in sfs}
    starts = range(0, len(given), local.BATCH)
    for start, n, out in local.batches(plan, given, starts):
        for sf in sfs:
            found[sf.id][start : start + n] = out.masks[sf.id]
        for fault in out.faults:
            found[fault.slice_id][start + fault.row] = FAULT
    return {
        sf.name: (
            int(np.flatnonzero(differs)[0]),
            found[sf.id][differs],
            expected[sf.name][differs],
        )
        for sf in sfs
        if (differs := found[sf.id] != expected[sf.name]).any()
    }


# Fingerprints


def fingerprints() -> Iterator[str]:
    """Yield each function's name and fingerprint."""
    for domain in domains():
        for sf in domain.sfs:
            yield f"{sf.name} {fingerprint(sf)}"


def test_fingerprints_are_known_and_the_same_in_every_process(corpus):
    assert {sf.name: unknowns(sf) for d in corpus.values() for sf in d.sfs if unknowns(sf)} == {}
    here = list(fingerprints())
    assert not [line for line in here if "-unknown" in line]
    code = "from tests.corpus.test_corpus import fingerprints\nprint(*fingerprints(), sep='\\n')"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONHASHSEED": "1"}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == here


class _Edit(ast.NodeTransformer):
    """Edits the k-th constant of a function's body."""

    def __init__(self, k: int) -> None:
        self.left, self.edited = k, False

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        self.left -= 1
        if self.left == -1:
            self.edited = True
            return ast.copy_location(ast.Constant(_other(node.value)), node)
        return node


def _other(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value is not True
    return value + (b"~" if isinstance(value, bytes) else "~" if isinstance(value, str) else 1)


def _edited(source: str, k: int, names: set[str]) -> tuple[str, list[str]]:
    """Return a module's source with the k-th constant of each function edited, and which have one.

    A docstring is none.
    """
    tree, edited = ast.parse(source), []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            edit = _Edit(k)
            body = node.body[1:] if ast.get_docstring(node) else node.body
            node.body = node.body[: -len(body)] + [edit.visit(statement) for statement in body]
            edited += [node.name] * edit.edited
    return ast.unparse(tree), edited


def _loaded(source: str, folder: Path) -> ModuleType:
    """Load a source as a module; each version has a folder of its own."""
    folder.mkdir()
    path = folder / "edited.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("edited", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _named(module):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _named(module: ModuleType) -> Iterator[None]:
    """Let a module be found by its name."""
    sys.modules["edited"] = module
    try:
        yield
    finally:
        del sys.modules["edited"]


def _prints(module: ModuleType) -> dict[str, str]:
    with _named(module):
        made = (v for v in vars(module).values() if isinstance(v, SlicingFunction))
        return {sf.name: fingerprint(sf) for sf in made}


@pytest.mark.parametrize("name", DOMAINS)
def test_an_edited_constant_changes_the_fingerprint(name, corpus, tmp_path):
    names = {sf.name for sf in corpus[name].sfs}
    source = inspect.getsource(importlib.import_module(f"tests.corpus.{name}"))
    before = _prints(_loaded(ast.unparse(ast.parse(source)), tmp_path / "before"))
    assert before.keys() == names
    ever: set[str] = set()
    for k in range(CONSTANTS):
        text, edited = _edited(source, k, names)
        after = _prints(_loaded(text, tmp_path / str(k)))
        assert {s for s in names if before[s] != after[s]} == set(edited), k
        ever |= set(edited)
    assert len(ever) > len(names) / 2


@pytest.mark.parametrize("name", DOMAINS)
def test_functions_travel(name, corpus, expected):
    """What executors unpickle says the same."""
    sfs = pickle.loads(pickle.dumps(Parcel(list(corpus[name].sfs)))).unpack()
    assert [sf.name for sf in sfs] == [sf.name for sf in corpus[name].sfs]
    assert _differing(sfs, corpus[name].table, expected[name]) == {}
