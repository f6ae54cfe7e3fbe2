"""Plans and shipping without a JVM: which slice runs where, and what travels with it."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
import threading
from types import ModuleType

import pandas as pd
import pytest
from pyspark import cloudpickle
from pyspark.sql.types import StructType

from engine import SlicingFunction, compile_slices, preprocessor, slicing_function, where
from engine.errors import ColumnError, SetupError, SliceError, SliceFaultError
from engine.label.plan import Tier
from engine.run.faults import FaultCounts, explained, fault_counts
from engine.run.ship import Parcel, _Source, check_picklable

SCHEMA = StructType().add("id", "string").add("text", "string").add("likes", "integer")


@slicing_function()
def short(x):
    return len(x.text) < 20


@slicing_function()
def passed_on(x):
    return bool(dict(x))


@slicing_function()
def liked(likes: pd.Series):
    return likes > 3


@preprocessor()
def words(x):
    x.words = x.text.split()
    return x


@slicing_function(pre=[words])
def few(x):
    return len(x.words) < 3


@slicing_function()
def column():
    from pyspark.sql import functions as F

    return F.length("text") > 3


def test_explain_says_which_slice_runs_where_and_why():
    sfs = [short, where("many", "likes > 9"), liked, few, column]
    plan = compile_slices(sfs, SCHEMA)
    assert str(plan.explain()) == textwrap.dedent(
        """\
        slice   runs as           us/row  why
        short   Arrow columns       0.03  lt(len(text), 20)
        many    Spark expression       ?  SQL: likes > 9
        liked   pandas Series          ?  a function of pandas Series likes
        few     Python per row         ?  a Python function that reads text, after words; \
not lifted: it needs a preprocessor
        column  Spark expression       ?  returns a Spark Column
        3 of 5 slices share one Arrow UDF; columns crossing to Python, once each: text, likes"""
    )
    assert plan.crossing == ("text", "likes")
    assert [a.tier for a in plan.assignments].count(Tier.SPARK) == 2
    assert plan.ids == ("short", "many", "liked", "few", "column")


def test_a_row_that_is_passed_on_needs_all_columns():
    [assigned] = compile_slices([passed_on], SCHEMA).assignments
    line = passed_on.f.__code__.co_firstlineno + 2
    assert assigned.columns == ("id", "text", "likes")
    assert assigned.why == (
        f"a Python function; line {line} of test_plan.py passes the whole row on: all columns "
        "cross; "
        f"not lifted: line {line}: it uses the whole row"
    )


def test_predicates_alone_cross_nothing():
    said = str(compile_slices([where("many", "likes > 9")], SCHEMA).explain())
    assert said.endswith("\nno column crosses to Python")


def test_a_function_that_reads_nothing():
    [assigned] = compile_slices([SlicingFunction("all", lambda x: True)], SCHEMA).assignments
    assert (assigned.columns, assigned.why) == ((), "True")


@pytest.mark.parametrize(
    ("sf", "message"),
    [
        (
            SlicingFunction("typo", lambda x: x.txet),
            "slice 'typo': there is no column 'txet'; did you mean 'text'?",
        ),
        (
            SlicingFunction("typo", lambda x: x.words and x["Likes"], pre=[words]),
            "slice 'typo': there is no column 'Likes'; did you mean 'likes'?",
        ),
    ],
)
def test_a_missing_column_is_named_before_spark_starts(sf, message):
    with pytest.raises(ColumnError) as caught:
        compile_slices([sf], SCHEMA)
    assert str(caught.value) == message


def test_ids_are_checked_against_the_tables_columns():
    with pytest.raises(SliceError) as caught:
        compile_slices([where("ID", "true")], SCHEMA, {"id": "key"})
    assert str(caught.value) == (
        "slice 'ID': the id 'ID' is the name of a key column; give the slice another id"
    )


def test_a_function_that_cannot_be_pickled():
    sf = SlicingFunction("s", lambda x, lock: lock.locked(), {"lock": threading.Lock()})
    with pytest.raises(SliceError) as caught:
        compile_slices([sf], SCHEMA)
    assert str(caught.value) == (
        "slice 's' cannot be sent to executors: TypeError: cannot pickle '_thread.lock' "
        "object; make its resources and globals picklable, or build them inside the function"
    )


@pytest.fixture
def mine(tmp_path):
    """Modules of the user's own that use each other."""
    (tmp_path / "mine_d.py").write_text("LIMIT = 3\n")
    (tmp_path / "mine_c.py").write_text("import mine_d\n\nclass Rule:\n    limit = mine_d.LIMIT\n")
    (tmp_path / "mine_b.py").write_text(
        "import re\nfrom mine_c import Rule\n\ndef is_bad(word):\n    return Rule.limit > 1\n"
    )
    (tmp_path / "mine_a.py").write_text(
        "import pandas as pd\nfrom mine_b import is_bad\n\n"
        "def bad(x):\n    return any(is_bad(w) for w in x.text.split())\n"
    )
    (tmp_path / "mine_e.py").write_text(
        "import functools\n\n@functools.lru_cache(maxsize=9)\ndef kept(text):\n"
        "    return text == 'a b'\n\n"
        "def late(x):\n    import mine_f\n    return mine_f.bad(x)\n"
    )
    (tmp_path / "mine_f.py").write_text(  # reads its file: it can't be imported elsewhere
        "from pathlib import Path\nHERE = len(Path(__file__).read_text()) > 9\n\n"
        "def bad(x):\n    from mine_d import LIMIT\n    return HERE and LIMIT == 3\n"
    )
    (tmp_path / "mine_g.py").write_text("import mine_h\n\ndef bad(x):\n    return mine_h.bad(x)\n")
    (tmp_path / "mine_h.py").write_text("import mine_g\n\ndef bad(x):\n    return bool(mine_g)\n")
    (tmp_path / "mine_p").mkdir()
    (tmp_path / "mine_p" / "__init__.py").write_text("")
    (tmp_path / "mine_p" / "four.py").write_text("FOUR = 4\n")
    (tmp_path / "mine_p" / "sub.py").write_text(
        "def deep():\n    from .four import FOUR\n    return FOUR\n"
    )


