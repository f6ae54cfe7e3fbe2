"""One labelling from the tables that are there to the lines that are printed; and one per batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.errors import EngineError
from engine.project import cli, quarantine
from engine.project.job_tables import has_predictions
from engine.project.labelling import Labelling, view_note
from engine.project.run import Run
from engine.project.settings import Project
from engine.project.slice_counts import coverage_section, write_counts
from engine.storage import tables
from engine.storage.place import Place
from engine.storage.stream import stream

STREAMED = ("label_slices", "evaluate_slices")  # the jobs of a batch


def label(run: Run, labelling: Labelling, where: str | None, force: bool) -> None:
    """Label what isn't labelled yet, and say what was done.

    Parameters
    ----------
    run, labelling
        The run, and what it labels.
    where
        The predicate over partitions that chooses the rows, if any.
    force
        Whether to label again though nothing changed.
    """
    with run:
        run.reads(labelling.source)
        output, rows = labelling.output(run.runs, where), None
        if output.same(force) is None or labelling.unknown:
            if output.stored is None:  # what is wrong with the source is said before any write
                rows = labelling.check(output)
            output = labelling.own(run, output)
        same = output.same(force)
        if same is not None and labelling.has_masks(output, same):
            written = run.writes(tables.unchanged(same))
        else:
            cli.tell_changes(str(output.place), output.stored_facts, output.facts)
            part = labelling.increment(output, same)
            if output.stored:
                print(part)
            written = labelling.label(run, output, same, part, rows)
        if same is not None:
            cli.tell_again(written, labelling.unknown)
        facts = output.facts if written.changed else output.stored_facts
        masks = run.runs.read(written.place)
        counts, records = write_counts(run, labelling, masks, facts, output.stored)
        cli.show(coverage_section(labelling.plan, counts, quarantine.causes(masks)))
    for commit in (written, *records):
        print(commit)
    if note := view_note(labelling.project, masks):
        print(note)


def label_stream(
    project: Project,
    run_job: Callable[[str, Sequence[str]], int],
    arguments: Sequence[str],
    once: bool,
) -> None:
    """Label and evaluate as rows arrive; a stream that stopped goes on where it was.

    Parameters
    ----------
    project
        The project.
    run_job
        Runs a job with a command line, and returns its exit status.
    arguments
        The command line.
    once
        Whether to end when all rows that are there were labelled.

    Raises
    ------
    EngineError
        If a job fails; its batch is given again when the stream starts anew.
    """
    spark, place = cli.session(project, "label_slices"), project.place("stream")

    def batch(number: int) -> None:
        cli.log.info("batch %s", number)
        runs = cli.run_of(project, spark, "label_slices").runs
        for job in STREAMED if has_predictions(runs, project) else STREAMED[:1]:
            if status := run_job(job, arguments):
                raise EngineError(
                    f"{job} ended with {status} on batch {number}, see above: the stream stops, "
                    "and gives that batch again when it is started anew"
                )

    checkpoint = str(project.file("stream") if place.in_catalog else place)
    n = stream(spark, Place.of(project.source.table), checkpoint, batch, once)
    print(f"{n:,} batches; {checkpoint} remembers which rows were labelled")
