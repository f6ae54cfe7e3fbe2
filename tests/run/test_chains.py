"""Preprocessors over columns do what they do with a row each: masks, faults, and no more calls."""

from __future__ import annotations

import collections
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from engine import Preprocessor, SlicingFunction, preprocessor
from engine.lift import setters
from engine.lift.setters import of_setters
from engine.run import chains
from engine.run.kernel import Kernel

COLUMNS = {
    "text": pa.string(), "n": pa.int64(), "m": pa.float64(), "tags": pa.list_(pa.string()),
    "home": pa.struct([("lat", pa.float64()), ("at", pa.list_(pa.int64()))]),
}  # fmt: skip
VALUES = {
    "text": ["b a", "", "a", "Ünï x", "12", "c c c c", "A b", None],
    "n": [1, 0, 7, -3, None],
    "m": [2.5, 0.0, float("nan"), None],
    "tags": [["b", "a"], [], ["x", None], ["a"], None],
    "home": [{"lat": 1.0, "at": [3, 1]}, {"lat": None, "at": None}, None],
}
SHARED = ["s"]
SEEN: list = []
LIMIT = 1


def words(x):
    x.words = x.text.split()
    return x


def item_words(x):
    x["words"] = x["text"].split(" ")
    x["n_words"] = len(x["words"])
    return x


def maybe_words(x):
    x.words = (x.text or "").split()
    x.size = len(x.words) + (x.n or 0)
    return x


def two_ways(x):
    if len(x.text) > LIMIT:
        x.kind = "long"
    elif x.n > 0:
        x.kind = "short"
    else:
        x.kind = None
    return x


def tries(x):
    try:
        x.number = int(x.text)
    except ValueError:
        x.number = -x.n
    return x


def tries_more(x):
    try:
        x.number = 10 // x.n
    except ZeroDivisionError as error:
        x.number = str(error)
    else:
        x.number = x.number + 1
    finally:
        LIMIT  # noqa: B018
    return x


def early(x):
    x.words = []
    if not x.text:
        return x
    for word in x.text.split():
        if word in x.words:
            continue
        x.words.append(word)
    return x


def lower(x):
    x.text = x.text.lower()
    return x


def counts(x):
    x.n += 1
    x["m"] = x.m / x.n
    return x


def unpacks(x):
    x.first, *x.rest = x.text.split()
    x.a = x.b = x.n
    return x


def inner(x):
    def longer(word):
        return len(word) > x.n

    x.longer = [w for w in x.text.split() if longer(w)]
    x.last = max((w for w in x.longer), key=lambda w: (len(w), x.text.count(w)))
    return x


def with_tags(x):
    x.n_tags = len(x.tags)
    x.first = x.tags[0]
    return x


def keeps_tags(x):
    x.also = x.tags
    x.text_too = x.text
    return x


def only_keeps_tags(x):
    x.also = x.tags
    return x


def shared(x):
    x.words = SHARED
    x.d = {"a": [x.n]}
    return x


def nested(x):
    x.words = [collections.defaultdict(list)]
    x.d = collections.defaultdict(list, a=[])
    return x


def reads_nothing(x):
    x.words = ["a"]
    return x


def only_checks(x):
    if x.n < 0:
        raise ValueError(f"negative: {x.n}")
    return x


def struct(x):
    x.lat = x.home.lat
    x.at = list(x.home.at)
    return x


LEAN = [
    words, item_words, maybe_words, early, lower, counts, unpacks, with_tags, keeps_tags,
    only_keeps_tags, nested, reads_nothing, only_checks, struct,
]  # fmt: skip
# They may read less than all that they name, and so get rows of these fields.
NARROW = [two_ways, tries, tries_more, inner, shared]


def sets_sometimes(x):
    if x.n > 0:
        x.words = ["set"]
        x.text = "set"
    return x


def deletes(x):
    if x.text:
        del x.n
    x.words = x.text.split()
    return x


def changes_tags(x):
    x.tags.append("new")
    x.words = sorted(x.tags)
    return x


