"""Training and scoring as jobs: what is sampled, what travels with it, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

SCHEMA = "id long, text string, label int, split string, age double, author string"
WORDS = ["check out my channel", "love this song", "subscribe http://x.y", "nice voice"]


@pytest.fixture
def project(bench):
    """A labelled project of 80 rows with a text, a number and a category."""

    def write(split="split", carry=(), of="", **settings):
        rows = [
            (
                i,
                WORDS[i % 4],
                (i + 1) % 2,
                "valid" if i % 5 == 0 else "train",
                float(i),
                f"a{i % 16}",
            )
            for i in range(80)
        ]
        labelled = bench.labelled(
            f"{split} {len(carry)} {of}",
            rows,
            SCHEMA,
            text="text",
            label="label",
            split=split,
            carry=list(carry),
            slices=[
                {"name": "link", "where": "text like '%http%'"},
                {"name": "old", "where": "age > 60"},
            ],
            classifier={
                "base": {"kind": "mlp", "layers": 1, "width": 4},
                "n_epochs": 2,
                "lr": 0.05,
            },
        )
        return bench.project(**labelled, **settings)

    return write


def source(path):
    return yaml.safe_load(Path(path).read_text())["source"]["table"]


def checkpoint(bench):
    folder = bench.folder / "out" / "models" / "slice_aware"
    return json.loads((folder / "checkpoint.json").read_text())


def test_a_text_project_is_sampled_trained_and_scored_with_heads(bench, project):
    path = project()
    ran = bench.run("train_classifier", path, "classifier.features={kind: tfidf}")
    assert ran.status == 0, ran.err
    trained = checkpoint(bench)
    assert trained["features"]["kind"] == "tfidf"
    assert trained["features"]["column"] == "text"
    assert trained["facts"]["metrics"]
    assert not (bench.folder / "out" / "models" / "slice_aware.state").exists()
    again = bench.done("train_classifier", path, "classifier.features={kind: tfidf}")
    assert again.startswith("unchanged")
    bench.done("score_table", path, "--heads", "--send")
    rows = bench.read(bench.place("predictions_slice_aware"))
    assert len(rows) == 80
    assert set(rows[0]["indicator"].asDict()) == {"link", "old", "base"}
    assert sum(rows[0]["attention"].asDict().values()) == pytest.approx(1, abs=1e-5)


def test_the_slices_of_a_checkpoint_that_is_older_than_the_masks(bench, project):
    path = project()
    bench.done("train_classifier", path)
    changed = [
        {"name": "link", "where": "text like '%http://%'"},
        {"name": "long", "where": "length(text) > 15"},
    ]
    again = bench.project(
        source={"table": source(path)}, text="text", label="label", split="split", slices=changed
    )
    bench.done("label_slices", again)
    ran = bench.run("score_table", again, "--heads")
    folder = bench.folder / "out" / "models" / "slice_aware"
    assert ran.error == (
        f"the slices of the checkpoint at '{folder}' are not the project's: added long; gone old; "
        "changed link; train it again, or score without --heads"
    )
    bench.done("score_table", again)
    assert len(bench.read(bench.place("predictions_slice_aware"))) == 80


def test_what_a_sample_refuses(bench, project, caplog):
    path = project(carry=["author"])
    train = lambda *overrides: bench.run("train_classifier", path, *overrides)  # noqa: E731
    assert train("classes=[1, 2]").error == (
        f"column 'label' of {source(path)} has values that are not in classes [1, 2]: '0'"
    )
    assert train("sample.group=author").error == (
        f"16 groups of 'author' in {source(path)} have rows in more than one split, the first "
        "is author='a0' in train, valid; split by group, or leave split out of the project to have "
        "it done"
    )
    assert train("train_split=Train").error == (
        f"{bench.place('masks')} has no rows where split is 'Train'; nothing was written"
    )
    shutil.rmtree(bench.place("coverage"))
    with caplog.at_level("WARNING", "engine"):
        assert train().status == 0
    assert (
        "the coverage table has no counts of version 0 of the mask table: counting its slices"
        in caplog.messages
    )


def test_without_a_split_column_rows_are_split_by_group(bench, project):
    refused = bench.project(text="text", label="label", sample={"group": "author"})
    assert bench.run("train_classifier", refused).error == (
        f"{refused}: sample.group 'author' must be in carry, because without a split column rows "
        "of the mask table are split by it"
    )
    path = project(split=None, carry=["author"], sample={"group": "author"})
    log = bench.done("train_classifier", path)
    assert "epochs" in log
    assert checkpoint(bench)["facts"]["splits"] == ["train", "valid"]


def test_nan_features_are_named_by_key(bench, project):
    path = project(of="its own")
    tabular = "classifier.features={kind: tabular, numeric: [age], category: [author]}"
    bench.done("train_classifier", path, tabular, "classifier.base={kind: tabular_mlp, width: 4}")
    rows = [(i, "t", 1, "train", float("nan") if i == 3 else 1.0, "a") for i in range(6)]
    bench.write(bench.spark.createDataFrame(rows, SCHEMA), source(path))
    said = (
        "numeric feature 'age' is NaN or infinite on 1 rows, the first are id=3; correct them, or "
        "make them null, which is a value of its own"
    )
    assert bench.run("score_table", path, tabular).error == said
    bench.done("label_slices", path)
    assert bench.run("train_classifier", path, tabular).error == said


def test_rows_can_weigh_one_over_p(bench, project):
    path = project(sample={"per_slice": 5, "overall": 40, "per_class": 1})
    weights = []
    for given in ("false", "true"):
        bench.done("train_classifier", path, f"classifier.sample_weights={given}")
        folder = bench.folder / "out" / "models" / "slice_aware"
        trained = checkpoint(bench)
        assert trained["model"]["row_weights"] == ("sample_weight" if given == "true" else None)
        weights.append((folder / "model.safetensors").read_bytes())
    assert weights[0] != weights[1]
    bench.done("score_table", path)  # which needs no weights


@pytest.mark.slow
def test_two_processes_train_together(bench, project):
    path = project()
    settings = ("sample.kind=oversample", "classifier.monitor=old/accuracy", "classifier.lr=0.5")
    settings += ("classifier.n_epochs=4", "classifier.patience=1", "classifier.device=cpu")
    shown = bench.done("train_classifier", path, "classifier.processes=2", *settings)
    facts = checkpoint(bench)["facts"]
    assert facts["settings"]["processes"] == 2
    log = [
        json.loads(x) for x in (bench.folder / "out/training_log.jsonl").read_text().splitlines()
    ]
    best = max(log, key=lambda epoch: epoch["monitored"])  # the first of the highest
    assert facts["metrics"] == pytest.approx(best["metrics"], rel=0, abs=0, nan_ok=True)
    assert best["epoch"] == 1 + [e["monitored"] for e in log].index(best["monitored"])
    assert f"Epoch {best['epoch']}, whose weights are kept" in shown
