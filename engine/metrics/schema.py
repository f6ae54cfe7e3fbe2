"""The metrics table: its columns, and those that name a row."""

from __future__ import annotations

SCHEMA = (
    "run_id string, run_ts timestamp, source_table string, source_version string, "
    "mask_version string, prediction_version string, model_id string, split string, "
    "slice string, slice_fingerprint string, metric string, class string, value double, "
    "support long, n_null long, n_missing long, status string, ci_low double, ci_high double, "
    "p_value double, p_adjusted double, effect double, bound double, n_stale long, "
    "effect_low double, effect_high double, n_decisive long, "
    "warning string"
)
COLUMNS = tuple(column.split()[0] for column in SCHEMA.split(", "))
KEY = ("run_id", "model_id", "split", "slice", "metric", "class")
