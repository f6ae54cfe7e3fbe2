"""Train the baseline: logistic regression, the model that slices are compared on.

Brings the source's train split to the driver, or a sample of it where it is larger than
baseline.max_rows and baseline.budget_mb allow, and fits a scikit-learn model to the words of the
text, or to columns where there is no text. Writes the model and a prediction table for all rows of
the source, scored by Spark's executors.

  python -m jobs.train_baseline --project conf/spam.yaml
  python -m jobs.train_baseline --project conf/spam.yaml baseline.c=0.01
"""

from __future__ import annotations

import argparse
import sys

from engine.project import cli


@cli.job(
    __doc__,
    force={"action": "store_true", "help": "train again though nothing changed"},
)
def main(args: argparse.Namespace) -> None:
    """Fit the baseline of one project and score its source."""
    from functools import partial

    from engine.baseline import predictor, stored_facts
    from engine.metrics.predictions import check_key_names
    from engine.project.baseline_run import facts_of, fit
    from engine.project.inputs import baseline_columns, with_inputs
    from engine.project.job_tables import Output, check_roles, check_source
    from engine.scoring import with_predictions
    from engine.storage import tables

    project = cli.project_of(args)
    (label,) = cli.needed(project, label=project.label)
    spark = cli.session(project, "train_baseline")
    source = cli.source(project, spark)
    project = with_inputs(project, source.df.schema)
    inputs = baseline_columns(project)
    text = {} if project.baseline.columns else {inputs[0]: ["text"]}
    roles = {"key": project.join_columns, "text" if text else "input": inputs, "label": [label]}
    check_roles(source, {**roles, "split": [project.split], "weight": [project.weight]})
    check_key_names(source.name, project.join_columns)
    model_id = project.baseline.model_id
    place, folder = project.prediction_table(model_id), project.file(f"models/{model_id}")
    facts, run = (
        facts_of(project, source),
        cli.run_of(project, spark, "train_baseline", place, folder),
    )
    with run:
        run.reads(source)
        has_model = tables.same(stored_facts(folder), facts)  # the folder may have been removed
        stored = run.runs.find(place)
        if args.force or not (stored and tables.same(stored.facts, facts) and has_model):
            run.own(place, lambda there: has_model and tables.same(there, facts))
            stored = run.runs.find(place)
        output = Output(place, stored, facts)
        same = output.same(args.force)
        if same is not None and has_model and source.unknown is None:
            print(run.writes(tables.unchanged(same)))
            return
        cli.tell_changes(str(place), output.stored_facts, facts)
        check_source(project, source.df, source.name, {**text, label: ["label"]})
        baseline = fit(project, source, label)
        cli.log.info(f"scoring {source.name} on executors")
        predictions = with_predictions(
            source.df,
            keep=project.join_columns,
            inputs=inputs,
            label=label,
            weight=project.weight,
            model_id=model_id,
            classes=project.classes,
            identity=f"{facts} {baseline.fitted}",  # the same facts may be of other rows
            load=partial(predictor, baseline, len(project.classes)),
        )
        written = run.overwrite(
            predictions, place, facts=facts, partition_by=project.partition_by, unless=same
        )
        # The model comes last: until the run is accepted, predictions of the one before count.
        verb = "wrote" if baseline.save(folder, facts) else "unchanged"
        run.leaves(folder, baseline.fitted)
    if same is not None and source.unknown:
        cli.tell_again(written, [source.unknown])
    print(f"{verb} {folder}: scikit-learn pipeline, classes {project.classes}")
    print(written)


if __name__ == "__main__":
    sys.exit(main())
