"""The table of operations is complete: every part of a row is there, its forms agree with it."""

from __future__ import annotations

import ast
import collections
import inspect
import itertools
import linecache
import math
import re

import pyarrow as pa
import pytest

from engine import SlicingFunction, compile_slices
from engine.compile.catalyst import CATALYST
from engine.compile.program import _SEARCHES
from engine.compile.tiers import Tier
from engine.compile.vectors import QUICK, VECTORS
from engine.lift.body import Body
from engine.lift.lift import Lifted, lift
from engine.ops import operations as operations_module
from engine.ops.operations import OPERATIONS
from engine.slicing.evaluate import KLEENE

SCHEMA = pa.schema({"text": pa.string(), "n": pa.int64()})
# What source says for an operation, where its row doesn't tell.
LOOP = "n = 1\n    for c in x.text:\n        {}; n = n + len(seen)\n    return n > 3"
SYNTAX = {
    "and": "x.n and x.text", "or": "x.n or x.text", "if": "x.n if x.text else 0",
    "any": "any(w in x.text for w in 'ab')", "all": "all(w in x.text for w in 'ab')",
    "is": "x.n is True", "is_none": "x.n is None", "isinstance": "isinstance(x.n, int)",
    "getitem": "x.text[0]", "getslice": "x.text[:2]", "dict_get": "TABLE.get(x.text)",
    "over": "any(w == 'a' for w in x.text.split())", "listed": "[w for w in x.text.split()]",
    "chained": "[c for w in x.text.split() for c in w]", "tuple": "(x.n, x.text) in TABLE",
    "unpack": "any(a for a, b in x.text)", "field": "x.n.part",
    "without_zone": "x.n.replace(tzinfo=None)", "any_of": "any(x.text)", "all_of": "all(x.text)",
    "sum_of": "sum(x.n)", "min_of": "min(x.text)", "max_of": "max(x.text, default='')",
    "sorted_of": "sorted(x.text)", "set_of": "set(x.text)", "part": "x.text[:x.n]",
    "list": "x.n in [x.n, 7]", "apply": "math.copysign(1, x.n)", "format": "f'{x.n}'",
    "keyworded": "x.text.replace(hour=x.n)", "member": "math.frexp(x.n).a", "concat": "f'{x.n}!'",
    "matched": "re.search('a', x.text).group(0)", "re_sub": "re.sub('a', '', x.text)",
    "re_split": "re.split('a', x.text)", "finditer": "any(m for m in re.finditer('a', x.text))",
    "drained": "','.join(sorted((c for c in x.text), key=len))", "zip": "dict(zip(x.text, x.text))",
    "enumerate": "dict(enumerate(x.text))", "reversed": "any(reversed(x.text))",
    "range": "any(range(x.n))", "first_of": "next(iter(x.text))",
    "pairwise": "any(a for a, b in itertools.pairwise(x.text))",
    "runs": "[k for k, g in itertools.groupby(x.text)]",
    "sorted_by": "sorted(x.text, key=ord)", "min_by": "min(x.text, key=ord)",
    "max_by": "max(x.text, key=ord)", "dict_of": "dict(x.text)",
    "counter_of": "collections.Counter(x.text)",
    "fold": LOOP.format("seen = 'a'"),
    **{op: LOOP.format(change) for op, change in {
        "appended": "seen = []; seen.append(c)", "extended": "seen = []; seen.extend(c)",
        "with_member": "seen = set(); seen.add(c)", "without_member": "seen = {1}; seen.discard(c)",
        "with_item": "seen = {}; seen[c] = n", "updated": "seen = {}; seen.update(c)",
    }.items()},
    **{name: f"x.text.{name}(x.n)" for name in ("ljust", "rjust", "center", "zfill", "expandtabs")},
}  # fmt: skip
OPERATORS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.In: "in", ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//",
    ast.Mod: "%", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.USub: "-", ast.UAdd: "+",
    ast.Not: "not", ast.Pow: "**", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip


def function(source):
    name = f"<operation {source}>"
    text = f"def f(x):\n    {source}\n" if "\n" in source else f"f = lambda x: {source}\n"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    names = {"re": re, "math": math, "TABLE": {"a": 1}, "itertools": itertools,
             "collections": collections}  # fmt: skip
    exec(compile(text, name, "exec"), names)
    return names["f"]


def source_of(op):
    """Write an operation as its row says that source has it."""
    operands = op.arity.start
    match op.written:
        case "operator":
            sign = OPERATORS[op.source]
            return f"x.n {sign} x.text" if operands == 2 else f"{sign} x.n"
        case "method":
            return f"x.text.{op.name}({', '.join(['x.n'] * (operands - 1))})"
        case "attribute":
            return f"x.text.{op.name}"
        case "function":
            home = getattr(op.python, "__module__", "builtins")
            return f"{'math.' if home == 'math' else ''}{op.name}(x.n)"
        case "pattern":
            return f"re.compile('a|b').{op.source}(x.text)"
    return SYNTAX[op.name]