def elsewhere(folder, made):
    """Make `sf` by a script and send it; return what it answers where no file of the user's is."""
    (folder / "script.py").write_text(SEND.format(made))
    pickled = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, check=True, cwd=folder
    ).stdout
    code = """
    import pickle, sys
    from types import SimpleNamespace
    sf = pickle.loads(sys.stdin.buffer.read()).unpack()
    print(sf(SimpleNamespace(text="a b")))
    """
    there = folder / "elsewhere"
    there.mkdir(exist_ok=True)
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        input=pickled, capture_output=True, check=False, cwd=there,
    )  # fmt: skip
    return (ran.stdout or ran.stderr).decode().splitlines()[-1]


SEND = """
import functools, pickle, sys
from engine import SlicingFunction
from engine.run.ship import Parcel
{}
sys.stdout.buffer.write(pickle.dumps(Parcel(sf)))
"""


@pytest.mark.parametrize(
    "made",
    [
        "import mine_a; sf = SlicingFunction('s', mine_a.bad)",
        "import mine_c; rule = mine_c.Rule(); sf = SlicingFunction('s', lambda x: rule.limit > 1)",
        "import mine_c; sf = SlicingFunction('s', lambda x, r: r[0]['a'].limit > 1, "
        "{'r': [{'a': mine_c.Rule}]})",
        "import mine_b; bad = lambda x, f: f(x); "
        "sf = SlicingFunction('s', functools.partial(bad, f=mine_b.is_bad))",
        "import mine_b; sf = SlicingFunction('s', lambda x: mine_b.is_bad(x))",
        "import mine_b, numpy; f = numpy.vectorize(mine_b.is_bad); "
        "sf = SlicingFunction('s', lambda x: bool(f(1)))",
        "from mine_e import kept; sf = SlicingFunction('s', lambda x: kept(x.text))",
        "from mine_e import late; sf = SlicingFunction('s', late)",
        "from mine_g import bad; sf = SlicingFunction('s', bad)",
        "@functools.cache\ndef f(t): return t == 'a b' or f('a b')\n"
        "sf = SlicingFunction('s', lambda x: f('b'))",
        "def bad(x):\n    from mine_p.sub import deep\n    return deep() == 4\n"
        "sf = SlicingFunction('s', bad)",
    ],
    ids=[
        "function", "object", "resource", "partial", "module", "vectorized", "cached",
        "imported late", "circle", "cached in a script", "package",
    ],
)  # fmt: skip
def test_functions_run_where_the_users_files_are_not(tmp_path, mine, made):
    assert elsewhere(tmp_path, made) == "True"


def test_what_is_imported_late_is_the_module_that_functions_refer_to(tmp_path, mine):
    made = """
from mine_c import Rule
def same(x):
    import mine_c
    return mine_c.Rule is Rule
sf = SlicingFunction("s", same)"""
    assert elsewhere(tmp_path, made) == "True"