def changes_by_alias(x):
    tags = x.tags
    tags += ["more"]
    x.words = tags
    return x


def helper(x):
    x.words = [x.text]
    return x


def passes_on(x):
    return helper(x)


def looks(x):
    x.names = sorted(x.keys())
    x.words = [v for v in x.asDict().values() if isinstance(v, str)]
    return x


def sets_in_a_loop(x):
    for word in x.text.split():
        x.words = [word]
    return x


def changes_after(x):
    try:
        x.words = x.text.split()
        return x
    finally:
        x.words = ["finally"]


def returns_nothing_sometimes(x):
    x.words = x.text.split()
    if x.n > 0:
        return x
    return None


def deep(x):
    x.home.at.append(1)
    x.words = x.home.at
    return x


def by_setattr(x):
    for name in ("words", "also"):
        setattr(x, name, x.text.split())
    return x


def reads_late(x):
    if x.n > 2:
        x.kind = x.text
    else:
        x.kind = "few"
    return x


def matches(x):
    match x.n:
        case 1:
            x.words = ["one"]
        case _:
            x.words = [x.text]
    return x


def in_with(x):
    import contextlib

    with contextlib.suppress(TypeError):
        x.words = x.text + 1
    x.words = []
    return x


def reads_itself(x):
    x.words = [*getattr(x, "words", []), x.text]
    return x


# These get whole rows, or may change what they read in place.
ROWS = [
    sets_sometimes, deletes, changes_tags, changes_by_alias, passes_on, looks, sets_in_a_loop,
    changes_after, returns_nothing_sometimes, deep, by_setattr, reads_late, matches, in_with,
    reads_itself,
]  # fmt: skip


def batch_words(xs):
    xs.words = [text.split() for text in xs.text]
    return xs


BATCH = [batch_words]

FUNCTIONS = {
    "words": lambda x: len(x.words) > 1,
    "distinct": lambda x: len(set(x.words)) < len(x.words),
    "appends": lambda x: (x.words.append("z"), len(x.words) > 2)[1],
    "sorts": lambda x: (x.words.sort(), x.words[0] == "a")[1],
    "any": lambda x: any(w == x.text for w in x.words if x.n),
    "text": lambda x: x.text.startswith("a") or x.n > 1,
    "number": lambda x: x.number > 0,
    "kind": lambda x: x.kind == "long" or x.m > 1,
    "tags": lambda x: "a" in x.tags and x.n > 0,
    "changes tags": lambda x: (x.tags.clear(), x.n > 0)[1],
    "also": lambda x: (x.also.append("q"), "q" in x.tags)[1],
    "row": lambda x: sorted(x.keys())[-1] == "words" and helper_of(x),
    "divides": lambda x: 1 / x.n > 0.5,
    "wrong": lambda x: x.text,
    "at": lambda x: (x.at.append(3), len(x.home.at) > 2)[1],
    "d": lambda x: (x.d["a"].append(1), len(x.d["a"]) == 2)[1],
    "fills": lambda x: x.words[0]["q"] == [] and x.d["q"] == [] and len(x.words[0]) == len(x.d) - 1,
    "filled": lambda x: len(x.words[0]) > 0 or len(x.d) > 1,
    "rest": lambda x: x.rest and x.first == x.a,
    "none": lambda x: x.words is None or x.n is None,
    "no first": lambda x: x.first is None,
    "size": lambda x: x.size >= x.n_words,
}


def helper_of(x):
    return x.n is None or x.n > 0


def table_of(r, n):
    return {
        c: pa.array([r.choice(VALUES[c]) for _ in range(n)], kind) for c, kind in COLUMNS.items()
    }


def chain_of(r):
    fs = r.choices([*LEAN, *NARROW, *ROWS, *BATCH], k=r.randint(1, 3))
    ps: list[Preprocessor] = []
    for f in fs:
        before = r.sample(ps, min(len(ps), r.randint(0, 1)))
        ps.append(Preprocessor(f.__name__, f, before, memoize=r.random() < 0.4, batch=f in BATCH))
    return ps


