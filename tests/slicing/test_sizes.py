"""Large slices: what is long or deep takes time in proportion, and nothing runs out of stack."""

from __future__ import annotations

import functools
import importlib.util
import operator
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from engine import SlicingFunction, compile_slices, where
from engine.compile.tiers import Tier
from engine.errors import SliceError
from engine.run.faults import explained
from engine.slicing import expr
from engine.slicing.algebra import parse, text_of
from engine.slicing.compositions import Composition, compositions
from engine.slicing.expr import Call, Column, Const, Expr, shown

ROWS = pa.table({"k": [1, 2, None, 300, 5_000], "t": ["a", "b", None, "w9", "149"]})
SIZES = (400, 1_500)


def module(folder: Path, source: str) -> SlicingFunction:
    """Return the function `f` of a module with this source."""
    path = folder / f"large_{abs(hash(source))}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    return SlicingFunction("large", made.f)


def joined(sign: str, part: str, n: int) -> str:
    return "def f(x):\n    return " + f" {sign} ".join(part.format(i=i) for i in range(n))


# How a function is written -> its source, and whether all of it is lifted.
WRITTEN: dict[str, tuple[Callable[[int], str], bool]] = {
    "or": (lambda n: joined("or", "x.k == {i}", n), True),
    "and": (lambda n: joined("and", "x.k != {i}", n), True),
    "or of and": (lambda n: joined("or", "(x.k == {i} and x.t != 'b')", n), True),
    "or of values": (lambda n: joined("or", "(x.k == {i} and x.k)", n).replace(
        "return", "y =") + "\n    return y == 1", True),
    "comparisons": (lambda n: joined("<", "x.k + {i}", n).replace("< x.k + 399", "< 1_000"), True),
    "a sum of constants": (lambda n: f"def f(x):\n    return sum(x.k == i for i in range({n})) > 0",
                           True),
    "any": (lambda n: f"W = [f'w{{i}}' for i in range({n})]\n"
            "def f(x):\n    return any(w in x.t.lower() for w in W)", True),
    "a tuple": (lambda n: f"W = {tuple(map(str, range(n)))}\ndef f(x):\n    return x.t in W", True),
    "terms added": (lambda n: joined("+", "x.k", n) + " > 3", False),
    "elif": (lambda n: "def f(x):\n    if x.k == 0: return True\n" + "\n".join(
        f"    elif x.k == {i}: return {bool(i % 2)}" for i in range(1, n)) + "\n    return False",
        False),
    "conditions": (lambda n: "def f(x):\n    return " + "".join(
        f"{bool(i % 2)} if x.k == {i} else " for i in range(n)) + "False", False),
    "names bound again": (lambda n: "def f(x):\n    y = 0\n" + "\n".join(
        f"    if x.k == {i}: y = {i}" for i in range(n)) + "\n    return y > 3", False),
    "doubled": (lambda n: "def f(x):\n    y = x.k\n" + "    y = y + y\n" * (n // 10)
                + "    return y > 3", False),
}  # fmt: skip


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("how", WRITTEN)
def test_a_large_function_says_what_python_says(how, n, tmp_path):
    source, lifted = WRITTEN[how]
    sf = module(tmp_path, source(n))
    plan = compile_slices([sf], ROWS.schema, tier="arrow")
    assert (plan.tiers["large"] is Tier.ARROW) or not lifted
    masks = plan.apply(ROWS)["large"].to_pylist()
    assert masks == plan.as_python().apply(ROWS)["large"].to_pylist()
    assert len(set(masks)) > 1
    assert len(plan.assignments[0].why) < 250
    pickle.loads(pickle.dumps(plan.candidates["large"].tree))


def slices(n: int) -> list[SlicingFunction]:
    return [SlicingFunction(f"s{i}", lambda x, i=i: x.k - i == 0) for i in range(n)]


def in_turn(a: SlicingFunction, b: SlicingFunction) -> SlicingFunction:
    return (a | b) if b.id.endswith(("1", "3", "5", "7", "9")) else (a & ~b)


COMPOSED: dict[str, Callable[[SlicingFunction, SlicingFunction], SlicingFunction]] = {
    "or": operator.or_,
    "and not": lambda a, b: a & ~b,
    "from the right": lambda a, b: b | a,
    "in turn": in_turn,
    "not": lambda a, _: ~a,
}


@pytest.mark.parametrize("how", COMPOSED)
def test_a_thousand_slices_are_composed(how):
    every = slices(1_000)
    made = functools.reduce(COMPOSED[how], every)
    masks = compile_slices([made], ROWS.schema).apply(ROWS)[made.id].to_pylist()
    assert masks == [_by_hand(how, k) for k in ROWS["k"].to_pylist()]
    assert text_of(parse(made.name)) == made.name
    assert pickle.loads(pickle.dumps(made.expr)) == made.expr


def _by_hand(how: str, k: int | None) -> bool | None:
    """Fold the masks of `slices` in Kleene's logic."""

    def no(a):
        return None if a is None else not a

    def either(a, b):
        return True if True in (a, b) else None if None in (a, b) else False

    steps = {
        "or": either,
        "from the right": lambda a, b: either(b, a),
        "and not": lambda a, b: no(either(no(a), b)),
        "not": lambda a, _: no(a),
    }
    found = None if k is None else k == 0
    for i in range(1, 1_000):
        mask = None if k is None else k == i
        step = steps.get(how) or (steps["or"] if i % 2 else steps["and not"])
        found = step(found, mask)
    return found


def test_a_chain_of_one_sign_is_one_operation():
    a, b, c, d = slices(4)
    assert str(((a | b) | (c | d)).expr) == "kleene_or(s0, s1, s2, s3)"
    assert str((a & (b & (c | d))).expr) == "kleene_and(s0, s1, kleene_or(s2, s3))"
    assert str((~(a | b) | c).expr) == "kleene_or(kleene_not(kleene_or(s0, s1)), s2)"


def test_a_text_of_a_thousand_slices_is_composed():
    every = slices(1_000)
    text = " | ".join(sf.id for sf in every)
    (made,) = compositions([Composition("many", text, "many", "")], every)
    assert made.expr == functools.reduce(operator.or_, every).expr


class Counted:
    """Counts how often nodes are hashed or compared: what takes the time."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.n = 0
        for kind in (Call, Column, Const, expr.Mask):
            for name in ("__hash__", "__eq__"):
                patch.setattr(kind, name, self._counting(getattr(kind, name)))

    def _counting(self, run: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object) -> object:
            self.n += 1
            return run(*args)

        return counted


@pytest.mark.parametrize("how", ["or", "and not", "in turn"])
def test_work_grows_as_the_number_of_slices(how, monkeypatch):
    counted, work = Counted(monkeypatch), {}
    for n in (250, 500, 1_000):
        every, counted.n = slices(n), 0
        compile_slices([functools.reduce(COMPOSED[how], every)], ROWS.schema).apply(ROWS)
        work[n] = counted.n
    assert work[1_000] < 2.2 * work[500] < 2.2**2 * work[250]


@pytest.mark.parametrize("how", ["or", "and", "or of and", "comparisons", "names bound again"])
def test_work_grows_as_the_source(how, monkeypatch, tmp_path):
    counted, work = Counted(monkeypatch), {}
    for n in (250, 500, 1_000):
        sf, counted.n = module(tmp_path, WRITTEN[how][0](n)), 0
        compile_slices([sf], ROWS.schema, tier="arrow").apply(ROWS)
        work[n] = counted.n
    assert work[1_000] < 2.2 * work[500] < 2.2**2 * work[250]


def deep(n: int, leaf: Expr) -> Expr:
    for _ in range(n):
        leaf = Call("not", (leaf,))
    return leaf


def test_deep_trees_are_compared_hashed_and_shown():
    one, other = deep(20_000, Column("a")), deep(20_000, Column("a"))
    assert one == other
    assert hash(one) == hash(other)
    assert one != deep(20_000, Column("b"))
    assert one != deep(19_999, Column("a"))
    assert Column("a") != one != Column("a")
    assert shown(one, 20) == "not(not(not(not(n..."
    assert str(deep(2, Column("a"))) == repr(deep(2, Column("a"))) == "not(not(a))"


def test_a_shared_node_is_one_wherever_it_stands():
    """Written out this tree has 2**200 leaves."""
    one = other = Column("a")
    for _ in range(200):
        one, other = Call("add", (one, one)), Call("add", (other, other))
    assert one == other
    assert pickle.loads(pickle.dumps(one)) == one
    assert len(shown(one, 100)) == 100
    assert len(list(one.walk())) == 201


def test_a_slice_too_deep_for_spark_is_named():
    short, long = where("short", "a > 1"), where("long", "(" * 900 + "a > 1" + ")" * 900)
    with pytest.raises(SliceError) as caught, explained([short, long]):
        raise RuntimeError("An error occurred: java.lang.StackOverflowError\n\tat x.y(Z)")
    assert str(caught.value) == (
        "slice 'long' is nested too deeply for Spark, whose stack is used up; write it with fewer "
        "parentheses, as a Python function, or give the driver a larger stack "
        "(spark.driver.extraJavaOptions: -Xss16m)"
    )
