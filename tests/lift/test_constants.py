"""Constants of every kind mean in every tier what they mean in Python."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from decimal import Decimal

import numpy as np
import pytest

from engine.compile.tiers import Tier
from engine.label.plan import compile_slices
from engine.lift.lift import Lifted, lift
from engine.slicing.constants import as_compared, constant_key, is_constant
from engine.slicing.expr import Const
from tests.fuzz import differ, oracle
from tests.fuzz.strategies import COLUMNS

# Names, and functions that use them: each is a module's text, `f_N_` its function.
CONSTANTS = {
    "arrays that differ in the middle": """
A = np.arange(2000); B = np.arange(2000); B[1000] = -5
def f_N_(x): return x.i64 in A
def f_N_(x): return x.i64 in B
def f_N_(x): return -5 in B and x.n0 > 0
def f_N_(x): return -5 in A and x.n0 > 0
""",
    "arrays in a closure": """
def make(a):
    def f(x): return x.i64 in a
    return f
A = np.arange(2000); B = np.arange(2000); B[1000] = -5
f_N_ = make(A)
f_N_ = make(B)
f_N_ = make([1, A])
""",
    "objects of equal reprs": """
class R:
    def __init__(self, n): self.n = n
    def __repr__(self): return "R"
    def __contains__(self, v): return v == self.n
    def __eq__(self, v): return v == self.n
    __hash__ = None
ONE, TWO = R(1), R(2)
def f_N_(x): return x.n0 in ONE
def f_N_(x): return x.n0 in TWO
def f_N_(x): return x.n0 == ONE
def f_N_(x): return TWO == x.n0
def f_N_(x): return x.n0 in [ONE]
def f_N_(x): return x.n0 in (TWO,)
def f_N_(x, w=[R(1)]): return x.n0 in w
""",
    "a dict and a defaultdict": """
PLAIN = {"a": 1}; MAKES = collections.defaultdict(int, {"a": 1})
COUNTS = collections.Counter({"a": 1})
def f_N_(x): return PLAIN.get(x.t0, 0) == 0
def f_N_(x): return MAKES[x.t0] == 0
def f_N_(x): return PLAIN[x.t0] == 1
def f_N_(x): return COUNTS[x.t0] == 0
def f_N_(x): return x.t0 in MAKES
""",
    "subclasses with methods of their own": """
class L(list):
    def __contains__(self, v): return True
class S(frozenset):
    def __contains__(self, v): return v == "check"
class D(dict):
    def get(self, k, d=None): return 1
    def __missing__(self, k): return 2
class T(str):
    def __eq__(self, v): return True
    def __hash__(self): return 1
    def lower(self): return "check"
    def __contains__(self, v): return v == "a"
class I(int):
    def __lt__(self, v): return True
    def __gt__(self, v): return True
    def __eq__(self, v): return True
    __hash__ = int.__hash__
class F(float):
    def __lt__(self, v): return True
class P(tuple):
    def __iter__(self): return iter(("check",))
    def __contains__(self, v): return v == "a"
l, s, d, t, i, f, p = L(), S(), D(), T("zz"), I(3), F(2.5), P(("q",))
def f_N_(x): return x.t0 in l
def f_N_(x): return x.t0 in s
def f_N_(x): return d.get(x.t0, 0) == 1
def f_N_(x): return d[x.t0] == 2
def f_N_(x): return x.t0 == t
def f_N_(x): return t.lower() in x.t0
def f_N_(x): return x.t0 in t
def f_N_(x): return x.n0 > i
def f_N_(x): return x.n0 == i
def f_N_(x): return x.f0 > f
def f_N_(x): return any(w in x.t0 for w in p)
def f_N_(x): return x.t0 in p
def f_N_(x): return x.t0 in [t, "q"]
def f_N_(x): return x.t0 in {"zz": i}
def f_N_(x): return x.n0 in (i, 7)
""",
    "members of enums": """
class Color(enum.StrEnum):
    RED = "a"
    def __eq__(self, v): return v == "check"
    __hash__ = str.__hash__
class Level(enum.IntEnum):
    LOW = 1
class Flags(enum.Flag):
    A = 1
