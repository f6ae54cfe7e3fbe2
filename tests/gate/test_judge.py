"""The gate's truth table: kinds of rules by verdicts, levels, waivers and strictness."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from engine.gate.evidence import Figure, Rows, p_of_bound, p_of_difference, rows_of
from engine.gate.judge import Trust, Verdict, judge
from engine.gate.nightly import Night, Series
from engine.gate.rules import Waiver, parse_rule
from tests.gate.figures import figures, row, share

F, M, I, P = Verdict.FAIL, Verdict.MISSING, Verdict.INCONCLUSIVE, Verdict.PASS  # noqa: E741
TODAY = dt.date(2024, 5, 2)
# A good, a bad and a doubtful slice; what they are compared with is in the same run.
NOW = figures(
    share("overall", 9000, 10_000), share("good", 970, 1000, effect=0.08),
    share("bad", 600, 1000, effect=-0.33), share("so_so", 45, 50, effect=0.0),
    share("ref", 900, 1000, effect=0.0), share("empty", 0, 1, value=None, status="empty"),
    *(share(s, 900, 1000, model_id="old") for s in ("overall", "good", "bad", "so_so", "ref")),
)  # fmt: skip
BEFORE = figures(*(share(s, 900, 1000) for s in ("overall", "good", "bad", "so_so")))
KINDS = {
    "absolute": "accuracy >= 0.9",
    "complement": "accuracy >= complement",
    "margin": "accuracy >= complement - 0.01",
    "slice": "accuracy >= slice ref",
    "model": "accuracy >= model old",
    "last": "accuracy >= last",
    "times": "accuracy >= last * 0.99",
}
SLICES = {"good": P, "bad": F, "so_so": I, "gone": M}


def only(text: str, slice_id: str, **more):
    return replace(parse_rule(text), slices=(slice_id,), models=("m",), **more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slice_id", SLICES)
@pytest.mark.parametrize("level", ["fail", "warn"])
@pytest.mark.parametrize("waiver", ["none", "valid", "expired"])
@pytest.mark.parametrize("strict", [False, True])
def test_the_truth_table(kind, slice_id, level, waiver, strict):
    rule = only(KINDS[kind], slice_id, level=level)
    leave = Waiver(rule.text, "ann", "known", TODAY if waiver == "valid" else dt.date(2024, 5, 1))
    waivers = [] if waiver == "none" else [leave]
    judged = judge([rule], NOW, BEFORE, strict=strict, waivers=waivers, today=TODAY)
    (check,) = judged.checks
    verdict = SLICES[slice_id]
    assert check.verdict is verdict, check
    counts = level == "fail" and waiver != "valid"
    wanted = {F: 1, M: 1, I: 3 if strict else 0, P: 0}[verdict] if counts else 0
    assert judged.status == wanted
    assert (check.waiver is not None) == (waiver == "valid" and verdict is not P)
    if waiver == "expired":
        assert judged.notes == [
            f"the waiver of ann for {rule.text!r} on * expired on 2024-05-01: it no longer counts"
        ]


def test_at_most_is_the_other_way_round():
    rows = [
        row(s, v, v - 0.1, v + 0.1, 500, metric="mae")
        for s, v in zip("abc", (1, 2, 3), strict=True)
    ]
    judged = judge([parse_rule("mae <= 2.05 on *")], figures(*rows))
    assert {c.slice: c.verdict for c in judged.checks} == {"a": P, "b": I, "c": F}


def test_a_plain_value_is_compared_as_it_is():
    now = figures(share("overall", 9, 10, status="insufficient"))
    for text, verdict in (("> 0.9", F), (">= 0.9", P), ("< 0.9", F), ("<= 0.9", P), (">= 0.91", F)):
        (check,) = judge([replace(parse_rule(f"accuracy {text}"), plain=True)], now).checks
        assert (check.verdict, check.rows) == (verdict, None)


NOTES = {
    "accuracy >= .9 on empty": "there is no figure (empty)",
    "accuracy >= .9 on ref": "the figure is at its bound",
    "accuracy >= .9 on so_so": "the figure is at its bound",
    "accuracy >= .87 on so_so": "about 483 rows would settle it",
    "accuracy >= slice empty": "slice empty has no figure (empty)",
    "accuracy >= last on ref": "the run before has no figure",
    "accuracy >= .9 on goood": "the run has no slice 'goood'; did you mean 'good'?",
    "accuracy >= .9 on goood*": "the run has no slice that fits 'goood*'; did you mean 'good'?",
    "acuracy >= .9": "the run has no metric 'acuracy'; did you mean 'accuracy'?",
    "accuracy >= slice rf": "the run has no slice 'rf'; did you mean 'ref'?",
    "accuracy >= model odl": "the run has no model 'odl'; did you mean 'old'?",
    "accuracy >= complement on overall": (
        "it is about no figure: what it compares with is not compared itself"
    ),
    "mcc >= .5": "the metric has no interval",
    "f1 >= .5": "too few rows to tell",
}


@pytest.mark.parametrize("text", NOTES)
def test_what_a_check_says_of_itself(text):
    few = row("overall", 0.4, 0.1, 0.8, 9, metric="f1", status="insufficient")
    rows = [
        share("overall", 1800, 2000), share("good", 970, 1000), share("ref", 900, 1000),
        share("so_so", 45, 50), share("empty", 0, 1, value=None, status="empty"), few,
        share("overall", 1, 2, model_id="old"),
        row("overall", 0.4, None, None, 90, metric="mcc"),
    ]  # fmt: skip
    rule = replace(parse_rule(text), models=("m",))
    judged = judge([rule], figures(*rows), figures(share("overall", 9, 10)))
    assert judged.checks[0].note == NOTES[text]


def test_a_reference_is_not_compared_with_itself_and_all_rows_have_no_complement():
    def of(text):
        return {(c.model, c.slice) for c in judge([parse_rule(text)], NOW).checks}

    assert {s for _, s in of("accuracy >= slice ref")} == {
        "overall",
        "good",
        "bad",
        "so_so",
        "empty",
    }
    assert {m for m, _ in of("accuracy >= model old on *")} == {"m"}
    assert ("m", "overall") not in of("accuracy >= complement")
    assert of("accuracy >= 0.5") == {("m", "overall"), ("old", "overall")}


def test_verdicts_are_corrected_for_the_number_of_checks():
    """One slice of a hundred that is off by two standard errors is no news."""
    rows = [share(f"s{i}", 90 if i else 83, 100) for i in range(100)]
    one, rule = Trust(correction="none"), parse_rule("accuracy >= .9 on *")
    worst = {
        c: judge([rule], figures(*rows), trust=t).checks[0]
        for c, t in (("none", one), ("bh", Trust()))
    }
    assert (worst["none"].verdict, worst["none"].slice) == (F, "s0")
    assert worst["bh"].verdict is I
    assert worst["bh"].p == worst["none"].p < 0.05 < worst["bh"].p_adjusted


def test_a_waiver_that_nothing_needs_is_named():
    leave = Waiver("accuracy >= 0.5", "ann", "x", TODAY, ("good",))
    judged = judge([parse_rule("accuracy >= .5 on *")], NOW, waivers=[leave], today=TODAY)
    assert judged.notes == ["the waiver of ann for 'accuracy >= 0.5' on good is needed by nothing"]


NIGHTS = {  # the evidence, of two series 40 needed, and what a run alone would say
    ("bad", 39.0): I, ("bad", 40.0): F, ("good", 1.0): P, ("good", 41.0): F, ("so_so", 1.0): I,
}  # fmt: skip


@pytest.mark.parametrize(("slice_id", "evidence"), NIGHTS)
def test_at_night_evidence_alone_lets_a_rule_fail(slice_id, evidence):
    rules = [parse_rule(f"accuracy >= 0.87 on {slice_id}"), parse_rule("accuracy >= 0.1")]
    rules = [replace(rule, models=("m",)) for rule in rules]
    nights = {
        (rules[0].text, "m", "test", slice_id): Night(Series((1, 0), (evidence,), TODAY), 1),
        (rules[1].text, "m", "test", "overall"): Night(None, why="no new row"),
    }
    checks = {c.slice: c for c in judge(rules, NOW, nights=nights).checks}
    assert checks[slice_id].verdict is NIGHTS[slice_id, evidence]
    assert checks[slice_id].note == f"evidence {evidence:.3g} of 40"
    assert checks["overall"].note == "evidence 0.5 of 40; no new evidence: no new row"
    assert checks["overall"].verdict is P


def test_rows_come_back_of_their_intervals():
    rng = np.random.default_rng(0)
    for n, level in itertools.product((1, 2, 17, 1_000, 123_457, 10_000_001), (0.8, 0.95, 0.999)):
        for k in {0, 1, n, *rng.integers(0, n + 1, 5).tolist()}:
            assert rows_of(Figure.share(Rows(k, n), level), level) == (k, n)
    assert rows_of(Figure(0.9, 0.8, 0.95, 100, "ok"), 0.95) is None
    other = Figure.share(Rows(90, 100), 0.9)
    assert rows_of(other, 0.95) is None  # it is of another level


def test_p_values_of_shares_are_exact():
    for k, n, bound in ((0, 17, 0.86), (17, 17, 0.86), (45, 50, 0.8), (3, 40, 0.2)):
        tail = "less" if k / n < bound else "greater"
        wanted = min(1.0, 2 * binomtest(k, n, bound, tail).pvalue)
        assert p_of_bound("recall", Figure.share(Rows(k, n), 0.95), bound, 0.95) == pytest.approx(
            wanted
        )
    a, b = (Figure.share(Rows(*of), 0.95) for of in ((5, 30), (40, 60)))
    exact = fisher_exact([[5, 25], [40, 20]]).pvalue
    assert p_of_difference("accuracy", a, b, 1, 0, 0.95) == pytest.approx(exact)


def test_a_p_value_is_the_level_at_which_the_interval_ends_at_the_bound():
    for figure in (Figure(0.8, 0.7, 0.87, 90, "ok"), Figure(4.0, 3.0, 5.5, 90, "ok")):
        for end in (figure.low, figure.high):
            assert p_of_bound("f1" if end < 1 else "mae", figure, end, 0.95) == pytest.approx(0.05)
    a, b = Figure(0.7, 0.6, 0.8, 90, "ok"), Figure(0.9, 0.8, 1.0, 90, "ok")
    limit = -0.2 + np.hypot(0.1, 0.1)
    assert p_of_difference("f1", a, b, 1, float(limit), 0.95) == pytest.approx(0.05)
    shares = [Figure.share(Rows(*of), 0.95) for of in ((70, 100), (90, 100))]
    up = shares[0].high - shares[0].value
    down = shares[1].value - shares[1].low
    limit = float(np.hypot(up, down) - 0.2)
    assert p_of_difference("accuracy", *shares, 1, limit, 0.95) == pytest.approx(0.05, abs=1e-6)
