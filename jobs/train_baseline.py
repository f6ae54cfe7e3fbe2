"""Train the baseline: word counts and logistic regression, the model that slices are compared on.

Brings the source's train split to the driver, or a sample of it where it is larger than
baseline.max_rows and baseline.budget_mb allow, and fits a scikit-learn pipeline. Writes the
pipeline and a prediction table for all rows of the source, scored by Spark's executors.

  python -m jobs.train_baseline --project conf/spam.yaml
  python -m jobs.train_baseline --project conf/spam.yaml baseline.c=0.01
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import sklearn
from pyspark.sql import functions as F  # noqa: N812

import engine
from engine.baseline import Baseline, fit_baseline, stored_facts
from engine.errors import EmptyTableError, UnknownClassError
from engine.hashing import unit_interval_column
from engine.masks.checks import check_columns, check_rows, check_unique, quoted
from engine.masks.splits import ALL, is_split, split_sql
from engine.metrics.classes import class_position
from engine.metrics.formulas.outputs import UNKNOWN_CLASS
from engine.metrics.predictions import check_key_names
from engine.project import cli
from engine.project.config import Baseline as BaselineSettings
from engine.project.config import Project
from engine.scoring import Predict, with_predictions
from engine.sql import name_sql
from engine.storage import tables
from engine.storage.lineage import READ, read_again, reading
from engine.storage.snapshot import Snapshot

_MB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job."""
    parser = cli.parser(__doc__ or "")
    parser.add_argument("--force", action="store_true", help="train again though nothing changed")
    return cli.run(job, parser.parse_intermixed_args(argv))


def job(args: argparse.Namespace) -> None:
    """Fit the baseline of one project and score its source."""
    project = cli.project_of(args)
    text, label = cli.needed(project, text=project.text, label=project.label)
    spark = cli.session(project, "train_baseline")
    source = cli.source(project, spark)
    optional = {"split": project.split, "weight": project.weight}
    roles = {"key": project.join_columns, "text": [text], "label": [label]}
    roles |= {role: [column] for role, column in optional.items() if column}
    check_columns(source.df, source.name, roles)
    check_key_names(source.name, project.join_columns)
    place, facts = project.prediction_table(project.baseline.model_id), _facts(project, source)
    stored = tables.find(spark, place)
    same = stored if stored and tables.same(stored.facts, facts) and not args.force else None
    folder = project.file(f"models/{project.baseline.model_id}")
    fitted = tables.same(stored_facts(folder), facts)  # the folder may have been removed
    if same is not None and fitted and source.unknown is None:
        print(tables.unchanged(same))
        return
    cli.tell_changes(str(place), stored.facts if stored else {}, facts)
    readers = {text: ["text"], label: ["label"]}
    check_rows(
        source.df, source.name, project.join_columns, readers, partition_by=project.partition_by
    )
    if project.check_key == "full":
        check_unique(source.df, source.name, project.join_columns)
    baseline = _fit(project, source, text, label)
    did = "wrote" if baseline.save(folder, facts) else "unchanged"
    cli.step(f"scoring {source.name} on executors")
    predictions = with_predictions(
        source.df,
        keep=project.join_columns,
        inputs=[text],
        label=label,
        weight=project.weight,
        model_id=project.baseline.model_id,
        classes=project.classes,
        identity=f"{facts} {baseline.fitted}",  # the same facts may be of other rows
        load=lambda: _predictor(baseline, text, len(project.classes)),
    )
    written = tables.overwrite(
        predictions, place, facts=facts, partition_by=project.partition_by, unless=same
    )
    if same is not None and source.unknown:
        cli.tell_again(written, [source.unknown])
    print(f"{did} {folder}: scikit-learn pipeline, classes {project.classes}")
    print(written)


def _fit(project: Project, source: Snapshot, text: str, label: str) -> Baseline:
    split = project.train_split if project.split else ALL
    train = source.df.where(is_split(split_sql(project.split), [split]))
    train = train.where(quoted(label).isNotNull())
    kind = source.df.schema[label].dataType.simpleString()
    position = F.expr(class_position(name_sql(label), kind, project.classes))
    unknown, letters = position == UNKNOWN_CLASS, F.octet_length(quoted(text).cast("string"))
    counts = train.agg(F.count(F.lit(1)), F.sum(letters), F.count_if(unknown)).collect()[0]
    if not counts[0]:
        shown = "null" if split is None else repr(split)
        raise EmptyTableError(source.name, f"the split is {shown} and {label} is not null")
    if counts[2]:
        found = train.where(unknown).select(quoted(label)).distinct().limit(6)
        values = sorted(str(r[0]) for r in found.collect())
        raise UnknownClassError(source.name, label, values, project.classes)
    share, told = _share(project.baseline, counts[0], counts[1] or 0)
    if share < 1:
        train = train.where(unit_interval_column(train, project.key, project.seed) < share)
    columns = quoted(text).alias("text"), position.alias("y")
    rows: pd.DataFrame = (
        train.orderBy(*map(quoted, project.join_columns)).select(*columns).toPandas()
    )
    cli.step(f"fitting on {len(rows):,} rows{told}")
    settings = project.baseline
    return fit_baseline(
        rows["text"],
        rows["y"],
        ngram_range=settings.ngram_range,
        c=settings.c,
        solver=settings.solver,
        max_iter=settings.max_iter,
    )


def _share(settings: BaselineSettings, rows: int, letters: int) -> tuple[float, str]:
    """Return the share of the rows that the driver has room for, and what is to be told of it.

    Examples
    --------
    >>> _share(BaselineSettings(max_rows=500), 2_000, 10_000)
    (0.25, ' of 2,000, drawn by the hash of their keys: baseline.max_rows is 500')
    >>> _share(BaselineSettings(), 2_000, 10_000)
    (1.0, '')
    """
    limits = {
        f"baseline.max_rows is {settings.max_rows:,}": settings.max_rows / max(rows, 1),
        f"baseline.budget_mb is {settings.budget_mb:,}": settings.budget_mb * _MB / max(letters, 1),
    }
    limit = min(limits, key=limits.__getitem__)
    if limits[limit] >= 1:
        return 1.0, ""
    return limits[limit], f" of {rows:,}, drawn by the hash of their keys: {limit}"


def _predictor(baseline: Baseline, text: str, n_classes: int) -> Predict:
    """Return a function that scores rows, with a column for every class of the project."""

    def predict(rows: pa.RecordBatch) -> Sequence[np.ndarray]:
        texts = pd.Series(rows.column(text).to_pylist(), dtype=object)
        full = np.zeros((len(texts), n_classes))
        full[:, list(baseline.classes)] = baseline.predict_proba(texts)
        return [full]

    return predict


def _facts(project: Project, source: Snapshot) -> dict[str, Any]:
    return {
        "engine_version": engine.__version__,
        "scikit_learn": sklearn.__version__,
        "source": source.name,
        "source_version": source.version,
        READ: read_again(None, reading(source)),
        "settings": project.baseline.model_dump(mode="json"),
        "columns": [project.key, project.partition_by, project.text, project.label],
        "optional": [project.split, project.weight],
        "classes": list(project.classes),
        "train_split": project.train_split,
        "seed": project.seed,
        "check_key": project.check_key,
    }


if __name__ == "__main__":
    sys.exit(main())
