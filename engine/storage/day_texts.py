"""Texts that Spark reads as another time each day, found in a query's plan."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from engine.storage.jvm import is_classic, query

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_DAYS = ("now", "today", "tomorrow", "yesterday")
_TO_TIME = ("date", "timestamp", "timestamp_ntz")
_PARSING = ("ParseToDate", "ParseToTimestamp", "ToTimestamp", "TryToTimestamp")
_OF_ROWS = ("AttributeReference", "NamedLambdaVariable")


def texts_as_times(df: DataFrame) -> list[str]:
    """Return the constant texts with letters that a DataFrame's last step reads as times.

    Spark reads some as another time each day: today, now.
    """
    if not is_classic(df):
        return []
    step = json.loads(query(df).analyzed().toJSON())[0]
    each = (_constant_times(nodes) for nodes in step.values() if isinstance(nodes, list))
    return [text for texts in each for text in texts]


def _constant_times(nodes: Sequence[Any]) -> Iterator[str]:
    """Yield texts that become times in an expression: a list of nodes, each before its own."""
    for i, node in enumerate(nodes):
        if not isinstance(node, dict):
            continue
        kind = str(node.get("class")).rpartition(".")[2]
        if kind in _PARSING or (kind == "Cast" and node.get("dataType") in _TO_TIME):
            below = nodes[i + 1 : _end(nodes, i)]
            kinds = {str(one["class"]).rpartition(".")[2] for one in below}
            texts = [one["value"] for one in below if one.get("dataType") == "string"
                     and one["class"].endswith(".Literal")]  # fmt: skip
            if not kinds & {*_OF_ROWS}:
                computed = bool(kinds - {"Cast", "Literal", *_PARSING})
                yield from (t for t in texts if t and _may_name_a_day(t, computed))


def _may_name_a_day(text: str, computed: bool) -> bool:
    """Tell whether a text, or what is computed of it, may be one like today."""
    if computed:
        return any(c.isalpha() and c not in "TZ" for c in text)
    return text.strip().lower().startswith(_DAYS)


def _end(nodes: Sequence[Any], at: int) -> int:
    """Return where the nodes below one end."""
    left, i = 1, at
    while left:
        left += nodes[i]["num-children"] - 1
        i += 1
    return i
