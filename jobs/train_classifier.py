"""Train the slice-aware classifier on a sample of slice-labelled rows.

Reads the mask table and the source. Spark draws a seeded sample, in which every slice has its
quota of rows in expectation; the driver trains a SlicingClassifier on it. Writes a checkpoint
(safetensors and JSON) and a training log (JSON lines).

  python -m jobs.train_classifier --project conf/spam.yaml
  python -m jobs.train_classifier --project conf/spam.yaml classifier.n_epochs=5
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
    """Train the classifier of one project."""
    from engine.classifier.checkpoint import check_target, settle, stored_facts
    from engine.classifier.settings import feature_spec
    from engine.masks.layout import slices_of
    from engine.project import sample as samples
    from engine.project.inputs import with_inputs
    from engine.project.job_tables import check_roles
    from engine.project.stale import stale_masks
    from engine.project.training import SAMPLE, check_setup, deciding_facts, facts_of, train
    from engine.scoring import identity_of

    project = cli.project_of(args)
    (label,) = cli.needed(project, label=project.label)
    spark = cli.session(project, "train_classifier")
    folder = project.file(f"models/{project.classifier.model_id}")
    run = cli.run_of(project, spark, "train_classifier", folder)
    masks = run.runs.read(project.place("masks"), "mask table")
    source = cli.source(project, spark)
    project = with_inputs(project, source.df.schema)
    inputs = feature_spec(project.classifier.features, project.text).columns
    check_roles(source, {"input": inputs, "label": [label], "group": [project.sample.group]})
    slices, stale = slices_of(masks.df.schema), stale_masks(project, masks, source)
    if source.unknown:
        cli.log.warning("%s, so the masks may be of other rows: label again first", source.unknown)
    check_setup(project.classifier, list(slices), len(project.classes))
    check_target(folder)
    stored, facts = stored_facts(folder), facts_of(project, masks, source, stale)
    same = deciding_facts(stored) == deciding_facts(facts) and not args.force
    unchanged = f"unchanged {folder}: checkpoint of {len(slices)} slices"
    if same and source.unknown is None:
        with run:
            run.reads(source, masks)
            run.leaves(folder, identity_of(folder))
        print(unchanged)
        return
    cli.tell_changes(str(folder), deciding_facts(stored), deciding_facts(facts))
    with run:
        run.reads(source, masks)
        run.hold()
        settle(folder)
        sample = samples.draw_sample(run.runs, project, masks, source, list(slices), inputs)
        facts[SAMPLE] = samples.sample_digest(sample)
        same_rows = stored.get(SAMPLE) == facts[SAMPLE]
        if same:
            came = "is the same" if same_rows else "has other rows"
            print(f"{source.unknown}: looked at again, and the sample {came}")
        if same and same_rows:
            print(unchanged)
            return
        sections, lines = train(project, sample, slices, facts, folder)
        run.leaves(folder, identity_of(folder))
    for section in sections:
        cli.show(section)
    for line in lines:
        print(line)


if __name__ == "__main__":
    sys.exit(main())
