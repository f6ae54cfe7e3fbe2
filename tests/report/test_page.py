"""The page as text: what it says, what it may run, and what it holds of hostile data."""

import base64
import hashlib
import re

import numpy as np
import pandas as pd
import pytest

from engine.metrics.catalog import KINDS, better
from engine.report.definitions import FORMULAS, definition
from engine.report.page import render, render_index
from engine.report.page_data import Cells, SliceText
from engine.report.sections import Line, Section
from engine.report.summary import verdict, worst
from tests.report.pages import METRICS, data_of, marks_of, page_of
from tests.report.test_sections import TWO, figures


def test_the_page_marks_by_which_values_are_better():
    pages = {b: render("p", {}, TWO, ["m"], lambda _, b=b: b) for b in ("high", "low", "")}
    assert {b: marks_of(p) for b, p in pages.items()} == {
        "high": ["  - "], "low": ["  + "], "": ["  ~ "],
    }  # fmt: skip


def test_the_page_shows_sections_and_escapes_what_rows_hold():
    held = Section("Rows <b>", ["text", "n", "line"], [["<script>", 3, Line((0.1, 0.2))]], "a & b")
    page = render("p", {}, TWO, ["m"], lambda _: "high", [held, Section("nothing")])
    assert "<td class='text'>&lt;script&gt;</td><td>3</td><td><svg" in page
    assert "<th scope='col' class='text'>text</th><th scope='col'>n</th>" in page
    assert "<h2>Rows &lt;b&gt;</h2></summary><p class='soft'>a &amp; b</p>" in page
    assert "<h2>nothing</h2>" in page


def test_sections_that_come_first_stand_before_the_figures_in_place_of_the_worst_slices():
    alone = render("p", {}, TWO, ["m"], better)
    assert "<strong>bad</strong>: f1 of m is 0.2500 (0.150 to 0.350), 0.3000 below" in alone
    first = Section("Findings", ["slice"], [["bad"]], first=True)
    page = render("p", {}, TWO, ["m"], better, [Section("Later"), first])
    assert page.index("<h3>Findings</h3>") < page.index("id='forest'") < page.index("Later")
    assert "<strong>bad</strong>" not in page
    sentences = Section(
        "Findings", ["", "harm"], [[1, "bad is <b>"], [2, "so"]], "a\nb", first=True
    )
    page = render("p", {}, TWO, ["m"], better, [sentences], warnings=["m is of <no> use"])
    assert "<h3>Findings</h3><ol><li>bad is &lt;b&gt;</li><li>so</li></ol><p class='soft'>a" in page
    assert "<p class='warning'><b>Warning:</b> m is of &lt;no&gt; use</p>" in page