def test_a_module_that_does_not_pickle_is_made_again_of_its_source(tmp_path, mine):
    package = tmp_path / "mine_k"
    package.mkdir()
    (package / "__init__.py").write_text("import threading\nLOCK = threading.Lock()\n")
    (package / "words.py").write_text("from . import LOCK\nBAD = {'a'}\n")
    (package / "deep.py").write_text("from .words import BAD\n")
    (tmp_path / "mine_l.py").write_text(
        "import threading\nLOCK = threading.Lock()\n"
        "def bad(t):\n    from mine_k.deep import BAD\n    with LOCK:\n        return t in BAD\n"
    )
    made = """
def locked(x):
    import mine_l
    from mine_l import bad as is_bad
    return not mine_l.LOCK.locked() and is_bad(x.text[0])
sf = SlicingFunction("s", locked)"""
    assert elsewhere(tmp_path, made) == "True"


def test_a_module_that_can_not_be_sent_is_refused(tmp_path, monkeypatch):
    module = ModuleType("mine_m")
    module.__file__, module.LOCK = str(tmp_path / "mine_m.py"), threading.Lock()
    monkeypatch.setitem(sys.modules, "mine_m", module)

    def locked(x):
        import mine_m

        return not mine_m.LOCK.locked()

    with pytest.raises(SliceError) as caught:
        check_picklable([SlicingFunction("locked", locked)])
    assert str(caught.value) == (
        "slice 'locked' cannot be sent to executors: TypeError: cannot pickle '_thread.lock' "
        "object, in the module 'mine_m', whose source can't be read; make its resources and "
        "globals picklable, or build them inside the function"
    )


def test_another_runs_module_is_not_kept(tmp_path, monkeypatch):
    texts = ["N = 1\n", "N = 2\n", "N = 2\n"]
    found = []
    for text in texts:
        Parcel(None, {}, {"mine_again": _Source(text, "mine_again.py", False)}).unpack()
        found.append(importlib.import_module("mine_again"))
    assert [m.N for m in found] == [1, 2, 2]
    assert found[1] is found[2]
    monkeypatch.delitem(sys.modules, "mine_again")


def test_plans_pickle_and_come_back():
    assert cloudpickle.loads(cloudpickle.dumps(short)).name == "short"


# What comes back from executors.


def test_rates_over_the_budget():
    counts = FaultCounts(100, {"a": 5, "b": 1, "c": 0})
    assert counts.over(0.0) == [("a", 5, 100), ("b", 1, 100)]
    assert counts.over(0.01) == [("a", 5, 100)]
    assert counts.over(0.05) == []
    assert FaultCounts(0, {"a": 0}).over(0.0) == []


def test_what_was_observed_is_counted_and_the_first_few_kept():
    def example(key, slice_id):
        fault = f'{{"slice":"{slice_id}","read":"n=0","cause":"oops","example":true}}'
        return f'{{"key":"id={key}","faults":[{fault}]}}'

    batches = ['{"a": 2}', '{"a": 3}']
    observed = {"rows": 9, "batches": batches, "examples": [example(k, "a") for k in "dcbea"]}
    sfs = [SlicingFunction("A slice", len, id="a"), SlicingFunction("b", len)]
    counts = fault_counts(observed, sfs)
    assert (counts.rows, counts.faults) == (9, {"a": 5, "b": 0})
    assert counts.examples == tuple(f"'A slice' on row id={k} having n=0: oops" for k in "abc")


FAULT = (
    "An error occurred\n[USER_RAISED_EXCEPTION] slice 'A slice' failed on row id=7 having n=0: "
    'oops; fix the function, or set on_error: "null" to leave such rows undecided and count them '
    "SQLSTATE: P0001"
)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            FAULT,
            SliceFaultError,
            "slice 'A slice' failed on row id=7 having n=0: oops; fix the function, or set "
            'on_error: "null" to leave such rows undecided and count them',
        ),
        (
            "Job aborted.\n  ModuleNotFoundError: No module named 'words'\n",
            SetupError,
            "Spark's executors cannot import 'words': pass the zip of `make dist` with --py-files "
            "for the engine, and install what slicing functions import on every worker",
        ),
        (
            "[CAST_INVALID_INPUT] The value 'x' cannot be cast to INT. SQLSTATE: 22018\n"
            "== SQL (line 1, position 1) ==\ncast(text as int) > 1 /* slice q */\n^^^\n",
            SliceError,
            "slice 'q': the predicate 'cast(text as int) > 1' failed on a row: "
            "[CAST_INVALID_INPUT] The value 'x' cannot be cast to INT.",
        ),
    ],
)
def test_what_spark_raises_is_explained(text, kind, message):
    sfs = [SlicingFunction("A slice", len, id="s"), where("q", "cast(text as int) > 1")]
    with pytest.raises(kind) as caught, explained(sfs):
        raise RuntimeError(text)
    assert str(caught.value) == message


def test_what_is_not_a_slices_fault_is_raised_as_it_is():
    with pytest.raises(RuntimeError, match=r"^disk full$"), explained([short]):
        raise RuntimeError("disk full")
