"""Sections of a report: what they say of figures, and how the page shows them."""

import math

import numpy as np
import pandas as pd

from engine.metrics import catalog as spec
from engine.metrics.explore.trend import trend
from engine.report import sections
from engine.report.sections import Line, Section, cell


def figures(**columns):
    rows = pd.DataFrame(columns)
    given = {
        "model_id": "m", "split": "test", "metric": "f1", "support": 90, "n_null": 0,
        "status": "ok", "ci_low": rows["value"] - 0.1, "ci_high": rows["value"] + 0.1,
        "p_adjusted": np.nan, "effect": np.nan,
    }  # fmt: skip
    return rows.assign(**{k: v for k, v in given.items() if k not in rows})


TWO = figures(
    slice=["overall", "good", "bad", "none"],
    value=[0.5, 0.75, 0.25, np.nan],
    p_adjusted=[np.nan, 0.2, 0.01, np.nan],
    effect=[np.nan, 0.3, -0.3, np.nan],
    status=["ok", "insufficient", "ok", "empty"],
)


def test_worst_slices_lead_and_those_without_a_figure_end():
    assert sections.worst_first(TWO, "f1") == ["overall", "bad", "good", "none"]
    assert sections.worst_first(TWO, "f1", "low") == ["overall", "good", "bad", "none"]
    both = pd.concat([TWO, TWO.assign(model_id="n", value=[0.5, 0.1, 0.9, np.nan])])
    assert sections.worst_first(both, "f1") == ["overall", "good", "bad", "none"]


def test_a_split_by_slice_and_metric():
    found = sections.figures(
        TWO, ["overall", "bad", "good", "none"], ["m"], "test", 0.95, spec.better
    )
    assert found.columns == ["slice", "support", "undecided", "f1\nm"]
    assert found.rows == [
        ["overall", 90, 0, "0.5000 [0.40 0.60]"],
        ["bad", 90, 0, "0.2500 [0.15 0.35] -"],
        ["good", 90, 0, "0.7500 [0.65 0.85] ?"],
        ["none", 90, 0, "-"],
    ]


def test_figures_of_any_scale_say_something():
    rows = figures(
        slice=["overall", "a", "b", "c", "d", "e"],
        value=[2e-12, 1.7e15, 5.7e201, 0.98751, 0.5, 0.0],
        ci_low=[1.5e-12, 1.6999e15, 5.3e201, 0.9861, 0.5, 0.0],
        ci_high=[2.5e-12, 1.7001e15, 6.1e201, 0.9889, 0.5, 0.004],
    )
    found = sections.figures(rows, list(rows["slice"]), ["m"], "test", 0.95, spec.better)
    assert [row[-1] for row in found.rows] == [
        "2e-12 [1.5e-12 2.5e-12]",
        "1.7e+15 [1.6999e+15 1.7001e+15]",
        "5.7e+201 [5.3e+201 6.1e+201]",
        "0.9875 [0.986 0.989]",
        "0.5000 [0.50 0.50]",
        "0.0000 [0.00 0.004]",
    ]


def test_a_figure_that_rows_do_not_explain_says_why_it_is_none():
    statuses = ["failed", "overflow", "underflow", "weightless", "empty", "single_class"]
    statuses.append("quarantined")
    rows = figures(slice=["overall", *"abcdef"], value=[np.nan] * 7, status=statuses)
    found = sections.figures(rows, list(rows["slice"]), ["m"], None, 0.95, spec.better)
    assert [row[-1] for row in found.rows] == [
        "failed",
        "too large",
        "too small",
        "no weight",
        "-",
        "one class",
        "quarantine",
    ]


def test_slices_in_quarantine_are_shown_with_their_causes():
    section = sections.quarantine({"endless": "it did not finish within 60 s"})
    assert (section.title, section.columns) == ("Slices in quarantine", ["slice", "why"])
    assert section.rows == [["endless", "it did not finish within 60 s"]]
    assert section.note == "Their masks are null on all rows, or on all of the partitions named."


def test_what_is_0_of_0_says_so_and_does_not_lead():
    rows = figures(
        slice=["overall", "bad", "none"], value=[0.5, 0.25, 0.0], ci_low=[np.nan] * 3,
        status=["ok", "ok", "undefined"],
    )  # fmt: skip
    order = sections.worst_first(rows, "f1")
    assert order == ["overall", "bad", "none"]
    found = sections.figures(rows, order, ["m"], "test", 0.95, spec.better)
    assert found.rows[-1][-1] == "0.0000 (0/0)"