RED, LOW = Color.RED, Level.LOW
def f_N_(x): return x.t0 == RED
def f_N_(x): return x.t0 == Color.RED
def f_N_(x): return x.n0 > Level.LOW
def f_N_(x): return x.n0 in (LOW, 3)
def f_N_(x): return x.n0 in Level.__members__.values()
def f_N_(x): return x.n0 == Flags.A
def f_N_(x): return x.t0 in {Color.RED: 1}
""",
    "bool, int and float": """
def f_N_(x): return {True: "a"}.get(x.n0) == "a"
def f_N_(x): return {1: "a"}.get(x.n0) == "a"
ONE, YES, REAL = {1: 1}, {True: 1}, {1.0: 1}
def f_N_(x): return str(list(ONE)[0]) == "1" and x.b0 in ONE
def f_N_(x): return str(list(YES)[0]) == "1" and x.b0 in YES
def f_N_(x): return str([*REAL][0]) == "1.0" and x.b0 in REAL
def f_N_(x): return x.f0 == 0.0 and str(0.0) == "0.0"
def f_N_(x): return x.f0 == -0.0 and str(-0.0) == "0.0"
""",
    "changes in place": """
WORDS = ["a"]; KNOWN = {"a"}; TABLE = {"a": 1}
def f_N_(x):
    w = WORDS
    w += ["check"]
    return len(WORDS) > 3 and x.n0 == x.n0
def f_N_(x):
    w = KNOWN
    w |= {x.t0}
    return len(KNOWN) > 2
def f_N_(x):
    w = KNOWN
    w |= {"check", "b"}
    return "check" in KNOWN and x.n0 == x.n0
def f_N_(x):
    t = TABLE
    t |= {"b": 2}
    return len(TABLE) == 2 and x.n0 == x.n0
def f_N_(x):
    WORDS.append("b")
    return len(WORDS) > 5
def f_N_(x, seen=[]):
    seen += [1]
    return len(seen) > 2
def f_N_(x, seen=[]):
    seen.append(x.t0)
    return len(seen) > 2
def f_N_(x):
    global COUNT
    COUNT += 1
    return COUNT % 2 == 0
COUNT = 0
def add(w):
    w += ["c"]
    return w
def f_N_(x): return len(add(WORDS)) > 6 and x.n0 == x.n0
def counter():
    n = 0
    def f(x):
        nonlocal n
        n += 1
        return n % 3 == 0
    return f
f_N_ = counter()
""",
    "scalars of numpy": """
