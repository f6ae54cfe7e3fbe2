"""Lists, maps, structs and times over whole columns: what a plain loop says, row by row."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from engine import SlicingFunction, compile_slices
from engine.compile.tiers import Tier
from tests.corpus.ask import answers, rows_of
from tests.fuzz.oracle import FAULT

RISKY = frozenset({"scam", "war"})
TABLE = {("scam", 1): True, ("war", None): True}
SPRING = dt.date(2024, 3, 1)

ROWS = pa.table(
    {
        "tags": pa.array([["scam", None], [], None, ["war", "war"], ["a", "scam", "war"]] * 2,
                         pa.list_(pa.string())),
        "nums": pa.array([[1.5, float("nan")], [0.0, -0.0], None, [None], []] * 2,
                         pa.list_(pa.float64())),
        "deep": pa.array([[[1], []], [None], None, [[2, None], [3]], []] * 2,
                         pa.list_(pa.list_(pa.int32()))),
        "user": pa.array([{"name": "Al", "home": {"lat": 1.0}}, {"name": None, "home": None}, None,
                          {"name": "bo", "home": {"lat": None}}, {"name": "", "home": None}] * 2,
                         pa.struct([("name", pa.string()),
                                    ("home", pa.struct([("lat", pa.float64())]))])),
        "flags": pa.array([[("spam", 1)], [("spam", None), ("b", 2)], None, [], [("b", 3)]] * 2,
                          pa.map_(pa.string(), pa.int64())),
        "text": ["one two", "", None, "\u2003wide\x1fspace ", "a,b,,c"] * 2,
        "n": pa.array([1, 0, 3, None, -1] * 2, pa.int64()),
        "day": pa.array([dt.date(2024, 2, 29), dt.date(1, 1, 1), None, dt.date(9999, 12, 31),
                         dt.date(1969, 12, 31)] * 2),
        "at": pa.array([dt.datetime(2024, 2, 29, 23, 59, 59, 999999), dt.datetime(1, 1, 1), None,
                        dt.datetime(1969, 12, 31, 23, 59, 59, 1), dt.datetime(2000, 1, 1)] * 2,
                       pa.timestamp("us")),
        "seconds": pa.array([0, -1, None, 10**9, -(10**10)] * 2, pa.timestamp("s")),
        "long": pa.array([0, -1, None, 10**9, 86_400_000] * 2, pa.duration("ms")),
        "zoned": pa.array([0, -1, None, 10**15, 86_400_000_000] * 2, pa.timestamp("us", "UTC")),
    }
)  # fmt: skip

SOURCES = [
    "any(t in RISKY for t in x.tags)",
    "all(t in RISKY for t in x.tags)",
    "any(t.startswith('s') for t in x.tags)",
    "any(t == x.text for t in x.tags)",
    "len(set(x.tags) & RISKY) > 0",
    "set(x.tags) >= RISKY",
    "RISKY <= set(x.tags)",
    "set(x.tags) == {'war'}",
    "len(set(x.tags)) == 1",
    "bool(set(x.tags) - RISKY)",
    "x.tags[-1] == 'war'",
    "x.tags[0] is None",
    "x.tags[1:] == ['war']",
    "'war' in x.tags[:1]",
    "None in x.tags",
    "x.text in x.tags",
    "len(x.tags or []) > 1",
    "'-'.join(x.tags) == 'war-war'",
    "sum(x.nums) == 0",
    "str(sum(x.nums)) == '0'",
    "max(x.nums) > 1",
    "min(x.nums) != 0",
    "max(x.nums, default=7) == 7",
    "sorted(x.nums)[0] == 0",
    "sum(1 for v in x.nums if v is None) == 1",
    "any(v != v for v in x.nums)",
    "[v for v in x.nums if v] == [1.5]",
    "sum(v or 0 for row in x.deep for v in row or []) > 2",
    "any(not row for row in x.deep)",
    "any(any(v == x.n for v in row or []) for row in x.deep)",
    "len([v for r in x.deep for v in r]) > 1",
    "any(v + x.n > 2 for row in x.deep for v in row)",
    "x.user.name == 'Al'",
    "x.user.name.lower() == 'bo'",
    "x.user.home.lat > 0",
    "x.user is not None and x.user.home is None",
    "x.user['name'] is None",
    "x.user[0] == ''",
    "x.flags['spam'] == 1",
    "x.flags.get('spam') is None",
    "x.flags.get('b', 0) > 1",
    "'spam' in x.flags",
    "any(v is None for v in x.flags.values())",
    "len(x.flags) == 2",
    "sum(v for k, v in x.flags.items() if k != 'spam') > 2",
    "sorted(x.flags.keys()) == ['b']",
    "any(c.isspace() for c in x.text)",
    "sum(c == 'e' for c in x.text) > 1",
    "x.text.split()[-1] in ('two', 'space')",
    "len(x.text.split(',')) > 2",
    "x.text.split(',')[1:2] == ['b']",
    "len({w for w in x.text.split()}) == 2",
    "''.join(c for c in x.text if c.isalpha()) == 'abc'",
    "x.text.rsplit(',', 1)[0] == 'a,b,'",
    "(x.text, x.n) in TABLE",
    "(x.n, x.text) > (0, 'b')",
    "(x.day - SPRING).days == -1",
    "x.day - dt.timedelta(days=1) < SPRING",
    "x.day.year == 2024",
    "x.day + dt.timedelta(hours=23) == x.day",
    "x.day.weekday() == 3",
    "x.day.isoweekday() == x.day.day",
    "x.day.toordinal() == 1",
    "x.at.date() == x.day",
    "x.at.date() - x.day == dt.timedelta(0)",
    "x.at - dt.timedelta(days=1) < dt.datetime(2000, 1, 1)",
    "x.at.microsecond == 1",
    "(x.at.hour, x.at.minute, x.at.second) == (23, 59, 59)",
    "x.at == x.seconds",
    "x.at > x.seconds",
    "x.seconds.year == 1970",
    "x.seconds.second == 59",
    "x.long.days == 1",
    "x.long.seconds == 86399",
    "x.long.total_seconds() < 0",
    "abs(x.long) < dt.timedelta(seconds=1)",
    "-x.long > x.long",
    "x.zoned + x.long > x.zoned",
    "x.zoned.replace(tzinfo=None) == x.seconds",
    "x.zoned.timestamp() == x.long.total_seconds() * 1000",
    "x.zoned > x.at",
    "x.zoned - x.at",
    "x.day > x.at",
    "x.day == x.at",
    "not x.day",
    "x.day - x.long != x.day",
    "x.n << 3 == 8",
    "x.n >> 1 == -1",
    "x.n ** 2 == 9",
    "2 ** 70 > x.n",
    "math.sqrt(x.n) == 1",
]
FUNCTIONS = '''
def number(x):
    try:
        return int(x.text.split()[0]) > 0
    except (ValueError, IndexError):
        return True

def attribute(x):
    try:
        n = len(x.text)
    except TypeError:
        return True
    return n > x.n

def both(x):
    n = 5
    try:
        n = 1 // x.n
    except (TypeError, ZeroDivisionError):
        pass
    return n == 5

def anything(x):
    try:
        first, *rest = x.tags
    except Exception:
        return None
    else:
        return first in rest

def order(x):
    try:
        return x.n + int(x.text)
    except ValueError:
        return False

def final(x):
    n = None
    try:
        n = x.flags["b"]
    except KeyError:
        n = 0
    finally:
        hit = n is not None
    return hit and n > 1

def hit(x):
    for t in x.tags:
        if t is None:
            continue
        if t.startswith("w"):
            return True
    return False

def shadow(x):
    w = "war"
    for w in x.tags:
        if w == "nothing":
            return True
    return w == "war"

def count(x):
    n = 1
    for c in x.text or "":
        if c in "aeiou":
            n += 1
    return n > 2

def kinds(x):
    match x.n:
        case 0 | 1:
            return True
        case None:
            return None
        case m if m > 2:
            return x.text is None
    return False

def pairs(x):
    match (x.text, x.n):
        case ("", _) | (_, 1):
            return True
        case (None, n):
            return n == 3
        case _:
            return False

def parts(x):
    head, sep, tail = x.text.partition(",")
    return sep == "," and tail.endswith("c") and head == "a"

def lat(x):
    name, home = x.user
    return home is not None and home.lat == 1.0
'''  # fmt: skip


def functions(tmp_path):
    bodies = [f"def f{i}(x):\n    return {s}\n" for i, s in enumerate(SOURCES)]
    path = tmp_path / "lifted.py"
    path.write_text("\n".join([*bodies, FUNCTIONS]), encoding="utf-8")
    names = {"dt": dt, "RISKY": RISKY, "TABLE": TABLE, "SPRING": SPRING, "math": __import__("math")}
    before = set(names)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    return [SlicingFunction(k, f) for k, f in names.items() if k not in before and callable(f)]


@pytest.mark.parametrize("size", [10, 3, 1])
def test_masks_and_faults_are_those_of_a_loop(size, tmp_path):
    sfs = functions(tmp_path)
    expected = answers(sfs, ROWS)
    plan = compile_slices(sfs, ROWS.schema)
    tiers = {a.name for a in plan.assignments if a.tier is not Tier.ARROW}
    assert tiers <= {"shadow"}
    for start in range(0, len(ROWS), size):
        part = ROWS.slice(start, size).combine_chunks()
        out = plan.kernel.run({c: part[c].chunk(0) for c in plan.crossing}, len(part))
        codes = {sf.name: out.masks[sf.id].tolist() for sf in sfs}
        names = {sf.id: sf.name for sf in sfs}
        for fault in out.faults:
            codes[names[fault.slice_id]][fault.row] = FAULT
        wanted = {name: v[start : start + size].tolist() for name, v in expected.items()}
        differ = {n: (c, wanted[n]) for n, c in codes.items() if c != wanted[n]}
        shown = {n: SOURCES[int(n[1:])] if n[1:].isdigit() else n for n in differ}
        assert not differ, (shown, rows_of(part))
