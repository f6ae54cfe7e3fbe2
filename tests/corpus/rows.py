"""Rows of a domain, made of what its columns may hold."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

N = 120


def made_of(
    schema: pa.Schema, pools: Mapping[str, Sequence[Any]], rows: Sequence[Mapping[str, Any]]
) -> pa.Table:
    """Return :data:`N` rows of values of the pools, each value as often as another, then `rows`.

    What a row doesn't say is null.
    """
    columns = {}
    for field in schema:
        draw = random.Random(field.name)
        column: list[Any] = []
        while len(column) < N:
            column += draw.sample(pools[field.name], len(pools[field.name]))
        values = [*column[:N], *(row.get(field.name) for row in rows)]
        columns[field.name] = pa.array(values, field.type)
    return pa.table(columns, schema)
