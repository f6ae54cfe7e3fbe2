"""One figure of a project, run by run."""

from __future__ import annotations

from pyspark.sql import functions as F  # noqa: N812

from engine.errors import MetricError, listed, near
from engine.masks.splits import split_name
from engine.metrics.catalog import KINDS, better
from engine.metrics.explore.fall import fall
from engine.metrics.explore.trend import trend
from engine.report.sections import Section
from engine.storage.lineage import Snapshot

_VERSIONS = ["source_version", "mask_version", "prediction_version"]
_SHOWN = ["run", "source", "masks", "predictions", "value", "from", "to", "rows", "change"]


def fall_section(
    metrics: Snapshot, slice_id: str, metric: str, model: str | None, split: str | None
) -> tuple[Section, str]:
    """Return a figure's runs as a section, and a sentence on where it fell.

    Parameters
    ----------
    metrics
        The metrics table.
    slice_id, metric, model, split
        Which figure; model and split may be None where there is one.

    Raises
    ------
    MetricError
        If there is no such figure, or several models or splits have it.
    """
    rows = metrics.df.where((F.col("slice") == slice_id) & (F.col("metric") == metric)).toPandas()
    if rows.empty:
        there = metrics.df.select("slice", "metric").distinct().collect()
        slices = {str(r["slice"]) for r in there}
        metrics_of = {str(r["metric"]) for r in there if r["slice"] == slice_id}
        what, known = (metric, metrics_of) if metrics_of else (slice_id, slices)
        raise MetricError(f"{what!r} was not evaluated{near(what, known)}")
    chosen = trend(rows, model_id=model, split=... if split is None else split)
    for column, option in (("model_id", "--model"), ("split", "--split")):
        several = chosen[column].unique()
        if len(several) > 1:
            names = listed(sorted(map(split_name, several)))
            raise MetricError(
                f"{metric} of {slice_id} has several; name one with {option}: {names}"
            )
    versions = rows.drop_duplicates("run_id").set_index("run_id")[_VERSIONS]
    moves = chosen.join(versions, on="run_id")
    lines = [
        [
            f"{r['run_ts']:%Y-%m-%d %H:%M:%S}",
            *(r[c] for c in _VERSIONS),
            *(r[c] for c in ("value", "ci_low", "ci_high", "support", "change")),
        ]
        for r in moves.to_dict("records")
    ]
    which = better(metric) if metric.partition("@")[0] in KINDS else "high"
    where = fall(moves, which) if which else None
    never = f"{metric} of {slice_id} never fell over {len(lines)} runs"
    if not which:
        never = f"of {metric} neither high nor low values are better"
    model_id, at = moves["model_id"].iloc[0], split_name(moves["split"].iloc[0])
    title = f"{metric} of {slice_id}, model {model_id}, split {at}, oldest first"
    return Section(title, _SHOWN, lines), str(where) if where else never
