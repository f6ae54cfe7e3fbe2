"""Prediction tables that evaluate_slices is given: what they must have, and what it refuses."""

from __future__ import annotations

import pytest


def metrics(bench, **where):
    rows = bench.read(bench.place("metrics"))
    return [r for r in rows if all(r[k] == v for k, v in where.items())]


@pytest.fixture
def labelled(bench):
    """Six labelled rows; returns a function that writes settings with predictions."""
    settings = bench.labelled(
        "six",
        [(i, "x" * i, i % 2) for i in range(6)],
        "id int, text string, label int",
        text="text",
        label="label",
        slices=[{"name": "long", "where": "length(text) > 2"}],
        metrics=["accuracy"],
    )

    def project(rows, schema, predictions=None, **more):
        place = bench.place("given")
        bench.write(bench.spark.createDataFrame(rows, schema), place)
        given = {"table": place, **(predictions or {})}
        return bench.project(**settings, predictions={"given": given}, **more)

    return project


def test_predictions_that_do_not_cover_the_masks_are_refused(bench, labelled):
    project = labelled([(0, 0), (1, 1)], "id int, pred int")
    assert bench.run("evaluate_slices", project).error == (
        f"{bench.place('given')} has no prediction of model 'given' for 4 of 6 rows of the mask "
        "table, the first are id=2; id=3; id=4; score them, choose other evaluate_splits, or set "
        "missing_predictions: count (in Python allow_missing=True)"
    )
    assert "metrics" not in bench.versions()
    bench.done("evaluate_slices", project, "missing_predictions=count")
    (overall,) = metrics(bench, slice="overall")
    assert (overall["support"], overall["n_missing"], overall["status"]) == (0, 6, "unscored")


def test_two_predictions_of_a_key_are_refused(bench, labelled):
    project = labelled([(i % 6, 1) for i in range(8)], "id int, pred int")
    assert bench.run("evaluate_slices", project).error == (
        f"the key (id) of {bench.place('given')} (model 'given') is not unique: 2 keys name more "
        "than one row, the first are id=0 (2 rows); id=1 (2 rows)"
    )


def test_a_prediction_that_is_no_class_is_refused(bench, labelled):
    project = labelled([(i, 2) for i in range(6)], "id int, pred int")
    assert bench.run("evaluate_slices", project).error == (
        f"column 'pred' of {bench.place('given')} has values that are not in classes [0, 1]: 2"
    )


def test_another_tools_table_and_labels_that_come_late(bench, labelled):
    late = bench.place("late")
    bench.write(bench.spark.createDataFrame([(i, 1) for i in range(6)], "id int, y int"), late)
    project = labelled(
        [(f"{i}", i, 1, 0.7) for i in range(6)],
        "name string, row int, guess int, p double",
        {
            "columns": {"id": "row", "pred": "guess", "prob": "p"},
            "label": {"table": late, "column": "y"},
        },
    )
    bench.done("evaluate_slices", project)
    found = {r["slice"]: r["value"] for r in metrics(bench)}
    assert found == {"overall": 1.0, "long": 1.0}


def test_nothing_to_evaluate_says_what_to_run(bench):
    bench.rows([(1, "a")], "id int, text string")
    project = bench.project(slices=[{"name": "s", "where": "true"}])
    assert bench.run("evaluate_slices", project).error == (
        f"the mask table {bench.place('masks')} does not exist or is not a Delta table; run "
        "`python -m jobs.label_slices` first"
    )
    bench.done("label_slices", project)
    assert bench.run("evaluate_slices", project).error == (
        f"there is no prediction table yet, looked at {bench.place('predictions_baseline')}, "
        f"{bench.place('predictions_slice_aware')}; run `python -m jobs.train_baseline` first, or "
        "name one under predictions"
    )
