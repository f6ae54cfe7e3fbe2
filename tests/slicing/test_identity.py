"""Slice ids, and fingerprints that change when what decides a slice changes."""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import re
import subprocess
import sys
import textwrap
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import SlicingFunction, preprocessor, slicing_function, where
from engine.errors import SliceError
from engine.slicing.discovery import load_slices
from engine.slicing.fingerprint import identity
from engine.slicing.fingerprint.identity import fingerprint
from engine.slicing.ids import MAX_ID, check_ids, slug
from engine.slicing.origin import is_own

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@pytest.mark.parametrize(
    ("name", "slice_id"),
    [
        ("short_link", "short_link"),
        ("CamelCase", "CamelCase"),
        ("_x", "_x"),
        ("Short link!", "short_link"),
        ("80+", "s_80"),
        ("a.b-c/d", "a_b_c_d"),
        ("Café au lait", "caf_au_lait"),
        ("  a  b  ", "a_b"),
        ("日本", "s_cf2abf0c"),
        ("", "s_e3b0c442"),
        ("a" * 64, "a" * 64),
        ("a" * 65, "a" * 55 + "_635361c4"),
        ("x y" * 30, ("x_yx_yx_yx_yx_yx_yx_yx_yx_yx_yx_yx_yx_yx_yx_yx_yx_yx_yx_7748d59b")),
    ],
)
def test_slugs(name, slice_id):
    made = slug(name)
    assert IDENTIFIER.fullmatch(made)
    assert made == slice_id


@given(st.text(max_size=100))
def test_every_name_has_an_id_and_always_the_same(name):
    made = slug(name)
    assert IDENTIFIER.fullmatch(made)
    assert slug(name) == made
    assert slug(made) == made


def sfs(*ids):
    return [SlicingFunction(i, len, id=i) for i in ids]


def test_ids_that_are_fine():
    check_ids(sfs("a", "b", "A1", "_", "x" * MAX_ID), {"id": "key", "split": "split"})
    check_ids([])


RESERVED = "is reserved; give the slice another id"
NOT_AN_ID = (
    "is not an identifier of at most 64 letters, digits and underscores; give the slice another id"
)


@pytest.mark.parametrize(
    ("ids", "columns", "message"),
    [
        (["base"], {}, f"slice 'base': the id 'base' {RESERVED}"),
        (["BASE"], {}, f"slice 'BASE': the id 'BASE' {RESERVED}"),
        (["overall"], {}, f"slice 'overall': the id 'overall' {RESERVED}"),
        (["other"], {}, f"slice 'other': the id 'other' {RESERVED}"),
        (["a b"], {}, f"slice 'a b': the id 'a b' {NOT_AN_ID}"),
        (["1a"], {}, f"slice '1a': the id '1a' {NOT_AN_ID}"),
        (["café"], {}, f"slice 'café': the id 'café' {NOT_AN_ID}"),
        (["a\n"], {}, f"slice 'a\\n': the id 'a\\n' {NOT_AN_ID}"),
        (["x" * 65], {}, f"slice '{'x' * 65}': the id '{'x' * 65}' {NOT_AN_ID}"),
        (
            ["Comment_ID"],
            {"comment_id": "key"},
            "slice 'Comment_ID': the id 'Comment_ID' is the name of a key column; give the slice "
            "another id",
        ),
        (
            ["part"],
            {"part": "split"},
            "slice 'part': the id 'part' is the name of a split column; give the slice another id",
        ),
    ],
)  # fmt: skip
def test_ids_that_cannot_be(ids, columns, message):
    with pytest.raises(SliceError) as caught:
        check_ids(sfs(*ids), columns)
    assert str(caught.value) == message
    assert isinstance(caught.value, ValueError)


def test_ids_are_unique_ignoring_case():
    with pytest.raises(SliceError) as caught:
        check_ids([SlicingFunction("Short!", len), SlicingFunction("SHORT", len)])
    assert str(caught.value) == (
        "slices 'Short!' and 'SHORT' have the same id 'SHORT' (ids are compared ignoring case); "
        "give one of them another id"
    )


# Fingerprints.

_COUNT = itertools.count()


