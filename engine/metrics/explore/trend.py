"""How figures went from run to run, read from the metrics table."""

from __future__ import annotations

import numpy as np
import pandas as pd

from engine.arguments import pandas_table, text
from engine.errors import MetricError, missing_column, near
from engine.masks.splits import AnySplit, check_split, in_split

_SERIES = ["model_id", "split", "slice", "metric"]
_NEEDED = ("run_id", "run_ts", "slice_fingerprint", "value", "ci_low", "ci_high", "support")
TREND = (
    "run_id",
    "run_ts",
    *_SERIES,
    "value",
    "ci_low",
    "ci_high",
    "support",
    "change",
    "apart",
    "slice_changed",
)


def trend(
    metrics: pd.DataFrame,
    slice_id: str | None = None,
    metric: str | None = None,
    model_id: str | None = None,
    split: AnySplit = ...,
) -> pd.DataFrame:
    """Arrange the figures of all runs by model, split, slice and metric, oldest first.

    Parameters
    ----------
    metrics
        Rows of the metrics table.
    slice_id, metric, model_id, split
        Which figures; all of each unless given. The split None is that of rows whose split is
        null.

    Returns
    -------
    pd.DataFrame
        Columns ``TREND``. ``change`` is the value less that of the run before; ``apart`` says that
        the two intervals don't meet; ``slice_changed`` that the slice was defined otherwise then,
        so that a change needn't be one of quality.

    Raises
    ------
    ArgumentError, ColumnError, MetricError
        If these are no rows of the metrics table, or none of them is of what is asked for.

    Examples
    --------
    >>> rows = pd.DataFrame({"run_id": ["x", "y"], "run_ts": [1, 2], "model_id": "m",
    ...     "split": "test", "slice": "a", "slice_fingerprint": "f", "metric": "f1",
    ...     "value": [0.5, 0.75], "ci_low": [0.4, 0.7], "ci_high": [0.6, 0.8], "support": 90})
    >>> trend(rows, slice_id="a")[["value", "change", "apart", "slice_changed"]].values.tolist()
    [[0.5, nan, False, False], [0.75, 0.25, True, False]]
    """
    pandas_table("trend", "metrics", metrics, "give metrics.toPandas()")
    for column in (*_NEEDED, *_SERIES):
        if column not in metrics.columns:
            raise missing_column("trend", column, map(str, metrics.columns))
    check_split("trend", split, metrics["split"])
    wanted = {"slice": slice_id, "metric": metric, "model_id": model_id}
    rows = metrics[in_split(metrics["split"], split)]
    for column, value in ((c, v) for c, v in wanted.items() if v is not None):
        chosen = rows[column] == text("trend", column, value)
        if len(rows) and not chosen.any():
            raise MetricError(
                f"{column} {value!r} was not "
                f"evaluated{near(str(value), map(str, rows[column].unique()))}"
            )
        rows = rows[chosen]
    rows = rows.sort_values([*_SERIES, "run_ts", "run_id"], kind="stable").reset_index(drop=True)
    before = rows.groupby(_SERIES, dropna=False).shift(1)
    disjoint = (rows["ci_low"] > before["ci_high"]) | (rows["ci_high"] < before["ci_low"])
    known = before["slice_fingerprint"].notna() & rows["slice_fingerprint"].notna()
    other = rows["slice_fingerprint"] != before["slice_fingerprint"]
    return rows.assign(
        change=rows["value"].astype(np.float64) - before["value"].astype(np.float64),
        slice_changed=(known & other).astype(bool),
        **{"apart": disjoint.astype(bool)},
    )[list(TREND)]
