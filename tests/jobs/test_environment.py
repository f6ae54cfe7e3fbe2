"""What surrounds a job and isn't as it must be: a sentence each, and no trace."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from engine.errors import InputError
from engine.slicing.discovery import load_module

ROOT = Path(__file__).parents[2]
ROWS = [(1, "a"), (2, "b")]
SCHEMA = "id int, text string"
TRACES = ("Traceback", "\tat ", "py4j", "calling o", "Exception:")


def project(folder: Path, **settings: object) -> Path:
    (folder / "rows.csv").write_text("id,text\n1,a\n2,bcd\n")
    file = folder / "project.yaml"
    about = {
        "name": "p", "root": str(folder / "out"), "key": "id", "verify": 0,
        "source": {"table": str(folder / "rows.csv")},
        "slices": [{"name": "short", "where": "length(text) < 3"}], **settings,
    }  # fmt: skip
    file.write_text(yaml.safe_dump(about, allow_unicode=True), encoding="utf-8")
    return file


def job(
    file: Path,
    *arguments: str,
    job: str = "label_slices",
    before: Callable[[], None] | None = None,
    **environment: str | None,
) -> subprocess.CompletedProcess[str]:
    changed = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-m", f"jobs.{job}", "--project", str(file), *arguments],
        env={name: value for name, value in changed.items() if value is not None},
        cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=300,
        preexec_fn=before,
    )  # fmt: skip


def error(ran: subprocess.CompletedProcess[str], status: int = 2) -> str:
    assert ran.returncode == status, ran.stdout + ran.stderr
    for sign in TRACES:
        assert sign not in ran.stderr + ran.stdout
    (line,) = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    return line.removeprefix("error: ")


@pytest.mark.slow
def test_no_java(tmp_path):
    nowhere = {"JAVA_HOME": None, "PATH": "/nowhere"}
    assert error(job(project(tmp_path), **nowhere)).startswith(
        "Spark needs Java 17 or 21, and JAVA_HOME is not set and there is no java on PATH: install "
    )
    assert error(job(project(tmp_path), JAVA_HOME="/nowhere")).startswith(
        "Spark needs Java 17 or 21, and JAVA_HOME is '/nowhere', which has no bin/java: correct or "
    )


@pytest.mark.slow
def test_a_wrong_java(tmp_path):
    java = tmp_path / "old" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_292\"' >&2\n")
    java.chmod(java.stat().st_mode | stat.S_IXUSR)
    assert error(job(project(tmp_path), JAVA_HOME=str(java.parents[1]))).startswith(
        f"Spark needs Java 17 or 21, and {java} is version 8: install one with "
    )
    java.write_text("#!/bin/sh\nexit 1\n")
    assert error(job(project(tmp_path), JAVA_HOME=str(java.parents[1]))).startswith(
        f"Spark needs Java 17 or 21, and {java} does not run: install one with "
    )


@pytest.mark.slow
def test_a_folder_for_spark_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        assert error(job(project(tmp_path), SPARK_LOCAL_DIRS=str(place))) == (
            f"SPARK_LOCAL_DIRS names {str(place)!r}, where Spark can't write what it has no memory "
            "for: name a folder that can be written, or unset it"
        )


FIRST = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from jobs.label_slices import main
sys.exit(main())
"""


def with_first(folder: Path, file: Path) -> subprocess.CompletedProcess[str]:
    """Run a job where a folder comes first on the path."""
    return subprocess.run(
        [sys.executable, "-c", FIRST, str(folder), "--project", str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=folder, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.slow
def test_another_engine_on_the_path(tmp_path):
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("")
    assert error(with_first(tmp_path, project(tmp_path))) == (
        f"Python finds another package 'engine', in ['{tmp_path}/engine'], before that of the "
        "slice engine: take it off PYTHONPATH, or start the job in the folder that has jobs"
    )


def test_another_package_of_slices_on_the_path(tmp_path, monkeypatch):
    for name in ("first", "second"):
        (tmp_path / name / "words_of_ours").mkdir(parents=True)
        (tmp_path / name / "words_of_ours" / "__init__.py").write_text("")
    (tmp_path / "second" / "words_of_ours" / "spam.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second"), *sys.path])
    with pytest.raises(InputError) as raised:
        load_module("words_of_ours.spam")
    assert str(raised.value) == (
        "the module 'words_of_ours.spam' can't be imported: ModuleNotFoundError: No module named "
        "'words_of_ours.spam'; the package 'words_of_ours' is the one in "
        f"{tmp_path}/first/words_of_ours"
    )


