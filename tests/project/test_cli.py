"""What jobs share on the command line: help that teaches, errors as one sentence."""

from __future__ import annotations

import argparse
import importlib
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from engine.errors import ConfigError, TableError
from engine.masks.checks import no_rows
from engine.project import cli
from engine.project.load import load_project
from engine.report.sections import Section, cell

ROOT = Path(__file__).parents[2]
HEAVY = {
    "numpy", "pandas", "py4j", "pyarrow", "pydantic", "pyspark", "rich", "sklearn", "sqlglot",
    "torch", "yaml",
}  # fmt: skip
JOBS = sorted(p.stem for p in (ROOT / "jobs").glob("*.py") if not p.stem.startswith("__"))


@pytest.fixture(autouse=True)
def quiet():
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = [*root.handlers], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("job", JOBS)
def test_help_says_what_a_job_does_and_how_it_is_run(job, capsys):
    with pytest.raises(SystemExit) as left:
        importlib.import_module(f"jobs.{job}").main(["--help"])
    out = capsys.readouterr().out
    assert left.value.code == 0
    assert f"python -m jobs.{job} --project conf/spam.yaml" in out
    assert "--project FILE" in out
    assert "classifier.n_epochs=5" in out  # how a setting is overridden
    assert len(out.split("\n\n")) >= 4


@pytest.mark.parametrize("job", JOBS)
def test_a_job_without_a_project_says_so(job, capsys):
    with pytest.raises(SystemExit) as left:
        importlib.import_module(f"jobs.{job}").main([])
    assert left.value.code == 2
    assert "the following arguments are required: --project" in capsys.readouterr().err


@pytest.mark.parametrize("job", JOBS)
def test_a_project_that_is_not_there_is_one_sentence_and_status_2(job, capsys):
    needed = ["--slice", "short", "--metric", "f1"] if job == "bisect_slice" else []
    assert importlib.import_module(f"jobs.{job}").main(["--project", "no.yaml", *needed]) == 2
    assert capsys.readouterr() == (
        "",
        "error: no.yaml: it can't be read: No such file or directory\n",
    )


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_parse_wire_and_log(job):
    assert len((ROOT / "jobs" / f"{job}.py").read_text().splitlines()) <= 120


def test_help_loads_none_of_the_heavy_packages():
    code = f"""
        import contextlib, importlib, io, sys
        for job in {JOBS}:
            with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
                importlib.import_module(f"jobs.{{job}}").main(["--help"])
        heavy = {HEAVY}
        print(*sorted(heavy & sys.modules.keys()))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout == "\n"


@pytest.mark.slow
def test_a_job_runs_as_a_module():
    command = [sys.executable, "-m", "jobs.label_slices", "--project", "no.yaml", "seed=1"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "error: no.yaml: it can't be read: No such file or directory\n"


def failing(error):
    def job(args):
        raise error

    return job


ARGS = argparse.Namespace(verbose=False, debug=False)


def test_a_jobs_exit_status(capsys):
    done = []
    assert cli.run(done.append, ARGS) == 0
    assert done == [ARGS]
    assert cli.run(lambda args: 3, ARGS) == 3
    assert cli.run(failing(no_rows("t")), ARGS) == 1
    assert cli.run(failing(KeyboardInterrupt()), ARGS) == 130
    assert capsys.readouterr().err == "error: t has no rows; nothing was written\ninterrupted\n"


@pytest.mark.parametrize("option", ["verbose", "debug"])
def test_debug_logs_the_traceback(option, caplog, capsys):
    args = argparse.Namespace(**{"verbose": False, "debug": False, option: True})
    assert cli.run(failing(no_rows("t")), args) == 1
    (logged,) = caplog.records  # not caplog.text: PySpark may have made its format JSON
    assert logged.exc_info is not None
    assert logged.exc_info[0] is TableError
    assert "error: t has no rows; nothing was written\n" in capsys.readouterr().err


def test_what_is_no_error_of_the_engine_is_a_sentence_too(capsys):
    assert cli.run(failing(ZeroDivisionError("by zero")), ARGS) == 2
    assert capsys.readouterr().err == (
        "error: unexpected ZeroDivisionError: by zero (--debug shows all of it)\n"
    )


def test_what_a_job_prints_has_no_secret_and_commands_no_terminal(capsys):
    def job(args):
        print("read jdbc:postgresql://ann:hunter2@db/x?password=hunter2 \x1b[2Jok")
        print("\x1b]0;owned\x07spark.x.token=abc", file=sys.stderr)

    assert cli.run(job, ARGS) == 0
    out, err = capsys.readouterr()
    assert out == "read jdbc:postgresql://***@db/x?password=*** ok\n"
    assert err == "spark.x.token=***\n"


def test_help_has_the_exit_statuses(capsys):
    with pytest.raises(SystemExit):
        importlib.import_module("jobs.label_slices").main(["--help"])
    out = capsys.readouterr().out
    assert "exit status:\n  0    done" in out
    assert "--debug" in out


def test_overrides_come_after_options():
    args = cli.parser("d").parse_args(["--project", "p.yaml", "--verbose", "a=1", "b.c=2"])
    assert (args.project, args.verbose, args.overrides) == ("p.yaml", True, ["a=1", "b.c=2"])


@pytest.fixture
def project(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("name: p\nroot: ./out\nsource: {table: t}\nkey: id\ntext: text\n")
    return load_project(file)


def test_a_setting_that_a_job_needs(project):
    assert cli.needed(project, text=project.text) == ("text",)
    with pytest.raises(ConfigError) as caught:
        cli.needed(project, text=project.text, label=project.label)
    assert str(caught.value) == "p: this job needs the setting 'label'"


def test_modules_are_looked_for_here_and_beside_the_project_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = argparse.Namespace(project="conf/p.yaml")
    assert cli.module_folders(args) == [tmp_path, tmp_path / "conf"]


def test_a_table_on_the_terminal(capsys):
    rows = [["[b]short[/b]", 1957, 0.5, None], ["other", 3, float("nan"), "x"]]
    cli.show(Section("Slices [of] t", ["slice", "rows", "f1[x]", "note"], rows))
    lines = [line.rstrip() for line in capsys.readouterr().out.split("\n") if line.strip()]
    assert lines[0] == "Slices [of] t"
    assert lines[1].split() == ["slice", "rows", "f1[x]", "note"]
    assert lines[3].split() == ["[b]short[/b]", "1,957", "0.5000", "-"]
    assert lines[4].split() == ["other", "3", "-", "x"]
    assert lines[3].index("1,957") + 4 == lines[4].index("3")  # right-aligned


def test_a_table_in_a_log_has_the_width_of_its_figures_and_cuts_no_name(capsys):
    figure, long = "0.8000 [0.70 0.90]", "x" * 70
    rows = [["short", *[figure] * 14], [long, *[figure] * 14]]
    cli.show(Section("t", ["slice", *("f1\nmodel" for _ in range(14))], rows))
    said = capsys.readouterr().out
    assert sum(line.count(figure) == 14 for line in said.split("\n")) == 2
    assert said.count("x") == len(long)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00004, "4e-05"), (1234567, "1,234,567"), (True, "True"), ("a", "a"), (-1.5, "-1.5000")],
)
def test_cells(value, text):
    assert cell(value) == text
