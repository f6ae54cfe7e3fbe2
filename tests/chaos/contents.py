"""What a project holds, without what two runs of the same never share: run ids, times, versions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from engine.storage.few_rows import small_rows
from engine.storage.place import Place
from engine.storage.runs import Runs, State
from engine.storage.tables import find

# A table's columns that tell of a run and not of rows. A run that was taken back leaves versions
# that a quiet run doesn't have, and identities are made of versions.
_OF_RUNS = {
    "slices": {"changed_at"},
    "coverage": {"run_ts", "mask_version", "mask_identity"},
    "metrics": {"run_id", "run_ts", "mask_version", "prediction_version"},
}
_MODELS = ("model.json", "model.safetensors")


def contents(spark: SparkSession, root: Path) -> Mapping[str, Any]:
    """Return each table's rows and each model's hash; tables as readers see them and as they are.

    Raises
    ------
    AssertionError
        If a run holds tables still, or the rows that count aren't the newest.
    """
    runs = Runs.at(spark, Place.of(str(root / "runs")))
    open_runs = {e.run: e for e in runs.events}.values()
    assert not [e for e in open_runs if e.state == State.STARTED], "a run holds tables still"
    tables = {}
    for folder in sorted(p.parent for p in root.glob("*/_delta_log")):
        if folder.name == "runs":
            continue
        snapshot, newest = runs.find(str(folder)), find(spark, str(folder))
        assert newest is not None
        rows = tables[folder.name] = _rows(newest.df, folder.name)
        if snapshot is None or snapshot.version != newest.version:
            counting = None if snapshot is None else _rows(snapshot.df, folder.name)
            assert counting == rows, f"{folder.name}: the newest rows don't count"
    models = {
        str(file.relative_to(root)): _model(file)
        for name in _MODELS
        for file in sorted((root / "models").glob(f"*/{name}"))
    }
    left = [p.name for p in (root / "models").glob(".*")] if (root / "models").exists() else []
    assert not left, f"files are left over: {left}"
    return {**tables, **models}


def _rows(df: Any, table: str) -> list[str]:
    columns = [c for c in df.columns if c not in _OF_RUNS.get(table, ())]
    return sorted(map(repr, small_rows(df.select(*columns))))


def _model(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