@pytest.mark.parametrize("op", OPERATIONS.values(), ids=OPERATIONS)
def test_a_row_has_every_part(op):
    assert callable(op.python)
    assert len(op.arity)
    assert 0 < op.cost.python < 10
    if op.written == "composition":
        assert op.name in KLEENE
        return
    assert op.name in VECTORS, "no form for batches"
    quick = op.name in QUICK or op.name in _SEARCHES
    assert (op.cost.columns is not None) == quick, "the cost of whole columns, or their form, lacks"
    assert (op.cost.spark is not None) == (op.name in CATALYST), "Spark's cost, or its form, lacks"


@pytest.mark.parametrize(
    "op", [op for op in OPERATIONS.values() if op.written not in ("inside", "composition")],
    ids=lambda op: op.name,
)  # fmt: skip
def test_source_is_lifted_to_the_operation(op):
    tree = lift(function(source_of(op)), {}, SCHEMA.names, SCHEMA.names)
    assert isinstance(tree, Lifted), str(tree)
    assert op.name in operations(tree.tree)


def operations(tree):
    """Yield the operations of a tree, and of what it says of elements."""
    for node in tree.walk():
        yield from operations(node.tree) if isinstance(node, Body) else [getattr(node, "op", "")]


def test_forms_are_of_operations():
    assert {*QUICK, *CATALYST, *_SEARCHES} <= OPERATIONS.keys()
    assert len({op.source for op in OPERATIONS.values() if op.written == "operator"}) == len(
        [op for op in OPERATIONS.values() if op.written == "operator"]
    )


def explanation(source):
    return compile_slices([SlicingFunction("sf", function(source))], SCHEMA).explain()


def tier(source):
    return compile_slices([SlicingFunction("sf", function(source))], SCHEMA).tiers["sf"]


@pytest.mark.parametrize(
    ("op", "one", "many"),
    [
        ("rfind('{}') > 3", (2, 1), (41, 20)),
        ("zfill(8) == '{}'", (2, 1), (22, 1)),
        ("partition('{}')[0] == 'a'", (3, 0), (61, 0)),
    ],
)
def test_operations_by_value_are_said_to_run_in_python(op, one, many):
    terms = [f"x.text.{op.format(chr(97 + i))}" for i in range(20)]
    first, all_ = (explanation(source).slices[0] for source in (terms[0], " or ".join(terms)))
    assert (first.steps, all_.steps) == (one, many)
    in_python = f", {one[1]} of {one[0]} steps in Python" if one[1] else ""
    assert first.where == f"Arrow columns{in_python}"
    # By rows each is done once a row, which a worker may find to be quicker.
    assert first.microseconds < all_.microseconds < 20 * first.microseconds + 0.1


def test_many_searches_stay_one_pass_over_the_column():
    assert tier(" or ".join(f"'w{i}' in x.text" for i in range(60))) is Tier.ARROW


def test_python_counts_what_it_does_again():
    """Whole columns are put in lower case once, Python does it for each test."""
    source = " or ".join(f"x.text.swapcase().find('{i}') > 3" for i in range(15))
    assert tier(source) is Tier.ARROW


def test_the_tables_need_the_standard_library_alone():
    from engine.ops import functions, operations

    sources = [inspect.getsource(of) for of in (functions, operations)]
    imports = [n for source in sources for n in ast.walk(ast.parse(source))
               if isinstance(n, ast.ImportFrom)]  # fmt: skip
    assert {n.module for n in imports} <= {
        "__future__", "collections", "collections.abc", "dataclasses", "typing", "types",
        "engine.ops.functions",
    }  # fmt: skip


def test_an_operation_has_one_row():
    assert len(operations_module._LISTED) == len(OPERATIONS)


NASTY = [
    None, "", "\t", "a\tb", "\t\t\n\tx", "12345678\t9", "a\r\tb", "\u00e9\t\u20ac\t\U0001f600",
    "e\u0301\tx", "\x00\t\x1f\t", "\u3000\t\u2028\t", " \t" * 200, "no tab",
]  # fmt: skip


@pytest.mark.parametrize("size", ["", "1", "0", "-3", "4", "x.n"])
def test_expandtabs_gives_what_python_gives(size):
    """The exercise that stays: an operation is one row, and this test."""
    source = f"len(x.text.expandtabs({size})) % 5 < 2 or x.text.expandtabs({size}).endswith('  x')"
    table = pa.table({"text": NASTY, "n": pa.array(range(len(NASTY)), pa.int64())})
    sf = SlicingFunction("sf", function(source))
    answers = {
        tier: compile_slices([sf], table.schema, tier=tier).apply(table)["sf"].to_pylist()
        for tier in ("arrow", "row")
    }
    assert "expandtabs" in str(compile_slices([sf], table.schema).candidates["sf"].tree)
    by_hand = [None if t is None else sf.f(_Row(t, n)) for n, t in enumerate(NASTY)]
    assert answers == {"arrow": by_hand, "row": by_hand}


class _Row:
    def __init__(self, text: str, n: int) -> None:
        self.text, self.n = text, n
