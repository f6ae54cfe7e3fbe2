"""The gate's settings: rules as a line of text or as a group, waivers, how often it is asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from engine.errors import EngineError
from engine.gate.rules import (
    Reference,
    Rule,
    Waiver,
    check_waivers,
    parse_rule,
    threshold_rules,
)
from engine.project.group_settings import Settings

_AGAINST = "complement, last, {slice: ID} or {model: ID}"


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _as_rule(value: Any) -> Any:
    return {"rule": value} if isinstance(value, str) else value


def _as_reference(value: Any) -> Any:
    """Return against as kind and name."""
    if isinstance(value, str) and value in ("complement", "last"):
        return {"kind": value}
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, name),) = value.items()
        if kind in ("slice", "model") and isinstance(name, str):
            return {"kind": kind, "name": name}
    raise ValueError(f"must be {_AGAINST}, found {value!r}")


class Against(Settings):
    """The figure that another one is compared with: its kind, and of some kinds a name."""

    kind: Literal["complement", "slice", "model", "last"]
    name: str = ""


Number = Annotated[float, Field(allow_inf_nan=False)]
Names = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]
Splits = Annotated[list[str | None], BeforeValidator(_as_list), Field(min_length=1)]


class GateRule(Settings):
    """A rule: a line of text, or a metric and MLflow's words for its threshold.

    Attributes
    ----------
    rule
        ``METRIC >= BOUND``, in place of the next six.
    metric
        What is compared.
    threshold
        What it must be at least, or at most where low values are better.
    min_absolute_change, min_relative_change
        How much better than ``against`` it must be; below 0, how much worse it may be.
    greater_is_better
        By the metric unless given.
    against
        ``complement``, ``last``, ``{slice: ID}`` or ``{model: ID}``.
    slices, models, splits
        Names or patterns with ``*``; by default all rows (``overall``) of each model and split, and
        every slice where ``against`` is the complement or a slice.
    level
        ``fail``, or ``warn``, which never changes the exit status.
    certainty
        ``interval``, or ``none`` to compare the plain value, however few rows it rests on.
    name
        What waivers and reports call it.
    """

    rule: str | None = None
    metric: str | None = None
    threshold: Number | None = None
    min_absolute_change: Number | None = None
    min_relative_change: Number | None = None
    greater_is_better: bool | None = None
    against: Annotated[Against, BeforeValidator(_as_reference)] | None = None
    slices: Names | None = None
    models: Names = ["*"]
    splits: Splits = ["*"]
    level: Literal["fail", "warn"] = "fail"
    certainty: Literal["interval", "none"] = "interval"
    name: str = ""

    @model_validator(mode="after")
    def _rules_are_rules(self) -> GateRule:
        try:
            _ = self.rules
        except EngineError as error:
            raise ValueError(str(error)) from None
        return self

    @cached_property
    def rules(self) -> list[Rule]:
        """The rules that it stands for."""
        words = self.model_dump(
            include={
                "metric", "threshold", "min_absolute_change", "min_relative_change",
                "greater_is_better", "against",
            },
            exclude_none=True,
        )  # fmt: skip
        if (self.rule is None) == (self.metric is None) or (self.rule and words):
            raise ValueError(
                "give either rule, a text such as 'f1 >= 0.8', or metric with threshold, "
                f"min_absolute_change or min_relative_change, found {_shown(self)}"
            )
        if self.rule is not None:
            rules = [parse_rule(self.rule)]
            if rules[0].slices and self.slices:
                raise ValueError(f"{self.rule!r} has slices after 'on': leave out slices")
        else:
            against = self.against and Reference(self.against.kind, self.against.name)
            rules = threshold_rules(**{**words, "against": against})
        slices = tuple(self.slices or rules[0].slices)
        return [
            replace(
                rule, slices=slices, models=tuple(self.models), splits=tuple(self.splits),
                level=self.level, plain=self.certainty == "none", name=self.name,
            )
            for rule in rules
        ]  # fmt: skip


def _shown(rule: GateRule) -> str:
    return ", ".join(rule.model_dump(exclude_defaults=True)) or "neither"


class GateWaiver(Settings):
    """Leave for a rule to fail: whose, why, and until when.

    Attributes
    ----------
    rule
        The rule's name or text.
    slices
        Ids or patterns; all unless given.
    owner, reason
        Who gives it and why.
    until
        The last day on which it counts, by ``run_date``.
    """

    rule: str
    slices: Names = ["*"]
    owner: Annotated[str, Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]
    until: dt.date

    @property
    def waiver(self) -> Waiver:
        """As the gate takes it."""
        try:
            rule = parse_rule(self.rule).text  # however it is spelt
        except EngineError:
            rule = self.rule
        return Waiver(rule, self.owner, self.reason, self.until, tuple(self.slices))


class Gate(Settings):
    """What figures must be for the gate to pass.

    Attributes
    ----------
    rules
        What must hold.
    waivers
        Who gave leave for what.
    strict
        Whether what is inconclusive ends the gate with exit status 3.
    nightly
        Whether rules on shares of rows fail by the evidence of all nights alone, so that a year of
        nights has a false alarm with a probability of at most 5 %.
    """

    rules: list[Annotated[GateRule, BeforeValidator(_as_rule)]] = []
    waivers: list[GateWaiver] = []
    strict: bool = False
    nightly: bool = False

    @model_validator(mode="after")
    def _waivers_are_of_rules(self) -> Gate:
        try:
            check_waivers(self.leave, self.all_rules)
        except EngineError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def all_rules(self) -> list[Rule]:
        """The rules, in order."""
        return [rule for one in self.rules for rule in one.rules]

    @property
    def leave(self) -> list[Waiver]:
        """The waivers."""
        return [one.waiver for one in self.waivers]