I, J, U, B = np.int64(3), np.int8(-3), np.uint16(100), np.bool_(True)
F, G, NAN, INF = np.float64(2.5), np.float32(0.1), np.float64("nan"), np.float64("-inf")
BIG, EDGE = np.int64(2**53 + 1), np.float64(2.0**53)
T, ZERO = np.str_("check"), np.str_("\\0")
def f_N_(x): return x.t0 == ZERO
def f_N_(x): return (x.n0 > I) == x.n0 * x.n0 * x.n0
def f_N_(x): return x.n0 * x.n0 == B
def f_N_(x): return x.n0 * x.n0 > I
def f_N_(x): return x.n0 * x.n0 > F
def f_N_(x): return x.i64 > I
def f_N_(x): return I >= x.n0
def f_N_(x): return x.n0 == J
def f_N_(x): return x.i8 < U
def f_N_(x): return x.f64 > I
def f_N_(x): return x.i64 > F
def f_N_(x): return x.f64 != F
def f_N_(x): return x.f0 == G
def f_N_(x): return x.f0 == NAN
def f_N_(x): return x.i64 > INF
def f_N_(x): return x.f0 == BIG
def f_N_(x): return x.i64 == EDGE
def f_N_(x): return x.i64 == BIG
def f_N_(x): return x.b == B
def f_N_(x): return x.n0 == B
def f_N_(x): return x.t == T
def f_N_(x): return x.t0 < T
def f_N_(x): return T in x.t0
def f_N_(x): return x.t0 in T
def f_N_(x): return x.t0 == I
def f_N_(x): return x.t0 > I
def f_N_(x): return x.price == I
def f_N_(x): return x.price > F
def f_N_(x): return x.day == I
def f_N_(x): return x.at == F
def f_N_(x): return x.tags == I
def f_N_(x): return x.tags == T
def f_N_(x): return x.t0.split() == I
def f_N_(x): return x.n0 + I > 2**62
def f_N_(x): return x.n0 * np.int64(3) > 5
def f_N_(x): return x.n0 / np.float64(0.0) > 1
def f_N_(x): return (x.n0 > I) + (x.f0 > F) == 2
def f_N_(x): return (x.n0 > I) - (x.f0 > F) == 0
def f_N_(x): return sum([x.n0 > I, x.f0 > F]) == 2
def f_N_(x): return (x.n0 > I) is True
def f_N_(x): return isinstance(x.n0 > I, bool)
def f_N_(x): return (x.n0 > I) is None
def f_N_(x): return -(x.n0 > I) == -1
def f_N_(x): return not (x.n0 > I)
def f_N_(x): return (x.n0 > I and x.f0 > F) is True
def f_N_(x): return x.n0 > I and x.t
def f_N_(x): return (x.n0 > I) == (x.f0 > F)
def f_N_(x): return x.n0 is I
def f_N_(x): return x.n0 > I * 2
def f_N_(x): return x.n0 > -U
def f_N_(x): return x.n0 > np.int64(1) + 1
def f_N_(x): return x.i64 in [np.int64(1), 2]
def f_N_(x): return x.i64 in {np.int64(1), np.int64(-3)}
def f_N_(x): return x.t0 in set(np.array(["check", "a"]))
WORDS = tuple(np.array(["check", "a"]))
def f_N_(x): return any(w in x.t0 for w in WORDS)
def f_N_(x): return any(w == x.t0 for w in WORDS)
MANY = frozenset(np.arange(-50, 50))
def f_N_(x): return x.i64 in MANY
def f_N_(x): return x.f64 in MANY
def f_N_(x): return x.tags in [np.int64(1)]
def f_N_(x): return x.f0 in [np.float64(2.5), np.float32(0.1)]
def f_N_(x): return x.b0 in {np.True_}
def f_N_(x): return I not in [-1.0, Decimal("1"), dt.date(2020, 1, 1)] and x.b0
def f_N_(x): return x.n0 in [I, Decimal("1"), (1, 2), None]
def f_N_(x): return I in [x.n0, 3.0]
def f_N_(x): return I in [(1, 2), x.n0]
def f_N_(x): return [x.n0, I] == [3, 3]
def f_N_(x): return max(x.n0, I) > 2**62
def f_N_(x): return len(x.t0) > np.int64(3)
def f_N_(x): return x.t0[:np.int64(2)] == "ch"
def f_N_(x): return x.t0.startswith(T)
def f_N_(x): return 1 < x.n0 < I
def f_N_(x): return I < x.n0 < 10
def f_N_(x): return bool(x.n0 > I)
def f_N_(x): return x.n0 > I if x.b0 else x.f0 > F
def f_N_(x): return str(x.n0 > I) == "True"
""",
    "other objects": """
class Zone(dt.tzinfo):
    def utcoffset(self, t): return dt.timedelta(hours=3)
    def dst(self, t): return None
    def __repr__(self): return "Z"
class Other(Zone):
    def utcoffset(self, t): return dt.timedelta(hours=-9)
AT, TOO = dt.datetime(2020, 1, 1, tzinfo=Zone()), dt.datetime(2020, 1, 1, tzinfo=Other())
def f_N_(x): return x.at > AT
def f_N_(x): return x.at > TOO
class Day(dt.date):
    def __gt__(self, v): return True
    def __lt__(self, v): return True
DAY = Day(2020, 1, 1)
def f_N_(x): return x.day > DAY
class Price(Decimal):
    def __eq__(self, v): return True
    __hash__ = Decimal.__hash__
COST = Price("1.00")
def f_N_(x): return x.price == COST
class Meta(type):
    def __contains__(cls, v): return v == "a"
    def __instancecheck__(cls, v): return v == "check"
    def __eq__(cls, v): return True
    __hash__ = type.__hash__
class M(metaclass=Meta): pass
def f_N_(x): return x.t0 in M
def f_N_(x): return isinstance(x.t0, M)
def f_N_(x): return isinstance(x.t0, (int, M))
def f_N_(x): return isinstance(x.n0, (int, float)) and isinstance(x.t0, str)
class Asks:
    def __getattr__(self, n): return 3
    def __eq__(self, v): return True
    def __call__(self, v): return len(v) > 3
asks = Asks()
def f_N_(x): return x.n0 > asks.limit
def f_N_(x): return asks(x.t0)
class Computed:
    def __get__(self, o, k): return next(N)