def suite(r):
    ps = [p for _ in range(3) for p in chain_of(r)]
    return [
        SlicingFunction(name, f, pre=r.sample(ps, r.randint(1, 2)), pure=r.random() < 0.15)
        for name, f in r.sample([*FUNCTIONS.items()], 9)
    ]


def ask(sfs, tables, monkeypatch, plain):
    monkeypatch.setenv("ENGINE_PLAIN", "1" if plain else "0")
    kernel, outs = Kernel(sfs), []
    SHARED[:] = ["s"]
    for table in tables:
        out = kernel.run(table)
        faults = sorted((f.slice_id, f.row, f.read, f.cause) for f in out.faults)
        outs.append(({s: m.tolist() for s, m in out.masks.items()}, faults))
    assert SHARED == ["s"]
    return outs


def differs(seed, monkeypatch):
    r = random.Random(seed)
    sfs, tables = suite(r), [table_of(r, 40), table_of(r, 25)]
    return ask(sfs, tables, monkeypatch, False) != ask(sfs, tables, monkeypatch, True)


@pytest.mark.parametrize("part", range(10))
def test_chains_say_what_they_say_by_rows(part, monkeypatch):
    monkeypatch.setattr("engine.run.kernel._PART", 16)
    assert [s for s in range(part * 25, part * 25 + 25) if differs(s, monkeypatch)] == []


def each_alone(monkeypatch, fs=(*LEAN, *NARROW, *ROWS)):
    """Return the preprocessors after which some function says otherwise than by rows."""
    wrong, seen = [], Counter()
    tables = [table_of(random.Random(5), 60)]
    for f in fs:
        for memoize in (False, True):
            p = Preprocessor(f.__name__, f, memoize=memoize)
            sfs = [SlicingFunction(name, g, pre=[p]) for name, g in FUNCTIONS.items()]
            fast, slow = (ask(sfs, tables, monkeypatch, plain) for plain in (False, True))
            if fast != slow:
                wrong.append(f.__name__)
            seen.update(code for mask in slow[0][0].values() for code in mask)
    assert len(seen) == 3
    return wrong


def test_each_preprocessor_with_each_function(monkeypatch):
    assert each_alone(monkeypatch) == []


def test_which_run_over_columns():
    names = frozenset(COLUMNS)
    lean = {f for f in (*LEAN, *NARROW, *ROWS) if of_setters(f, names)}
    assert lean == {*LEAN, changes_tags, changes_by_alias, deep}  # the last are refused later


TWINS = {
    "nothing is changed in place": lambda m: m.setattr(
        chains.Stage, "changed", lambda self, call: frozenset()
    ),
    "any content is fixed": lambda m: m.setattr(
        chains, "full_type", lambda values: pa.list_(pa.null())
    ),
    "all is read": lambda m: m.setattr(setters, "_reads_all", lambda of: True),
    "null never explains": lambda m: m.setattr(chains._ByColumns, "step", lambda self, i, x: (
        chains.Undecided(ValueError("twin"), frozenset()) if i in self._errors
        else true_step(self, i, x)
    )),
    "failures are none": lambda m: m.setattr(
        chains._ByColumns, "failures", property(lambda self: {}, lambda self, v: None),
        raising=False,
    ),
    "nothing was set": lambda m: m.setattr(
        chains._ByColumns, "fields", lambda self: {}
    ),
}  # fmt: skip
true_step = chains._ByColumns.step


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
def test_wrong_twins_are_seen(twin, monkeypatch):
    setters._of_setters.cache_clear()
    twin(monkeypatch)
    try:
        wrong: list[str] = each_alone(monkeypatch, [*LEAN, deep, changes_tags, reads_late, tries])
    except Exception:
        wrong = ["raises"]
    setters._of_setters.cache_clear()
    assert wrong


# Calls


def counted(calls, memoize=False, **more):
    @preprocessor(memoize=memoize, **more)
    def p(x):
        calls.append(x.text)
        x.size = len(x.text)
        return x

    return p


