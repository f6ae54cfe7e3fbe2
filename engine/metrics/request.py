"""What an evaluation takes, checked before any row is read: metrics, classes, slices, models."""

from __future__ import annotations

import datetime as dt
import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from engine.arguments import mapping, members, text, texts
from engine.errors import ArgumentError, MetricError, shown
from engine.masks.checks import spark_table
from engine.masks.splits import AnySplit
from engine.metrics.catalog import MetricSpec, parse_metric
from engine.metrics.classes import as_class, given_classes
from engine.metrics.custom import CustomMetric, no_metric
from engine.metrics.inference.uncertainty import Confidence
from engine.metrics.predictions import wrong_type
from engine.metrics.scan.form import EvaluationSpec
from engine.run.ship import unsendable
from engine.slicing.functions import SlicingFunction, how_to_slice

_ENGINE = Path(__file__).parents[1]
_SUMMED = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "boolean")


@dataclass(frozen=True)
class Request:
    """What an evaluation takes, wherever its rows are.

    Attributes
    ----------
    key
        The columns that name a row.
    metrics, own
        The engine's metrics, and those of the user's own.
    functions, names
        Slicing functions to evaluate, and masks that the table has.
    classes, positive
        Label values in class order, none where no metric needs them; the positive one's position.
    split, cluster
        The split's column, and that of rows that are drawn together.
    columns
        Our names of prediction columns to the table's own, where they differ.
    """

    key: list[str]
    metrics: list[MetricSpec]
    own: list[CustomMetric]
    functions: list[SlicingFunction]
    names: list[str]
    classes: list[Any]
    positive: int
    split: str | None
    cluster: str | None
    columns: dict[str, str]

    @property
    def roles(self) -> dict[str, list[str]]:
        """What columns of the table of masks are for."""
        single = {"split": self.split, "cluster": self.cluster}
        summed = [m.parameter("column") for m in self.metrics if m.needs == "column"]
        named = {role: [] if one is None else [one] for role, one in single.items()}
        return {"key": self.key, **named, "metrics": summed}

    def spec(self, ids: Sequence[str], models: Sequence[str]) -> EvaluationSpec:
        """Return what is evaluated of masks that are there, and of the functions."""
        return EvaluationSpec(
            metrics=self.metrics,
            slice_ids=(*ids, *(sf.id for sf in self.functions)),
            classes=self.classes,
            positive=self.positive,
            split=self.split,
            models=models,
            custom=[c for c in self.own if c.function is None],
        )

    @staticmethod
    def table(model: str) -> str:
        """Return what messages call a model's predictions."""
        return f"predictions of {model!r}"


@dataclass(frozen=True)
class Selection:
    """Rows to show of an evaluation: a model's largest losses, or what flips between two.

    Attributes
    ----------
    models
        The model's position, or those of two.
    key
        The columns that name a row.
    slice_id
        The slice, or "overall".
    n
        How many rows, at most; of each kind where there are kinds.
    columns
        Further columns to show.
    split
        One split's rows only; None is that of rows whose split is null.
    seed
        What decides which of like rows are shown.
    """

    models: tuple[int] | tuple[int, int]
    key: Sequence[str]
    slice_id: str
    n: int
    columns: Sequence[str]
    split: AnySplit
    seed: int


def request_of(
    call: str,
    *,
    key: Any,
    metrics: Any,
    slices: Any,
    classes: Any,
    positive: Any,
    split: Any,
    cluster: Any,
    columns: Any,
) -> Request:
    """Return what ``evaluate`` takes, checked; raises what the functions below do."""
    on, names_of_columns = columns_of(call, "key", key), renamed(columns)
    parsed, own = metrics_of(call, metrics)
    known_classes = classes_of(parsed, own, classes)
    functions, names = slices_of(slices)
    for argument, column in (("split", split), ("cluster", cluster)):
        if column is not None:
            text(call, argument, column, "a column")
    return Request(
        on, parsed, own, functions, names, known_classes, position_of(known_classes, positive),
        split, cluster, names_of_columns,
    )  # fmt: skip


def columns_of(call: str, argument: str, value: Any) -> list[str]:
    """Return the column or columns that are named, each once.

    Examples
    --------
    >>> columns_of("evaluate", "key", "id")
    ['id']
    """
    if isinstance(value, str):
        return [text(call, argument, value, "a column or a list of columns")]
    return [*dict.fromkeys(texts(call, argument, value, "a column or a list of columns", least=1))]


def metrics_of(call: str, metrics: Any) -> tuple[list[MetricSpec], list[CustomMetric]]:
    """Return the engine's metrics, each once, and those of the user's own.

    Raises
    ------
    ArgumentError
        If they are no list of metrics.
    MetricError
        If there is no such metric.
        If two have one name, or one can't be sent to executors.
    """
    wanted = members(
        call, "metrics", metrics, (str, CustomMetric),
        "a list of metrics, such as ['accuracy', 'f1']", "a name or made by @metric",
        write=lambda one: f"metrics=[{one!r}]" if isinstance(one, str) else f"[{one.name}]",
        hint=lambda one: "; make it a metric with @metric" if callable(one) else "", least=1,
    )  # fmt: skip
    parsed = list(dict.fromkeys(parse_metric(m) for m in wanted if isinstance(m, str)))
    own = list(dict.fromkeys(m for m in wanted if isinstance(m, CustomMetric)))
    names = [*map(str, parsed), *(m.name for m in own)]
    for metric in own:
        if names.count(metric.name) > 1:
            raise no_metric(metric.name, "two metrics have this name; give name=")
    return parsed, sendable(own)


