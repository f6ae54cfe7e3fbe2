"""Rows of a metrics table, as gates read them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from engine.gate.evidence import Figure, Rows
from engine.gate.judge import Figures


def share(slice_id: str, k: int, n: int, **more: Any) -> dict[str, Any]:
    """Return a share of rows with Wilson's interval: accuracy of model m in split test."""
    figure = Figure.share(Rows(k, n), 0.95)
    return row(slice_id, figure.value, figure.low, figure.high, n) | more


def row(
    slice_id: str, value: float | None, low: float | None, high: float | None, n: int, **more: Any
) -> dict[str, Any]:
    """Return a figure of any metric, accuracy unless said."""
    return {
        "model_id": "m", "split": "test", "slice": slice_id, "metric": "accuracy", "value": value,
        "ci_low": low, "ci_high": high, "support": n, "status": "ok", "p_value": None,
        "effect": None, **more,
    }  # fmt: skip


def figures(*rows: dict[str, Any]) -> Figures:
    return Figures.of(pd.DataFrame(rows))
