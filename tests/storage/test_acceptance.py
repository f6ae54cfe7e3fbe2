"""Which versions count: those of accepted runs; what dead runs left is taken back or kept."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from engine.errors import HeldError, LostError, TableError
from engine.project.load import load_project
from engine.project.run import Run
from engine.storage import lease, tables
from engine.storage.place import Place
from engine.storage.process import is_gone, this_process
from engine.storage.recovery import recover
from engine.storage.runs import Event, Runs, State

QUICK = lease.Patience(wait=0.0, silence=60.0)


@pytest.fixture
def project(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(
        f"name: p\nroot: {tmp_path / 'out'}\nsource: {{table: none}}\nkey: id\n"
        "runs: {wait_seconds: 0}\n"
    )
    return load_project(str(file), [])


def begun(project, spark, *places: Place) -> Run:
    return Run.of(project, spark, "label_slices", *places)


def accepted(project, spark, n: int, name: str = "masks") -> Run:
    place = project.place(name)
    with begun(project, spark, place) as run:
        run.own(place)
        run.overwrite(spark.range(n), place, facts={"n": n})
    return run


def died(project, spark, n: int, name: str = "masks") -> Run:
    """Write a candidate, and end as if the process had been killed."""
    place = project.place(name)
    run = begun(project, spark, place)
    run.own(place)
    run.overwrite(spark.range(n), place, facts={"n": n})
    run._pulse._stop.set()
    return run


def dead(runs: Runs) -> Runs:
    """Return the runs as if each was of a process that is gone."""
    gone = this_process()
    gone = replace(gone, number=2**22 + 1).text
    return replace(runs, events=tuple(replace(e, process=gone) for e in runs.events))


def rows(snapshot) -> int:
    return snapshot.df.count()


def seen(project, spark, name: str = "masks"):
    return Runs.at(spark, project.place("runs")).find(project.place(name))


def test_readers_follow_the_table_of_runs(spark, project):
    place = project.place("masks")
    accepted(project, spark, 3)
    run = died(project, spark, 5)
    assert tables.read(spark, place).version == "1"
    now = seen(project, spark)
    assert (now.version, rows(now), now.facts["n"]) == ("0", 3, 3)
    assert rows(run.runs.find(place)) == 5  # the run itself reads what it wrote
    # Who lost the table of runs, or reads tables of another project, sees them as they are.
    assert rows(tables.find(spark, place)) == 5
    elsewhere = Runs(spark, Place.of(str(place) + "_elsewhere"))
    assert rows(elsewhere.find(place)) == 5


def test_commits_that_nobody_needs_to_accept(spark, project):
    place = project.place("masks")
    accepted(project, spark, 3)
    spark.sql(f"OPTIMIZE {place.sql}")
    spark.sql(f"DELETE FROM {place.sql} WHERE id = 0")  # somebody's own
    assert rows(seen(project, spark)) == 2
    died(project, spark, 7)
    spark.sql(f"DELETE FROM {place.sql} WHERE id = 1")  # of rows that don't count
    assert rows(seen(project, spark)) == 2


def test_a_first_table_that_nobody_accepted_is_none(spark, project):
    died(project, spark, 5)
    assert seen(project, spark) is None
    with pytest.raises(TableError, match=r"the mask table .* does not exist"):
        Runs.at(spark, project.place("runs")).read(project.place("masks"), "mask table")


def test_what_a_dead_run_left_is_taken_back(spark, project):
    place = project.place("masks")
    first = died(project, spark, 5)
    runs = Runs.at(spark, project.place("runs"))
    assert recover(runs, place).sentence == (
        f"{place}: run {first.id} ended before it was accepted; the table, which it had made, was "
        "dropped"
    )
    assert not tables.exists(spark, place)
    assert recover(runs, place) is None

    with begun(project, spark, place) as run:  # the rerun, in the same process, finds it dead
        run.runs = dead(run.runs)
        run.own(place)
        run.overwrite(spark.range(3), place, facts={})
    again = _died_again(project, spark, 9)
    runs = Runs.at(spark, project.place("runs"))
    assert recover(runs, place).sentence == (
        f"{place}: run {again.id} ended before it was accepted; the table was restored to version 0"
    )
    assert rows(tables.read(spark, place)) == 3
    assert rows(seen(project, spark)) == 3
    assert recover(runs, place) is None


def _died_again(project, spark, n: int) -> Run:
    run = begun(project, spark, project.place("masks"))
    run.runs = dead(run.runs)
    run.own(project.place("masks"))
    run.overwrite(spark.range(n), project.place("masks"), facts={"n": n})
    run._pulse._stop.set()
    return run


def test_a_table_of_several_candidates_is_emptied(spark, project):
    place = project.place("masks")
    run = died(project, spark, 5)
    run.overwrite(spark.range(6), place, facts={})
    runs = Runs.at(spark, project.place("runs"))
    assert recover(runs, place).sentence == (
        f"{place}: run {run.id} ended before it was accepted; the table, none of whose rows were "
        "accepted, was emptied"
    )
    assert rows(tables.read(spark, place)) == 0
    assert seen(project, spark) is None


def test_a_candidate_that_a_run_would_write_again_is_kept(spark, project):
    place = project.place("masks")
    first = died(project, spark, 5)
    with begun(project, spark, place) as run:
        run.runs = dead(run.runs)
        run.own(place, lambda facts: facts["n"] == 5)
        run.writes(tables.unchanged(run.runs.read(place)))
    assert rows(seen(project, spark)) == 5
    assert tables.read(spark, place).version == "0"
    assert Runs.at(spark, project.place("runs")).last(first.id).state == State.LOST


def test_one_run_at_a_time_holds_a_table(spark, project):
    place = project.place("masks")
    with begun(project, spark, place) as run:
        run.own(place)
        event = run.runs.last(run.id)
        since = event.at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        with pytest.raises(HeldError) as error, begun(project, spark, place) as second:
            second.own(place)
        assert str(error.value) == (
            f"label_slices can't write {place}: it is held by run {run.id} of label_slices "
            f"({event.holder}), which has held it since {since}; waited 0 s for it "
            "(runs.wait_seconds). Run it again once that one has ended, or stop that one"
        )
        with begun(project, spark, project.place("metrics")) as other:  # of other tables
            other.own(project.place("metrics"))
    assert Runs.at(spark, project.place("runs")).last(run.id).state == State.ACCEPTED
    assert Runs.at(spark, project.place("runs")).last(second.id).state == State.FAILED


def test_a_waiting_run_goes_on_when_the_other_ends(spark, project):
    place, waits = project.place("masks"), []
    first = begun(project, spark, place)
    first.own(place)
    runs = Runs.at(spark, project.place("runs"))

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        first.__exit__(None, None, None)

    event = Event("r2", "score_table", State.STARTED, dt.datetime.now(dt.UTC), outputs=[str(place)])
    pulse = lease.pulse(runs, "r2", QUICK)
    pulse.start()
    held = lease.take(runs, event, lease.Patience(wait=60.0), sleep)
    pulse.stop()
    assert (held.last("r2").state, len(waits)) == (State.STARTED, 1)


def test_a_silent_run_is_dead_and_learns_it(spark, project):
    place = project.place("masks")
    first = died(project, spark, 5)
    runs = Runs.at(spark, project.place("runs"))
    far = replace(runs, events=tuple(replace(e, process="far/1/1") for e in runs.events))
    event = Event(
        "r2", "label_slices", State.STARTED, dt.datetime.now(dt.UTC), outputs=[str(place)]
    )
    file = f"{project.place('runs')}/_alive/{first.id}"
    pulse = lease.pulse(runs, "r2", QUICK)
    pulse.start()
    with pytest.raises(HeldError):
        lease.take(far, event, replace(QUICK, wait=-1.0))
    os.utime(file, (0, 0))
    held = lease.take(far, event, QUICK)
    pulse.stop()
    assert held.last(first.id).state == State.LOST
    assert not os.path.exists(file)
    with pytest.raises(LostError) as error:
        first.__exit__(None, None, None)
    assert str(error.value) == (
        f"run {first.id} gave no sign for so long that another run took its tables: run r2 found "
        "that this one had died; what it wrote doesn't count, so run it again"
    )
    assert seen(project, spark) is None


def test_a_run_of_this_process_that_could_not_say_that_it_ended(spark, project):
    place = project.place("masks")
    first = begun(project, spark, place)
    first.own(place)
    first._pulse.stop()
    with begun(project, spark, place) as second:
        second.own(place)
    assert Runs.at(spark, project.place("runs")).last(first.id).state == State.LOST


def test_a_process_that_was_here_and_is_gone():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    here = this_process()
    theirs = replace(here, number=child.pid, started="")
    assert not is_gone(theirs.text)
    child.communicate(b"\n")
    assert is_gone(theirs.text)
    assert is_gone(replace(here, started="1").text)  # another process has its number now
    assert not is_gone(replace(here, machine="far", number=child.pid).text)


def test_of_two_that_read_the_same_rows_one_adds_its_own(spark, project):
    runs = Runs.at(spark, project.place("runs"))
    runs = runs.with_table()
    now = dt.datetime.now(dt.UTC)
    assert runs.add(Event("a", "j", State.STARTED, now)) is not None
    assert runs.add(Event("b", "j", State.STARTED, now)) is None
    assert [e.run for e in Runs.at(spark, project.place("runs")).events] == ["a"]


def test_a_newer_format_is_refused_by_name(spark, project):
    place = project.place("masks")
    writer = spark.range(3).write.format("delta")
    writer.option("userMetadata", json.dumps({"format": 2})).save(str(place))
    with pytest.raises(TableError) as error:
        tables.read(spark, place)
    assert str(error.value) == (
        f"table {place} has format 2, and this version of the engine knows formats up to 1: a "
        "newer version wrote it, so use that one, or another place"
    )


def test_what_the_row_of_a_run_says(spark, project):
    run = accepted(project, spark, 4)
    stored = tables.read(spark, project.place("runs")).df.orderBy("seq").collect()
    assert [row["state"] for row in stored] == ["started", "accepted"]
    last, masks = stored[-1], tables.read(spark, project.place("masks"))
    table = {"place": str(project.place("masks")), "id": masks.id, "version": "0", "rows": 4}
    assert [row.asDict() for row in last["written"]] == [table]
    assert (last["run"], last["rows"], last["format"]) == (run.id, 4, 1)
    assert json.loads(last["settings"])["key"] == ["id"]
    assert {"python", "pyspark", "delta-spark"} <= last["versions"].keys()
    assert last["started"] <= last["ended"]
