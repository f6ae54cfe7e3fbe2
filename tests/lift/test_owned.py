"""Which names have lists of their own, so that a change gives the name a new value."""

from __future__ import annotations

import ast

import pytest

from engine.lift.owned import changed_names, default_names, owned_names


def function(body: str) -> ast.AST:
    lines = "\n    ".join(body.split("; "))
    return ast.parse(f"def f(x):\n    {lines}\n").body[0]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("a = []; a.append(1); return len(a)", {"a"}),
        ("a, b = [], set(); b.add(1); return a == b", {"a", "b"}),
        ("a = x.text.split(); a += [1]; return a[0]", {"a"}),
        ("a = []; b = a; b.append(1); return a", {"b"} - {"b"}),
        ("a = b = []; a.append(1); return b", set()),
        ("a = x.tags; a.append(1); return a", set()),
        ("a = []; keep(a); return a", set()),
        ("a = []; b = [a]; return b", {"b"}),
        ("a = [] if x.b else x.tags; return a", set()),
        ("a = []; b = a or x.tags; return b", set()),
        ("a = WORDS; a.append(1); return a", set()),
        ("a = shared.split(1); return a", set()),
        ("WORDS.append(1); return len(WORDS)", set()),
        ("a = []; return any(t in a for t in x.tags)", {"a"}),
        ("a = []; f = lambda: a; return f()", set()),
    ],
)
def test_a_name_owns_what_nothing_else_has(body, names):
    assert owned_names(function(body)) & {"a", "b", "WORDS"} == names


def test_a_default_is_put_nowhere_by_asking():
    one = function("d = defaultdict(int); d[x.t] += 1; return len(d)")
    other = function("d = defaultdict(int); d[x.t] += 1; return d['a']")
    assert default_names(one) == {"d": 0}
    assert default_names(other) == {}


def test_names_whose_lists_change():
    node = function("a.append(1); b[0] = 1; c[1] += 2; d.sort(); e.count(1)")
    assert {*changed_names(node.body)} == {"a", "b", "c", "d"}