@pytest.fixture
def print_of(tmp_path):
    """Fingerprint the slice `s` of a module with this source, and of others beside it."""

    made = set()

    def compute(source: str, zone: str = "UTC", **others: str) -> str:
        made.update(others)
        folder = tmp_path / f"v{next(_COUNT)}"
        folder.mkdir()
        for name, text in others.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
            sys.modules.pop(name, None)
        file = folder / f"slices_{next(_COUNT)}.py"
        file.write_text("import engine\n" + textwrap.dedent(source))
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
        try:
            loaded = {sf.name: sf for sf in load_slices(str(file))}
        finally:
            sys.path.remove(str(folder))
        return fingerprint(loaded["s"], zone)

    yield compute
    for name in made:  # other tests have modules of these names, too
        sys.modules.pop(name, None)


SOURCE = '''
WORDS = ("please", "plz")
LEAST = {"a": 1}

def helper(text):
    return deeper(text) > 1

def deeper(text):
    return len(text)

@engine.preprocessor()
def lowered(x):
    """Lower it."""
    x.text = x.text.lower()
    return x

class Rule:
    """A rule."""
    limit = 3

    def holds(self, text):
        return len(text) < self.limit

RULE = Rule()

def pieces(text):
    return [p for p in text if is_mark(p)]

def is_mark(p):
    return p in {"!", "?"}

@engine.slicing_function(name="s", resources={"most": [1, 2]}, pre=[lowered])
def s(x, most, extra=5):
    """Docstring."""
    # A comment.
    if any(word in x.text for word in WORDS):
        return helper(x.text) or RULE.holds(x.text)
    return sum(1 for p in pieces(x.text) if accepted(p)) > LEAST["a"]

def accepted(p):
    return p != "!"
'''

SAME = {
    "a comment": ("# A comment.", "# Another comment, longer."),
    "no comment": ("    # A comment.\n", ""),
    "the docstring": ('"""Docstring."""', '"""Another\n\n    one.\n    """'),
    "no docstring": ('    """Docstring."""\n', ""),
    "a helper's docstring": ('"""Lower it."""', "'''Lower-case it.'''"),
    "a class's docstring": ('"""A rule."""', '"""Rules."""'),
    "formatting": ("helper(x.text) or", "(helper(\n            x.text\n        )) or"),
    "quotes": ('x.text) or RULE', "x.text)  or RULE"),
    "blank lines": ("def deeper", "\n\n\n\ndef deeper"),
    "the order of a dict": ('{"most": [1, 2]}', '{**{"most": [1, 2]}}'),
    "something not used": ("LEAST = ", "UNUSED = 1\nLEAST = "),
    "where it stands": ("class Rule", "# moved down\n\nclass Rule"),
}  # fmt: skip

CHANGED = {
    "the function": ("return helper(x.text) or", "return helper(x.text) and"),
    "a constant in it": ("for p in pieces(x.text)", "for p in pieces(x.text + '')"),
    "a default": ("extra=5", "extra=6"),
    "a global constant": ('"plz"', '"pls"'),
    "a global dict": ('{"a": 1}', '{"a": 2}'),
    "a global's type": ('{"a": 1}', '{"a": 1.0}'),
    "a helper": ("deeper(text) > 1", "deeper(text) > 2"),
    "a helper's helper": ("return len(text)\n", "return len(text) + 1\n"),
    "a helper used in a generator": ('p != "!"', 'p != "?"'),
    "a helper of a helper's comprehension": ('{"!", "?"}', '{"!", "?", "."}'),
    "resources": ('{"most": [1, 2]}', '{"most": [1, 3]}'),
    "resources' order": ('{"most": [1, 2]}', '{"most": [2, 1]}'),
    "a preprocessor": ("x.text.lower()", "x.text.casefold()"),
    "no preprocessor": (", pre=[lowered]", ""),
    "a method of a class": ("< self.limit", "<= self.limit"),
    "a class attribute": ("limit = 3", "limit = 4"),
    "an object's state": ("RULE = Rule()", "RULE = Rule()\nRULE.limit = 5"),
}


@pytest.mark.parametrize(("old", "new"), SAME.values(), ids=SAME)
def test_a_fingerprint_stays_when_nothing_that_decides_changes(print_of, old, new):
    assert old in SOURCE
    assert print_of(SOURCE.replace(old, new)) == print_of(SOURCE)


@pytest.mark.parametrize(("old", "new"), CHANGED.values(), ids=CHANGED)
def test_a_fingerprint_changes_with_what_decides(print_of, old, new):
    assert old in SOURCE
    assert print_of(SOURCE.replace(old, new)) != print_of(SOURCE)


def test_a_fingerprint_is_16_hex_digits_and_changes_with_the_zone(print_of):
    assert re.fullmatch("[0-9a-f]{16}", print_of(SOURCE))
    assert print_of(SOURCE, "Asia/Tokyo") != print_of(SOURCE)