def sendable(metrics: list[CustomMetric]) -> list[CustomMetric]:
    """Return metrics of the user's own, which can be sent to executors.

    Raises
    ------
    MetricError
        If a function, or a global that it uses, doesn't pickle.
    """
    for metric in metrics:
        if why := unsendable(metric):
            raise no_metric(metric.name, f"it can't be sent to executors ({why})")
    return metrics


def check_summed(schema: StructType, table: str, metrics: Sequence[MetricSpec]) -> None:
    """Check the columns that metrics are of, such as ``mean@column=price``.

    Raises
    ------
    ColumnError
    """
    for metric in (m for m in metrics if m.needs == "column"):
        column = metric.parameter("column")
        kind = schema[column].dataType.simpleString()
        if metric.name == "mean" and not kind.startswith(_SUMMED):
            raise wrong_type(table, column, kind, f"a number for {metric}")


def classes_of(
    metrics: Sequence[MetricSpec], own: Sequence[CustomMetric], classes: Any
) -> list[Any]:
    """Return the classes if a metric needs them, else none: labels are numbers then.

    Examples
    --------
    >>> classes_of([parse_metric("mae"), parse_metric("coverage")], [], None)
    []
    """
    ours = any(m.needs in ("pred", "prob") and m.family != "predictions" for m in metrics)
    needed = ours or any(c.needs != "numbers" for c in own)
    return given_classes("evaluate", classes) if needed else []


def position_of(classes: Sequence[Any], positive: Any) -> int:
    """Return the positive class's position, by default the last.

    Raises
    ------
    MetricError
        If it is none of the classes.

    Examples
    --------
    >>> position_of(["ham", "spam"], None), position_of([0, 1], 0.0)
    (1, 0)
    """
    if positive is None or not classes:
        return max(0, len(classes) - 1)
    single = not hasattr(positive, "columns") and np.ndim(positive) == 0
    one = as_class(positive) if single else None
    known = classes if isinstance(one, str | int | float | dt.date) else ()
    alike = [c for c in known if isinstance(c, str) == isinstance(one, str) and c == one]
    if not alike:
        raise MetricError(f"positive={shown(positive)} is none of the classes {list(classes)}")
    return list(classes).index(alike[0])


def slices_of(slices: Any) -> tuple[list[SlicingFunction], list[str]]:
    """Return slicing functions to evaluate, and the names of masks that are there.

    Raises
    ------
    ArgumentError
        If they are no list of these.
    """
    wanted = members(
        "evaluate", "slices", slices, (str, SlicingFunction),
        "a list of slicing functions, or of slices that the table has",
        "a slicing function, or a slice that the table has",
        write=lambda one: f"slices=[{one!r}]" if isinstance(one, str) else f"slices=[{one.id}]",
        hint=how_to_slice,
    )  # fmt: skip
    names = dict.fromkeys(str(one) for one in wanted if isinstance(one, str))
    return [one for one in wanted if isinstance(one, SlicingFunction)], list(names)


def models_of(predictions: Any) -> dict[str, DataFrame]:
    """Return model id to predictions.

    Raises
    ------
    ArgumentError
        If they are neither a table nor tables by model.
    """
    if not isinstance(predictions, Mapping):
        return {"model": spark_table("evaluate", "predictions", predictions)}
    wanted = "a Spark DataFrame, or a dict of them by model"
    if not predictions:
        raise ArgumentError("evaluate", "predictions", wanted, predictions)
    models = [text("evaluate", "each model of predictions", model) for model in predictions]
    return {m: spark_table("evaluate", f"predictions[{m!r}]", predictions[m]) for m in models}


def confidence_of(confidence: Any, sure: Any = None) -> Confidence:
    """Return how sure figures must be, the default where nothing says so; ``sure`` is its old name.

    Raises
    ------
    ArgumentError
        If it is no confidence, or both names are used.
    """
    name, value = ("confidence", confidence) if sure is None else ("sure", sure)
    if sure is not None:
        if confidence is not None:
            raise ArgumentError("evaluate", "sure", "left out beside confidence", sure)
        deprecated("sure=", "confidence=")
    if value is None:
        return Confidence()
    if not isinstance(value, Confidence):
        hint = f"; write {name}=Confidence(level=0.95)"
        raise ArgumentError("evaluate", name, "a Confidence", value, hint)
    return value


def deprecated(name: str, instead: str) -> None:
    """Warn of an old name, at the line of the first caller outside the engine."""
    frame, depth = inspect.currentframe(), 1
    while frame is not None and Path(frame.f_code.co_filename).is_relative_to(_ENGINE):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(f"{name} is deprecated: write {instead}", DeprecationWarning, depth)


def renamed(columns: Any) -> dict[str, str]:
    """Return our names of prediction columns to the table's own."""
    if columns is None:
        return {}
    names = mapping(
        "evaluate", "columns", columns, "a dict of our names to the table's, {'pred': 'yhat'}"
    )
    for ours, theirs in names.items():
        text("evaluate", "each name in columns", ours)
        text("evaluate", f"columns[{ours!r}]", theirs)
    return names
