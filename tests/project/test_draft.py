"""A project file for a table that nobody described: it loads, and says what people would say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from engine.errors import InputError
from engine.project.draft import draft, read_table
from engine.project.load import load_project
from engine.project.new_project import new_project
from jobs.__main__ import main

RNG = np.random.default_rng(0)
N = 400
PEOPLE = pd.DataFrame(
    {
        "customer_id": np.arange(N) + 7,
        "age": RNG.integers(18, 90, N),
        "gain": np.where(RNG.random(N) < 0.9, 0, RNG.integers(1, 999, N)),
        "city": RNG.choice(["Rome", "Oslo", None], N),
        "plan": RNG.choice(["a", "b", "c", "d"], N),
        "churn": RNG.choice([0, 1], N, p=[0.8, 0.2]),
    }
)


def of(rows, **more):
    made = draft("t", rows, "out/source.parquet", "out", **more)
    return yaml.safe_load(made.text), made


def test_what_columns_are():
    settings, made = of(PEOPLE)
    assert settings["key"] == "customer_id"
    assert settings["label"] == "churn"
    assert (settings["classes"], settings["positive"]) == ([0, 1], 1)
    assert settings["metrics"] == ["accuracy", "precision", "recall", "f1", "roc_auc"]
    assert settings["evaluate_splits"] == ["test"]
    assert settings["by"] == [
        {"column": "city"}, {"column": "plan"}, {"columns": ["city", "plan"], "top": 20},
    ]  # fmt: skip
    names = [s["name"] for s in settings["slices"]]
    assert names[-2:] == ["gain 0", "gain above 0"]
    assert len([n for n in names if n.startswith("age")]) == 5
    shares = made.rows["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.08)
    assert set(shares.index) == {"train", "valid", "test"}


def test_a_column_that_says_the_same_has_no_slices():
    rows = PEOPLE.assign(level=PEOPLE["plan"].map({"a": 3, "b": 1, "c": 2, "d": 4}))
    settings, made = of(rows, label="churn")
    assert {"column": "level"} not in settings["by"]
    assert "level says the same as plan: it has no slices of its own" in made.notes


def test_bins_part_the_rows():
    settings, _ = of(PEOPLE)
    tests = [s["where"] for s in settings["slices"] if s["name"].startswith("age")]
    inside = [PEOPLE.query(t.replace("AND", "and")).index for t in tests]
    assert sorted(i for one in inside for i in one) == list(range(N))
    assert all(40 <= len(one) <= 120 for one in inside)


def test_edges_are_short_and_keep_their_sign():
    rows = pd.DataFrame(
        {"id": range(100), "x": np.linspace(-0.1234567, 0.4, 100), "label": [0, 1] * 50}
    )
    slices = of(rows)[0]["slices"]
    assert slices[0] == {"name": "x below minus 0.023", "where": "`x` < -0.023"}
    assert slices[1]["name"].startswith("x minus 0.023 to 0.08")


def test_rows_without_a_key_get_one_of_their_contents():
    rows = PEOPLE.drop(columns="customer_id").assign(score=RNG.random(N))
    rows = pd.concat([rows, rows.head(2)], ignore_index=True)
    settings, made = of(rows, label="churn")
    assert settings["key"] == "row_id"
    assert made.notes[0] == "no column names a row: row_id was added, a hash of the row's values"
    keys = made.rows["row_id"]
    assert keys.is_unique
    assert list(keys.tail(2)) == [f"{k}-2" for k in keys.head(2)]
    shuffled = of(rows.sample(frac=1, random_state=1), label="churn")[1].rows["row_id"]
    assert sorted(shuffled) == sorted(keys)


def test_texts_classes_and_splits_of_ones_own():
    texts = [f"a comment that is long enough, number {i}" for i in range(30)]
    rows = pd.DataFrame({"id": range(30), "text": texts, "kind": ["a", "b", "c"] * 10,
                         "split": ["train", "test"] * 15})  # fmt: skip
    settings, made = of(rows, label="kind")
    assert (settings["text"], settings["split"]) == ("text", "split")
    assert settings["classes"] == ["a", "b", "c"]
    assert settings["metrics"] == ["accuracy", "f1_macro"]
    assert "positive" not in settings
    assert [s["name"] for s in settings["slices"]] == ["short text", "long text"]
    assert made.rows is rows


def test_labels_that_are_numbers():
    rows = PEOPLE.assign(target=RNG.normal(0, 1, N)).drop(columns="churn")
    settings, _ = of(rows)
    assert settings["metrics"] == ["mae", "rmse", "bias"]
    assert "classes" not in settings


def test_predictions_from_elsewhere():
    scores = pd.DataFrame({"customer_id": PEOPLE["customer_id"].iloc[:-3], "prediction": 0,
                           "score": 0.25})  # fmt: skip
    settings, made = of(PEOPLE, predictions=("out/predictions.parquet", scores))
    assert settings["predictions"] == {
        "model": {
            "table": "out/predictions.parquet",
            "format": "parquet",
            "columns": {"pred": "prediction", "prob": "score"},
            "label": {"table": "out/source.parquet", "column": "churn", "format": "parquet"},
        }
    }
    assert settings["missing_predictions"] == "count"
    assert "3 rows have none" in made.text
    assert "split" not in settings


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"label": "chrun"}, "there is no column 'chrun' for --label; did you mean 'churn'?"),
        ({"key": "plan"}, "column 'plan' can't be the key: values are missing or there twice"),
        (
            {"predictions": ("p", pd.DataFrame({"id": [1], "pred": [1]}))},
            "the predictions have no column 'customer_id', which names rows: add it, or say with "
            "--key which column of both does",
        ),
        (
            {"predictions": ("p", pd.DataFrame({"customer_id": [7], "a": [1], "b": [2]}))},
            "which column is the prediction isn't clear (a, b): name it 'pred'",
        ),
    ],
)
def test_what_is_refused(more, sentence):
    with pytest.raises(InputError) as caught:
        of(PEOPLE, **more)
    assert str(caught.value) == sentence


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "none.csv").write_text("a,b\n")
    (tmp_path / "twice.csv").write_text("a b,a-b\n1,2\n")
    (tmp_path / "x.txt").write_text("a")
    (tmp_path / "bad.parquet").write_text("no")
    ends = {
        "none.csv": "has no rows, so nothing can be told of its columns",
        "twice.csv": "has columns of one name (a_b): rename them",
        "x.txt": "is no table that init reads: give a .csv or a .parquet file",
    }
    for name, end in ends.items():
        with pytest.raises(InputError) as caught:
            read_table(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name} {end}"
    for name in ("bad.parquet", "missing.csv"):
        with pytest.raises(InputError, match="can't be read: "):
            read_table(tmp_path / name)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_what_separates_columns(tmp_path, separator):
    PEOPLE.to_csv(tmp_path / "people.csv", index=False, sep=separator)
    assert list(read_table(tmp_path / "people.csv").columns) == list(PEOPLE.columns)


def test_long_values_and_the_comments_after_them():
    rows = PEOPLE.rename(columns={"churn": "whether_the_customer_left_us"})
    text = draft("t", rows, "s", "r" * 50, "whether_the_customer_left_us").text
    settings = yaml.safe_load(text)
    assert settings["root"] == "r" * 50
    assert settings["label"] == "whether_the_customer_left_us"


def test_the_file_loads(tmp_path, capsys):
    PEOPLE.to_csv(tmp_path / "our people.csv", index=False)
    assert main(["init", str(tmp_path / "our people.csv"), "--out", str(tmp_path)]) == 0
    file = tmp_path / "our_people.yaml"
    assert f"wrote {file}: read it, then run `slice-engine run" in capsys.readouterr().out
    project = load_project(str(file), [])
    assert (project.name, project.label, project.key) == ("our_people", "churn", ["customer_id"])
    assert project.root == str(tmp_path / "our_people_audit")  # a comment comes after it
    assert len(pd.read_parquet(project.source.table)) == N
    with pytest.raises(InputError) as caught:
        new_project(str(tmp_path / "our people.csv"), str(tmp_path))
    assert (
        str(caught.value) == f"{file} is there already: remove it, or name another folder by --out"
    )


def test_one_command(tmp_path, capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert "  init            Look at a CSV or Parquet file, and write" in out
    assert "  evaluate        Evaluate slices: every metric of every slice" in out
    assert main(["evalute"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no command 'evalute'; did you mean 'evaluate'?\n"
    )
    assert main(["run", "--project", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["label", "--help"])
    assert ended.value.code == 0