class Has: limit = Computed()
N = itertools.cycle((1, 2**62))
def f_N_(x): return x.n0 > Has.limit
RULES = [("a", lambda t: "a" in t), ("b", len)]
def f_N_(x): return any(rule(x.t0) for _, rule in RULES)
CHECKS = {"a": str.isupper, "n": 3}
def f_N_(x): return CHECKS["a"](x.t0) or x.n0 > CHECKS["n"]
def f_N_(x): return x.n0 in {}.keys()
def f_N_(x): return x.t0 in (i for i in ["a"])
def f_N_(x): return x.t0 in memoryview(b"abc")
def f_N_(x): return x.n0 in bytearray(b"abc")
def f_N_(x): return x.n0 in range(3)
def f_N_(x): return bool(re.search("A", x.t0, re.I | re.M))
def f_N_(x): return x.n0 in {[1]: 2}
def f_N_(x): return x.n0 in {1, [2]}
def f_N_(x): return x.n0 in sorted(["a", 1])
def f_N_(x): return x.day > dt.date(2020, 13, 1)
""",
    "shared nodes": """
def f_N_(x): return len(x.t0) > 1 and len(x.t0) > 1.0
def f_N_(x): return len(x.t0) > True or len(x.t0) == 1
def f_N_(x): return x.n0 in (1, 2) or x.n0 in [1, 2] or x.n0 in {1, 2}
def f_N_(x): return x.n0 == 1 or x.n0 == 1.0 or x.n0 == True
def f_N_(x): return x.t0 in ("a",) or x.t0 in "a"
""",
}
IMPORTS = (
    "import collections, enum, itertools, re\nimport datetime as dt\nfrom decimal import Decimal\n"
    "import numpy as np\n"
)


def suite_of(text: str, folder) -> differ.Suite:
    """Load a module's functions, numbered in their order."""
    parts = text.split("f_N_")
    defined = [p.rstrip(" ").endswith("def") or p.endswith("\n") for p in parts[:-1]]
    number, made = -1, parts[0]
    for is_new, part in zip(defined, parts[1:], strict=True):
        number += is_new
        made += f"f{number}{part}"
    suite = differ.load([IMPORTS + made, *["pass"] * number], folder)
    return differ.Suite((text,) * len(suite), suite.sfs)


def rows(n: int = 400):
    from random import Random

    from tests.fuzz.strategies import values

    columns = values(Random(7), n)
    columns["n0"][:12] = [1, 2, 3, -3, 100, 0, 7, 2**53, 2**53 + 1, -5, 2**62, 2**63 - 1]
    columns["i64"][:8] = [1, 2, 3, -3, 2**53, 2**53 + 1, 1000, -5]
    columns["f0"][:8] = [0.1, 2.5, 3.0, 2.0**53, 0.0, -0.0, float("nan"), 1.0]
    columns["t0"][:8] = ["a", "check", "zz", "q", "b", "", "check\0", "A"]
    assert columns.keys() == COLUMNS.keys()
    return columns


@pytest.mark.parametrize("text", CONSTANTS.values(), ids=CONSTANTS)
@pytest.mark.filterwarnings("ignore")
def test_every_tier_says_what_python_says(tmp_path, text):
    columns = rows()
    for ask in (differ.by_kernel, differ.by_arrow, differ.by_pandas):
        given = differ.for_pandas(columns) if ask is differ.by_pandas else columns
        # Functions may keep something: Python and the tier are asked of modules of their own.
        expected = differ.by_oracle(suite_of(text, tmp_path), given)
        found = ask(suite_of(text, tmp_path), given)
        for i, (one, other) in enumerate(zip(expected, found, strict=True)):
            row = np.flatnonzero(one != other)
            assert not len(row), (
                f"{ask.__name__}: function {i} on row {row[0]}: Python says "
                f"{oracle.WORDS[one[row[0]]]}, the tier {oracle.WORDS[other[row[0]]]}"
            )


LIMIT, FEW, NAMES = np.int64(3), frozenset(np.arange(3)), [np.str_("a"), np.str_("b")]