LAMBDAS = """
LIMIT = 3
both = [
    engine.SlicingFunction("s", lambda x: x.n > LIMIT and x.t in {"a", "b", "c"}),
    engine.SlicingFunction("o", lambda x: x.n > 2),
]
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("x.n > 2", "x.n > 7", True),
        ('"o"', '"another name"', True),
        ("x.n > LIMIT and", "x.n   >  LIMIT   and", True),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("x.n > LIMIT", "x.n >= LIMIT", False),
        ("x.n > LIMIT", "x.m > LIMIT", False),
        ('"b", ', "", False),
    ],
)
def test_lambdas_beside_each_other(print_of, old, new, same):
    assert (print_of(LAMBDAS.replace(old, new)) == print_of(LAMBDAS)) is same


MODULES = """
import words
from words import is_bad

s = engine.SlicingFunction("s", lambda x: {call})
"""
WORDS = """
import re
import deeper
BAD = ["a"]

def is_bad(text):
    return text in BAD

def unused(text):
    return text

def deep(text):
    return deeper.deepest(text)
"""
DEEPER = """
def deepest(text):
    return {answer}
"""


@pytest.mark.parametrize("call", ["is_bad(x.t)", "words.is_bad(x.t)", "any(map(is_bad, x.ts))"])
def test_a_helper_in_another_module_of_the_users_own(print_of, call):
    source = MODULES.format(call=call)
    before = print_of(source, words=WORDS, deeper=DEEPER)
    for old, new, same in (
        ('["a"]', '["b"]', False),
        ("text in BAD", "text not in BAD", False),
        ("return text\n", "return text + ''\n", True),
        ("import re", "import json", True),
    ):
        assert (print_of(source, words=WORDS.replace(old, new), deeper=DEEPER) == before) is same


def test_a_module_used_by_a_module(print_of):
    source = MODULES.format(call="words.deep(x.t)")
    prints = {print_of(source, words=WORDS, deeper=DEEPER.format(answer=answer)) for answer in "12"}
    assert len(prints) == 2


def test_what_is_installed_counts_by_name(print_of):
    source = "from {a} import {b} as f\ns = engine.SlicingFunction('s', lambda x: f('a', x.t))"
    one = print_of(source.format(a="re", b="search"))
    re.search("".join(map(chr, range(65, 80))), "")  # fills re's cache of patterns
    assert print_of(source.format(a="re", b="search")) == one
    assert print_of(source.format(a="re", b="match")) != one


def twice(f):
    @functools.wraps(f)
    def wrapper(x):
        return f(x) and f(x)

    return wrapper


def never(f):
    @functools.wraps(f)
    def wrapper(x):
        return not f(x)

    return wrapper


def has(x, word):
    return word in x.text


def has_not(x, word):
    return word not in x.text


class Has:
    def __init__(self, word):
        self.word = word

    def __call__(self, x):
        return self.word in x.text

    def method(self, x):
        return self.word in x.text


@functools.lru_cache
def cached(word):
    return word == "a"


@functools.lru_cache
def cached_too(word):
    return word == "b"


def using(f):
    return lambda x: f(x.text)


def of_slice(sf):
    return lambda x: not sf(x)


A, B = re.compile("a"), re.compile("b")
# Functions that decide differently, and so must differ.
PAIRS = {
    "partials": (functools.partial(has, word="a"), functools.partial(has, word="b")),
    "partials of others": (functools.partial(has, word="a"), functools.partial(has_not, word="a")),
    "objects": (Has("a"), Has("b")),
    "bound methods": (Has("a").method, Has("b").method),
    "decorators": (twice(has), never(has)),
    "closures": (using(len), using(repr)),
    "cached helpers": (using(cached), using(cached_too)),
    "patterns": (using(A.search), using(B.search)),
    "slices": (of_slice(SlicingFunction("o", Has("a"))), of_slice(SlicingFunction("o", Has("b")))),
    "the columns read": (lambda x: x.a, lambda x: x.b),
    "sets": (lambda x: x.a in {"a", "b"}, lambda x: x.a in {"a", "c"}),
}


@pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS)
def test_functions_that_decide_differently(one, other):
    prints = {fingerprint(SlicingFunction("s", f)) for f in (one, one, other)}
    assert len(prints) == 2


RESOURCES = [
    1, 1.0, True, "1", b"1", None, [1], (1,), {1}, {"1": 1}, {1: 1}, [1, [2]], [1, 2], has, has_not,
    re.compile("1"), re.compile("1", re.IGNORECASE), Decimal(1), Decimal(2), Has("a"), Has("b"),
    np.array([1, 2]), np.array([1, 3]), np.array([1.0, 2.0]), pd.Series([1]), pd.Series([2]),
    pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}), {"a", "b", "c"}, frozenset("abd"),
    where("a", "x > 1"), where("a", "x > 2"),
]  # fmt: skip


def test_every_kind_of_resource_counts():
    prints = [fingerprint(SlicingFunction("s", has, {"word": r})) for r in RESOURCES]
    assert len(set(prints)) == len(RESOURCES)
    assert prints == [fingerprint(SlicingFunction("s", has, {"word": r})) for r in RESOURCES]


def test_predicates_by_their_text():
    assert fingerprint(where("a", "n > 1")) == fingerprint(where("b", "n > 1", id="c"))
    assert fingerprint(where("a", "n > 1")) != fingerprint(where("a", "n > 2"))


def test_shared_and_equal_values_give_the_same():
    shared, equal = [1], ([1], [1])
    one = SlicingFunction("s", has, {"word": [shared, shared]})
    assert fingerprint(one) == fingerprint(SlicingFunction("s", has, {"word": [*equal]}))


def test_values_that_refer_to_themselves():
    loop: list[object] = [1]
    loop.append(loop)
    sf = SlicingFunction("s", has, {"word": loop})
    assert fingerprint(sf) == fingerprint(sf)


def test_a_recursive_function():
    def down(n):
        return n if n < 1 else down(n - 1)

    sf = SlicingFunction("s", lambda x: down(x.n))
    assert re.fullmatch("[0-9a-f]{16}", fingerprint(sf))


def test_a_value_that_cannot_be_pickled_counts_by_its_class():
    opened = [open(os.devnull), open(os.devnull)]  # noqa: SIM115
    prints = {fingerprint(SlicingFunction("s", has, {"word": f})) for f in opened}
    for file in opened:
        file.close()
    assert len(prints) == 1


def test_preprocessors_count_with_theirs_and_their_key():
    first = preprocessor()(lambda x: x)
    chains = [
        [],
        [first],
        [preprocessor(pre=[first])(lambda x: (x.a, x)[1])],
        [preprocessor()(lambda x: (x.a, x)[1])],
        [preprocessor(memoize=True, memoize_key=lambda x: x.a)(lambda x: (x.a, x)[1])],
    ]
    prints = [fingerprint(SlicingFunction("s", len, pre=pre)) for pre in chains]
    assert len(set(prints)) == len(chains)


def test_the_same_in_every_process(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import re\nfrom engine import SlicingFunction, slicing_function\n" + SOURCE.replace(
            "engine.", ""
        ).replace("@preprocessor", "from engine import preprocessor\n@preprocessor")
        + "\nlam = SlicingFunction('lam', lambda x: x.a in {'a', 'b', 'c', 'd'},"
        " {'w': {'x', 'y', 'z'}, 'p': re.compile('a')})\n"
    )  # fmt: skip
    code = textwrap.dedent(
        """
        from engine.slicing.fingerprint.identity import fingerprint
        from engine.slicing.discovery import load_slices
        print(*(fingerprint(sf) for sf in load_slices("mine.py")))
        """
    )
    outs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1", "2", "3")
    }  # fmt: skip
    assert len(outs) == 1
    assert len(set(outs.pop().split())) == 2


def test_a_function_without_a_file():
    scope: dict[str, object] = {}
    exec("def f(x): return x.n > 1\ndef g(x): return x.n > 2\ndef h(x): return x.n > 1", scope)
    prints = [fingerprint(slicing_function()(scope[name])) for name in "fgh"]
    assert prints[0] == prints[2] != prints[1]


def test_whose_a_file_is(tmp_path):
    spark = tmp_path / "spark" / "python" / "pyspark"
    spark.mkdir(parents=True)
    (spark / "java_gateway.py").touch()
    mine = tmp_path / "pyspark"
    mine.mkdir()
    archive = "/opt/spark/python/lib/pyspark.zip/pyspark/sql/functions.py"
    others = [spark / "sql" / "functions.py", archive, np.__file__, re.__file__, identity.__file__]
    assert [is_own(str(f)) for f in others] == [False] * 5
    assert [is_own(str(f)) for f in (mine / "slices.py", tmp_path / "a.py")] == [True, True]
    assert not is_own(None)