def test_it_runs_once_per_row_whoever_looks():
    """Functions over columns, over rows and pure ones, and a preprocessor behind it."""
    calls = []
    p = counted(calls)
    q = Preprocessor("q", passes_on, pre=[p])
    sfs = [
        SlicingFunction("row", lambda x: bool(x.size) and helper_of(x), pre=[p]),
        SlicingFunction("lean", lambda x: x.size > 1, pre=[p]),
        SlicingFunction("behind", lambda x: x.size > 1, pre=[q]),
        SlicingFunction("pure", lambda x: x.size > 1, pre=[p], pure=True),
        SlicingFunction("fails", lambda x: 1 / 0, pre=[p]),
    ]
    texts = ["a", None, "bb"]
    out = Kernel(sfs).run({"text": pa.array(texts), "n": pa.array([1, 2, 3])})
    assert calls == texts
    assert out.masks["lean"].tolist() == out.masks["behind"].tolist() == [0, -1, 1]
    assert [(f.slice_id, f.row) for f in out.faults] == [("fails", 0), ("fails", 2)]


def test_no_row_is_made_where_columns_are_enough(monkeypatch):
    from engine.run import kernel

    monkeypatch.setattr(kernel._Source, "rows", None)
    p = Preprocessor("words", words)
    q = Preprocessor("q", lower, pre=[p])
    sfs = [
        SlicingFunction("a", lambda x: len(x.words) > 1 and x.n > 0, pre=[p]),
        SlicingFunction("b", lambda x: "a" in x.text, pre=[q]),
    ]
    out = Kernel(sfs).run({"text": pa.array(["a b", None, "B A"]), "n": pa.array([1, 1, 0])})
    assert [m.tolist() for m in out.masks.values()] == [[1, -1, 0], [1, -1, 1]]


def test_parts_of_a_batch_are_put_together(monkeypatch):
    monkeypatch.setattr("engine.run.kernel._PART", 3)
    calls = []
    p = counted(calls, memoize=True)
    sf = SlicingFunction("s", lambda x: 4 // x.size > 2, pre=[p])
    texts = ["a", "bb", None, "", "a", "ccc", "", "bb"]
    out = Kernel([sf]).run({"text": pa.array(texts)})
    assert out.masks["s"].tolist() == [1, 0, -1, -1, 1, 0, -1, 0]
    assert [(f.row, f.read) for f in out.faults] == [(3, "text=''"), (6, "text=''")]
    assert Counter(calls) == {"a": 1, "bb": 1, "ccc": 1, "": 1, None: 1}
    assert Kernel([sf]).run({"text": pa.array([], pa.string())}).masks["s"].tolist() == []


def test_what_is_made_goes_with_its_batch():
    import gc
    import weakref

    refs = []

    class Doc:
        def __init__(self):
            refs.append(weakref.ref(self))

    @preprocessor()
    def parsed(x):
        x.doc = Doc()
        return x

    gc.disable()
    try:
        Kernel([SlicingFunction("s", lambda x: x.doc is not None, pre=[parsed])]).run(
            {"text": pa.array(["a", "b"])}
        )
        assert [ref() for ref in refs] == [None, None]
    finally:
        gc.enable()


def test_a_field_of_arrays_and_others():
    @preprocessor()
    def arrays(x):
        x.v = np.arange(x.n)
        x.d = collections.defaultdict(list)
        return x

    sfs = [
        SlicingFunction("v", lambda x: x.v.sum() > 2, pre=[arrays]),
        SlicingFunction("d", lambda x: not x.d and x.d["a"] == [], pre=[arrays]),
        SlicingFunction("again", lambda x: not x.d, pre=[arrays]),
    ]
    out = Kernel(sfs).run({"n": pa.array([1, 5, None])})
    assert out.masks["v"].tolist() == [0, 1, -1]
    assert out.masks["d"].tolist() == out.masks["again"].tolist() == [1, 1, -1]