def test_what_differs_is_told_against_overall_and_the_rest():
    found = sections.differences(TWO, "test", 0.95, spec.better)
    assert found.rows == [["bad", "f1", "m", 90, "0.2500 [0.15 0.35] -", -0.25, -0.3, "0.01"]]
    none = sections.differences(TWO[TWO["slice"] != "bad"], "test", 0.95, spec.better)
    assert none == Section(
        "Split test: no slice differs from the rows outside it (corrected p-values)"
    )
    many = pd.concat([TWO] + [TWO[2:3].assign(slice=f"s{i}") for i in range(30)])
    longer = sections.differences(many, "test", 0.95, spec.better)
    assert len(longer.rows) == sections.MOST_SHOWN
    assert longer.title.endswith("(11 more in the table)")


def test_models_are_compared_on_all_rows_and_where_slices_tell():
    about = {"split": "test", "slice": ["a", "overall", "b"], "p_adjusted": [0.5, 0.3, 0.001]}
    found = pd.DataFrame(
        {**about, "metric": "f1", "support": 9, "difference": 0.1, "ci_low": 0.05, "ci_high": 0.15}
    )
    rows = sections.comparison(found, "old", "new", 0.95, spec.better).rows
    assert rows == [
        ["test", "overall", "f1", 9, 0.1, "[0.05 0.15]", "0.3", ""],
        ["test", "b", "f1", 9, 0.1, "[0.05 0.15]", "0.001", "better"],
    ]
    flips = pd.DataFrame({**about, "support": 9, "won": 4, "lost": 1, "net": 3})
    told = sections.flips(flips, "old", "new", 0.95)
    assert told.title == "Rows that new alone has right (won) and wrong (lost), against old"
    assert told.rows == [
        ["test", "overall", 9, 4, 1, 3, "0.3"],
        ["test", "b", 9, 4, 1, 3, "0.001"],
    ]


def test_overlap_tells_of_pairs_and_of_rows_in_no_slice():
    near = pd.DataFrame(
        {"slice_a": ["a"], "slice_b": ["b"], "n_a": [9], "n_b": [10], "n_both": [9],
         "jaccard": [0.9], "containment_a": [1.0], "containment_b": [0.9]}
    )  # fmt: skip
    found = sections.overlap(near, 40, 10, 0.9)
    assert found.rows == [["a", "b", 9, 10, 9, 0.9]]
    assert found.note == "10 of 40 rows (25.0%) are in no slice."
    none = sections.overlap(near[:0], 0, 0, 0.9)
    assert none.title == "No two slices are nearly the same (Jaccard 0.9)"
    assert none.note == "0 of 0 rows (0.0%) are in no slice."


def runs(*values, prints=None):
    prints = prints or ["f"] * len(values)
    return pd.DataFrame(
        {
            "run_id": [f"r{i}" for i in range(len(values))],
            "run_ts": pd.date_range("2026-01-01", periods=len(values)),
            "model_id": "m", "split": "test", "slice": "a", "metric": "log_loss",
            "slice_fingerprint": prints, "value": values,
            "ci_low": np.array(values) - 0.05, "ci_high": np.array(values) + 0.05, "support": 90,
        }
    )  # fmt: skip


def test_a_trend_tells_what_moved_and_whether_that_is_better():
    first = sections.trend(trend(runs(0.5)), lambda _: "low")
    assert first.title == "This is the first run: there is none to compare it with"
    same = sections.trend(trend(runs(0.5, 0.52)), lambda _: "low")
    assert same.title == (
        "No figure's interval left that of the run of 2026-01-01 00:00; 2 runs were looked at"
    )
    moved = sections.trend(trend(runs(0.5, 0.5, 0.25)), lambda _: "low")
    assert moved.title == "Moved since the run of 2026-01-02 00:00: intervals that don't meet"
    line = Line((0.5, 0.5, 0.25))
    assert moved.rows == [["test", "a", "log_loss", "m", 0.5, 0.25, -0.25, "better", line]]
    worse = sections.trend(trend(runs(0.5, 0.5, 0.25)), lambda _: "high")
    assert worse.rows[0][-2] == "worse"
    assert sections.trend(trend(runs(0.5, 0.25)), lambda _: "").rows[0][-2] == ""
    changed = sections.trend(trend(runs(0.5, 0.51, prints=["f", "g"])), lambda _: "low")
    assert changed.rows[0][-2] == "the slice changed"


def test_lines_of_equal_values_and_of_none():
    assert str(Line((0.5, 0.5))) == "▅▅"
    assert Line((math.nan,)).heights() == [None]
    assert str(Line(())) == ""


def test_cells():
    given = [np.int64(1957), np.float64(0.5), pd.NaT, True, [0.25, 0.75], "a"]
    assert [cell(v) for v in given] == ["1,957", "0.5000", "-", "True", "0.2500 0.7500", "a"]


def test_warnings_are_a_line_each():
    section = sections.warnings(["one is of no use", "another neither"])
    assert section.title == "Read this first: models that learned nothing, or the wrong way round"
    assert section.note == "one is of no use\nanother neither"
