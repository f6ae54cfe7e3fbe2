"""Whether masks, predictions and checkpoints were made from the same rows and slices."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pyspark.sql import DataFrame

from engine.errors import StaleError
from engine.masks.layout import slices_of
from engine.project.settings import Project
from engine.scoring import slice_differences
from engine.storage.lineage import Snapshot, reading, readings, stale_rows
from engine.storage.runs import Runs

_log = logging.getLogger(__name__)


class StaleModel(NamedTuple):
    """How many rows of masks and predictions are of two versions; None where that isn't known."""

    rows: int | None
    sentence: str = ""  # where there are any, or where nobody knows


def stale_models(
    project: Project, rows: DataFrame, masks: Snapshot, predictions: Mapping[str, Snapshot]
) -> dict[str, StaleModel]:
    """Compare, for each model, what masks and predictions were made from.

    Raises
    ------
    StaleError
        If there are stale rows and the project refuses them.
    """
    return {
        model_id: _stale_model(project, rows, masks, model_id, stored)
        for model_id, stored in predictions.items()
    }


def _stale_model(
    project: Project, rows: DataFrame, masks: Snapshot, model_id: str, predictions: Snapshot
) -> StaleModel:
    labelled, scored = readings(masks.facts), readings(predictions.facts)
    if not (labelled and scored):
        of = masks.name if scored else f"{predictions.name} (model {model_id!r})"
        _log.info("%s doesn't say which version of the source it is of: none is compared", of)
        return StaleModel(None)
    stale = stale_rows(rows, labelled, scored, project.partition_by)
    if stale is None:
        why = next((r.unknown for r in (*labelled, *scored) if r.unknown), None)
        if not why:
            return StaleModel(0)
        sentence = f"{why}, so {masks.name} and {predictions.name} may be of other rows"
        _log.warning("%s: label and score again first", sentence)
        return StaleModel(None, sentence)
    first = f"{masks.name} was labelled from version {stale.ours} of {labelled[-1].source}"
    other = stale.other(scored[-1].source)
    second = f"{predictions.name} (model {model_id!r}) was scored from {other}"
    sentence = f"{first}, and {second}: this is so on {stale}"
    scores = "train_baseline" if model_id == project.baseline.model_id else "score_table"
    if project.on_stale == "refuse":
        raise StaleError(
            f"{sentence}; run `python -m jobs.label_slices` and `python -m jobs.{scores}` "
            f"{_again(stale.rows < stale.all_rows)}, or set on_stale: count"
        )
    _log.warning("%s", sentence)
    return StaleModel(stale.rows, sentence)


def stale_masks(project: Project, masks: Snapshot, source: Snapshot) -> int:
    """Compare the source with what was labelled; return how many rows are of another version.

    Raises
    ------
    StaleError
        If there are some and the project refuses them.
    """
    labelled, version = readings(masks.facts), str(masks.facts.get("source_version"))
    if not labelled:
        if version != source.version and project.on_stale == "refuse":
            raise changed_source(masks.name, source.name, version, source.version)
        return 0
    stale = stale_rows(masks.df, labelled, [reading(source)], project.partition_by)
    if stale is None:
        return 0
    if project.on_stale == "refuse":
        rows = str(stale) if stale.rows < stale.all_rows else ""
        raise changed_source(masks.name, source.name, stale.ours, source.version, rows)
    _log.warning(
        "%s was labelled from version %s of %s, which is now at version %s, on %s",
        masks.name,
        stale.ours,
        source.name,
        source.version,
        stale,
    )
    return stale.rows


def changed_source(masks: str, source: str, labelled: str, now: str, rows: str = "") -> StaleError:
    """Return the error of a source that changed since it was labelled."""
    # A table that is made again begins with the same version.
    came = "was made again since" if labelled == now else f"is now at version {now}"
    where = f", on {rows}" if rows else ""
    return StaleError(
        f"{masks} was labelled from version {labelled} of {source}, which {came}{where}; run "
        f"`python -m jobs.label_slices` {_again(bool(rows))}, or set on_stale: count"
    )


def compare_slices(
    project: Project, runs: Runs, folder: Path, trained: Mapping[str, str], heads: bool
) -> None:
    """Warn when a checkpoint's slices aren't the mask table's; refuse to write their heads.

    Predictions of such a checkpoint are what they always were; its heads would go by the names of
    slices that are now other ones.

    Raises
    ------
    StaleError
        If ``heads`` are wanted of such a checkpoint.
    """
    masks = runs.find(project.place("masks"))
    differences = slice_differences(trained, slices_of(masks.df.schema)) if masks else ""
    if differences and heads:
        raise StaleError(
            f"the slices of the checkpoint at {str(folder)!r} are not the project's: "
            f"{differences}; train it again, or score without --heads"
        )
    if differences:
        _log.warning("the checkpoint's slices are not the project's: %s", differences)


def _again(partly: bool) -> str:
    """Say how jobs are to be run: those that wrote single partitions leave the others as old."""
    return "for all partitions, without --where" if partly else "again"
