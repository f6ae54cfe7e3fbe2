"""A small run of the fuzzer, and what it does when a tier is wrong."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings

from engine.compile.vectors import VECTORS, each
from engine.label.local import batches
from engine.label.plan import compile_slices
from tests.fuzz import __main__ as fuzz
from tests.fuzz import differ, oracle, strategies
from tests.fuzz.smaller import smaller_row, smaller_source


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(fuzz, "FUNCTIONS", 60)
    monkeypatch.setattr(fuzz, "_ROWS", (200, 3))


TIERS = ("row,arrow,given,pandas", "plain,composed,forms,arrow,unreadable")


def test_functions_of_series_say_what_they_say_of_values(small, capsys):
    arguments = ["--rows", "5000", "--seed", "1", "--tiers", "series"]
    assert fuzz.main(arguments) == 0, capsys.readouterr().out
    assert "figure fuzz_series: " in capsys.readouterr().out


@pytest.mark.parametrize(("seed", "tiers"), [(1, TIERS[0]), (2, TIERS[1])])
def test_every_tier_says_what_python_says(seed, tiers, small, capsys):
    arguments = ["--rows", "20000", "--seed", str(seed), "--tiers", tiers]
    assert fuzz.main(arguments) == 0, capsys.readouterr().out
    said = dict(line.split(": ") for line in capsys.readouterr().out.splitlines()[1:])
    assert int(said["figure fuzz_comparisons"]) >= 80_000
    assert int(said["figure fuzz_functions_lifted"]) > 0.8 * int(said["figure fuzz_functions"])
    assert int(said["figure fuzz_asked_of_Python"]) < int(said["figure fuzz_answers_of_trees"]) / 4


@given(strategies.functions, strategies.rows)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_function_says_the_same_alone(tmp_path, source, columns):
    suite = differ.load([source], tmp_path)
    expected = differ.by_oracle(suite, columns)
    for tier in ("row", "arrow"):
        found = fuzz.LOCAL[tier](suite, columns)
        assert not list(differ.mismatches(tier, suite, columns, expected, found))


def test_text_that_is_no_unicode_runs_at_the_pandas_edge(tmp_path):
    r = Random(1)
    suite = differ.load([strategies.function(r) for _ in range(100)], tmp_path)
    columns = differ.for_pandas(strategies.values(r, 60))
    columns["t"][::3] = [f"{t}\ud83d k" for t in columns["t"][::3]]
    expected = differ.by_oracle(suite, columns)
    assert not list(differ.mismatches("pandas", suite, columns, expected,
                                      differ.by_pandas(suite, columns)))  # fmt: skip


def test_a_mismatch_is_made_small_and_ends_the_run(small, capsys, monkeypatch):
    def one_more(batch, _, a, b):
        return each(batch, lambda n, m: n + m + 1, a, b)

    monkeypatch.setitem(VECTORS, "add", one_more)
    assert fuzz.main(["--rows", "1000000", "--seed", "1", "--tiers", "arrow"]) == 1
    said = capsys.readouterr().out.partition("mismatch (seed 1):\n\n")[2]
    source, _, verdict = said.partition("\n\non the row ")
    assert " + " in source or "sum(" in source or "+=" in source
    assert len(source) < 120
    assert "Python says: " in verdict
    assert "; tier arrow says: " in verdict


def test_a_crash_names_its_function(small, capsys, monkeypatch):
    def crash(*_):
        raise ZeroDivisionError

    monkeypatch.setitem(VECTORS, "lt", crash)
    with pytest.raises(ZeroDivisionError):
        fuzz.main(["--rows", "1000", "--seed", "1", "--tiers", "arrow"])
    assert "tier arrow crashes on\n\n" in capsys.readouterr().out


def test_a_source_is_made_small():
    source = (
        "def f_N_(x):\n    y = 1\n    if x.b and x.i > 3:\n        return y\n    return x.t == 'a'"
    )
    assert smaller_source(source, lambda s: "x.i > 3" in s) == "def f_N_(x):\n    x.i > 3"


def test_a_row_is_made_small():
    row = {"t": "a long text with k in it", "n": 3}
    assert smaller_row(row, lambda r: "k" in r["t"]) == {"t": "k", "n": 3}


def test_the_oracle_tells_null_from_a_fault():
    def f(x, most):
        return x.a / x.b > most

    rows = [(1, 1), (1, 0), (None, 1), (None, None), (1, 9)]
    xs = oracle.rows_of({"a": [a for a, _ in rows], "b": [b for _, b in rows]})
    codes = [oracle.IN, oracle.FAULT, oracle.NULL, oracle.NULL, oracle.OUT]
    assert oracle.answers(f, {"most": 0.5}, xs).tolist() == codes
    assert oracle.answers(lambda x: "text", {}, xs[:1]).tolist() == [oracle.FAULT]
    assert [oracle.answer(lambda x, y=y: y, {}, xs[0]) for y in (True, 0, -1, None, 2, 1.0)] == [
        oracle.IN, oracle.OUT, oracle.NULL, oracle.NULL, oracle.FAULT, oracle.FAULT,
    ]  # fmt: skip


def test_a_plan_serves_frames_whose_values_arrow_lacks(tmp_path):
    suite = differ.load(["def f_N_(x):\n    return 'k' in x.t"], tmp_path)
    columns = {"t": ["k", "a", None]}
    plan = compile_slices(suite.sfs, differ.frame(columns))
    columns["t"][1] = "\ud83dk"
    found = [out.masks["s0"].tolist() for *_, out in batches(plan, differ.frame(columns), [0])]
    assert found == [[1, 1, -1]]