@pytest.mark.slow
@pytest.mark.spark
def test_a_c_locale_and_a_path_with_spaces_and_unicode(tmp_path):
    folder = tmp_path / "with spaces, ünï & 'quotes'"
    folder.mkdir()
    slices = [{"name": "ünï", "id": "uni", "where": "text = 'é' OR length(text) < 3"}]
    file = project(folder, slices=slices)
    ran = job(file, LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert ran.returncode == 0, ran.stderr
    assert "wrote" in ran.stdout


@pytest.mark.slow
@pytest.mark.spark
def test_files_that_may_not_grow(tmp_path):
    rows = "id,text\n" + "".join(f"{n},{os.urandom(30).hex()}\n" for n in range(60_000))
    file = project(tmp_path, carry=["text"])
    (tmp_path / "rows.csv").write_text(rows)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))

    ran = job(file, before=limited, JAVA_TOOL_OPTIONS="-XX:-UsePerfData")
    assert error(ran).endswith(
        "a file is larger than this system or user may write (File too large); free space where "
        "the tables, SPARK_LOCAL_DIRS and the temporary folder are, run it again"
    )
    assert not (tmp_path / "out" / "masks" / "_delta_log").exists()


def refused(bench, **settings):
    ran = bench.run(
        "label_slices", bench.project(slices=[{"name": "s", "where": "id > 1"}], **settings)
    )
    assert ran.status == 2
    for sign in TRACES:
        assert sign not in ran.err
    return ran.error


def test_places_that_cannot_be_written(bench):
    bench.rows(ROWS, SCHEMA)
    (bench.folder / "file").write_text("")
    for root in (bench.folder / "file" / "out", Path("/proc/none/out")):
        sentence = refused(bench, root=str(root))
        assert sentence.startswith(f"write of {root}/runs failed: nothing can be written there (")
        assert sentence.endswith("); name another place")


def test_files_that_are_damaged_or_gone(bench):
    source = Path(bench.rows(ROWS, SCHEMA))
    (data,) = source.glob("*.parquet")
    whole = data.read_bytes()
    for content in (b"PAR1 nothing PAR1", whole[:100], b""):
        for file in source.glob(".*.crc"):
            file.unlink()
        data.write_bytes(content)
        sentence = refused(bench)
        assert "a file of the table can't be read, for it is damaged or cut short (" in sentence
        assert data.name in sentence
    data.unlink()
    sentence = refused(bench)
    assert "a file that the table names is not there (" in sentence
    assert data.name in sentence


def test_a_delta_log_that_lacks_an_entry(bench):
    source = Path(bench.rows(ROWS, SCHEMA))
    for n in range(2):
        bench.rows([(3 + n, "c")], SCHEMA, mode="append")
    log = source / "_delta_log"
    for file in {*log.glob("*.crc"), *log.glob(".*.crc")}:
        file.unlink()
    bench.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    for n in (1, 0):
        (log / f"{n:020}.json").unlink()
        bench.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
        sentence = refused(bench)
        assert "the table's Delta log lacks an entry or can't be read (" in sentence
        assert sentence.endswith(
            "restore _delta_log from a copy, or remove the table and make it again"
        )


def test_a_path_that_is_written_as_a_name(bench):
    for table in (
        "json.`/etc/passwd`",
        "text.`/etc/passwd`",
        f"delta.`{bench.source}`",
        "CSV.`/x`",
    ):
        ran = bench.run(
            "label_slices",
            bench.project(source={"table": table}, slices=[{"name": "s", "where": "true"}]),
        )
        assert ran.error == (
            f"{table} is a path written as a table's name: write the path alone, and its format in "
            "source.format"
        )


KILLED = """
import os, signal, sys, time
from engine.storage.session import open_session
from jobs.label_slices import main
spark = open_session("x")
os.kill(spark._sc._gateway.proc.pid, signal.SIGKILL)
time.sleep(1)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.spark
def test_a_java_process_that_is_gone(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, "--project", str(project(tmp_path))],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=200,
    )  # fmt: skip
    assert error(ran).startswith(
        "Spark's Java process is gone: it was killed, ran out of memory, or could not start ("
    )
