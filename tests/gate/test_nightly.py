"""Nightly gates: what evidence is, that it seldom lies, and that a fall is noticed."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from engine.gate.evidence import Figure, Rows
from engine.gate.nightly import SHIFTS, Bets, Night, Series, cells_of, needed, night_of, scores_of
from engine.gate.rules import parse_rule
from tests.benchmarks.simulate_gate import (
    FOUND,
    MOST_FALSE,
    PROMISES,
    STATES,
    false_years,
    nights_to_notice,
    upper,
)

RULE = parse_rule("accuracy >= 0.9")
DAYS = [dt.date(2024, 5, 1) + dt.timedelta(days=n) for n in range(9)]
MEANS = {  # rows by cell of which the rule just holds
    "accuracy >= 0.9": (9, 1), "recall >= 0.75": (3, 1), "false_positive_rate <= 0.2": (1, 4),
    "f1 >= 0.8": (8, 3, 1), "f1 >= 0.5": (1, 1, 1), "fbeta@beta=2 >= 0.5": (4, 3, 8),
    "f1 <= 0.8": (8, 2, 2), "precision@threshold=0.7 >= 0.5": (5, 5),
}  # fmt: skip


@pytest.mark.parametrize("text", MEANS)
def test_scores_are_0_on_average_where_a_rule_just_holds(text):
    rule, rows = parse_rule(text), np.array(MEANS[text])
    scores = scores_of(rule)
    assert scores @ rows == pytest.approx(0)
    tp = rows[0]
    worse = rows + np.eye(len(rows), dtype=int)[0] * (-tp if rule.at_least else tp)
    assert scores @ worse < 0


@pytest.mark.parametrize("text", MEANS)
def test_who_bets_on_a_rule_that_just_holds_wins_nothing_on_average(text):
    """E-processes are just that: each row multiplies wealth by 1 on average, and never by 0."""
    bets, rows = Bets.against(parse_rule(text)), np.array(MEANS[text])
    each = np.exp(bets.gains)
    assert (each > 0).all()
    assert rows @ each / rows.sum() == pytest.approx(np.ones(len(SHIFTS)))


@pytest.mark.parametrize(
    "text",
    ["mae <= 2", "accuracy >= complement", "accuracy >= 1", "accuracy@top=0.1 >= 0.5", "own >= 0.5",
     "roc_auc >= 0.9"],
)  # fmt: skip
def test_what_is_judged_per_run(text):
    assert scores_of(parse_rule(text)) is None


def test_half_of_an_alarm_is_expected_and_half_of_it_comes_in_during_a_year():
    bets = Bets.against(RULE)
    nothing = np.zeros(2, int)
    assert bets.start.sum() == pytest.approx(0.5)
    assert bets.grown(bets.start, nothing, 30).sum() == pytest.approx(0.5)
    assert bets.grown(np.zeros(len(SHIFTS)), nothing, 365).sum() < 0.5
    assert bets.grown(bets.start, nothing, -3).sum() == pytest.approx(0.5)
    assert np.isfinite(bets.grown(bets.start, np.array([0, 10**6]))).all()
    assert (needed(200), needed(0)) == (4000, 20)


def test_a_row_is_counted_once():
    first = night_of(RULE, None, (900, 100), DAYS[0])
    second = night_of(RULE, first.series, (1790, 210), DAYS[1])
    assert (first.new, second.new) == (1000, 1000)
    bets = Bets.against(RULE)
    by_hand = bets.grown(bets.grown(bets.start, np.array([900, 100]), 0), np.array([890, 110]), 1)
    assert second.series == Series((1790, 210), tuple(by_hand.tolist()), DAYS[1])
    assert night_of(RULE, second.series, (1790, 210), DAYS[5]) == Night(
        second.series, why="no new row"
    )
    assert night_of(RULE, None, (0, 0), DAYS[0]) == Night(None, why="no new row")


def test_rows_that_are_others_start_evidence_anew():
    rich = Series((700, 300), (100.0, 1.0, 0.01, 0.0, 200.0), DAYS[0])
    gone = night_of(RULE, rich, (699, 400), DAYS[1])
    assert (gone.new, gone.why) == (0, "rows that were counted are gone")
    assert gone.series == Series((699, 400), (0.1, 0.1, 0.01, 0.0, 0.1), DAYS[0])
    unknown = night_of(RULE, rich, (900, 400), DAYS[1], "the table was made again")
    assert (unknown.new, unknown.why) == (0, "the table was made again")
    assert unknown.series.wealth == gone.series.wealth


def test_rows_are_those_of_the_figures():
    def share(k, n):
        return Figure.share(Rows(k, n), 0.95)

    nothing = Figure(0.0, np.nan, np.nan, 9, "insufficient")
    of = {"precision": share(30, 40), "recall": share(30, 50), "accuracy": nothing}
    f1, accuracy = parse_rule("f1 >= .8"), parse_rule("accuracy >= .8")
    assert cells_of(f1, of, 0.95) == (30, 20, 10)
    assert cells_of(accuracy, of, 0.95) == (0, 0)
    assert cells_of(f1, {"recall": of["recall"]}, 0.95) == (
        "rows are counted by recall and precision: add precision to metrics"
    )
    bootstrapped = {"accuracy": Figure(0.8, 0.7, 0.95, 90, "ok")}
    assert cells_of(accuracy, bootstrapped, 0.95) == (
        "the interval of accuracy doesn't say of how many rows it is"
    )


def test_years_without_change_have_few_false_alarms():
    """`make simulate-gate` does it for a thousand years of each state."""
    years = 160
    k = false_years(*STATES["accuracy .9"], years)
    assert upper(k, years) <= MOST_FALSE


def test_the_simulation_sees_a_gate_that_cries_wolf(monkeypatch):
    monkeypatch.setattr("tests.benchmarks.simulate_gate.needed", lambda series: 20.0)
    assert upper(false_years(*STATES["accuracy .9"], 10), 10) > MOST_FALSE


@pytest.mark.parametrize("rows", [2_000, 200])
def test_a_fall_is_noticed_within_the_promised_nights(rows):
    nights = nights_to_notice("accuracy >= 0.9", rows, trials=400)
    assert (nights <= PROMISES["accuracy >= 0.9", rows]).mean() >= FOUND