@pytest.mark.parametrize(
    ("f", "tree"),
    [
        (lambda x: x.n > LIMIT, "gt(n, 3)"),
        (lambda x: x.n in FEW, "in(n, frozenset({0, 1, 2}))"),
        (lambda x: x.n >= LIMIT * 2, "ge(n, 6)"),
        (lambda x: any(w == x.t for w in NAMES), "any(eq('a', t), eq('b', t))"),
        (lambda x: x.n > np.float64(0.5), "gt(n, 0.5)"),
        (lambda x: x.n + LIMIT > 4, None),
        (lambda x: x.d > LIMIT, None),
        (lambda x: x.n > np.float32(3), None),
    ],
)
def test_which_numpy_scalars_are_constants(f, tree):
    found = lift(f, {}, ["n", "t", "d"], {"n", "t"})
    assert (str(found.tree) if isinstance(found, Lifted) else None) == tree


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("x.n0 in D", "it computes with a defaultdict"),
        ("x.n0 == A", "it computes with a ndarray"),
        ("x.d0 > L", "it compares 'd0', which isn't text, a number or a boolean, with a value of "
                     "numpy's"),
        ("x.t0.split() == L", "it compares what may be a list with a value of numpy's"),
        ("(x.n0 > L) + 1 == 2", "it computes with what numpy answered"),
        ("x.n0 is L", "it compares with a int64"),
        ("x.n0 == [L]", "it computes with a int64"),
        ("len(add(W)) > x.n0", "it changes a list in place"),
        ("isinstance(x.t0, E)", "it asks for types that only Python can tell"),
    ],
)  # fmt: skip
def test_why_a_function_is_not_lifted(tmp_path, source, why):
    text = (
        "import collections, enum\nimport numpy as np\n"
        "D, A, L, W = collections.defaultdict(int), np.arange(3), np.int64(1), []\n"
        "class M(type):\n    def __instancecheck__(cls, v): return True\n"
        "class E(metaclass=M): pass\n"
        "def add(w):\n    w += [1]\n    return w\n"
        f"def f_N_(x): return {source}\n"
    )
    f = suite_of(text, tmp_path).sfs[0].f
    assert lift(f, {}, ["n0", "t0", "d0"], {"n0", "t0"}).why == why


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "constant"),
    [
        (1, True), (True, True), ("a", True), ((1, ["a", {2.5}]), True), ({"a": b"b"}, True),
        (range(3), True), (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), True), (Decimal(1), True),
        (slice(1, None), True), (Text("a"), False), ([Text("a")], False), ({Text("a"): 1}, False),
        (np.int64(1), False), (np.arange(2), False), (defaultdict(int), False), (len, False),
        (dt, False), (bytearray(b"a"), False),
    ],
)  # fmt: skip
def test_which_values_are_constants(value, constant):
    assert is_constant(value) is constant


def test_constants_are_one_only_where_nothing_can_tell_them_apart():
    values = [
        1, 1.0, True, "1", b"1", 0.0, -0.0, (1,), [1], {1}, frozenset({1}), {1: 1}, {True: 1},
        {1: True}, {1: 1, 2: 2}, {2: 2, 1: 1}, Decimal(1), Decimal("1.0"), range(1), range(0, 1, 2),
        None, 10**5000, 10**5000 + 1, dt.date(2020, 1, 1), dt.datetime(2020, 1, 1),
        dt.datetime(2020, 1, 1, fold=1), np.arange(2000), np.arange(2000), Text("1"), [Text("1")],
        [Text("1")],
    ]  # fmt: skip
    assert len({constant_key(v) for v in values}) == len(values)
    assert len({Const(v) for v in values}) == len(values)
    assert Const([1, {2: {3, "a"}}]) == Const([1, {2: {"a", 3}}])


@pytest.mark.parametrize(
    "value", [np.float32(1), np.int64(2**53 + 1), np.float64(2**53), np.datetime64(1, "s"), len,
              Text("a"), [np.float16(1)], {1: 2}.keys()],
)  # fmt: skip
def test_what_python_may_compare_otherwise(value):
    with pytest.raises(ValueError, match=type(value).__name__ if not isinstance(value, list)
                       else "float16"):  # fmt: skip
        as_compared(value)


def test_a_numpy_limit_runs_where_an_int_does(tmp_path):
    text = "L = np.int64(3)\ndef f_N_(x): return x.i64 > L and x.t0 == np.str_('a')\n"
    suite = suite_of(text.replace("np.str_('a')", "T").replace("L =", "T = np.str_('a')\nL ="),
                     tmp_path)  # fmt: skip
    plan = compile_slices(suite.sfs, differ.table(rows()).schema)
    assert set(plan.tiers.values()) == {Tier.ARROW}
