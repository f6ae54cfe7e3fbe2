"""What a gate asks of figures: rules, as a line of text or as MLflow's thresholds, and waivers.

A rule is ``METRIC OP BOUND``. The bound is a number, or another figure times a factor plus a
number: that of the rows outside the slice, of a named slice, of another model, or of the last run.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from engine.errors import MetricError, near
from engine.metrics.catalog import KINDS, OVERALL, better, parse_metric

Level = Literal["fail", "warn"]
KINDS_OF_REFERENCE = ("complement", "slice", "model", "last")
_OPERATORS = {">=": (True, True), ">": (True, False), "<=": (False, True), "<": (False, False)}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SPLIT = re.compile(
    r"(?P<metric>[^\s<>!]+?)\s*(?P<op>[<>!]=?|=[<>=]|(?<=\s)=)\s*(?P<bound>[^\s<>=].*)"
)
_ON = re.compile(r"(?P<bound>.*)\s+on\s+(?P<slices>[\w*]+(?:\s*,\s*[\w*]+)*)")
_BOUND = re.compile(
    r"(?:(?P<kind>complement|last)|(?P<named>slice|model)\s+(?P<name>\S(?:.*?\S)?))"
    rf"(?:\s*\*\s*(?P<factor>{_NUMBER}))?(?:\s+(?P<sign>[+-])\s*(?P<number>{_NUMBER}))?"
)
_FORM = (
    "a rule is METRIC >= BOUND (or >, <=, <), the bound a number, or complement, last, slice ID or "
    "model ID, with * NUMBER, + NUMBER or - NUMBER after it; ' on SLICE, SLICE*' may end it: "
    "'f1 >= 0.8', 'recall >= complement - 0.05 on sex_*'"
)


@dataclass(frozen=True)
class Reference:
    """A figure that another one is compared with.

    Attributes
    ----------
    kind
        ``complement`` (the rows outside the slice), ``slice``, ``model`` or ``last``, the run
        before.
    name
        Of the slice or model.
    """

    kind: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


@dataclass(frozen=True)
class Rule:
    """What must hold of a metric.

    Attributes
    ----------
    metric
        Its name, canonical.
    at_least
        Whether the metric must be at least the bound; else at most.
    number
        The bound, or what is added to that of ``against``.
    against, factor
        The figure that bounds, and what it is multiplied by.
    inclusive
        Whether the bound itself is allowed, which only a plain value can show.
    slices
        Ids, or patterns with ``*``; ``overall`` are all rows.
    models, splits
        Which models and splits, names or patterns; all unless given.
    level
        Whether the gate fails by it, or warns.
    plain
        Whether the figure is compared as it is, however few rows it rests on.
    name
        What waivers and reports call it; its text unless given.
    """

    metric: str
    at_least: bool
    number: float
    against: Reference | None = None
    factor: float = 1.0
    inclusive: bool = True
    slices: tuple[str, ...] = ()
    models: tuple[str, ...] = ("*",)
    splits: tuple[str | None, ...] = ("*",)
    level: Level = "fail"
    plain: bool = False
    name: str = ""

    @property
    def text(self) -> str:
        """The rule as text, without its slices.

        Examples
        --------
        >>> parse_rule("f1>=complement*.9 on a").text
        'f1 >= complement * 0.9'
        """
        op = next(o for o, way in _OPERATORS.items() if way == (self.at_least, self.inclusive))
        bound = f"{self.number:g}"
        if self.against is not None:
            times = "" if self.factor == 1 else f" * {self.factor:g}"
            sign = "-" if self.number < 0 else "+"
            plus = f" {sign} {abs(self.number):g}" if self.number else ""
            bound = f"{self.against}{times}{plus}"
        return f"{self.metric} {op} {bound}"

    @property
    def title(self) -> str:
        """What the rule is called."""
        return self.name or self.text

    @property
    def patterns(self) -> tuple[str, ...]:
        """Which slices it is about: all rows, or, against others, every slice, unless it says."""
        others = self.against is not None and self.against.kind in ("complement", "slice")
        return self.slices or (("*",) if others else (OVERALL,))

    def holds(self, value: float, bound: float) -> bool:
        """Tell whether a value is on the right side of a bound."""
        if value == bound:
            return self.inclusive
        return (value > bound) == self.at_least


@dataclass(frozen=True)
class Waiver:
    """Someone's leave for a rule to fail.

    Attributes
    ----------
    rule
        The rule's name or text.
    slices
        Ids or patterns.
    owner, reason
        Who gave it and why.
    until
        The last day on which it counts.
    """

    rule: str
    owner: str
    reason: str
    until: dt.date
    slices: tuple[str, ...] = ("*",)

    def covers(self, rule: Rule, slice_id: str) -> bool:
        """Tell whether it is about a rule and a slice, expired or not."""
        return self.rule in (rule.name, rule.text) and matches(slice_id, self.slices)


def parse_rule(text: str) -> Rule:
    """Read a rule's text.

    Raises
    ------
    MetricError
        If it is no rule, or there is no such metric.

    Examples
    --------
    >>> rule = parse_rule("recall >= complement - 0.05 on sex_*, short")
    >>> rule.text, rule.slices
    ('recall >= complement - 0.05', ('sex_*', 'short'))
    """
    parts = _SPLIT.fullmatch(text.strip())
    if parts is None:
        raise MetricError(f"{text!r} is no rule: {_FORM}")
    if parts["op"] not in _OPERATORS:
        raise MetricError(f"{text!r}: {parts['op']!r} compares nothing; write one of >=, >, <=, <")
    at_least, inclusive = _OPERATORS[parts["op"]]
    limited = _ON.fullmatch(parts["bound"])
    bound, names = (limited["bound"], limited["slices"]) if limited else (parts["bound"], "")
    slices = tuple(name.strip() for name in names.split(",") if names)
    rule = Rule(metric_name(parts["metric"]), at_least, 0.0, inclusive=inclusive, slices=slices)
    if re.fullmatch(_NUMBER, bound):
        return replace(rule, number=float(bound))
    of = _BOUND.fullmatch(bound)
    if of is None:
        word = bound.split()[0]
        hint = near(word, KINDS_OF_REFERENCE)
        raise MetricError(
            f"{text!r}: {bound!r} is no bound"
            f"{hint if 'did you mean' in hint and word not in KINDS_OF_REFERENCE else ''}; {_FORM}"
        )
    number = float(f"{of['sign']}1") * float(of["number"]) if of["number"] else 0.0
    against = Reference(of["kind"] or of["named"], of["name"] or "")
    return replace(rule, number=number, against=against, factor=float(of["factor"] or 1))


def metric_name(text: str) -> str:
    """Return a metric's canonical name; one of the user's own is any identifier.

    Raises
    ------
    MetricError
        If it can't be a metric.

    Examples
    --------
    >>> metric_name("precision@threshold=0.70"), metric_name("our_own")
    ('precision@threshold=0.7', 'our_own')
    """
    own = text.isidentifier() and text not in KINDS
    return text if own else str(parse_metric(text))


def threshold_rules(
    metric: str,
    threshold: float | None = None,
    min_absolute_change: float | None = None,
    min_relative_change: float | None = None,
    greater_is_better: bool | None = None,
    against: Reference | None = None,
) -> list[Rule]:
    """Return the rules that MLflow's words for a metric's threshold stand for.

    A change is how much better than ``against`` the metric must be; one below 0 is how much worse
    it may be, which MLflow doesn't know. A relative one is a share of that figure.

    Raises
    ------
    MetricError
        If nothing is asked, a change is against nothing, or nobody knows which way is better.

    Examples
    --------
    >>> [r.text for r in threshold_rules("f1", 0.8, -0.02, against=Reference("last"))]
    ['f1 >= 0.8', 'f1 >= last - 0.02']
    >>> threshold_rules("mae", min_relative_change=0.1, against=Reference("model", "old"))[0].text
    'mae <= model old * 0.9'
    """
    name = metric_name(metric)
    changes = {
        "min_absolute_change": min_absolute_change, "min_relative_change": min_relative_change,
    }  # fmt: skip
    wanted = [key for key, value in changes.items() if value is not None]
    if threshold is None and not wanted:
        raise MetricError(
            f"the rule for {name} asks nothing: give threshold, min_absolute_change or "
            "min_relative_change"
        )
    if wanted and against is None:
        raise MetricError(
            f"the rule for {name} has {wanted[0]}, and needs against: complement, last, "
            "{slice: ID} or {model: ID}"
        )
    if against is not None and not wanted:
        raise MetricError(
            f"the rule for {name} has against, and needs min_absolute_change or "
            "min_relative_change; 0 for no worse"
        )
    if greater_is_better is None:
        if not better(name):
            raise MetricError(
                f"of {name} neither high nor low values are better: give greater_is_better"
            )
        greater_is_better = better(name) == "high"
    way = 1.0 if greater_is_better else -1.0
    base = Rule(name, greater_is_better, 0.0)
    rules = [] if threshold is None else [replace(base, number=threshold)]
    if min_absolute_change is not None:
        number = way * min_absolute_change or 0.0  # no -0
        rules.append(replace(base, number=number, against=against))
    if min_relative_change is not None:
        rules.append(replace(base, against=against, factor=1 + way * min_relative_change))
    return rules


def matches(name: str | None, patterns: Sequence[str | None]) -> bool:
    """Tell whether a name is one of some names, or fits a pattern; ``*`` stands for any text.

    Examples
    --------
    >>> matches("sex_f", ["age_*", "sex_*"]), matches("overall", ["over"]), matches(None, ["*"])
    (True, False, True)
    """
    return any(
        p in ("*", name) or (p is not None and name is not None and _fits(name, p))
        for p in patterns
    )


def _fits(name: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def is_pattern(name: str | None) -> bool:
    """Tell whether a name stands for any number of names."""
    return name is not None and "*" in name


def check_waivers(waivers: Iterable[Waiver], rules: Sequence[Rule]) -> None:
    """Check that each waiver is of a rule.

    Raises
    ------
    MetricError
        If one isn't.
    """
    known = {rule.title for rule in rules} | {rule.text for rule in rules}
    for waiver in waivers:
        if waiver.rule not in known:
            raise MetricError(
                f"the waiver of {waiver.owner} is of {waiver.rule!r}, which is no "
                f"rule{near(waiver.rule, known)}"
            )
