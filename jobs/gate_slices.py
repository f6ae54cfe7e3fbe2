"""Judge the newest evaluation: do its figures keep the project's rules? Status 0 if so, 1 if not.

Reads the metrics table alone: run jobs.evaluate_slices first. Rules are under gate: in the project
file; docs/gate.md has them. A rule fails where its p-value, corrected for the number of rules and
slices, says so; where rows are too few to tell, it is inconclusive, and the gate says about how
many would do. Nothing is written but the files that are asked for, and, where rules are about the
last run or gate.nightly is on, a record in the table gate.

  python -m jobs.gate_slices --project conf/spam.yaml
  python -m jobs.gate_slices --project conf/spam.yaml --strict --junit gate.xml --markdown gate.md
"""

from __future__ import annotations

import argparse
import sys

from engine.project import cli
from engine.project.failures import GATE_STATUSES


def _file(what: str) -> dict[str, str]:
    return {"metavar": "FILE", "help": f"write {what} to a file"}


@cli.job(
    __doc__,
    GATE_STATUSES,
    model={
        "action": "append",
        "metavar": "ID",
        "help": "a model that was evaluated; all by default",
    },
    strict={"action": "store_true", "help": "end with status 3 where a rule is inconclusive"},
    json=_file("the checks, in the shape of Great Expectations' validation results,"),
    junit=_file("the checks as JUnit's XML"),
    markdown=_file("a comment for a pull request"),
)
def main(args: argparse.Namespace) -> int:
    """Judge the newest evaluation of one project."""
    import datetime as dt
    from contextlib import nullcontext
    from dataclasses import replace
    from pathlib import Path

    from engine.gate.outputs import sections, sentence, writers
    from engine.project.evaluating import evaluation_input, own_metrics
    from engine.project.gating import check_rules, gate_input, judging, keeps_record
    from engine.storage.texts import replace_text

    with judging():
        project = cli.project_of(args)
        check_rules(project)
        own = own_metrics(project, cli.module_folders(args))
        spark = cli.session(project, "gate_slices")
        run = cli.run_of(project, spark, "gate_slices", project.place("gate"))
        with run if keeps_record(project) else nullcontext():
            if keeps_record(project):
                run.hold()  # two gates must not count the same rows
            gate = gate_input(evaluation_input(run.runs, project, own, args.model))
            if gate.note:
                cli.log.warning("%s", gate.note)
            nights, notes = gate.nights() if project.gate.nightly else (None, [])
            judgement = gate.judge(args.strict, nights)
            if keeps_record(project):
                run.reads(gate.metrics)
                gate.write(run, judgement)
    judgement = replace(judgement, notes=[*notes, *judgement.notes])
    for section in sections(judgement):
        cli.tell(section)
    for name, text in writers(judgement, gate.about, dt.datetime.now(dt.UTC)):
        if file := getattr(args, name):
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            replace_text(Path(file), text)
            print(f"wrote {file}")
    print(sentence(judgement))
    return judgement.status


if __name__ == "__main__":
    sys.exit(main())
