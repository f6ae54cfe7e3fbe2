"""A project's source scored with its checkpoint: what decides the scores, and their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pyspark.sql import DataFrame

import engine
from engine.classifier.checkpoint import Checkpoint, folder_of, load, stored_facts
from engine.errors import StaleError
from engine.metrics.predictions import check_key_names
from engine.project.job_tables import Output, check_roles, check_source
from engine.project.run import Run
from engine.project.settings import Project
from engine.scoring import (
    check_finite,
    checkpoint_predictor,
    explained,
    identity_of,
    ship,
    with_predictions,
)
from engine.storage import tables
from engine.storage.lineage import READ, Snapshot, Written, read_again, reading
from engine.storage.runs import Runs

_TRAINED_ON = ("masks", "mask_version", "source", "source_version", "warnings")


@dataclass(frozen=True)
class Scores:
    """One run of scoring.

    Attributes
    ----------
    project
        The project.
    folder, identity, checkpoint
        The checkpoint: where it is, a hash of its files, and as it is loaded.
    heads
        The slices whose indicator and attention are written too.
    where
        The predicate over partitions that chooses the rows, if any.
    """

    project: Project
    folder: Path
    identity: str
    checkpoint: Checkpoint
    heads: Sequence[str]
    where: str | None

    @classmethod
    def of(cls, project: Project, heads: bool, where: str | None) -> Scores:
        """Load the project's checkpoint."""
        folder = folder_of(project.file(f"models/{project.classifier.model_id}").resolve())
        identity, checkpoint = identity_of(folder), load(folder)
        names = checkpoint.model.head_names if heads else ()
        return cls(project, folder, identity, checkpoint, names, where)

    def check(self, source: Snapshot) -> None:
        """Check that a source has the columns that are read."""
        project = self.project
        roles: Mapping[str, Sequence[str | None]] = {
            "key": project.join_columns,
            "input": self.checkpoint.features.columns,
            "label": [project.label],
            "weight": [project.weight],
        }
        check_roles(source, roles)
        check_key_names(source.name, project.join_columns)

    def output(self, runs: Runs, source: Snapshot) -> Output:
        """Return the prediction table as this run writes it."""
        project = self.project
        place = project.prediction_table(project.classifier.model_id)
        stored = runs.find(place)
        inputs, facts = self.checkpoint.features.columns, stored_facts(self.folder)
        return Output(
            place,
            stored,
            {
                "engine_version": engine.__version__,
                "checkpoint": self.identity,
                "source": source.name,
                "source_version": source.version,
                "trained_on": {k: v for k, v in facts.items() if k in _TRAINED_ON},
                "where": self.where,
                "columns": [
                    project.key,
                    project.partition_by,
                    list(inputs),
                    project.label,
                    project.weight,
                ],
                "classes": list(self.checkpoint.classes),
                "heads": list(self.heads),
                "check_key": project.check_key,
                READ: read_again(stored.facts if stored else None, reading(source, self.where)),
            },
        )

    def rows(self, source: Snapshot, output: Output) -> tuple[DataFrame, int]:
        """Return the source's rows that are scored, checked, and how many they are.

        Raises
        ------
        StaleError
            If only some partitions are scored, and the others have another checkpoint's scores.
        """
        project, df, inputs = self.project, source.df, self.checkpoint.features.columns
        if self.where:
            by = output.stored_facts.get("checkpoint")
            if by not in (None, self.identity):
                raise mixed_checkpoints(str(output.place), str(by), self.identity)
            df = tables.where_partitions(df, self.where, project.partition_by)
        n = check_source(
            project, df, source.name, {column: ["features"] for column in inputs}, self.where
        )
        check_finite(df, source.name, project.join_columns, inputs)
        return df, n

    def write(
        self, run: Run, df: DataFrame, output: Output, same: Snapshot | None, send: bool
    ) -> Written:
        """Score rows on executors and write them, unless ``same`` has them.

        With ``send`` the checkpoint goes with the job, else executors read it at its path.
        """
        project, heads = self.project, self.heads
        at = ship(df.sparkSession, self.folder, self.identity) if send else str(self.folder)
        predictions = with_predictions(
            df,
            keep=project.join_columns,
            inputs=self.checkpoint.features.columns,
            label=project.label,
            weight=project.weight,
            model_id=project.classifier.model_id,
            classes=self.checkpoint.classes,
            identity=self.identity,
            load=partial(checkpoint_predictor, at, heads=bool(heads)),
            heads=heads,
        )
        with explained(self.folder):
            return run.overwrite(
                predictions,
                output.place,
                facts=output.facts,
                partition_by=project.partition_by,
                where=self.where,
                unless=same,
            )


def mixed_checkpoints(table: str, stored: str, now: str) -> StaleError:
    """Return the error of partitions that would be scored by different checkpoints."""
    return StaleError(
        f"{table} was scored by checkpoint {stored}, and the checkpoint is now {now}: run "
        "without --where, so that all partitions are scored by one model"
    )
