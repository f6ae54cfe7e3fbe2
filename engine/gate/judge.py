"""Figures of one evaluation and rules in, a check with a verdict of each rule and figure out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from engine.errors import near
from engine.gate.evidence import (
    Figure,
    complement,
    p_of_bound,
    p_of_difference,
    rows_to_settle,
    share_rows,
    share_rows_to_settle,
)
from engine.gate.nightly import Night, needed
from engine.gate.rules import Reference, Rule, Waiver, is_pattern, matches
from engine.metrics.catalog import OVERALL
from engine.metrics.formulas.states import INSUFFICIENT
from engine.metrics.inference.significance import Method, adjusted

PASSED, FAILED, COULD_NOT_RUN, UNDECIDED = 0, 1, 2, 3  # exit statuses
_NAN = float("nan")
Key = tuple[str, str, str | None, str]  # a rule's text, model, split and slice


class Verdict(StrEnum):
    """What a check says, worst first."""

    FAIL = "FAIL"
    MISSING = "MISSING"
    INCONCLUSIVE = "INCONCLUSIVE"
    PASS = "PASS"


@dataclass(frozen=True)
class Trust:
    """How sure verdicts must be.

    Attributes
    ----------
    level
        Of the figures' intervals; 1 less the corrected p-value that decides.
    correction
        Of p-values for the number of checks.
    """

    level: float = 0.95
    correction: Method = "bh"


@dataclass(frozen=True)
class Check:
    """One rule on one figure.

    Attributes
    ----------
    rule
        The rule.
    model, split, slice
        Whose figure it is, or what isn't there.
    verdict
        What is known.
    figure
        The figure; None where there is none.
    bound
        What it is compared with; NaN where that isn't there.
    p, p_adjusted
        How likely rows at the bound would be as far from it, and that corrected; NaN without test.
    rows
        About how many rows would settle it.
    note
        Why the verdict is what it is, where the figure doesn't say.
    night
        The evidence of all nights; None where each run is judged by itself.
    waiver
        Who gave leave.
    """

    rule: Rule
    model: str
    split: str | None
    slice: str
    verdict: Verdict
    figure: Figure | None = None
    bound: float = _NAN
    p: float = _NAN
    p_adjusted: float = _NAN
    rows: int | None = None
    note: str = ""
    night: Night | None = None
    waiver: Waiver | None = None

    @property
    def fails(self) -> bool:
        """Whether the gate fails by it: a waived check warns."""
        wrong = self.verdict in (Verdict.FAIL, Verdict.MISSING)
        return wrong and self.rule.level == "fail" and self.waiver is None

    @property
    def is_open(self) -> bool:
        """Whether it is inconclusive, and could have failed the gate."""
        undecided = self.verdict is Verdict.INCONCLUSIVE
        return undecided and self.rule.level == "fail" and self.waiver is None

    @property
    def key(self) -> Key:
        """What names the figure and what is asked of it, from run to run."""
        return (self.rule.text, self.model, self.split, self.slice)


@dataclass(frozen=True)
class Judgement:
    """All checks of an evaluation.

    Attributes
    ----------
    checks
        The worst first.
    strict
        Whether what is inconclusive has an exit status of its own.
    notes
        What a reader should know besides: waivers that expired or cover nothing.
    """

    checks: Sequence[Check]
    strict: bool = False
    notes: Sequence[str] = field(default=())

    @property
    def status(self) -> int:
        """The exit status: 0 pass, 1 fail, 3 inconclusive where that is asked for."""
        if any(c.fails for c in self.checks):
            return FAILED
        return UNDECIDED if self.strict and any(c.is_open for c in self.checks) else PASSED

    def count(self, verdict: Verdict) -> int:
        """Return how many checks have a verdict."""
        return sum(c.verdict is verdict for c in self.checks)


@dataclass(frozen=True)
class Figures:
    """The figures of one run, by name.

    Attributes
    ----------
    by_name
        Model, split, slice and metric to the figure.
    """

    by_name: Mapping[tuple[str, str | None, str, str], Figure]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Figures:
        """Return the figures of rows of the metrics table, all of one run."""
        plain = frame.astype(object).where(frame.notna(), None)
        return cls(
            {
                (r["model_id"], r["split"], r["slice"], r["metric"]): Figure.of(r)
                for r in plain.to_dict("records")
            }
        )

    def names(self, part: int) -> list[Any]:
        """Return models (0), splits (1), slices (2) or metrics (3), each once."""
        return list(dict.fromkeys(name[part] for name in self.by_name))


def judge(
    rules: Sequence[Rule],
    now: Figures,
    before: Figures | None = None,
    trust: Trust = Trust(),
    strict: bool = False,
    waivers: Sequence[Waiver] = (),
    today: dt.date | None = None,
    nights: Mapping[Key, Night] | None = None,
) -> Judgement:
    """Judge one evaluation's figures.

    Parameters
    ----------
    rules
        What must hold.
    now, before
        The figures, and those of the run that ``last`` means; None where there is none.
    trust
        How sure verdicts must be.
    strict
        Whether what is inconclusive has an exit status of its own.
    waivers, today
        Who gave leave, and the day that decides whether that has ended.
    nights
        The evidence of new rows, for a gate that is asked every night: rules that can be watched so
        fail by it alone.

    Examples
    --------
    >>> from engine.gate.rules import parse_rule
    >>> row = {"model_id": "m", "split": "test", "slice": "overall", "metric": "mae", "value": 2.0,
    ...     "ci_low": 1.8, "ci_high": 2.2, "support": 500, "status": "ok", "p_value": None,
    ...     "effect": None}
    >>> rules = [parse_rule(f"mae <= {bound}") for bound in (1.5, 2.1, 3)]
    >>> [str(c.verdict) for c in judge(rules, Figures.of(pd.DataFrame([row]))).checks]
    ['FAIL', 'INCONCLUSIVE', 'PASS']
    """
    checks = [c for rule in rules for c in _checks(rule, now, before, trust)]
    checks = _decided(checks, trust)
    if nights is not None:
        checks = _watched(checks, nights)
    checks = [_waived(c, waivers, today) for c in checks]
    order = list(Verdict)
    checks.sort(key=lambda c: (order.index(c.verdict), c.waiver is not None, c.rule.level))
    return Judgement(checks, strict, list(_about(waivers, checks, today)))


def _checks(rule: Rule, now: Figures, before: Figures | None, trust: Trust) -> list[Check]:
    """Return what :func:`_compared` yields; a rule that no figure fits is missing all of them."""
    checks = list(_compared(rule, now, before, trust))
    note = "it is about no figure: what it compares with is not compared itself"
    return checks or [Check(rule, "-", "-", "-", Verdict.MISSING, note=note)]


def _compared(rule: Rule, now: Figures, before: Figures | None, trust: Trust) -> Iterator[Check]:
    """Yield a check of each figure that a rule is about, with its p-value and no verdict yet."""
    bounds = _absent(rule, now, [("model", 0), ("slice", 2)], _reference_names(rule))
    yield from bounds or _absent(
        rule, now, [("metric", 3), ("model", 0), ("split", 1), ("slice", 2)],
        [(rule.metric,), rule.models, rule.splits, rule.patterns],
    )  # fmt: skip
    if bounds:
        return
    own = {name for names in _reference_names(rule) for name in names}
    for (model, split, slice_id, metric), figure in now.by_name.items():
        named = zip(
            (model, split, slice_id), (rule.models, rule.splits, rule.patterns), strict=True
        )
        others = rule.against is not None and rule.against.kind == "complement"
        if metric != rule.metric or not all(matches(*one) for one in named):
            continue
        if model in own or slice_id in own or (others and slice_id == OVERALL):
            continue  # it is what others are compared with
        check = Check(rule, model, split, slice_id, Verdict.INCONCLUSIVE, figure)
        yield _tested(check, now, before, trust)


def _reference_names(rule: Rule) -> list[tuple[str, ...]]:
    """Return the model, and the slice, that others are compared with."""
    of = rule.against
    return [(of.name,) if of is not None and of.kind == kind else () for kind in ("model", "slice")]


def _absent(
    rule: Rule,
    now: Figures,
    parts: Sequence[tuple[str, int]],
    wanted: Sequence[Sequence[str | None]],
) -> list[Check]:
    """Return a check of each of some names of a rule that the run has not."""
    checks = []
    for (what, part), names in zip(parts, wanted, strict=True):
        known = now.names(part)
        for name in (n for n in names if not any(matches(one, [n]) for one in known)):
            no = f"{what} that fits" if is_pattern(name) else what
            note = f"the run has no {no} {name!r}{near(str(name), map(str, known))}"
            where = name if what == "slice" and name is not None else "-"
            checks.append(Check(rule, "-", "-", where, Verdict.MISSING, note=note))
    return checks


def _tested(check: Check, now: Figures, before: Figures | None, trust: Trust) -> Check:
    """Return a check with its bound and p-value, or with why there is none."""
    rule, figure = check.rule, check.figure
    assert figure is not None
    if not figure.is_number:
        return replace(check, note=f"there is no figure ({figure.status})")
    if rule.against is None:
        p = p_of_bound(rule.metric, figure, rule.number, trust.level)
        return replace(check, bound=rule.number, p=p)
    other = _reference(rule.against, check, now, before, trust)
    if isinstance(other, str):
        return replace(check, note=other)
    bound = rule.factor * other.value + rule.number
    check = replace(check, bound=bound)
    same = rule.factor == 1 and rule.number == 0
    if same and rule.against.kind == "complement" and not np.isnan(figure.p_value):
        return replace(check, p=figure.p_value)  # the evaluation's own test
    p = p_of_difference(rule.metric, figure, other, rule.factor, rule.number, trust.level)
    return replace(check, p=p)


def _reference(
    against: Reference, check: Check, now: Figures, before: Figures | None, trust: Trust
) -> Figure | str:
    """Return the figure that bounds, or why there is none."""
    metric, figure = check.rule.metric, check.figure
    assert figure is not None
    if against.kind == "complement":
        overall = now.by_name.get((check.model, check.split, OVERALL, metric))
        if overall is None or not overall.is_number or np.isnan(figure.effect):
            return "the rows outside the slice have no figure"
        return complement(metric, figure, overall, trust.level)
    if against.kind == "last" and before is None:
        return "there is no run before this one"
    run = before if against.kind == "last" and before is not None else now
    model = against.name if against.kind == "model" else check.model
    slice_id = against.name if against.kind == "slice" else check.slice
    other = run.by_name.get((model, check.split, slice_id, metric))
    if other is None or not other.is_number:
        what = "the run before" if against.kind == "last" else str(against)
        return f"{what} has no figure{'' if other is None else f' ({other.status})'}"
    return other


def _decided(checks: Sequence[Check], trust: Trust) -> list[Check]:
    """Return checks with verdicts; p-values are corrected for all that are tested."""
    p = np.array([_NAN if c.rule.plain else c.p for c in checks], np.float64)
    corrected = adjusted(p, trust.correction)
    return [_decide(c, float(q), trust) for c, q in zip(checks, corrected, strict=True)]


def _decide(check: Check, p_adjusted: float, trust: Trust) -> Check:
    rule, figure, alpha = check.rule, check.figure, 1 - trust.level
    if check.verdict is Verdict.MISSING or figure is None or np.isnan(check.bound):
        return check
    side = Verdict.PASS if rule.holds(figure.value, check.bound) else Verdict.FAIL
    if rule.plain:
        return replace(check, verdict=side, p=_NAN)
    check = replace(check, p_adjusted=p_adjusted)
    if np.isnan(check.p):
        few = figure.status == INSUFFICIENT or not np.isnan(figure.low)
        return replace(check, note="too few rows to tell" if few else "the metric has no interval")
    if p_adjusted <= alpha:
        return replace(check, verdict=side)
    times = max(1.0, p_adjusted / check.p) if check.p > 0 else 1.0
    known = share_rows(rule.metric, figure, trust.level) if rule.against is None else None
    rows = (
        rows_to_settle(check.p, alpha / times, figure.support)
        if known is None or not 0 < check.bound < 1
        else share_rows_to_settle(figure, known, check.bound, alpha / times)
    )
    if rows is None:
        at = figure.value == check.bound
        return replace(check, note=f"the figure is {'at' if at else 'too near'} its bound")
    return replace(check, rows=rows, note=f"about {rows:,} rows would settle it")


def _watched(checks: Sequence[Check], nights: Mapping[Key, Night]) -> list[Check]:
    """Return checks of which those with evidence fail by it, and by nothing else."""
    of = [nights.get(c.key) for c in checks]
    series = sum(night is not None for night in of)
    return [
        c if night is None else _by_evidence(c, night, series)
        for c, night in zip(checks, of, strict=True)
    ]


def _by_evidence(check: Check, night: Night, series: int) -> Check:
    verdict, note = check.verdict, f"evidence {night.evidence:,.3g} of {needed(series):,.0f}"
    if night.alarms(series):
        verdict = Verdict.FAIL
    elif verdict is Verdict.FAIL:
        verdict = Verdict.INCONCLUSIVE
    if night.why:
        note += f"; no new evidence: {night.why}"
    return replace(check, verdict=verdict, note=note, night=night, rows=None)


def _waived(check: Check, waivers: Iterable[Waiver], today: dt.date | None) -> Check:
    if check.verdict is Verdict.PASS:
        return check
    for waiver in waivers:
        if waiver.covers(check.rule, check.slice) and not _has_ended(waiver, today):
            return replace(check, waiver=waiver)
    return check


def _has_ended(waiver: Waiver, today: dt.date | None) -> bool:
    return today is not None and waiver.until < today


def _about(
    waivers: Iterable[Waiver], checks: Sequence[Check], today: dt.date | None
) -> Iterator[str]:
    """Say which waivers have ended, and which are of nothing that is wrong."""
    for waiver in waivers:
        of = f"the waiver of {waiver.owner} for {waiver.rule!r} on {', '.join(waiver.slices)}"
        wrong = [
            c for c in checks if c.verdict is not Verdict.PASS and waiver.covers(c.rule, c.slice)
        ]
        if _has_ended(waiver, today):
            yield f"{of} expired on {waiver.until}: it no longer counts"
        elif not wrong:
            yield f"{of} is needed by nothing"