def test_the_page_runs_and_fetches_nothing_but_its_own():
    page = page_of(3, ["f1"])
    (policy,) = re.findall(r'Content-Security-Policy\' content="(.*?)">', page)
    style, script = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", page, re.DOTALL)
    own = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in (style, script)]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{own[0]}'; script-src 'sha256-{own[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"\bsrc=|\bhref='(?!#)|\bstyle='|\bon[a-z]+='|innerHTML|eval\(", page)
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_hostile_names_descriptions_and_sources_are_texts():
    evil = "</script><script>alert(1)</script>\x1b[31m\u202epassword=hunter2"
    rows = TWO.assign(slice=["overall", "good", "bad", "none"])
    texts = {"bad": SliceText(evil, evil, evil, evil)}
    page = render("p", {}, rows, ["m"], better, slices=texts)
    assert page.count("<script") == 2
    assert not any(sign in page for sign in ("\x1b", "\u202e", "hunter2", "alert(1)</script>\n"))
    shown = data_of(page)["slices"][2]
    assert shown["source"] == "</script><script>alert(1)</script>password=***"


def test_slices_have_their_names_descriptions_and_sources():
    texts = {"bad": SliceText("Bad ones", "Rows that are bad.", "SQL", "n > 3")}
    page = render("p", {}, TWO, ["m"], better, slices=texts)
    assert "<strong>Bad ones</strong>: f1 of m" in page
    assert data_of(page)["slices"][2] == {
        "id": "bad", "name": "Bad ones", "description": "Rows that are bad.", "kind": "SQL",
        "source": "n > 3",
    }  # fmt: skip


def test_figures_keep_their_place_whatever_is_missing():
    rows = figures(slice=["overall", "a"], value=[0.5, -1.25]).assign(support=[90, 10])
    more = rows[:1].assign(split="valid", value=np.inf, status="overflow")
    page = render("p", {}, pd.concat([rows, more]), ["m"], better)
    test, valid = data_of(page)["splits"]
    assert (test["value"], test["rows"]) == ([0.5, -1.25], [90, 10])
    assert (test["order"], valid["order"]) == ([0, 1], [0])
    assert (valid["value"], valid["rows"]) == ([None, None], [90, 0])


def test_a_metric_that_rests_on_fewer_rows_says_on_how_many():
    rows = figures(slice=["overall", "a"] * 2, value=[0.5] * 4).assign(
        metric=["f1", "f1", "recall", "recall"], support=[90, 10, 40, 3]
    )
    test = data_of(render("p", {}, rows, ["m"], better))["splits"][0]
    assert (test["rows"], test["support"]) == ([90, 10], {"1": 40, "3": 3})
    rows = rows.assign(n_decisive=[90, 10, np.nan, 2])
    test = data_of(render("p", {}, rows, ["m"], better))["splits"][0]
    assert test["support"] == {"1": 40, "3": 2}


def test_counts_behind_figures_are_with_their_slice():
    cells = [Cells("test", "bad", "m", [[4, 1], [0, 5]], [(3.0, 0.7, float("nan"))])]
    page = render("p", {}, TWO, ["m"], better, classes=[0, 1], cells=cells)
    data = data_of(page)
    assert data["splits"][0]["cells"] == [[2, 0, [[4, 1], [0, 5]], [[3.0, 0.7, None]]]]
    assert data["classes"] == ["0", "1"]
    assert "Confusion matrices, and calibration" in page
    assert "Confusion matrices and calibration aren't here" in render("p", {}, TWO, ["m"], better)


def test_where_no_script_runs_the_worst_slices_are_shown():
    page = page_of(80, ["f1"])
    static = page[page.index("<noscript>") : page.index("</noscript>")]
    assert "Split test: worst first" in static
    assert static.count("<tr>") == 1 + 50
    assert "<td class='text'>overall</td>" in static


def test_a_thousand_slices_fit_into_five_megabytes():
    assert len(page_of(1000, METRICS).encode()) <= 5 * 10**6


@pytest.mark.parametrize(("worse", "good", "few", "sentence"), [
    (0, 0, 0, "of 3 slices, none is worse than the rows outside them in some metric, none is "
     "better."),
    (1, 1, 0, "of 3 slices, 1 is worse than the rows outside it in some metric, 1 is better."),
    (2, 0, 1, "of 3 slices, 2 are worse than the rows outside them in some metric, none is "
     "better; 1 is too small to tell."),
])  # fmt: skip
def test_a_verdict_counts_slices(worse, good, few, sentence):
    effects = [-0.1] * worse + [0.1] * good + [0.0] * (3 - worse - good)
    rows = pd.DataFrame({
        "slice": ["overall", "a", "b", "c"], "metric": "f1", "effect": [np.nan, *effects],
        "p_adjusted": [np.nan, *(0.01 if e else 0.5 for e in effects[: 3 - few]), *[np.nan] * few],
        "status": ["ok"] * (4 - few) + ["insufficient"] * few,
    })  # fmt: skip
    assert verdict(rows, "test", 0.95, better) == f"Split test: {sentence}"


def test_the_worst_come_first_each_once_and_neutral_metrics_do_not_count():
    rows = figures(slice=["overall", "a", "b", "c"] * 2, value=[0.5] * 8).assign(
        metric=["f1"] * 4 + ["selection_rate"] * 4, p_adjusted=[np.nan, 0.01, 0.01, 0.9] * 2,
        effect=[np.nan, -0.1, -0.3, -0.4] * 2,
    )  # fmt: skip
    rows.loc[[1, 2, 5, 6], "value"] = [0.4, 0.2, 0.1, 0.1]
    assert worst(rows, 0.95, better, {}) == [
        ("b", "f1 of m is 0.2000 (0.400 to 0.600), 0.3000 below that of the rows outside; 90 rows, "
         "p 0.01."),
        ("a", "f1 of m is 0.4000 (0.400 to 0.600), 0.1000 below that of the rows outside; 90 rows, "
         "p 0.01."),
    ]  # fmt: skip
    losses = rows.assign(metric="log_loss", effect=-rows["effect"], ci_low=np.nan)[:4]
    assert "0.3000 above that of the rows outside" in worst(losses, 0.95, better, {})[0][1]


def test_every_metric_is_told_in_words():
    assert FORMULAS.keys() == KINDS.keys()
    page = render("p", {}, TWO, ["m"], better, definitions=[definition("f1", "high", "replicates")])
    assert "percentiles of bootstrap replicates" in page


def test_the_index_links_pages_and_escapes():
    page = render_index("<p>", [("a.html", {"date": "d", "models": "<b>", "verdict": "v"})])
    assert "<a href='a.html'>d</a>" in page
    assert "<b>" not in page
    assert "<p>: reports" not in page
