"""What the fuzzer found, each one once: functions that were read as saying something else."""

# Written as users might, not as ruff would.
# ruff: noqa: C416, E711

from __future__ import annotations

import re
from decimal import Decimal
from random import Random

import pytest

from engine import SlicingFunction
from engine.label.plan import compile_slices
from tests.fuzz import differ, strategies
from tests.fuzz.differ import Suite

pytestmark = pytest.mark.usefixtures("both_ways")

WORDS = "|".join(f"word{i}" for i in range(40))
words = ("a", "b")


def starts_later(x):
    return "check".startswith(x.t, 1)


def name_bound_if_evaluated(x):
    if x.i64 is not None and (u := x.u):
        return True
    return u in ("song",)


def name_bound_in_one_operand(x):
    z = 1
    return (x.b and (z := 2) > 1) or z == 1


def name_bound_in_a_chain(x):
    z = 1
    return not (x.i64 < 3 < (z := 5)) and z == 1


def name_bound_in_one_branch(x):
    z = 1
    if x.b:
        if (z := 2) > 5:
            return True
    else:
        return z == 1
    return z == 2


def name_bound_in_a_condition(x):
    z = 1
    return ((z := 2) if x.b else 3) == 3 and z == 1


def name_bound_in_a_comprehension(x):
    w = "none"
    found = any((w := k) in x.t0 for k in ("a", "k"))
    return found and w == "k"


def loop_leaves_its_name(x):
    w = "none"
    for w in ("a", "k"):
        if w in x.t0:
            return True
    return w == "k"


def name_of_a_cell(x):
    if x.b:
        words = ("k",)
    return any(len(x.t0) > n and "a" in words for n in (0, 1))


def match_is_compared(x):
    return re.search("k", x.t0) == None


def match_is_chosen(x):
    return (re.search("k", x.t0) if x.b else None) is None


def match_is_chosen_or_a_number(x):
    return (re.search("k", x.t0) if x.b else 1) == 1


def match_is_counted_on(x):
    return re.search("k", x.t0) + 1 > 1


def match_of_a_constant(x):
    return re.search("k", "k")


def greatest_of_a_failure_and_a_null(x):
    return max(1 / x.i8, x.f64) > 1


def number_in_decimals(x):
    return x.i8 in (Decimal(1), 2)


def words_of_a_list(x):
    return x.t0.split() == [w for w in ("a", "k")]


def length_of_a_generator(x):
    return len(w for w in ("a",)) == 1 or x.b


def generator_used_up(x):
    found = (w in x.t0 for w in ("a", "k"))
    return any(found) or not any(found)


def great_number_or_another(x):
    return (x.n0 if x.b0 else 10**30) > 5


def _either(n, m):
    return n if n is None or n > 3 else m


def argument_fails_unused(x):
    return _either(x.n0, int(x.t0)) is not None


def long_pattern(x):
    return bool(re.search(WORDS + "|check", x.t0))


def other_long_pattern(x):
    return bool(re.search(WORDS + "|song", x.t0))


def column_read_in_vain(x):
    x.i16  # noqa: B018
    unused = x.u  # noqa: F841
    return 1 / x.i8 > 0


FUNCTIONS = [
    f
    for f in list(globals().values())
    if getattr(f, "__module__", "") == __name__ and not f.__name__.startswith("_")
]
EDGES = [0, 1, 2, 3, 4, None]


@pytest.fixture(scope="module")
def columns():
    found = strategies.values(Random(0), 200)
    found["t0"][:5] = ["check", "song", "a k", "", "7"]
    found["i8"][:6] = EDGES
    found["i64"][:6] = EDGES[::-1]
    return found


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_it_says_what_python_says(f, columns):
    suite = Suite((f.__name__,), (SlicingFunction(f.__name__, f),))
    expected = differ.by_oracle(suite, columns)
    found = differ.by_arrow(suite, columns)
    assert not list(differ.mismatches("arrow", suite, columns, expected, found))


def test_long_patterns_that_begin_alike_are_two(columns):
    fs = (long_pattern, other_long_pattern)
    suite = Suite(("one", "two"), tuple(SlicingFunction(f.__name__, f) for f in fs))
    assert (differ.by_arrow(suite, columns) == differ.by_oracle(suite, columns)).all()


def test_columns_read_in_vain_cross_too():
    sf = SlicingFunction("vain", column_read_in_vain)
    plan = compile_slices([sf], strategies.table(strategies.values(Random(0), 1)).schema)
    assert plan.crossing == ("u", "i8", "i16")
